// SPDX-License-Identifier: GPL-2.0

//! The watchdog of a consumer: how long its present callback has been running.
//!
//! ```text
//!   Idle --begin--> Running --check, too long--> Reported --end--> Returned --check--> Idle
//!    ^                 |
//!    +------- end -----+
//! ```
//!
//! For a consumer without a watchdog no clock is read.
//!
//! The work item that calls callbacks writes `began` and sets `returned`; the engine reads them, writes `reported`
//! and clears `returned`. Only reports depend on them, so relaxed atomics are enough.

#![forbid(unsafe_code)]

use crate::{
    linux::runtime::clock,
    protocol::time::{
        Duration,
        Instant, //
    }, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A report about a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The consumer does not return from a callback.
    Hangs {
        /// How long it has been in the callback, in milliseconds.
        for_ms: u64,
    },
    /// The consumer has returned from a callback that was reported.
    IsBack {
        /// How long the callback took, in milliseconds.
        after_ms: u64,
    },
}

/// A consumer's watchdog. For a consumer that did not ask for one, `span` is `None` and all calls do nothing.
pub(crate) struct Watchdog {
    span: Option<Duration>,
    excludes: bool,
    /// When the present callback began, in nanoseconds; zero: none runs.
    began: Atomic<u64>,
    /// When the callback that was reported last began, in nanoseconds.
    reported: Atomic<u64>,
    /// When that callback returned, in nanoseconds; zero: not yet, or the return was reported.
    returned: Atomic<u64>,
}

impl Watchdog {
    /// Make the watchdog that a consumer asks for; zero milliseconds: none.
    pub(crate) fn new(span_ms: u32, excludes: bool) -> Self {
        Self {
            span: (span_ms > 0).then(|| Duration::from_milliseconds(u64::from(span_ms))),
            excludes,
            began: Atomic::new(0),
            reported: Atomic::new(0),
            returned: Atomic::new(0),
        }
    }

    /// Whether the consumer is excluded from its group if it hangs.
    pub(crate) fn excludes(&self) -> bool {
        self.excludes
    }

    /// Note that a callback begins. Returns whether to wake the engine, which then sets its timer for the check.
    pub(crate) fn begin(&self) -> bool {
        if self.span.is_some() {
            self.began.store(clock::now().as_nanoseconds().max(1), Relaxed);
        }
        self.span.is_some()
    }

    /// Note that the callback has returned. Returns whether to wake the engine, which reports the return.
    pub(crate) fn end(&self) -> bool {
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

    /// The report that is due now; each is returned once.
    pub(crate) fn check(&self, now: Instant) -> Option<Alarm> {
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

    /// When the present callback is to be reported, unless it returns before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let span = self.span?;
        Some(self.running()?.after(span))
    }

    /// When the present callback began, unless it was reported.
    fn running(&self) -> Option<Instant> {
        let began = self.began.load(Relaxed);
        (began != 0 && began != self.reported.load(Relaxed))
            .then(|| Instant::from_nanoseconds(began))
    }
}
