// SPDX-License-Identifier: GPL-2.0

//! A one-shot high-resolution timer that calls a function of its owner in a soft interrupt.
//!
//! ```text
//!   idle --start(at)--> armed --the moment comes--> running --returns--> idle
//!    ^                  |  ^                          |
//!    +----- stop() -----+  +------- start(at) --------+
//! ```
//!
//! It fires whether or not processes are scheduled and workqueues run. `start` may be called from
//! anywhere, also from the function itself, and moves an armed timer. The abstraction in
//! `kernel::time::hrtimer` allows one timer in a type and cancels it when its handle is replaced;
//! a node has two and moves them often, hence this one.

use crate::protocol::time::Instant;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// A timer in a `T`. It is stopped when it is dropped.
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

// SAFETY: The C functions used on `timer` lock by themselves; the other fields never change, and
// `T` is only reached by shared reference, which `Sync` allows from any thread.
unsafe impl<T: Sync> Sync for DeadlineTimer<T> {}
// SAFETY: As above; nothing is bound to a thread.
unsafe impl<T: Sync> Send for DeadlineTimer<T> {}

impl<T: Sync> DeadlineTimer<T> {
    /// Makes an idle timer that will call `fire(owner)`.
    ///
    /// # Safety
    ///
    /// `owner` is the pinned value that the timer is made in. The owner stops the timer, and lets
    /// nobody start it again, before any field that `fire` uses is dropped.
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

    /// Sets the timer to `at`, wherever it stood before.
    ///
    /// Context: Any context but hard interrupt.
    pub(crate) fn start(&self, at: Instant) {
        let at = i64::try_from(at.as_nanoseconds()).unwrap_or(i64::MAX);
        // SAFETY: By the type invariant the timer is initialised; C locks its base.
        unsafe {
            bindings::hrtimer_start_range_ns(
                self.timer.get(),
                at,
                0,
                bindings::hrtimer_mode_HRTIMER_MODE_ABS_SOFT,
            )
        }
    }

    /// Stops the timer; its function does not run any more when this returns.
    ///
    /// Context: Process context, not while holding a lock that the function takes.
    pub(crate) fn stop(&self) {
        // SAFETY: By the type invariant the timer is initialised.
        unsafe { bindings::hrtimer_cancel(self.timer.get()) };
    }

    /// # Safety
    ///
    /// `timer` is that of a timer of this type, called by the kernel.
    unsafe extern "C" fn fired(timer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
        // SAFETY: By the type invariant `timer` is the first field of a `Self`, which is there until
        // it was stopped, and stopping waits for this function.
        let this = unsafe { &*timer.cast::<Self>() };
        // SAFETY: By the type invariant, and the promise given to `new`, the owner is still whole.
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
