// SPDX-License-Identifier: GPL-2.0

//! What a node of a partitionable cluster keeps of the last primary view through all its incarnations, and what nodes
//! without a view can form by it.

use core::cmp::Ordering;

use crate::platform::OutOfMemory;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::{Identity, NodeId, ViewName, ViewNumber};
use crate::protocol::membership::agreement::{Acceptor, Proposer, QuorumRule, Vote, Voter};
use crate::protocol::membership::proposal::Proposal;
use crate::protocol::time::Instant;
use crate::protocol::view::{is_quorum, ClusterView, MemberRecord};
use crate::protocol::wire::membership::{Ballot, Prepare, Seat};

/// What a node of a partitionable cluster remembers while it is in no primary view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(in crate::protocol::membership) struct Memory {
    /// The latest primary view whose members are known; none if this node is in a primary view.
    pub(super) primary: ClusterView,
    /// The primary view that `seat` is about: `primary`, or a later one that others told of.
    pub(super) electorate: ViewName,
    /// A later one that a voter has told of: what the next ballot of this node is about.
    pub(super) heard_of: ViewName,
    /// What was promised and accepted about the successor of `electorate`.
    pub(super) seat: Acceptor,
    /// Whether the latest promise was about that.
    pub(super) is_vote: bool,
    /// This part has just become one that could be primary if it began anew.
    pub(super) begins_anew: bool,
    /// When this member of a part asks elsewhere again, and from which address on.
    pub(super) ask_at: Instant,
    pub(super) ask_from: usize,
}

/// How a proposal among nodes without a view comes about.
pub(super) enum Formation {
    /// What may have been decided before is proposed again.
    Continued(QuorumRule),
    /// A primary view.
    Primary(QuorumRule),
    /// A part.
    Part,
}

impl Memory {
    /// Of a node that has just been started.
    pub(in crate::protocol::membership) fn new(
        own: Identity,
        now: Instant,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            primary: ClusterView::empty(own.node)?,
            electorate: no_view(own.node),
            heard_of: no_view(own.node),
            seat: Acceptor::new(own.node)?,
            is_vote: false,
            begins_anew: false,
            ask_at: now,
            ask_from: 0,
        })
    }

    /// The node leaves a primary view, in which it has promised and accepted this much.
    pub(super) fn keep(&mut self, view: &ClusterView, acceptor: &mut Acceptor) {
        // There is room for any view.
        if self.primary.copy_from(view).is_ok() {
            core::mem::swap(&mut self.seat, acceptor);
            #[cfg(kcgcs_exploration)]
            if crate::seeded_faults::is_seeded(crate::seeded_faults::Fault::ForgottenSeat) {
                self.seat.clear();
            }
            self.electorate = view.name();
        }
    }

    /// The node is in a primary view.
    pub(super) fn forget(&mut self) {
        self.primary.clear();
        self.primary.number = ViewNumber::default();
        self.electorate = no_view(self.electorate.issuer);
        self.seat.clear();
    }

    /// Whether the members of the view are known that the seat is about.
    pub(super) fn knows_electorate(&self) -> bool {
        self.primary.number != ViewNumber::default() && self.primary.name() == self.electorate
    }

    /// A ballot was promised: one about a later primary view makes what was accepted before it void, since its
    /// own view was decided.
    pub(super) fn promise(&mut self, now: Instant, prepare: &Prepare) {
        self.seat.promise(now, prepare.ballot);
        self.move_to(prepare.electorate);
        self.is_vote = compare(prepare.electorate, self.electorate) == Ordering::Equal;
    }

    /// If there is a later primary view than the one that the seat is about, it is about that from now on.
    pub(super) fn move_to(&mut self, electorate: ViewName) {
        if electorate.number > self.electorate.number {
            self.electorate = electorate;
            self.seat.forget_accepted();
        }
    }

    /// What was accepted about the successor of the last primary view.
    pub(in crate::protocol::membership) fn accepted(&self) -> Option<&Proposal> {
        self.seat.accepted()
    }

    /// The same, if it was under this ballot.
    pub(in crate::protocol::membership) fn accepted_under(
        &self,
        ballot: Ballot,
    ) -> Option<&Proposal> {
        self.seat.accepted_under(ballot)
    }

    /// What the promise of `voter` is worth, who remembers `seat`.
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

    /// What the promises that have come allow.
    pub(super) fn formation(
        &self,
        proposer: &Proposer,
        configuration: &ValidConfiguration,
    ) -> Formation {
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
            // Nobody knows of a primary view, or so many have forgotten what they promised in it that it can
            // never go on. Where nobody knows more of it than what it was called, nobody here has a vote in it: it
            // is over if all are here.
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
            None => Formation::Part,
            Some(rule) if proposer.found().is_some() => Formation::Continued(rule),
            Some(rule) => Formation::Primary(rule),
        }
    }

    /// Whether the last primary view has lost its quorum for ever.
    pub(super) fn is_over(&self, proposer: &Proposer, decider: Option<NodeId>) -> bool {
        let promised = proposer.voters().iter().filter(|voter| voter.promised);
        let forgotten = promised.filter(|voter| voter.vote == Vote::Forgotten);
        let is_decider = |voter: &Voter| Some(voter.identity.node) == decider;
        let has_decider = decider.is_some() && !forgotten.clone().any(is_decider);
        let all = self.primary.count();
        let left = all.saturating_sub(forgotten.count());
        self.knows_electorate() && !is_quorum(left, all, has_decider)
    }
}

pub(super) fn no_view(issuer: NodeId) -> ViewName {
    ViewName {
        number: ViewNumber::default(),
        issuer,
    }
}

/// How late one primary view is compared to another one. Whoever knows none knows the same as the next.
pub(super) fn compare(one: ViewName, other: ViewName) -> Ordering {
    if one.number == ViewNumber::default() && other.number == ViewNumber::default() {
        return Ordering::Equal;
    }
    one.cmp(&other)
}
