// SPDX-License-Identifier: GPL-2.0

//! Points in time and spans of time, in nanoseconds of one monotonic clock.
//!
//! The core never asks for the time: it is told. All arithmetic saturates, so that no input can
//! make it overflow.

use core::fmt;

/// A point in time: nanoseconds since a moment that the caller chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(u64);

/// A span of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Duration(u64);

impl Instant {
    /// The first moment of the clock.
    pub const ZERO: Instant = Instant(0);

    /// A moment `nanoseconds` after the clock's first.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's first moment.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// This moment moved into the future.
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The time that has gone by since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time.
    pub const ZERO: Duration = Duration(0);

    /// A span of nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// A span of microseconds.
    pub const fn from_microseconds(microseconds: u64) -> Self {
        Self(microseconds.saturating_mul(1_000))
    }

    /// A span of milliseconds.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_mul(1_000_000))
    }

    /// The span in nanoseconds.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// The span in whole milliseconds, rounded down.
    pub const fn as_milliseconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The sum of two spans.
    pub const fn plus(self, other: Duration) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The span taken `factor` times.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The span split into `parts`; a division by zero gives the span itself.
    pub const fn divided_by(self, parts: u64) -> Self {
        match self.0.checked_div(parts) {
            Some(part) => Self(part),
            None => self,
        }
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
