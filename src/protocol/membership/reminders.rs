// SPDX-License-Identifier: GPL-2.0

//! Who was lately told that there is a later view. A node that has missed a view may have sent a lot
//! before it learns so, and its datagrams may come all at once: they get one answer.

use crate::protocol::identity::PeerAddress;
use crate::protocol::limits::REMINDERS_MAX;
use crate::protocol::time::{Duration, Instant};

/// The latest reminders, one for each address.
pub(super) struct Reminders([Option<(PeerAddress, Instant)>; REMINDERS_MAX]);

impl Reminders {
    /// Nobody was told anything.
    pub(super) const fn new() -> Self {
        Self([None; REMINDERS_MAX])
    }

    /// The view has changed: whoever was told must be told again.
    pub(super) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Whether `to` was not told within `pause`; remembers that it is told now. If too many are told
    /// at once, the one that was told first may be told again.
    pub(super) fn is_due(&mut self, now: Instant, to: PeerAddress, pause: Duration) -> bool {
        let Self(entries) = self;
        let known = entries
            .iter()
            .position(|entry| entry.is_some_and(|(address, _)| address == to));
        let oldest = || {
            let times = entries.iter().map(|entry| entry.map(|(_, at)| at));
            times
                .enumerate()
                .min_by_key(|(_, at)| *at)
                .map(|(place, _)| place)
        };
        let Some(entry) = known
            .or_else(oldest)
            .and_then(|place| entries.get_mut(place))
        else {
            return true;
        };
        if known.is_some() && entry.is_some_and(|(_, at)| now < at.after(pause)) {
            return false;
        }
        *entry = Some((to, now));
        true
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_reminders))]
mod tests {
    use super::*;
    use crate::protocol::test_support::address;

    const PAUSE: Duration = Duration::from_milliseconds(100);

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanoseconds(milliseconds * 1_000_000)
    }

    #[test]
    fn each_is_told_once_in_a_pause() {
        let mut reminders = Reminders::new();
        assert!(reminders.is_due(at(0), address(1), PAUSE));
        assert!(reminders.is_due(at(10), address(2), PAUSE));
        assert!(!reminders.is_due(at(99), address(1), PAUSE));
        assert!(reminders.is_due(at(100), address(1), PAUSE));
        assert!(!reminders.is_due(at(109), address(2), PAUSE));
        assert!(!reminders.is_due(at(199), address(1), PAUSE));
        reminders.clear();
        assert!(reminders.is_due(at(199), address(1), PAUSE));
    }

    #[test]
    fn more_than_fit_push_out_the_oldest() {
        let mut reminders = Reminders::new();
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
    }
}
