// SPDX-License-Identifier: GPL-2.0

//! Who was lately told that there is a later view. A node that has missed a view may have sent a lot
//! before it learns so, and its datagrams may come all at once: they get one answer.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::PeerAddress;
use crate::protocol::limits::REMINDERS_MAX;
use crate::protocol::time::{Duration, Instant};

/// The latest reminders, one for each address, in the order of their times.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Reminders(BoundedVec<(PeerAddress, Instant)>);

impl Reminders {
    /// Nobody was told anything.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(REMINDERS_MAX)?))
    }

    /// The view has changed: whoever was told must be told again.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether `to` was not told within `pause`; remembers that it is told now. If too many are told
    /// at once, the one that was told first may be told again.
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
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_reminders))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{address, at, span, TestResult};

    const PAUSE: Duration = span(100);

    #[test]
    fn each_is_told_once_in_a_pause() -> TestResult {
        let mut reminders = Reminders::new()?;
        assert!(reminders.is_due(at(0), address(1), PAUSE));
        assert!(reminders.is_due(at(10), address(2), PAUSE));
        assert!(!reminders.is_due(at(99), address(1), PAUSE));
        assert!(reminders.is_due(at(100), address(1), PAUSE));
        assert!(!reminders.is_due(at(109), address(2), PAUSE));
        assert!(!reminders.is_due(at(199), address(1), PAUSE));
        reminders.clear();
        assert!(reminders.is_due(at(199), address(1), PAUSE));
        Ok(())
    }

    #[test]
    fn more_than_fit_push_out_the_oldest() -> TestResult {
        let mut reminders = Reminders::new()?;
        let crowd = 1..=REMINDERS_MAX as u16;
        for number in crowd.clone() {
            assert!(reminders.is_due(at(u64::from(number)), address(number), PAUSE));
        }
        let newcomer = address(REMINDERS_MAX as u16 + 1);
        assert!(reminders.is_due(at(50), newcomer, PAUSE));
        for number in crowd.skip(1) {
            assert!(!reminders.is_due(at(50), address(number), PAUSE));
        }
        assert!(!reminders.is_due(at(50), newcomer, PAUSE));
        assert!(reminders.is_due(at(50), address(1), PAUSE));
        Ok(())
    }
}
