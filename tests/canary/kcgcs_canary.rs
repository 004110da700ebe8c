// SPDX-License-Identifier: GPL-2.0

//! A module that fails on purpose, once, while it is loaded. It proves that the test machines detect such a failure.
//! `insmod kcgcs_canary.ko failure=N`:
//!
//! | N | failure                                          | detected by               |
//! |---|--------------------------------------------------|---------------------------|
//! | 0 | none: the machine must pass                      |                           |
//! | 1 | reads one byte behind an allocation              | KASAN                     |
//! | 2 | reads memory that it has freed                   | KASAN                     |
//! | 3 | sleeps while it holds a spinlock                 | DEBUG_ATOMIC_SLEEP        |
//! | 4 | takes two mutexes in both orders                 | lockdep                   |
//! | 5 | leaks 128 allocations                            | kmemleak                  |
//! | 6 | adds one to the largest number                   | Rust's overflow check     |

use core::hint::black_box;

use kernel::prelude::*;
use kernel::sync::{Mutex, SpinLock};
use kernel::{new_mutex, new_spinlock};

module! {
    type: Canary,
    name: "kcgcs_canary",
    authors: ["KCGCS developers"],
    description: "KCGCS: fails on purpose, to test the tests",
    license: "GPL",
    params: {
        failure: i64 {
            default: 0,
            description: "the failure: 0 none, 1 out of bounds, 2 use after free, 3 sleep in atomic, 4 lock inversion, 5 leak, 6 overflow",
        },
    },
}

struct Canary;

/// Size of an allocation that fills its slab object: the next byte belongs to another object.
const OBJECT_BYTES: usize = 64;
/// Number of allocations that are leaked.
const LEAKS: usize = 128;

fn read_out_of_bounds() -> Result {
    let object = KBox::new([7_u8; OBJECT_BYTES], GFP_KERNEL)?;
    let first: *const u8 = object.as_ptr();
    // SAFETY: None: this is the failure. It reads one byte behind the allocation.
    let stolen = unsafe { first.wrapping_add(black_box(OBJECT_BYTES)).read_volatile() };
    pr_info!("read {stolen} behind an allocation\n");
    Ok(())
}

fn read_after_free() -> Result {
    let object = KBox::into_raw(KBox::new([7_u8; OBJECT_BYTES], GFP_KERNEL)?);
    // SAFETY: The pointer comes from `into_raw` above and is given back once.
    drop(unsafe { KBox::from_raw(object) });
    // SAFETY: None: this is the failure. The allocation is freed already.
    let stolen = unsafe { black_box(object).cast::<u8>().read_volatile() };
    pr_info!("read {stolen} after free\n");
    Ok(())
}

fn sleep_in_atomic() -> Result {
    let outer: Pin<KBox<SpinLock<u32>>> = KBox::pin_init(new_spinlock!(1), GFP_KERNEL)?;
    let inner: Pin<KBox<Mutex<u32>>> = KBox::pin_init(new_mutex!(2), GFP_KERNEL)?;
    let first = outer.lock();
    // Taking a mutex may sleep, which the holder of a spinlock must not.
    let second = inner.lock();
    pr_info!("slept with {}\n", *first + *second);
    Ok(())
}

fn invert_locks() -> Result {
    let left: Pin<KBox<Mutex<u32>>> = KBox::pin_init(new_mutex!(1, "left"), GFP_KERNEL)?;
    let right: Pin<KBox<Mutex<u32>>> = KBox::pin_init(new_mutex!(2, "right"), GFP_KERNEL)?;
    {
        let first = left.lock();
        let second = right.lock();
        pr_info!("left, then right: {}\n", *first + *second);
    }
    let first = right.lock();
    let second = left.lock();
    pr_info!("right, then left: {}\n", *first + *second);
    Ok(())
}

fn leak_memory() -> Result {
    for number in 0..LEAKS {
        let object = KBox::new([number; OBJECT_BYTES], GFP_KERNEL)?;
        core::mem::forget(black_box(object));
    }
    pr_info!("leaked {LEAKS} allocations\n");
    Ok(())
}

fn overflow() {
    let largest = black_box(u32::MAX);
    let sum = largest + black_box(1);
    pr_info!("{largest} and one are {sum}\n");
}

impl kernel::Module for Canary {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        match module_parameters::failure.value() {
            0 => pr_info!("no failure\n"),
            1 => read_out_of_bounds()?,
            2 => read_after_free()?,
            3 => sleep_in_atomic()?,
            4 => invert_locks()?,
            5 => leak_memory()?,
            6 => overflow(),
            _ => return Err(EINVAL),
        }
        Ok(Self)
    }
}
