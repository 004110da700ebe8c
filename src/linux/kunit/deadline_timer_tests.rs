// SPDX-License-Identifier: GPL-2.0

//! When a deadline timer fires, and that it is gone when it was stopped or dropped.

use super::{
    becomes_true,
    becomes_true_soon, //
};
use crate::{
    linux::runtime::{
        clock::now,
        deadline_timer::DeadlineTimer, //
    },
    protocol::time::Duration, //
};
use kernel::{
    bindings,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    ffi::c_void,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Longer than any test runs.
const FAR: Duration = Duration::from_milliseconds(3_600_000);
const NEAR: Duration = Duration::from_milliseconds(2);

/// A timer, and counters of what its function has done.
#[pin_data]
struct Alarm {
    #[pin]
    timer: DeadlineTimer<Alarm>,
    began: Atomic<u32>,
    ended: Atomic<u32>,
    began_at_ns: Atomic<u64>,
    /// How often the function sets the timer again.
    repeats: Atomic<u32>,
    /// How long the function takes.
    busy_ns: Atomic<u64>,
}

impl Alarm {
    fn new(repeats: u32, busy: Duration) -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(&this in Self {
                // SAFETY: `this` is pinned; the timer is its first field, and so dropped first.
                timer <- unsafe { DeadlineTimer::new(this, Self::ring) },
                began: Atomic::new(0),
                ended: Atomic::new(0),
                began_at_ns: Atomic::new(0),
                repeats: Atomic::new(repeats),
                busy_ns: Atomic::new(busy.as_nanoseconds()),
            }),
            GFP_KERNEL,
        )
    }

    fn ring(&self) {
        let begin = now();
        self.began_at_ns.store(begin.as_nanoseconds(), Relaxed);
        self.began.fetch_add(1, Relaxed);
        let end = begin.after(Duration::from_nanoseconds(self.busy_ns.load(Relaxed)));
        while now() < end {
            core::hint::spin_loop();
        }
        let repeats = self.repeats.load(Relaxed);
        if repeats > 0 {
            self.repeats.store(repeats - 1, Relaxed);
            self.timer.start(now().after(NEAR));
        }
        self.ended.fetch_add(1, Relaxed);
    }

    fn ended(&self) -> u32 {
        self.ended.load(Relaxed)
    }

    /// Set the timer on another processor, if there is one, so that its function runs at the same time as the caller.
    fn start_elsewhere(&self) {
        let here = CpuId::current().as_u32();
        let other = (here + 1) % nr_cpu_ids();
        // SAFETY: `start_now` expects an `Alarm`, which lives until the call, which waits for it, has returned.
        let error = unsafe {
            bindings::smp_call_function_single(
                other as i32,
                Some(Self::start_now),
                core::ptr::from_ref(self).cast_mut().cast::<c_void>(),
                true,
            )
        };
        if error != 0 {
            self.timer.start(now());
        }
    }

    /// # Safety
    ///
    /// `alarm` is a live [`Alarm`].
    unsafe extern "C" fn start_now(alarm: *mut c_void) {
        // SAFETY: The caller says that it is a live `Alarm`.
        let alarm = unsafe { &*alarm.cast::<Self>() };
        alarm.timer.start(now());
    }
}

#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_deadline_timer))]
mod tests {
    use super::*;

    #[test]
    fn it_fires_once_and_not_before_its_time() -> Result {
        let alarm = Alarm::new(0, Duration::ZERO)?;
        let at = now().after(NEAR);
        alarm.timer.start(at);
        assert!(becomes_true(|| alarm.ended() > 0));
        assert!(alarm.began_at_ns.load(Relaxed) >= at.as_nanoseconds());
        fsleep(Delta::from_millis(20));
        assert_eq!(alarm.ended(), 1);
        Ok(())
    }

    #[test]
    fn a_moment_that_has_passed_fires_at_once() -> Result {
        let alarm = Alarm::new(0, Duration::ZERO)?;
        alarm.timer.start(crate::protocol::time::Instant::ZERO);
        assert!(becomes_true(|| alarm.ended() == 1));
        Ok(())
    }

    #[test]
    fn its_function_may_set_it_again() -> Result {
        let alarm = Alarm::new(4, Duration::ZERO)?;
        alarm.timer.start(now());
        assert!(becomes_true(|| alarm.ended() == 5));
        fsleep(Delta::from_millis(20));
        assert_eq!(alarm.ended(), 5);
        Ok(())
    }

    #[test]
    fn an_earlier_deadline_replaces_a_later_one() -> Result {
        let alarm = Alarm::new(0, Duration::ZERO)?;
        alarm.timer.start(now().after(FAR));
        alarm.timer.start(now().after(NEAR));
        assert!(becomes_true(|| alarm.ended() == 1));
        Ok(())
    }

    #[test]
    fn a_later_deadline_replaces_an_earlier_one() -> Result {
        let alarm = Alarm::new(0, Duration::ZERO)?;
        // Far enough away not to come between the two calls.
        alarm
            .timer
            .start(now().after(Duration::from_milliseconds(200)));
        alarm.timer.start(now().after(FAR));
        fsleep(Delta::from_millis(400));
        assert_eq!(alarm.ended(), 0);
        Ok(())
    }

    #[test]
    fn a_stopped_timer_does_not_fire_and_can_be_set_again() -> Result {
        let alarm = Alarm::new(0, Duration::ZERO)?;
        alarm
            .timer
            .start(now().after(Duration::from_milliseconds(200)));
        alarm.timer.stop();
        fsleep(Delta::from_millis(400));
        assert_eq!(alarm.ended(), 0);
        alarm.timer.stop();
        alarm.timer.start(now());
        assert!(becomes_true(|| alarm.ended() == 1));
        Ok(())
    }

    #[test]
    fn stopping_waits_for_the_running_function() -> Result {
        let alarm = Alarm::new(0, Duration::from_milliseconds(20))?;
        for round in 1..=5 {
            alarm.start_elsewhere();
            assert!(becomes_true_soon(|| alarm.began.load(Relaxed) == round));
            alarm.timer.stop();
            assert_eq!(alarm.ended(), round);
        }
        Ok(())
    }

    #[test]
    fn stopping_beats_a_function_that_sets_the_timer_again() -> Result {
        let alarm = Alarm::new(u32::MAX, Duration::ZERO)?;
        alarm.start_elsewhere();
        assert!(becomes_true(|| alarm.ended() > 3));
        alarm.timer.stop();
        let ended = alarm.ended();
        fsleep(Delta::from_millis(20));
        assert_eq!(alarm.ended(), ended);
        Ok(())
    }

    #[test]
    fn dropping_an_armed_or_running_timer_leaves_nothing_behind() -> Result {
        // The kernel's object and memory checks would find what is left.
        let armed = Alarm::new(0, Duration::ZERO)?;
        armed.timer.start(now().after(NEAR));
        drop(armed);
        let running = Alarm::new(0, Duration::from_milliseconds(20))?;
        running.start_elsewhere();
        assert!(becomes_true_soon(|| running.began.load(Relaxed) == 1));
        drop(running);
        fsleep(Delta::from_millis(20));
        Ok(())
    }
}
