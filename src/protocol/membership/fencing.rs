// SPDX-License-Identifier: GPL-2.0

//! The fence gate: before a view is proposed that leaves out a failed node, a handler on the proposer's
//! machine may have to confirm that the node can do no harm any more (its power is off, its disk is locked).
//!
//! ```text
//!           a proposal leaves it out            the handler has confirmed it
//!  (free) --------------------------> Wanted ------------------------------------> Open
//!                                      ^  |  it failed                              ^
//!                                      |  v                                         |
//!                                     Failed, asked again after a pause             |
//!                                         |                    the timeout is over  |
//!                                         +-----------------------------------------+
//! ```
//!
//! Only failed nodes are fenced: who leaves or was evicted has said, or will be told, that it is out, and a
//! node that has begun a later incarnation has lost what it could have done harm with. Any member may be the
//! proposer, so a handler belongs on each. A proposal that another proposer has made was fenced there.
//!
//! While the proposer waits it tells the others, who would take over otherwise, and count the quorum as lost.

use super::Membership;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{Ballot, Change};

/// A handler that has failed is asked again after this pause.
const RETRY_PAUSE: Duration = Duration::from_milliseconds(1000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
enum Progress {
    Wanted,
    Failed { ask_again_at: Instant },
    Open,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Fenced {
    subject: Identity,
    give_up_at: Instant,
    progress: Progress,
}

/// Whom a handler was asked to fence in this view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Fencing {
    /// How long a handler may take, if there is one.
    timeout: Option<Duration>,
    fenced: BoundedVec<Fenced>,
    /// Whom another proposer waits for, as far as that was told here.
    awaited: Option<Identity>,
}

impl Fencing {
    /// No handler.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            timeout: None,
            fenced: BoundedVec::with_capacity(NODES_MAX)?,
            awaited: None,
        })
    }

    /// A view was installed, or lost.
    pub(super) fn clear(&mut self) {
        self.fenced.clear();
        self.awaited = None;
    }

    /// Whether `subject` may be left out now; asks the handler if not.
    fn is_open(&mut self, now: Instant, subject: Identity, outbox: &mut Outbox) -> bool {
        let Some(timeout) = self.timeout else {
            return true;
        };
        let mut known = self.fenced.as_mut_slice().iter_mut();
        let Some(fenced) = known.find(|fenced| fenced.subject == subject) else {
            let is_kept = self.fenced.push(Fenced {
                subject,
                give_up_at: now.after(timeout),
                progress: Progress::Wanted,
            });
            // There is room for all members; without a place nobody could ever answer.
            if is_kept.is_ok() {
                outbox.event(Event::FenceWanted { subject });
            }
            return is_kept.is_err();
        };
        if fenced.progress != Progress::Open && now >= fenced.give_up_at {
            fenced.progress = Progress::Open;
            outbox.event(Event::FenceTimedOut { subject });
        }
        match fenced.progress {
            Progress::Open => true,
            Progress::Wanted => false,
            Progress::Failed { ask_again_at } => {
                if now >= ask_again_at {
                    fenced.progress = Progress::Wanted;
                    outbox.event(Event::FenceWanted { subject });
                }
                false
            }
        }
    }

    /// Forgets who is not to be left out any more, since it was heard again: should it fail once more, the
    /// handler is asked anew, and has all of its time.
    fn keep(&mut self, is_left_out: impl Fn(Identity) -> bool) {
        self.fenced.retain(|fenced| is_left_out(fenced.subject));
    }

    /// The handler has done its work, or failed.
    fn answer(&mut self, now: Instant, subject: Identity, is_fenced: bool) {
        let mut known = self.fenced.as_mut_slice().iter_mut();
        if let Some(fenced) = known.find(|fenced| fenced.subject == subject) {
            if fenced.progress != Progress::Open {
                fenced.progress = match is_fenced {
                    true => Progress::Open,
                    false => Progress::Failed {
                        ask_again_at: now.after(RETRY_PAUSE),
                    },
                };
            }
        }
    }

    fn is_wanted(&self, subject: Identity) -> bool {
        let mut known = self.fenced.iter();
        known.any(|fenced| fenced.subject == subject && fenced.progress == Progress::Wanted)
    }

    /// When the gate is to be looked at again although nobody has answered.
    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self
            .fenced
            .iter()
            .filter_map(|fenced| match fenced.progress {
                Progress::Open => None,
                Progress::Wanted => Some(fenced.give_up_at),
                Progress::Failed { ask_again_at } => Some(ask_again_at.min(fenced.give_up_at)),
            });
        waiting.min()
    }
}

impl Membership {
    /// A handler was registered, which may take so long; `None`: there is none any more.
    pub(in crate::protocol) fn set_fence_timeout(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        outbox: &mut Outbox,
    ) {
        self.fencing.timeout = timeout;
        // Another handler knows nothing of what this one was asked.
        self.fencing.fenced.clear();
        self.advance(now, outbox);
    }

    /// Whether a ballot of this node still waits for the handler to fence `subject`: it may have been heard
    /// again meanwhile, or others may have taken over.
    pub(in crate::protocol) fn wants_fence(&self, subject: Identity) -> bool {
        self.proposer.is_held() && self.fencing.is_wanted(subject)
    }

    /// The handler has fenced `subject`, or could not.
    pub(in crate::protocol) fn take_fence_answer(
        &mut self,
        now: Instant,
        subject: Identity,
        is_fenced: bool,
        outbox: &mut Outbox,
    ) {
        self.fencing.answer(now, subject, is_fenced);
        self.advance(now, outbox);
    }

    /// Whether the proposal that this node has just made may be sent. If not, it is taken back, and the
    /// ballot is held: it is made anew when the handler has answered.
    pub(super) fn may_propose(&mut self, now: Instant, outbox: &mut Outbox) -> bool {
        let changes = self
            .acceptor
            .accepted()
            .map_or(&[][..], |own| own.changes());
        let all_may_have_answered = self.proposer.short_until();
        let mut closed = None;
        for subject in failed(changes) {
            // Nobody is fenced before it has had the time to answer this ballot.
            let may_ask = now >= all_may_have_answered || self.fencing.timeout.is_none();
            if !may_ask || !self.fencing.is_open(now, subject, outbox) {
                closed = closed.or(Some(subject));
            }
        }
        self.fencing
            .keep(|subject| failed(changes).any(|failed| failed == subject));
        let Some(subject) = closed else {
            self.proposer.release();
            return true;
        };
        self.acceptor.withdraw_own();
        let until = self.fencing.next_deadline().into_iter();
        let until = until.chain(Some(all_may_have_answered).filter(|at| *at > now));
        self.proposer.hold(subject, until.min().unwrap_or(now));
        self.troubled_since = None;
        self.regain_quorum(outbox);
        false
    }

    /// The proposer whose ballot this node has promised waits for a handler.
    pub(super) fn take_hold(
        &mut self,
        now: Instant,
        ballot: Ballot,
        by: Identity,
        subject: Identity,
        outbox: &mut Outbox,
    ) {
        if !self.acceptor.hear(now, ballot) {
            return;
        }
        self.troubled_since = None;
        self.regain_quorum(outbox);
        if self.fencing.awaited != Some(subject) {
            self.fencing.awaited = Some(subject);
            outbox.event(Event::FenceAwaited { subject, by });
        }
    }
}

/// Who is left out since it failed, but for those that have begun a later incarnation.
fn failed(changes: &[Change]) -> impl Iterator<Item = Identity> + '_ {
    let comes_back = |node| {
        let mut others = changes.iter();
        others.any(|other| matches!(other, Change::Add(member) if member.identity.node == node))
    };
    changes.iter().filter_map(move |change| match *change {
        Change::Remove {
            subject,
            reason: ChangeReason::Failed,
        } => (!comes_back(subject.node)).then_some(subject),
        _ => None,
    })
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_fencing))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, identity, outbox, span, TestResult, Unexpected};

    const DEAD: Identity = identity(3);

    /// Whether the gate is open for the dead node, and whether the handler was asked.
    fn look(fencing: &mut Fencing, now_ms: u64) -> Result<(bool, bool), Unexpected> {
        let mut outbox = outbox()?;
        let is_open = fencing.is_open(at(now_ms), DEAD, &mut outbox);
        let mut has_asked = false;
        while let Some(event) = outbox.poll_event() {
            has_asked |= matches!(event, Event::FenceWanted { subject } if subject == DEAD);
        }
        Ok((is_open, has_asked))
    }

    fn guarded() -> Result<Fencing, Unexpected> {
        let mut fencing = Fencing::new()?;
        fencing.timeout = Some(span(10_000));
        Ok(fencing)
    }

    #[test]
    fn the_handler_is_asked_once_and_its_answer_opens_the_gate() -> TestResult {
        let mut fencing = guarded()?;
        assert_eq!(look(&mut fencing, 0)?, (false, true));
        assert_eq!(look(&mut fencing, 9_999)?, (false, false));
        fencing.answer(at(9_999), DEAD, true);
        assert_eq!(look(&mut fencing, 9_999)?, (true, false));
        // A late word changes nothing any more.
        fencing.answer(at(9_999), DEAD, false);
        assert_eq!(look(&mut fencing, 9_999)?, (true, false));
        Ok(())
    }

    #[test]
    fn a_handler_that_failed_is_asked_again_and_not_for_ever() -> TestResult {
        let mut fencing = guarded()?;
        assert_eq!(look(&mut fencing, 0)?, (false, true));
        fencing.answer(at(100), DEAD, false);
        assert_eq!(fencing.next_deadline(), Some(at(1_100)));
        assert_eq!(look(&mut fencing, 1_099)?, (false, false));
        assert_eq!(look(&mut fencing, 1_100)?, (false, true));
        assert_eq!(fencing.next_deadline(), Some(at(10_000)));
        assert_eq!(look(&mut fencing, 10_000)?, (true, false));
        Ok(())
    }

    #[test]
    fn who_was_heard_again_and_fails_once_more_has_all_of_the_time() -> TestResult {
        let mut fencing = guarded()?;
        assert_eq!(look(&mut fencing, 0)?, (false, true));
        fencing.keep(|subject| subject == DEAD);
        assert_eq!(look(&mut fencing, 1)?, (false, false));
        fencing.keep(|_| false);
        assert_eq!(fencing.next_deadline(), None);
        assert_eq!(look(&mut fencing, 9_000)?, (false, true));
        assert_eq!(look(&mut fencing, 18_999)?, (false, false));
        assert_eq!(look(&mut fencing, 19_000)?, (true, false));
        Ok(())
    }

    #[test]
    fn without_a_handler_the_gate_is_open() -> TestResult {
        let mut fencing = Fencing::new()?;
        assert_eq!(look(&mut fencing, 0)?, (true, false));
        Ok(())
    }
}
