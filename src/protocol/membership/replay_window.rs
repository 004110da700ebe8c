// SPDX-License-Identifier: GPL-2.0

//! Sliding windows against replayed datagrams (RFC 4303, section 3.4.3): each datagram of a member counts once, in
//! whatever order they arrive.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::view::ClusterView;

/// Words of 64 datagrams in a window: how far a datagram may be overtaken.
const WINDOW_WORDS: usize = 16;
const WINDOW: u64 = 64 * WINDOW_WORDS as u64;

/// The counters that one sender has used.
#[derive(Clone, Copy, Debug)]
struct Window {
    sender: Identity,
    /// The highest counter so far.
    highest: u64,
    /// One bit for each counter of the window, at its remainder by the window's length.
    seen: [u64; WINDOW_WORDS],
}

impl Window {
    const fn new(sender: Identity) -> Self {
        Self {
            sender,
            highest: 0,
            seen: [0; WINDOW_WORDS],
        }
    }

    const fn word_number(counter: u64) -> usize {
        ((counter % WINDOW) / 64) as usize
    }

    fn word(&mut self, counter: u64) -> Option<&mut u64> {
        self.seen.get_mut(Self::word_number(counter))
    }

    fn has(&self, counter: u64) -> bool {
        if counter > self.highest {
            return false;
        }
        let is_seen = |word: &u64| word & (1 << (counter % 64)) != 0;
        self.highest.saturating_sub(counter) >= WINDOW
            || self
                .seen
                .get(Self::word_number(counter))
                .is_some_and(is_seen)
    }

    fn add(&mut self, counter: u64) {
        if counter > self.highest {
            let ahead = counter.saturating_sub(self.highest).min(WINDOW);
            for step in 0..ahead {
                let unseen = counter.saturating_sub(step);
                if let Some(word) = self.word(unseen) {
                    *word &= !(1 << (unseen % 64));
                }
            }
            self.highest = counter;
        } else if self.highest.saturating_sub(counter) >= WINDOW {
            return;
        }
        if let Some(word) = self.word(counter) {
            *word |= 1 << (counter % 64);
        }
    }
}

/// The windows of all members of a view, sorted by node.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(in crate::protocol) struct ReplayWindows(BoundedVec<Window>);

impl ReplayWindows {
    /// No windows. Allocates room for the largest view.
    pub(in crate::protocol) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// Forget the windows of nodes that are no members of `view`, and add those of new members.
    pub(in crate::protocol) fn install(&mut self, view: &ClusterView) {
        self.0.retain(|window| view.has(window.sender));
        for (place, member) in view.members().iter().enumerate() {
            if self.0.get(place).map(|window| window.sender) != Some(member.identity) {
                let _ = self.0.insert(place, Window::new(member.identity));
            }
        }
    }

    /// Forget all windows.
    pub(in crate::protocol) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a datagram of the member with this counter came before, or is too old to tell.
    pub(in crate::protocol) fn has(&self, sender: Identity, counter: u64) -> bool {
        self.place(sender)
            .and_then(|place| self.0.get(place))
            .is_some_and(|window| window.has(counter))
    }

    /// Remember that a datagram of the member with this counter came.
    pub(in crate::protocol) fn add(&mut self, sender: Identity, counter: u64) {
        let place = self.place(sender);
        if let Some(window) = place.and_then(|place| self.0.as_mut_slice().get_mut(place)) {
            window.add(counter);
        }
    }

    fn place(&self, sender: Identity) -> Option<usize> {
        self.0
            .binary_search_by_key(&sender, |window| window.sender)
            .ok()
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_replay_window))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity, identity_in, member, view, TestResult};

    impl Window {
        /// Whether the counter comes for the first time. Remembers it.
        fn take(&mut self, counter: u64) -> bool {
            let is_news = !self.has(counter);
            self.add(counter);
            assert!(self.has(counter));
            is_news
        }
    }

    impl ReplayWindows {
        fn take(&mut self, sender: Identity, counter: u64) -> bool {
            let is_news = !self.has(sender, counter);
            self.add(sender, counter);
            is_news
        }
    }

    fn fresh() -> Window {
        Window::new(identity(1))
    }

    #[test]
    fn each_counter_is_taken_once() {
        let mut window = fresh();
        for counter in [1, 2, 3, 10, 7, 5] {
            assert!(window.take(counter));
        }
        for counter in [1, 2, 3, 10, 7, 5] {
            assert!(!window.take(counter));
        }
        assert!(window.take(4) && window.take(6) && window.take(11));
    }

    #[test]
    fn counter_zero_is_like_any_other() {
        let mut window = fresh();
        assert!(window.take(0));
        assert!(!window.take(0));
        assert!(window.take(1));
    }

    #[test]
    fn datagrams_may_be_overtaken_by_a_window_and_no_more() {
        // The highest so far, one that comes late, whether it is taken.
        for (highest, late, expected) in [
            (WINDOW, 1, true),
            (WINDOW, 0, false),
            (WINDOW + 1, 2, true),
            (WINDOW + 1, 1, false),
            (5 * WINDOW, 4 * WINDOW + 1, true),
            (5 * WINDOW, 4 * WINDOW, false),
            (u64::MAX, u64::MAX - WINDOW + 1, true),
            (u64::MAX, u64::MAX - WINDOW, false),
            (u64::MAX, 1, false),
        ] {
            let mut window = fresh();
            assert!(window.take(highest));
            assert_eq!(window.take(late), expected);
            assert!(!window.take(late));
            assert!(!window.take(highest));
        }
    }

    #[test]
    fn a_jump_forgets_what_it_jumped_over() {
        for jump in [
            63,
            64,
            65,
            WINDOW - 1,
            WINDOW,
            WINDOW + 1,
            3 * WINDOW,
            1 << 40,
        ] {
            let mut window = fresh();
            for counter in 1..=WINDOW {
                assert!(window.take(counter));
            }
            let highest = WINDOW + jump;
            assert!(window.take(highest));
            // Everything in the window: taken once, if it was not taken before the jump.
            for counter in highest - WINDOW + 1..=highest {
                let is_news = counter > WINDOW && counter != highest;
                assert_eq!(window.take(counter), is_news);
                assert!(!window.take(counter));
            }
        }
    }

    #[test]
    fn the_last_counters_are_taken_like_others() {
        let mut window = fresh();
        for back in (0..2 * WINDOW).rev() {
            assert!(window.take(u64::MAX - back));
        }
        for back in 0..2 * WINDOW {
            assert!(!window.take(u64::MAX - back));
        }
    }

    #[test]
    fn any_order_within_the_window_gives_each_once() {
        // Counters in steps of 7 round a window of a length that 7 does not divide.
        let mut window = fresh();
        for step in 0..WINDOW {
            assert!(window.take(1 + step * 7 % WINDOW));
        }
        for counter in 1..=WINDOW {
            assert!(!window.take(counter));
        }
    }

    #[test]
    fn each_member_has_its_own_window_and_strangers_pass() -> TestResult {
        let mut windows = ReplayWindows::new()?;
        windows.install(&view([2, 5, 9])?);
        for number in [2, 5, 9] {
            assert!(windows.take(identity(number), 1));
            assert!(!windows.take(identity(number), 1));
        }
        // A node that is no member has no window.
        assert!(windows.take(identity(3), 1) && windows.take(identity(3), 1));
        Ok(())
    }

    #[test]
    fn a_new_view_keeps_the_windows_of_members_that_stay() -> TestResult {
        let mut windows = ReplayWindows::new()?;
        windows.install(&view([2, 5, 9])?);
        for number in [2, 5, 9] {
            assert!(windows.take(identity(number), 7));
        }
        let mut next = view([1, 2, 7, 9, 10])?;
        let mut again = member(5);
        again.identity = identity_in(5, 2);
        assert!(next.insert(again, false).is_ok());
        windows.install(&next);
        assert!(!windows.take(identity(2), 7) && !windows.take(identity(9), 7));
        for sender in [identity(1), identity_in(5, 2), identity(7), identity(10)] {
            assert!(windows.take(sender, 7));
            assert!(!windows.take(sender, 7));
        }
        windows.clear();
        assert!(windows.take(identity(2), 7));
        Ok(())
    }
}
