// SPDX-License-Identifier: GPL-2.0

//! One answer for many datagrams: a node that has missed a view may have sent a lot before it learns so, and its
//! datagrams may arrive all at once.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::PeerAddress;
use crate::protocol::limits::REMINDERS_MAX;
use crate::protocol::time::{Duration, Instant};

/// The addresses that were answered lately, in the order of the times.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct RateLimit(BoundedVec<(PeerAddress, Instant)>);

impl RateLimit {
    /// Nobody was answered.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(REMINDERS_MAX)?))
    }

    /// Forget all answers: the view has changed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether `to` was not answered within `pause`. Remembers that it is answered now. If too many are answered at once,
    /// the first of them may be answered again.
    pub(super) fn is_due(&mut self, now: Instant, to: PeerAddress, pause: Duration) -> bool {
        if let Some(place) = self.0.iter().position(|(address, _)| *address == to) {
            let is_too_soon = |(_, at): &(PeerAddress, Instant)| now < at.after(pause);
            if self.0.get(place).is_some_and(is_too_soon) {
                return false;
            }
            self.0.remove(place);
        } else if self.0.is_full() {
            self.0.remove(0);
        }
        let _ = self.0.push((to, now));
        true
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_rate_limit))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{address, at, span, TestResult};

    const PAUSE: Duration = span(100);

    #[test]
    fn each_address_is_answered_once_in_a_pause() -> TestResult {
        let mut limit = RateLimit::new()?;
        assert!(limit.is_due(at(0), address(1), PAUSE));
        assert!(limit.is_due(at(10), address(2), PAUSE));
        assert!(!limit.is_due(at(99), address(1), PAUSE));
        assert!(limit.is_due(at(100), address(1), PAUSE));
        assert!(!limit.is_due(at(109), address(2), PAUSE));
        assert!(!limit.is_due(at(199), address(1), PAUSE));
        limit.clear();
        assert!(limit.is_due(at(199), address(1), PAUSE));
        Ok(())
    }

    #[test]
    fn the_oldest_answer_is_forgotten_when_too_many_are_answered() -> TestResult {
        let mut limit = RateLimit::new()?;
        let crowd = 1..=REMINDERS_MAX as u16;
        for number in crowd.clone() {
            assert!(limit.is_due(at(u64::from(number)), address(number), PAUSE));
        }
        let newcomer = address(REMINDERS_MAX as u16 + 1);
        assert!(limit.is_due(at(50), newcomer, PAUSE));
        for number in crowd.skip(1) {
            assert!(!limit.is_due(at(50), address(number), PAUSE));
        }
        assert!(!limit.is_due(at(50), newcomer, PAUSE));
        assert!(limit.is_due(at(50), address(1), PAUSE));
        Ok(())
    }
}
