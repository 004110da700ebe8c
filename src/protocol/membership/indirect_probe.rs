// SPDX-License-Identifier: GPL-2.0

//! Asking a node that others accuse whether it is there.
//!
//! ```text
//!             answer                        too long without another one
//!  Asking ---------------> Contradicted ---------------------------------> Asking
//!    |                       ^
//!    | no answer to many     | answer
//!    +--> Unanswered --------+
//! ```
//!
//! Whoever is told an accusation asks the subject itself (the indirect probe of SWIM, Das et al. 2002).
//! An answer says that it is the link to the accuser that does not work: the accuser is told so, and the
//! subject stays. No answer makes whoever has asked one more accuser. A contradiction holds for a while
//! only, and is looked into again for as long as the accusation stands.

use crate::protocol::time::{Duration, Instant};

/// Questions that must be unanswered in a row before that counts as silence: at 10 % loss each way one
/// round of them in a million fails by chance.
const QUESTIONS_MAX: u32 = 8;
/// A contradiction holds for so many times the pause between two of them.
const CONTRADICTED_PAUSES: u64 = 3;

/// What came of the questions so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum Verdict {
    /// Not known yet.
    Open,
    /// It did not answer this node.
    Unanswered,
}

/// The questions about one subject.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct IndirectProbe {
    questions: u32,
    ask_at: Instant,
    /// Until when an answer, to this node or to another one, contradicts the accusers.
    contradicted_until: Option<Instant>,
    verdict: Verdict,
}

impl IndirectProbe {
    /// To be asked at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            questions: 0,
            ask_at: now,
            contradicted_until: None,
            verdict: Verdict::Open,
        }
    }

    /// Whether somebody has heard the subject lately.
    pub(super) fn is_contradicted(&self, now: Instant) -> bool {
        self.contradicted_until.is_some_and(|until| now < until)
    }

    /// When the subject is to be asked.
    pub(super) const fn ask_at(&self) -> Instant {
        self.ask_at
    }

    /// When a contradiction ends, if there is one at `now`.
    pub(super) fn contradicted_until(&self, now: Instant) -> Option<Instant> {
        self.contradicted_until.filter(|until| *until > now)
    }

    /// Goes on at [`Self::ask_at`]: the subject is to be asked now. `interval` lies between two questions,
    /// `pause` between two rounds of them. Says whether the silence has just become one that counts.
    pub(super) fn advance(&mut self, now: Instant, interval: Duration, pause: Duration) -> bool {
        if self.questions < QUESTIONS_MAX {
            self.questions = self.questions.saturating_add(1);
            self.ask_at = now.after(interval);
            return false;
        }
        self.ask_at = now.after(pause);
        let is_news = self.verdict == Verdict::Open;
        self.verdict = Verdict::Unanswered;
        is_news
    }

    /// The subject has answered. Says whether its silence counted before.
    pub(super) fn answer(&mut self, now: Instant, pause: Duration) -> bool {
        self.contradict(now, pause);
        self.questions = 0;
        self.ask_at = now.after(pause);
        let was_unanswered = self.verdict == Verdict::Unanswered;
        self.verdict = Verdict::Open;
        was_unanswered
    }

    /// Somebody has heard the subject.
    pub(super) fn contradict(&mut self, now: Instant, pause: Duration) {
        self.contradicted_until = Some(now.after(pause.times(CONTRADICTED_PAUSES)));
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_indirect_probe))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, span};

    const INTERVAL: Duration = span(30);
    const PAUSE: Duration = span(500);

    /// Asks until the silence counts; when that was.
    fn ask_in_vain(indirect_probe: &mut IndirectProbe) -> Instant {
        loop {
            let now = indirect_probe.ask_at();
            if indirect_probe.advance(now, INTERVAL, PAUSE) {
                return now;
            }
        }
    }

    #[test]
    fn silence_counts_after_many_questions_and_is_news_once() {
        let mut indirect_probe = IndirectProbe::new(at(100));
        let silent_at = ask_in_vain(&mut indirect_probe);
        assert_eq!(silent_at, at(100 + 30 * u64::from(QUESTIONS_MAX)));
        assert_eq!(indirect_probe.ask_at(), silent_at.after(PAUSE));
        assert!(!indirect_probe.advance(silent_at.after(PAUSE), INTERVAL, PAUSE));
        assert!(!indirect_probe.is_contradicted(silent_at));
    }

    #[test]
    fn an_answer_contradicts_for_a_while_and_the_subject_is_asked_again_before() {
        let mut indirect_probe = IndirectProbe::new(at(100));
        assert!(!indirect_probe.advance(at(100), INTERVAL, PAUSE));
        assert!(!indirect_probe.answer(at(101), PAUSE));
        assert!(indirect_probe.is_contradicted(at(101)));
        assert_eq!(indirect_probe.ask_at(), at(601));
        assert_eq!(indirect_probe.contradicted_until(at(101)), Some(at(1601)));
        assert!(!indirect_probe.is_contradicted(at(1601)));
        assert_eq!(indirect_probe.contradicted_until(at(1601)), None);
        // It died: all questions of a round are asked again, and in the end nothing contradicts.
        assert_eq!(ask_in_vain(&mut indirect_probe), at(601 + 30 * 8));
    }

    #[test]
    fn a_late_answer_takes_the_silence_back() {
        let mut indirect_probe = IndirectProbe::new(at(100));
        let silent_at = ask_in_vain(&mut indirect_probe);
        assert!(indirect_probe.answer(silent_at, PAUSE));
        assert!(!indirect_probe.answer(silent_at, PAUSE));
        assert!(indirect_probe.is_contradicted(silent_at));
    }

    #[test]
    fn what_others_have_heard_contradicts_too_but_answers_no_question() {
        let mut indirect_probe = IndirectProbe::new(at(100));
        indirect_probe.contradict(at(100), PAUSE);
        assert!(indirect_probe.is_contradicted(at(100)));
        assert_eq!(indirect_probe.ask_at(), at(100));
    }
}
