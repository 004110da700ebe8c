// SPDX-License-Identifier: GPL-2.0

//! Probing a member that others accuse (the indirect probe of SWIM, Das et al. 2002).
//!
//! ```text
//!             answer                        too long without another one
//!  Probing --------------> Contradicted ---------------------------------> Probing
//!    |                       ^
//!    | no answer to many     | answer
//!    +--> Unanswered --------+
//! ```
//!
//! A node that receives an accusation probes the subject itself. An answer shows that the link to the accuser is at
//! fault: the node tells the accuser, and the subject stays. If the subject does not answer, the node becomes one more
//! accuser. A contradiction holds only for a while, and the node probes again for as long as the accusation stands.

use crate::protocol::time::{Duration, Instant};

/// Probes that must be unanswered in a row before that counts as silence. At 10 % loss each way one such round in a
/// million fails by chance.
const PROBES_MAX: u32 = 8;
/// A contradiction holds for so many times the pause between two rounds.
const CONTRADICTED_PAUSES: u64 = 3;

/// What the probes have shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
enum Verdict {
    /// Nothing yet.
    Open,
    /// The subject did not answer this node.
    Unanswered,
}

/// The probes of one subject.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct IndirectProbe {
    probes: u32,
    probe_at: Instant,
    /// Until when an answer, to this node or to another one, contradicts the accusers.
    contradicted_until: Option<Instant>,
    verdict: Verdict,
}

impl IndirectProbe {
    /// The first probe is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            probes: 0,
            probe_at: now,
            contradicted_until: None,
            verdict: Verdict::Open,
        }
    }

    /// Whether somebody has heard the subject lately.
    pub(super) fn is_contradicted(&self, now: Instant) -> bool {
        self.contradicted_until.is_some_and(|until| now < until)
    }

    /// When the next probe is due.
    pub(super) const fn probe_at(&self) -> Instant {
        self.probe_at
    }

    /// When the contradiction ends that holds at `now`, if one does.
    pub(super) fn contradicted_until(&self, now: Instant) -> Option<Instant> {
        self.contradicted_until.filter(|until| *until > now)
    }

    /// Count a probe that is sent now, at [`Self::probe_at`]. `interval` lies between two probes of a round, `pause`
    /// between two rounds. Returns whether the silence has just become one that counts.
    pub(super) fn advance(&mut self, now: Instant, interval: Duration, pause: Duration) -> bool {
        if self.probes < PROBES_MAX {
            self.probes = self.probes.saturating_add(1);
            self.probe_at = now.after(interval);
            return false;
        }
        self.probe_at = now.after(pause);
        let is_news = self.verdict == Verdict::Open;
        self.verdict = Verdict::Unanswered;
        is_news
    }

    /// Take in an answer of the subject. Returns whether its silence counted before.
    pub(super) fn answer(&mut self, now: Instant, pause: Duration) -> bool {
        self.contradict(now, pause);
        self.probes = 0;
        self.probe_at = now.after(pause);
        let was_unanswered = self.verdict == Verdict::Unanswered;
        self.verdict = Verdict::Open;
        was_unanswered
    }

    /// Take in that another member has heard the subject.
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

    /// Probes until the silence counts. Returns when that is.
    fn probe_in_vain(probe: &mut IndirectProbe) -> Instant {
        loop {
            let now = probe.probe_at();
            if probe.advance(now, INTERVAL, PAUSE) {
                return now;
            }
        }
    }

    #[test]
    fn silence_counts_after_many_questions_and_is_news_once() {
        let mut probe = IndirectProbe::new(at(100));
        let silent_at = probe_in_vain(&mut probe);
        assert_eq!(silent_at, at(100 + 30 * u64::from(PROBES_MAX)));
        assert_eq!(probe.probe_at(), silent_at.after(PAUSE));
        assert!(!probe.advance(silent_at.after(PAUSE), INTERVAL, PAUSE));
        assert!(!probe.is_contradicted(silent_at));
    }

    #[test]
    fn an_answer_contradicts_for_a_while_and_the_subject_is_probed_again_before() {
        let mut probe = IndirectProbe::new(at(100));
        assert!(!probe.advance(at(100), INTERVAL, PAUSE));
        assert!(!probe.answer(at(101), PAUSE));
        assert!(probe.is_contradicted(at(101)));
        assert_eq!(probe.probe_at(), at(601));
        assert_eq!(probe.contradicted_until(at(101)), Some(at(1601)));
        assert!(!probe.is_contradicted(at(1601)));
        assert_eq!(probe.contradicted_until(at(1601)), None);
        // It died: a whole round of probes goes unanswered, and in the end nothing contradicts.
        assert_eq!(probe_in_vain(&mut probe), at(601 + 30 * 8));
    }

    #[test]
    fn a_late_answer_withdraws_the_silence() {
        let mut probe = IndirectProbe::new(at(100));
        let silent_at = probe_in_vain(&mut probe);
        assert!(probe.answer(silent_at, PAUSE));
        assert!(!probe.answer(silent_at, PAUSE));
        assert!(probe.is_contradicted(silent_at));
    }

    #[test]
    fn a_contradiction_by_another_member_answers_no_probe() {
        let mut probe = IndirectProbe::new(at(100));
        probe.contradict(at(100), PAUSE);
        assert!(probe.is_contradicted(at(100)));
        assert_eq!(probe.probe_at(), at(100));
    }
}
