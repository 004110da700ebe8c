// SPDX-License-Identifier: GPL-2.0

//! The kernel's clocks and random numbers in the protocol's types.
//!
//! The protocol's instants are nanoseconds of `CLOCK_MONOTONIC`, which timers take as they are. Setting the wall clock
//! never changes them.

use crate::protocol::time::Instant;
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The largest incarnation returned since the module was loaded.
static LAST_INCARNATION: Atomic<u64> = Atomic::new(0);

/// The present instant.
///
/// Context: Any context.
pub(crate) fn now() -> Instant {
    // SAFETY: `ktime_get()` has no requirements.
    let nanoseconds = unsafe { bindings::ktime_get() };
    Instant::from_nanoseconds(u64::try_from(nanoseconds).unwrap_or(0))
}

/// The number of a node's new incarnation: the wall clock in nanoseconds, so that it grows from one start of the
/// machine to the next. While the module is loaded each number is larger than the one before, whatever the clock does.
pub(crate) fn new_incarnation() -> u64 {
    // SAFETY: `ktime_get_real()` has no requirements.
    let nanoseconds = unsafe { bindings::ktime_get_real() };
    let wish = u64::try_from(nanoseconds).unwrap_or(1).max(1);
    let mut last = LAST_INCARNATION.load(Relaxed);
    loop {
        let next = wish.max(last.saturating_add(1));
        match LAST_INCARNATION.cmpxchg(last, next, Relaxed) {
            Ok(_) => return next,
            Err(newer) => last = newer,
        }
    }
}

/// A random number for the seed of a node.
pub(crate) fn random_seed() -> u64 {
    // SAFETY: `get_random_u64()` has no requirements.
    unsafe { bindings::get_random_u64() }
}
