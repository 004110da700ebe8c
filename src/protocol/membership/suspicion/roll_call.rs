// SPDX-License-Identifier: GPL-2.0

//! The roll call: a coordinator asks all members at once whether they are up, since one of them is suspected.
//!
//! ```text
//!               a member is suspected          the last question was not answered
//!  (nothing) -------------------------> Open -----------------------------------> Closed
//!      ^                                 |                                          |
//!      |                                 | a new view                               |
//!      +---------------------------------+------------------------------------------+
//!                                                     a new view, or it is long ago
//! ```
//!
//! Nodes that crash together are missed one after the other, as their heartbeats were due. Nobody would ever report a node
//! whose monitors have all crashed as well. So each coordinator that hears of a suspicion asks everybody at once. A member
//! that is asked probes all that it monitors ([`crate::protocol::failure_detector`]), and the coordinator learns which
//! members do not answer: they are *absent*. Absence alone excludes nobody, since the coordinator's own link may be at
//! fault. But absent monitors of an absent member are not waited for, and a member that is absent together with all of
//! its monitors is dead. Where no quorum answers, this node itself may hear nothing, and nobody counts as absent. A
//! coordinator that ran late asks again before it counts anyone as absent.

use crate::protocol::limits::NODES_MAX;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::is_quorum;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No roll call in this view, or the last one was long ago.
    Idle,
    /// So many questions have been asked.
    Open(u32),
    /// All questions have been asked, and there was time to answer.
    Closed,
}

/// Words with one bit for each position in a view.
const WORDS: usize = NODES_MAX.div_ceil(u64::BITS as usize);

/// The latest roll call in the present view.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct RollCall {
    state: State,
    called_at: Instant,
    /// When the next question is due, or when the time to answer the last one is over.
    ask_at: Instant,
    /// One bit for each position in the view.
    present: [u64; WORDS],
    /// How many members the view has.
    members: usize,
    questions: u32,
    interval: Duration,
    pause: Duration,
}

impl RollCall {
    /// A roll call asks `questions` times (0: never), `interval` apart. Its result holds for `pause`, the shortest time
    /// between two roll calls.
    pub(super) const fn new(questions: u32, interval: Duration, pause: Duration) -> Self {
        Self {
            state: State::Idle,
            called_at: Instant::ZERO,
            ask_at: Instant::ZERO,
            present: [0; WORDS],
            members: 0,
            questions,
            interval,
            pause,
        }
    }

    /// Forget the roll call: another view has other members.
    pub(super) fn clear(&mut self) {
        self.state = State::Idle;
    }

    /// Begin a roll call in a view of so many members, unless the last one still holds.
    pub(super) fn begin(&mut self, now: Instant, members: usize) {
        if self.state == State::Idle && self.questions > 0 {
            self.state = State::Open(0);
            self.called_at = now;
            self.ask_at = now;
            self.present = [0; WORDS];
            self.members = members;
        }
    }

    /// Do what is due. Returns whether to ask all members now that are not known to be present.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open(asked) if now >= self.ask_at => {
                // A node that ran late may not have read the answers yet.
                let is_late = asked > 0 && now >= self.ask_at.after(self.interval);
                if is_late || asked < self.questions {
                    let more = u32::from(!is_late);
                    self.state = State::Open(asked.saturating_add(more));
                    self.ask_at = now.after(self.interval);
                    return true;
                }
                self.state = State::Closed;
            }
            _ => {}
        }
        if self.state == State::Closed && now >= self.ends_at() {
            self.state = State::Idle;
        }
        false
    }

    fn ends_at(&self) -> Instant {
        self.called_at.after(self.pause).max(self.ask_at)
    }

    /// Note that the member in this position of the view has answered.
    pub(super) fn note_present(&mut self, position: usize) {
        let (word, bit) = place_of(position);
        if let Some(word) = self.present.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether a roll call is under way.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the member in this position has answered since the roll was called.
    pub(super) fn is_present(&self, position: usize) -> bool {
        let (word, bit) = place_of(position);
        self.present.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether the member in this position has answered no question although a quorum has answered.
    pub(super) fn is_absent(&self, position: usize) -> bool {
        self.state == State::Closed && !self.is_present(position) && self.is_quorum_present()
    }

    fn is_quorum_present(&self) -> bool {
        let words = self.present.iter();
        let present: u32 = words.map(|word| word.count_ones()).sum();
        is_quorum(present as usize, self.members, self.is_present(0))
    }

    /// When [`Self::advance`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Open(_) => Some(self.ask_at),
            State::Closed => Some(self.ends_at()),
        }
    }
}

/// The word that holds a position, and its bit in there.
const fn place_of(position: usize) -> (usize, u64) {
    let bits = u64::BITS as usize;
    (position / bits, 1 << (position % bits))
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_roll_call))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, span, TestResult, Unexpected};

    const QUESTIONS: u32 = 4;
    const LAST: usize = NODES_MAX - 1;

    fn roll_call() -> RollCall {
        RollCall::new(QUESTIONS, span(25), span(1000))
    }

    #[test]
    fn a_member_that_answers_no_question_is_absent_when_the_last_one_is_over() -> TestResult {
        let mut roll = roll_call();
        assert_eq!(roll.next_deadline(), None);
        roll.begin(at(100), 3);
        for asked_at in [100, 125, 150, 175] {
            assert_eq!(roll.next_deadline(), Some(at(asked_at)));
            assert!(roll.advance(at(asked_at)) && roll.is_open());
            roll.note_present(0);
            roll.note_present(2);
            assert!(!roll.is_absent(LAST));
        }
        assert!(!roll.advance(at(200)) && !roll.is_open());
        assert!(roll.is_absent(1) && roll.is_absent(LAST) && !roll.is_absent(0));
        // A member that answers later is present after all.
        roll.note_present(LAST);
        assert!(!roll.is_absent(LAST));
        Ok(())
    }

    #[test]
    fn a_coordinator_that_was_asleep_asks_as_often_as_any() -> TestResult {
        let mut roll = roll_call();
        roll.begin(at(0), 3);
        let mut now = at(5000);
        for _ in 0..QUESTIONS {
            assert!(roll.advance(now) && !roll.advance(now));
            assert!(roll.is_open());
            now = roll.next_deadline().ok_or(Unexpected)?;
        }
        assert_eq!(now, at(5100));
        assert!(!roll.advance(now) && !roll.is_open());
        Ok(())
    }

    #[test]
    fn a_question_that_the_coordinator_was_too_late_for_does_not_count() {
        let mut roll = roll_call();
        roll.begin(at(0), 3);
        for now in [0, 25, 50, 75] {
            assert!(roll.advance(at(now)));
        }
        // The time to answer was over at 100 ms.
        assert!(roll.advance(at(125)) && roll.is_open());
        assert!(!roll.advance(at(150)) && !roll.is_open());
    }

    #[test]
    fn the_roll_is_called_once_in_a_pause_or_a_view() -> TestResult {
        let mut roll = roll_call();
        roll.begin(at(0), 3);
        roll.note_present(0);
        roll.note_present(1);
        while roll.is_open() {
            let now = roll.next_deadline().ok_or(Unexpected)?;
            roll.advance(now);
        }
        assert!(roll.is_absent(3));
        roll.begin(at(500), 3);
        assert!(!roll.is_open() && roll.next_deadline() == Some(at(1000)));
        assert!(!roll.advance(at(1000)) && !roll.is_absent(3));
        roll.begin(at(1000), 3);
        assert!(roll.is_open());
        roll.clear();
        roll.begin(at(1001), 3);
        assert!(roll.is_open() && roll.advance(at(1001)));
        Ok(())
    }

    #[test]
    fn no_member_is_absent_for_a_node_that_hears_no_quorum() {
        // Which of four members answer, and whether another one is absent.
        let table: [(&[usize], bool); 4] = [
            (&[0], false),
            (&[1, 2], false),
            (&[0, 2], true),
            (&[0, 1, 2], true),
        ];
        for (present, expected) in table {
            let mut roll = roll_call();
            roll.begin(at(0), 4);
            for position in present {
                roll.note_present(*position);
            }
            for questions in 0..=u64::from(QUESTIONS) {
                roll.advance(at(25 * questions));
            }
            assert_eq!(roll.is_absent(3), expected);
        }
    }

    #[test]
    fn a_node_without_probes_calls_no_roll() {
        let mut roll = RollCall::new(0, span(25), span(1000));
        roll.begin(at(0), 3);
        assert!(!roll.is_open() && roll.next_deadline().is_none());
    }
}
