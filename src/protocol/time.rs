// SPDX-License-Identifier: GPL-2.0

//! Points in time and spans of time, in nanoseconds of one monotonic clock.
//!
//! The protocol never reads a clock: the caller passes the time with each input. All arithmetic saturates, so that no
//! input makes it overflow.

use core::fmt;

/// A point in time: nanoseconds since a moment that the caller chooses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(u64);

/// A span of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Duration(u64);

impl Instant {
    /// The clock's first moment.
    pub const ZERO: Instant = Instant(0);

    /// A moment `nanoseconds` after the clock's first.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the clock's first moment.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// The moment that is `span` later.
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
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

    /// The span multiplied by `factor`.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The span divided by `parts`, rounded down; the span itself if `parts` is zero.
    pub const fn divided_by(self, parts: u64) -> Self {
        match self.0.checked_div(parts) {
            Some(part) => Self(part),
            None => self,
        }
    }
}

#[cfg(kcgcs_exploration)]
impl core::hash::Hash for Instant {
    /// Hash as 128 bits, as nothing else is, so that a hasher can tell moments and count them from one of its own.
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        state.write_u128(self.0.into());
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_time))]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_saturate_at_both_ends() {
        let last = Instant::from_nanoseconds(u64::MAX);
        let longest = Duration::from_nanoseconds(u64::MAX);
        let one = Duration::from_nanoseconds(1);
        assert_eq!(last.after(one), last);
        assert_eq!(Instant::ZERO.after(longest), last);
        assert_eq!(Instant::ZERO.since(last), Duration::ZERO);
        assert_eq!(last.since(Instant::ZERO), longest);
        assert_eq!(longest.plus(one), longest);
        assert_eq!(longest.times(2), longest);
        assert_eq!(one.times(u64::MAX), longest);
        assert_eq!(Duration::from_milliseconds(u64::MAX), longest);
        assert_eq!(Duration::from_microseconds(u64::MAX), longest);
    }

    #[test]
    fn a_millisecond_is_a_thousand_microseconds() {
        let span = Duration::from_milliseconds(3);
        assert_eq!(span, Duration::from_microseconds(3_000));
        assert_eq!(span.as_nanoseconds(), 3_000_000);
        assert_eq!(Duration::from_nanoseconds(2_999_999).as_milliseconds(), 2);
        assert_eq!(span.as_milliseconds(), 3);
    }

    #[test]
    fn a_divided_span_is_rounded_down_and_division_by_zero_leaves_it() {
        let span = Duration::from_nanoseconds(10);
        assert_eq!(span.divided_by(3), Duration::from_nanoseconds(3));
        assert_eq!(span.divided_by(11), Duration::ZERO);
        assert_eq!(span.divided_by(0), span);
    }

    #[test]
    fn no_time_has_passed_since_a_later_moment() {
        let (early, late) = (Instant::from_nanoseconds(5), Instant::from_nanoseconds(7));
        assert_eq!(late.since(early), Duration::from_nanoseconds(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.after(late.since(early)), late);
    }
}
