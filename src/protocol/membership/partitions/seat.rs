// SPDX-License-Identifier: GPL-2.0

//! What a node of a partitionable cluster keeps of the last primary view through all its incarnations, and what nodes
//! without a view can form by it.

use core::cmp::Ordering;

use crate::platform::OutOfMemory;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::{Identity, NodeId, ViewName, ViewNumber};
use crate::protocol::membership::agreement::acceptor::Acceptor;
use crate::protocol::membership::agreement::proposal::Proposal;
use crate::protocol::membership::agreement::proposer::{Proposer, QuorumRule, Vote, Voter};
use crate::protocol::time::Instant;
use crate::protocol::view::{is_quorum, ClusterView, MemberRecord};
use crate::protocol::wire::membership::{
    Ballot, JoinRequest, Prepare, ProposalKind, ProposalPart, Seat,
};

/// What nodes without a view can form.
pub(crate) enum Formable {
    /// A primary view that may have been decided before: it is proposed again.
    Continued(QuorumRule),
    /// A new primary view.
    Primary(QuorumRule),
    /// A component that is not primary.
    Component,
}

/// The seat of a node: its vote in the last primary view, while the node is in no primary view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct KeptSeat {
    /// The latest primary view whose members are known. None, if this node is in a primary view.
    primary: ClusterView,
    /// The primary view that `acceptor` is about: `primary`, or a later one that others told of.
    electorate: ViewName,
    /// A later one that a voter has told of: what the next ballot of this node is about.
    heard_of: ViewName,
    /// What was promised and accepted about the successor of `electorate`.
    acceptor: Acceptor,
    /// Whether the latest promise was about that.
    is_vote: bool,
}

impl KeptSeat {
    /// The seat of a node that was just started: it knows of no primary view.
    pub(super) fn new(own: Identity) -> Result<Self, OutOfMemory> {
        Ok(Self {
            primary: ClusterView::empty(own.node)?,
            electorate: no_view(own.node),
            heard_of: no_view(own.node),
            acceptor: Acceptor::new(own.node)?,
            is_vote: false,
        })
    }

    /// The latest primary view whose members are known.
    pub(super) fn primary(&self) -> &ClusterView {
        &self.primary
    }

    /// The primary view whose successor this seat votes about.
    pub(super) fn electorate(&self) -> ViewName {
        self.electorate
    }

    /// The highest ballot promised, and when its coordinator was last heard.
    pub(super) fn promised(&self) -> Option<(Ballot, Instant)> {
        self.acceptor.promised()
    }

    /// Keep the vote of a node that leaves a primary view.
    pub(super) fn keep(&mut self, view: &ClusterView, acceptor: &mut Acceptor) {
        // There is room for any view.
        if self.primary.copy_from(view).is_ok() {
            core::mem::swap(&mut self.acceptor, acceptor);
            #[cfg(kcgcs_exploration)]
            if crate::seeded_faults::is_seeded(crate::seeded_faults::Fault::ForgottenSeat) {
                self.acceptor.clear();
            }
            self.electorate = view.name();
        }
    }

    /// Forget the seat: the node is in a primary view.
    pub(super) fn forget(&mut self) {
        self.primary.clear();
        self.primary.number = ViewNumber::default();
        self.electorate = no_view(self.electorate.issuer);
        self.acceptor.clear();
    }

    /// Whether the members of the electorate are known.
    fn knows_electorate(&self) -> bool {
        self.primary.number != ViewNumber::default() && self.primary.name() == self.electorate
    }

    /// Promise a ballot. If it is about a later primary view, the earlier one was decided, and what was accepted about it
    /// is void.
    pub(super) fn promise(&mut self, now: Instant, prepare: &Prepare) {
        self.acceptor.promise(now, prepare.ballot);
        self.move_to(prepare.electorate);
        self.is_vote = compare(prepare.electorate, self.electorate) == Ordering::Equal;
    }

    fn move_to(&mut self, electorate: ViewName) {
        if electorate.number > self.electorate.number {
            self.electorate = electorate;
            self.acceptor.forget_accepted();
        }
    }

    /// Vote about the latest primary view that was heard of from now on.
    pub(super) fn move_to_latest(&mut self) {
        self.move_to(self.heard_of);
    }

    /// Note that a voter has told of a primary view that this node does not know.
    pub(super) fn note_later_primary(&mut self, electorate: ViewName) {
        self.heard_of = self.heard_of.max(electorate);
    }

    /// Whether a primary view was heard of that is later than the electorate.
    pub(super) fn knows_later_primary(&self) -> bool {
        self.heard_of.number > self.electorate.number
    }

    /// Take in a part of a proposal under the promised ballot. Returns whether all of it is there and accepted.
    pub(super) fn handle_proposal_part(&mut self, ballot: Ballot, part: &ProposalPart<'_>) -> bool {
        self.is_vote && self.acceptor.take_part(ballot, part)
    }

    /// Accept a proposal that this node makes itself.
    pub(super) fn accept_own(&mut self, fill: impl FnOnce(&mut Proposal)) {
        self.acceptor.accept_own(fill);
    }

    /// What was accepted about the successor of the electorate.
    pub(super) fn accepted(&self) -> Option<&Proposal> {
        self.acceptor.accepted()
    }

    /// The same, if it was under this ballot.
    pub(super) fn accepted_under(&self, ballot: Ballot) -> Option<&Proposal> {
        self.acceptor.accepted_under(ballot)
    }

    /// What the promise of `voter` is worth, which has announced `seat`.
    pub(super) fn vote(&self, voter: Identity, seat: &Seat) -> Vote {
        let member = self.primary.member(voter.node);
        let Some(member) = member.filter(|_| self.knows_electorate()) else {
            return Vote::None;
        };
        let then = member.identity.incarnation;
        if then < seat.first_incarnation {
            Vote::Forgotten
        } else if seat.electorate == self.electorate && then <= voter.incarnation {
            Vote::Counts
        } else {
            Vote::None
        }
    }

    /// Whether so many nodes of the last primary view are here as it needs, whether they remember it or not.
    pub(super) fn has_enough(&self, is_here: impl Fn(&MemberRecord) -> bool) -> bool {
        let members = self.primary.members();
        let here = members.iter().filter(|member| is_here(member)).count();
        self.knows_electorate() && is_quorum(here, members.len(), true)
    }

    /// How many nodes of the last primary view are in this one.
    pub(super) fn count_in(&self, view: &ClusterView) -> usize {
        let members = self.primary.members().iter();
        let is_in = |member: &&MemberRecord| view.member(member.identity.node).is_some();
        members.filter(is_in).count()
    }

    /// Whether the component `view` could be primary if it began anew together with `joiner`.
    pub(super) fn could_be_primary(
        &self,
        view: &ClusterView,
        joiner: Identity,
        request: &JoinRequest,
    ) -> bool {
        let latest = self.electorate.number.max(request.seat.electorate.number);
        if !self.knows_electorate() || latest != self.electorate.number {
            return request.primary == latest && latest != ViewNumber::default();
        }
        let is_seat = |member: &MemberRecord| {
            member.identity.node == joiner.node
                && member.identity.incarnation >= request.seat.first_incarnation
        };
        self.primary.members().iter().any(is_seat)
            && self
                .has_enough(|member| is_seat(member) || view.member(member.identity.node).is_some())
    }

    /// What the promises that `proposer` has got allow.
    pub(super) fn formable(
        &self,
        proposer: &Proposer,
        configuration: &ValidConfiguration,
    ) -> Formable {
        // Exactly half is enough with this one.
        let even_split = configuration.settings().even_split == 1;
        let first = self.primary.members().first().filter(|_| even_split);
        let decider = first.map(|member| member.identity.node);
        let of_primary = QuorumRule::OfPrimary(self.primary.count(), decider);
        let rule = if proposer.is_behind() {
            None
        } else if self.knows_electorate() && proposer.is_promised_by(of_primary) {
            Some(of_primary)
        } else {
            // Nobody knows of a primary view, or so many have forgotten what they promised in it that it can never go
            // on. Where nobody knows more of it than its name, nobody here has a vote in it: it is over if all are here.
            let is_over = self.is_over(proposer, decider);
            let is_free = self.electorate.number == ViewNumber::default() || is_over;
            let needed = match (is_free, self.knows_electorate()) {
                (true, _) => Some(configuration.formation_quorum()),
                (false, true) => None,
                (false, false) => Some(configuration.configured_nodes()),
            };
            let rule = needed.map(QuorumRule::AtLeast);
            rule.filter(|rule| proposer.is_promised_by(*rule))
        };
        match rule {
            None => Formable::Component,
            Some(rule) if proposer.found().is_some() => Formable::Continued(rule),
            Some(rule) => Formable::Primary(rule),
        }
    }

    /// Whether the last primary view has lost its quorum for ever.
    fn is_over(&self, proposer: &Proposer, decider: Option<NodeId>) -> bool {
        let promised = proposer.voters().iter().filter(|voter| voter.promised);
        let forgotten = promised.filter(|voter| voter.vote == Vote::Forgotten);
        let is_decider = |voter: &Voter| Some(voter.identity.node) == decider;
        let has_decider = decider.is_some() && !forgotten.clone().any(is_decider);
        let all = self.primary.count();
        let left = all.saturating_sub(forgotten.count());
        self.knows_electorate() && !is_quorum(left, all, has_decider)
    }

    /// Make the view decided under `ballot` the electorate, if its nodes left it long ago. Returns false if it is a view
    /// to be installed. `next` is used as room.
    pub(super) fn adopt_decided(
        &mut self,
        own: Identity,
        ballot: Ballot,
        next: &mut ClusterView,
    ) -> bool {
        let Some(decided) = self.acceptor.accepted_under(ballot) else {
            return false;
        };
        let is_successor = decided.kind() == ProposalKind::Successor;
        next.clear();
        if is_successor && next.copy_from(&self.primary).is_err() {
            return false;
        }
        decided.apply_to(next);
        next.number = decided.number();
        next.issuer = decided.issuer();
        next.is_primary = true;
        // A successor is not installed by a node that has left its electorate, even if this incarnation is in it.
        if !is_successor && next.has(own) {
            return false;
        }
        if self.primary.copy_from(next).is_ok() {
            self.electorate = self.primary.name();
            self.acceptor.forget_accepted();
        }
        true
    }
}

/// The name of no view.
pub(super) fn no_view(issuer: NodeId) -> ViewName {
    ViewName {
        number: ViewNumber::default(),
        issuer,
    }
}

/// How late one primary view is compared with another one. All names of no view are equal.
pub(super) fn compare(one: ViewName, other: ViewName) -> Ordering {
    if one.number == ViewNumber::default() && other.number == ViewNumber::default() {
        return Ordering::Equal;
    }
    one.cmp(&other)
}
