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
//! node that has begun a later life has lost what it could have done harm with. Any member may be the
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
        let mut closed = None;
        let changes = self
            .acceptor
            .accepted()
            .map_or(&[][..], |own| own.changes());
        for change in changes {
            let Change::Remove { subject, reason } = *change else {
                continue;
            };
            let is_gone_anyway = reason != ChangeReason::Failed
                || changes.iter().any(|other| {
                    matches!(other, Change::Add(member) if member.identity.node == subject.node)
                });
            if !is_gone_anyway && !self.fencing.is_open(now, subject, outbox) {
                closed = closed.or(Some(subject));
            }
        }
        let Some(subject) = closed else {
            self.proposer.release();
            return true;
        };
        self.acceptor.withdraw_own();
        let until = self.fencing.next_deadline().unwrap_or(now);
        self.proposer.hold(subject, until);
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
