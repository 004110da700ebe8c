// SPDX-License-Identifier: GPL-2.0

//! A spinlock that keeps soft interrupts away: `spin_lock_bh()`.
//!
//! The heartbeat timer, the receive hook and callers in process context share data. A caller in process context keeps
//! soft interrupts from running on its processor while it holds the lock, or they would wait for the lock for ever. In
//! a soft interrupt the lock is a plain spinlock.

use crate::linux::ffi;
use kernel::{
    bindings,
    sync::lock::{
        spinlock::SpinLockBackend,
        Backend,
        Lock, //
    }, //
};

/// Data behind a `spin_lock_bh()`.
pub(crate) type BottomHalfLock<T> = Lock<T, BottomHalfBackend>;

/// Make a [`BottomHalfLock`] with a lock class of its own.
macro_rules! new_bottom_half_lock {
    ($inner:expr, $name:literal) => {
        $crate::linux::runtime::bottom_half_lock::BottomHalfLock::new(
            $inner,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_bottom_half_lock;

/// The kernel's `spinlock_t`, taken with soft interrupts off.
pub(crate) struct BottomHalfBackend;

// SAFETY: `spinlock_t` gives mutual exclusion between all contexts that take it, and all take it through this type.
// `relock` is the default, which calls `lock`.
unsafe impl Backend for BottomHalfBackend {
    type State = bindings::spinlock_t;
    type GuardState = ();

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: The caller promises that `ptr` is memory for a lock, and that name and key stay as long as the lock.
        unsafe { SpinLockBackend::init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: The caller says that `ptr` is an initialised lock.
        unsafe { ffi::kcgcs_spin_lock_bh(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        // SAFETY: The caller says that `ptr` is an initialised lock.
        (unsafe { ffi::kcgcs_spin_trylock_bh(ptr) } != 0).then_some(())
    }

    unsafe fn unlock(ptr: *mut Self::State, _guard_state: &Self::GuardState) {
        // SAFETY: The caller owns the lock, which it took with `lock` or `try_lock` above.
        unsafe { ffi::kcgcs_spin_unlock_bh(ptr) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: The caller says that `ptr` is an initialised lock.
        unsafe { SpinLockBackend::assert_is_held(ptr) }
    }
}
