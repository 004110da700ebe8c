// SPDX-License-Identifier: GPL-2.0

//! The acceptor of Paxos: what one member has promised and accepted about the successor of its view.

use super::proposal::Proposal;
use crate::platform::OutOfMemory;
use crate::protocol::identity::{NodeId, PeerAddress};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{write_promise, Ballot, ProposalPart, Seat};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// What one member has promised and accepted in this view.
///
/// # Invariants
///
/// `accepted` is complete or empty, and its ballot is never above `promised`.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(crate) struct Acceptor {
    promised: Option<Ballot>,
    promised_at: Instant,
    /// When the first promise was given in this view.
    promised_since: Instant,
    accepted: Proposal,
    /// A proposal whose parts are still arriving.
    incoming: Proposal,
}

impl Acceptor {
    /// Nothing promised. `any` is any node.
    pub(crate) fn new(any: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            promised: None,
            promised_at: Instant::ZERO,
            promised_since: Instant::ZERO,
            accepted: Proposal::empty(any)?,
            incoming: Proposal::empty(any)?,
        })
    }

    /// Forget everything: nothing is promised in a new view.
    pub(crate) fn clear(&mut self) {
        self.promised = None;
        self.accepted.clear();
        self.incoming.clear();
    }

    /// The highest ballot promised, and when its coordinator was last heard.
    pub(crate) fn promised(&self) -> Option<(Ballot, Instant)> {
        self.promised.map(|ballot| (ballot, self.promised_at))
    }

    /// The proposal that was accepted last, if any.
    pub(crate) fn accepted(&self) -> Option<&Proposal> {
        self.accepted.is_complete().then_some(&self.accepted)
    }

    /// The proposal that was accepted under exactly this ballot.
    pub(crate) fn accepted_under(&self, ballot: Ballot) -> Option<&Proposal> {
        self.accepted()
            .filter(|proposal| proposal.ballot == Some(ballot))
    }

    /// Forget what was accepted: it is about a view whose successor is decided by now.
    pub(crate) fn forget_accepted(&mut self) {
        self.accepted.clear();
        self.incoming.clear();
    }

    /// Take over a promise that was given elsewhere, long ago.
    pub(crate) fn resume(&mut self, promised: Option<Ballot>) {
        self.promised = promised;
        self.promised_at = Instant::ZERO;
        self.promised_since = Instant::ZERO;
    }

    /// Promise the ballot, unless a higher one was promised. Returns whether it is promised.
    pub(crate) fn promise(&mut self, now: Instant, ballot: Ballot) -> bool {
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
    pub(crate) fn promised_since(&self) -> Option<Instant> {
        self.promised.map(|_| self.promised_since)
    }

    /// Send the highest promise, with what was accepted before. To the coordinator of a lower ballot it is a refusal that
    /// names the higher one.
    pub(crate) fn send_promise(
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

    /// Add a part of a proposal under a ballot that may be accepted. Returns whether all parts are there and the proposal is
    /// accepted.
    pub(crate) fn take_part(&mut self, ballot: Ballot, part: &ProposalPart<'_>) -> bool {
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

    /// Accept a proposal that this node makes itself. `fill` makes it.
    pub(crate) fn accept_own(&mut self, fill: impl FnOnce(&mut Proposal)) {
        self.accepted.clear();
        fill(&mut self.accepted);
    }

    /// Withdraw a proposal of this node that it has told nobody of.
    pub(crate) fn withdraw_own(&mut self) {
        self.accepted.clear();
    }

    /// Note that the coordinator of `ballot` was heard. Returns whether its ballot is the promised one.
    pub(crate) fn hear(&mut self, now: Instant, ballot: Ballot) -> bool {
        let is_promised = self.promised == Some(ballot);
        if is_promised {
            self.promised_at = now;
        }
        is_promised
    }

    /// Whether the proposal of exactly this ballot was accepted.
    pub(crate) fn has_accepted(&self, ballot: Ballot) -> bool {
        self.accepted_under(ballot).is_some()
    }
}
