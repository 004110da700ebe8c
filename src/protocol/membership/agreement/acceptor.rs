// SPDX-License-Identifier: GPL-2.0

//! What one member has promised and accepted: its vote in the decision on the next view.

use crate::platform::OutOfMemory;
use crate::protocol::identity::{NodeId, PeerAddress};
use crate::protocol::membership::proposal::Proposal;
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{write_promise, Ballot, ProposalPart, Seat};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// One member's vote: what it has promised and accepted in this view.
///
/// # Invariants
///
/// `accepted` is complete or empty, and its ballot is never above `promised`.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(in crate::protocol::membership) struct Acceptor {
    promised: Option<Ballot>,
    promised_at: Instant,
    /// When the first promise was given in this view.
    promised_since: Instant,
    accepted: Proposal,
    /// A proposal of which parts are missing.
    incoming: Proposal,
}

impl Acceptor {
    /// Nothing promised; `any` is any node.
    pub(in crate::protocol::membership) fn new(any: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            promised: None,
            promised_at: Instant::ZERO,
            promised_since: Instant::ZERO,
            accepted: Proposal::empty(any)?,
            incoming: Proposal::empty(any)?,
        })
    }

    /// A new view: nothing promised in it yet.
    pub(in crate::protocol::membership) fn clear(&mut self) {
        self.promised = None;
        self.accepted.clear();
        self.incoming.clear();
    }

    /// The highest ballot promised, and when its coordinator was last heard.
    pub(in crate::protocol::membership) fn promised(&self) -> Option<(Ballot, Instant)> {
        self.promised.map(|ballot| (ballot, self.promised_at))
    }

    /// What was accepted last, if anything.
    pub(in crate::protocol::membership) fn accepted(&self) -> Option<&Proposal> {
        self.accepted.is_complete().then_some(&self.accepted)
    }

    /// What was accepted under exactly this ballot.
    pub(in crate::protocol::membership) fn accepted_under(
        &self,
        ballot: Ballot,
    ) -> Option<&Proposal> {
        self.accepted()
            .filter(|proposal| proposal.ballot == Some(ballot))
    }

    /// What was accepted was about something that is decided by now.
    pub(in crate::protocol::membership) fn forget_accepted(&mut self) {
        self.accepted.clear();
        self.incoming.clear();
    }

    /// Promises what was promised elsewhere, long ago.
    pub(in crate::protocol::membership) fn resume(&mut self, promised: Option<Ballot>) {
        self.promised = promised;
        self.promised_at = Instant::ZERO;
        self.promised_since = Instant::ZERO;
    }

    /// Promises, unless a higher ballot was promised.
    pub(in crate::protocol::membership) fn promise(
        &mut self,
        now: Instant,
        ballot: Ballot,
    ) -> bool {
        #[cfg(kcgcs_exploration)]
        if is_seeded(Fault::ForgottenPromise) {
            self.promised = None;
        }
        if self.promised.is_some_and(|promised| promised > ballot) {
            return false;
        }
        if self.promised.is_none() {
            self.promised_since = now;
        }
        self.promised = Some(ballot);
        self.promised_at = now;
        true
    }

    /// When the first promise was given in this view, if any was.
    pub(in crate::protocol::membership) fn promised_since(&self) -> Option<Instant> {
        self.promised.map(|_| self.promised_since)
    }

    /// Sends the promise, with what was accepted before; or, if a higher ballot was promised, a
    /// refusal that names it.
    pub(in crate::protocol::membership) fn send_promise(
        &self,
        to: PeerAddress,
        has_groups: bool,
        seat: Seat,
        accepted: Option<&Proposal>,
        outbox: &mut Outbox,
    ) {
        let Some(ballot) = self.promised else {
            return;
        };
        let parts = accepted.map_or(1, Proposal::parts);
        for part in 0..parts {
            outbox.send([&to], Kind::Promise, |writer| {
                let before = accepted.and_then(|proposal| proposal.ballot);
                write_promise(writer, ballot, has_groups, seat, before)?;
                accepted.map_or(Some(()), |proposal| proposal.write_part(writer, part))
            });
        }
    }

    /// A part of a proposal came in under a ballot that may be accepted. Whether all of it is there
    /// now, and thereby accepted.
    pub(in crate::protocol::membership) fn take_part(
        &mut self,
        ballot: Ballot,
        part: &ProposalPart<'_>,
    ) -> bool {
        if self.has_accepted(ballot) {
            return true;
        }
        self.incoming.add_part(ballot, part);
        if self.incoming.is_complete() && self.incoming.ballot == Some(ballot) {
            core::mem::swap(&mut self.accepted, &mut self.incoming);
            self.incoming.clear();
        }
        self.has_accepted(ballot)
    }

    /// Accepts a proposal that this node makes itself; `fill` makes it.
    pub(in crate::protocol::membership) fn accept_own(&mut self, fill: impl FnOnce(&mut Proposal)) {
        self.accepted.clear();
        fill(&mut self.accepted);
    }

    /// Takes back what this node has accepted of itself and has told nobody of.
    pub(in crate::protocol::membership) fn withdraw_own(&mut self) {
        self.accepted.clear();
    }

    /// The coordinator of `ballot` was heard; whether it is the one that was promised.
    pub(in crate::protocol::membership) fn hear(&mut self, now: Instant, ballot: Ballot) -> bool {
        let is_promised = self.promised == Some(ballot);
        if is_promised {
            self.promised_at = now;
        }
        is_promised
    }

    /// Whether the proposal of exactly this ballot was accepted.
    pub(in crate::protocol::membership) fn has_accepted(&self, ballot: Ballot) -> bool {
        self.accepted_under(ballot).is_some()
    }
}
