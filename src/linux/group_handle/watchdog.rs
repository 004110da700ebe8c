// SPDX-License-Identifier: GPL-2.0

//! How long the present callback of a consumer has been running, as its watchdog sees it.
//!
//! ```text
//!   Idle --begin--> Running --span is over--> Reported --end--> Returned --told--> Idle
//!    ^                 |
//!    +------- end -----+
//! ```
//!
//! Who has asked for none pays for none: no clock is read for it.
//!
//! The work item that makes callbacks writes, the engine reads; each value is written by one of them only,
//! and nothing but a report is at stake, so relaxed atomics are enough.

#![forbid(unsafe_code)]

use super::super::clock;
use crate::protocol::time::{
    Duration,
    Instant, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// What is to be told of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Alarm {
    /// It does not return.
    Hangs {
        /// For how long it has been in the callback, in milliseconds.
        for_ms: u64,
    },
    /// It has returned from a callback that was reported.
    IsBack {
        /// How long that took, in milliseconds.
        after_ms: u64,
    },
}

/// A consumer's watchdog; without one all calls do nothing.
pub(in crate::linux) struct Watchdog {
    span: Option<Duration>,
    puts_out: bool,
    /// When the callback that runs now has begun, in nanoseconds; zero: none runs.
    began: Atomic<u64>,
    /// The beginning of the callback that was reported last.
    reported: Atomic<u64>,
    /// When that one returned; zero: not yet, or that was told.
    returned: Atomic<u64>,
}

impl Watchdog {
    /// As a consumer wants it; zero milliseconds: none.
    pub(in crate::linux) fn new(span_ms: u32, puts_out: bool) -> Self {
        Self {
            span: (span_ms > 0).then(|| Duration::from_milliseconds(u64::from(span_ms))),
            puts_out,
            began: Atomic::new(0),
            reported: Atomic::new(0),
            returned: Atomic::new(0),
        }
    }

    /// Whether a consumer that hangs is put out of its group.
    pub(in crate::linux) fn puts_out(&self) -> bool {
        self.puts_out
    }

    /// A callback begins. Whether the engine is to be woken, so that it looks in time.
    pub(in crate::linux) fn begin(&self) -> bool {
        if self.span.is_some() {
            self.began.store(clock::now().as_nanoseconds().max(1), Relaxed);
        }
        self.span.is_some()
    }

    /// It has returned. Whether the engine is to be woken, since that is worth a line.
    pub(in crate::linux) fn end(&self) -> bool {
        if self.span.is_none() {
            return false;
        }
        let began = self.began.load(Relaxed);
        self.began.store(0, Relaxed);
        let was_reported = self.reported.load(Relaxed) == began;
        if was_reported {
            self.returned.store(clock::now().as_nanoseconds(), Relaxed);
        }
        was_reported
    }

    /// What is to be told now; each thing once.
    pub(in crate::linux) fn check(&self, now: Instant) -> Option<Alarm> {
        let span = self.span?;
        let returned = self.returned.load(Relaxed);
        if returned != 0 {
            self.returned.store(0, Relaxed);
            let began = Instant::from_nanoseconds(self.reported.load(Relaxed));
            let after = Instant::from_nanoseconds(returned).since(began);
            return Some(Alarm::IsBack {
                after_ms: after.as_milliseconds(),
            });
        }
        let began = self.running()?;
        let running = now.since(began);
        if running < span {
            return None;
        }
        self.reported.store(began.as_nanoseconds(), Relaxed);
        Some(Alarm::Hangs {
            for_ms: running.as_milliseconds(),
        })
    }

    /// When a callback that runs now hangs, if it runs on.
    pub(in crate::linux) fn deadline(&self) -> Option<Instant> {
        let span = self.span?;
        Some(self.running()?.after(span))
    }

    /// The beginning of a callback that runs and was not reported.
    fn running(&self) -> Option<Instant> {
        let began = self.began.load(Relaxed);
        (began != 0 && began != self.reported.load(Relaxed))
            .then(|| Instant::from_nanoseconds(began))
    }
}
