// SPDX-License-Identifier: GPL-2.0

//! The fence gate: before a view is proposed that leaves out a failed node, a handler on the proposer's machine may have
//! to confirm that the node can do no harm any more (its power is off, its disk is locked).
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
//! Only failed nodes are fenced. A node that leaves or is evicted is told that it is out, and a node that has begun a later
//! incarnation has lost what it could have done harm with. Any member may be the proposer, so a handler belongs on each.
//! A proposal of another proposer was fenced there.
//!
//! While the proposer waits it tells the other members. Otherwise they would take over, and count the quorum as lost.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::Change;

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

/// The nodes that a handler was asked to fence in this view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct FenceGate {
    /// How long a handler may take, if there is one.
    timeout: Option<Duration>,
    fenced: BoundedVec<Fenced>,
    /// The node whose fencing another proposer awaits, as far as that was told here.
    awaited: Option<Identity>,
}

impl FenceGate {
    /// No handler.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            timeout: None,
            fenced: BoundedVec::with_capacity(NODES_MAX)?,
            awaited: None,
        })
    }

    /// A view was installed or given up: forget what the handler was asked.
    pub(super) fn clear(&mut self) {
        self.fenced.clear();
        self.awaited = None;
    }

    /// Set how long a handler may take. `None`: there is no handler. Another handler knows nothing of what this one was
    /// asked.
    pub(super) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        self.fenced.clear();
    }

    /// Whether the handler is to fence `subject`.
    pub(super) fn is_wanted(&self, subject: Identity) -> bool {
        let mut known = self.fenced.iter();
        known.any(|fenced| fenced.subject == subject && fenced.progress == Progress::Wanted)
    }

    /// Look at a proposal that leaves out failed nodes, and ask the handler about those that it was not asked about.
    /// Nobody is fenced before `all_may_have_answered`, since it may still answer the ballot. Returns a node that is not
    /// fenced yet and when to look again, or `None` if the gate is open for all.
    pub(super) fn check(
        &mut self,
        now: Instant,
        changes: &[Change],
        all_may_have_answered: Instant,
        outbox: &mut Outbox,
    ) -> Option<(Identity, Instant)> {
        let mut closed = None;
        for subject in failed(changes) {
            let may_ask = now >= all_may_have_answered || self.timeout.is_none();
            if !may_ask || !self.is_open(now, subject, outbox) {
                closed = closed.or(Some(subject));
            }
        }
        self.keep(|subject| failed(changes).any(|failed| failed == subject));
        let subject = closed?;
        let until = self.next_deadline().into_iter();
        let until = until.chain(Some(all_may_have_answered).filter(|at| *at > now));
        Some((subject, until.min().unwrap_or(now)))
    }

    /// Whether `subject` may be left out now. Asks the handler if not.
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
            // There is room for all members. Without a place nobody could ever answer.
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

    /// Forget the nodes that are not left out any more, since they were heard again. Should one fail once more, the handler
    /// is asked anew and has the whole timeout.
    fn keep(&mut self, is_left_out: impl Fn(Identity) -> bool) {
        self.fenced.retain(|fenced| is_left_out(fenced.subject));
    }

    /// Take in that the handler has fenced `subject`, or failed to.
    pub(super) fn handle_answer(&mut self, now: Instant, subject: Identity, is_fenced: bool) {
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

    /// Take in that the proposer `by` waits for its handler to fence `subject`.
    pub(super) fn handle_awaited(&mut self, subject: Identity, by: Identity, outbox: &mut Outbox) {
        if self.awaited != Some(subject) {
            self.awaited = Some(subject);
            outbox.event(Event::FenceAwaited { subject, by });
        }
    }

    /// When to look at the gate again although the handler has not answered.
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

/// The nodes that are left out because they failed, without those that have begun a later incarnation.
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
    fn look(gate: &mut FenceGate, now_ms: u64) -> Result<(bool, bool), Unexpected> {
        let mut outbox = outbox()?;
        let is_open = gate.is_open(at(now_ms), DEAD, &mut outbox);
        let mut has_asked = false;
        while let Some(event) = outbox.poll_event() {
            has_asked |= matches!(event, Event::FenceWanted { subject } if subject == DEAD);
        }
        Ok((is_open, has_asked))
    }

    fn guarded() -> Result<FenceGate, Unexpected> {
        let mut gate = FenceGate::new()?;
        gate.timeout = Some(span(10_000));
        Ok(gate)
    }

    #[test]
    fn the_handler_is_asked_once_and_its_answer_opens_the_gate() -> TestResult {
        let mut gate = guarded()?;
        assert_eq!(look(&mut gate, 0)?, (false, true));
        assert_eq!(look(&mut gate, 9_999)?, (false, false));
        gate.handle_answer(at(9_999), DEAD, true);
        assert_eq!(look(&mut gate, 9_999)?, (true, false));
        // A late word changes nothing any more.
        gate.handle_answer(at(9_999), DEAD, false);
        assert_eq!(look(&mut gate, 9_999)?, (true, false));
        Ok(())
    }

    #[test]
    fn a_handler_that_failed_is_asked_again_until_the_timeout() -> TestResult {
        let mut gate = guarded()?;
        assert_eq!(look(&mut gate, 0)?, (false, true));
        gate.handle_answer(at(100), DEAD, false);
        assert_eq!(gate.next_deadline(), Some(at(1_100)));
        assert_eq!(look(&mut gate, 1_099)?, (false, false));
        assert_eq!(look(&mut gate, 1_100)?, (false, true));
        assert_eq!(gate.next_deadline(), Some(at(10_000)));
        assert_eq!(look(&mut gate, 10_000)?, (true, false));
        Ok(())
    }

    #[test]
    fn a_node_that_was_heard_again_and_fails_once_more_has_the_whole_timeout() -> TestResult {
        let mut gate = guarded()?;
        assert_eq!(look(&mut gate, 0)?, (false, true));
        gate.keep(|subject| subject == DEAD);
        assert_eq!(look(&mut gate, 1)?, (false, false));
        gate.keep(|_| false);
        assert_eq!(gate.next_deadline(), None);
        assert_eq!(look(&mut gate, 9_000)?, (false, true));
        assert_eq!(look(&mut gate, 18_999)?, (false, false));
        assert_eq!(look(&mut gate, 19_000)?, (true, false));
        Ok(())
    }

    #[test]
    fn without_a_handler_the_gate_is_open() -> TestResult {
        let mut gate = FenceGate::new()?;
        assert_eq!(look(&mut gate, 0)?, (true, false));
        Ok(())
    }
}
