// SPDX-License-Identifier: GPL-2.0

//! A one-shot high-resolution timer that calls a function of its owner in a soft interrupt.
//!
//! ```text
//!   idle --start(at)--> armed --at is reached--> running --returns--> idle
//!    ^                  |  ^                         |
//!    +----- stop() -----+  +------ start(at) --------+
//! ```
//!
//! It fires whether or not processes are scheduled and work queues run. `start` moves an armed timer, and the function
//! itself may call it. The abstraction in `kernel::time::hrtimer` allows one timer in a type and cancels it when its
//! handle is replaced; the timers of a node are moved often, hence this one.

use crate::protocol::time::Instant;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A timer in a `T`. Dropping it stops it.
///
/// # Invariants
///
/// `timer` is the first field and initialised; `owner` holds this timer and does not move.
#[repr(C)]
#[pin_data(PinnedDrop)]
pub(crate) struct DeadlineTimer<T> {
    #[pin]
    timer: Opaque<bindings::hrtimer>,
    owner: NonNull<T>,
    fire: fn(&T),
}

// SAFETY: The C functions on `timer` take the lock of its base. The other fields never change, and `owner` is only used
// as a shared reference, which `T: Sync` allows on any thread.
unsafe impl<T: Sync> Sync for DeadlineTimer<T> {}
// SAFETY: No field is bound to the thread that made it; `owner` is only used as a shared reference to a `Sync` type.
unsafe impl<T: Sync> Send for DeadlineTimer<T> {}

impl<T: Sync> DeadlineTimer<T> {
    /// Make an idle timer that will call `fire(owner)`.
    ///
    /// # Safety
    ///
    /// `owner` is the pinned value that the timer is made in. The owner stops the timer, and lets nobody start it
    /// again, before any field that `fire` uses is dropped.
    pub(crate) unsafe fn new(owner: NonNull<T>, fire: fn(&T)) -> impl PinInit<Self> {
        pin_init!(Self {
            timer <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory for a timer; the function given fits its clock and mode.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(Self::fired),
                        bindings::CLOCK_MONOTONIC as i32,
                        bindings::hrtimer_mode_HRTIMER_MODE_ABS_SOFT,
                    )
                }
            }),
            owner,
            fire,
        })
    }

    /// Set the timer to `at`, whether or not it was armed.
    ///
    /// Context: Any context but hard interrupt.
    pub(crate) fn start(&self, at: Instant) {
        let at = i64::try_from(at.as_nanoseconds()).unwrap_or(i64::MAX);
        // SAFETY: By the type invariant the timer is initialised. C takes the lock of its base.
        unsafe {
            bindings::hrtimer_start_range_ns(
                self.timer.get(),
                at,
                0,
                bindings::hrtimer_mode_HRTIMER_MODE_ABS_SOFT,
            )
        }
    }

    /// Stop the timer: its function does not run any more when this returns.
    ///
    /// Context: Process context, not while holding a lock that the function takes.
    pub(crate) fn stop(&self) {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::hrtimer_cancel(self.timer.get()) };
    }

    /// # Safety
    ///
    /// `timer` is that of a timer of this type; the kernel calls this because it has expired.
    unsafe extern "C" fn fired(timer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
        // SAFETY: By the type invariant `timer` is the first field of a `Self`. It is there until it was stopped, and
        // stopping waits for this function.
        let this = unsafe { &*timer.cast::<Self>() };
        // SAFETY: By the type invariant the owner does not move; the caller of `new` promised that it stops the timer
        // before a field that `fire` uses is dropped.
        (this.fire)(unsafe { this.owner.as_ref() });
        bindings::hrtimer_restart::HRTIMER_NORESTART
    }
}

#[pinned_drop]
impl<T> PinnedDrop for DeadlineTimer<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::hrtimer_cancel(self.timer.get()) };
    }
}
