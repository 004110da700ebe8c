// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster: a component without a quorum goes on with views of its own, which are not primary, and merges
//! with the others later (the partitionable membership of extended virtual synchrony, Moser et al. 1994).
//!
//! ```text
//!            no quorum for blocked_timeout_ms                      formed by all that promised
//!  Primary -----------------------------------> (no view, votes) -----------------------------> Component
//!     ^                                            |       ^                                      |
//!     |  formed with a quorum of the last primary  |       |  hears of a component that ranks     |
//!     +---- view, or admitted by a primary view ---+       +- higher, or may be primary again ----+
//! ```
//!
//! A node that goes from one component to another begins a new incarnation, as a node does that comes back from a
//! minority to a primary view: its consumers get the empty view, and then that of the new component. The node does not
//! forget its vote. The last primary view P decides its successor by one instance of Paxos (see [`super::agreement`]), and
//! a node that leaves P without knowing a successor keeps what it has promised and accepted in that instance, its *seat*
//! ([`seat`]), until it is in a primary view again. Ballots among nodes without a view are ballots of that instance too.
//! With promises of a quorum of P's seats, a primary view is formed; one that may have been decided before is decided
//! first. So there is one chain of primary views, whatever components there were in between. A node that crashes loses
//! its seat: its *first incarnation*, the first one that it remembers, shows that it does not know what an earlier one
//! has promised.
//!
//! A component is a view like any other and decides its successors by a quorum of its own. It is formed by all nodes that
//! are in it, each of which must have accepted it, and binds no seat. Some of its members now and then ask at the
//! addresses of nodes that are not in it. When two components meet, the one that ranks lower dissolves, and its nodes
//! join the other.

mod seat;

use core::cmp::Ordering;

pub(super) use self::seat::Formable;
use self::seat::{compare, no_view, KeptSeat};
use super::agreement::acceptor::Acceptor;
use super::agreement::proposal::Proposal;
use super::agreement::proposer::{Proposer, Vote};
use super::local::LocalNode;
use crate::platform::{OutOfMemory, Owned};
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewName, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::{
    Ballot, JoinRequest, Prepare, ProposalKind, ProposalPart, Seat, ViewPart,
};
use crate::protocol::wire::{Header, Kind};

/// Members of a component ask elsewhere once in so many rounds of looking for a cluster.
const ASKING_ROUNDS: u64 = 4;
/// They ask so many of the nodes that are not in the component, by turns.
const ASKED_MAX: usize = 64;

/// What happens when a member of a component is due to ask elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// It was not due, or the questions were sent.
    Done,
    /// The component dissolves: it could be primary if it began anew.
    BeginAnew,
}

/// What a node of a partitionable cluster knows of other components. In other clusters it knows and does nothing.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Partitions {
    seat: Option<Owned<KeptSeat>>,
    /// This component has just become one that could be primary if it began anew.
    begins_anew: bool,
    /// When this member of a component asks elsewhere again, and from which peer on.
    ask_at: Instant,
    ask_from: usize,
}

impl Partitions {
    /// A node that was just started.
    #[inline(never)]
    pub(super) fn new(local: &LocalNode, now: Instant) -> Result<Self, OutOfMemory> {
        let is_partitionable = local.is_partitionable();
        Ok(Self {
            seat: match is_partitionable {
                true => Some(Owned::try_new(KeptSeat::new(local.own())?)?),
                false => None,
            },
            begins_anew: false,
            ask_at: if is_partitionable { now } else { Instant::ZERO },
            ask_from: 0,
        })
    }

    /// The seat by which this node votes while it has no view.
    fn voting_seat(&self, local: &LocalNode) -> Option<&KeptSeat> {
        self.seat.as_deref().filter(|_| local.is_joining())
    }

    fn voting_seat_mut(&mut self, local: &LocalNode) -> Option<&mut KeptSeat> {
        self.seat.as_deref_mut().filter(|_| local.is_joining())
    }

    /// The seat as other nodes are told of it.
    pub(super) fn seat(&self, local: &LocalNode) -> Seat {
        let electorate = self.seat.as_deref().map(|seat| seat.electorate());
        Seat {
            first_incarnation: local.first_incarnation(),
            electorate: electorate.unwrap_or(no_view(local.own().node)),
        }
    }

    /// The number of the last primary view whose members this node knows, while it is in none.
    pub(super) fn last_primary(&self) -> ViewNumber {
        let number = self.seat.as_deref().map(|seat| seat.primary().number);
        number.unwrap_or_default()
    }

    // ---- leaving and entering views ---------------------------------------------------------------

    /// Keep the vote of a node that is about to leave its view, if that is a primary one.
    pub(super) fn keep_seat(&mut self, local: &LocalNode, acceptor: &mut Acceptor) {
        let is_primary = local.view().is_some_and(|view| view.is_primary);
        if let Some(seat) = self.seat.as_deref_mut().filter(|_| is_primary) {
            seat.keep(local.view_or_empty(), acceptor);
        }
    }

    /// The ballot that the seat has promised: promises of a node without a view go on from there.
    pub(super) fn promised(&self) -> Option<Ballot> {
        let promised = self.seat.as_deref().and_then(KeptSeat::promised);
        promised.map(|(ballot, _)| ballot)
    }

    /// A view was installed, after `before`. Forget the seat if the view is primary. If not, find out whether the component
    /// should begin anew.
    pub(super) fn install(&mut self, now: Instant, local: &LocalNode, before: &ClusterView) {
        let Some(seat) = self.seat.as_deref_mut() else {
            return;
        };
        let view = local.view_or_empty();
        if view.is_primary {
            seat.forget();
        }
        // Several seats may have come at once, or one that has forgotten. So many may have forgotten by now that the last
        // primary view is over, and a majority, or all, begin anew.
        let is_in = |member: &MemberRecord| view.member(member.identity.node).is_some();
        let has_more_seats = seat.has_enough(is_in) && seat.count_in(view) > seat.count_in(before);
        let configuration = local.configuration();
        let thresholds = [
            configuration.formation_quorum(),
            configuration.configured_nodes(),
        ];
        let has_reached = |count| before.count() < count && view.count() >= count;
        self.begins_anew = !view.is_primary
            && before.number != ViewNumber::default()
            && (has_more_seats || thresholds.into_iter().any(has_reached));
        // One member is enough to make this component begin anew.
        let is_issuer = view.issuer == local.own().node;
        self.ask_at = match is_issuer {
            true => now,
            false => now.after(local.takeover()),
        };
    }

    /// Whether this node is in a primary view and the other one is not primary: the other one has no say.
    pub(super) fn outranks(&self, local: &LocalNode, is_primary: bool) -> bool {
        self.seat.is_some() && !is_primary && local.view().is_some_and(|view| view.is_primary)
    }

    /// Whether this incarnation must not enter `next`, although it was admitted there. It has come to a view of another
    /// lineage meanwhile, and a node that goes from one component to another begins a new incarnation. Or it has no view
    /// and may have voted about the successor of that very view or of a later one: as a member it would no longer know.
    pub(super) fn is_foreign(&self, local: &LocalNode, next: &ClusterView) -> bool {
        let Some(seat) = self.seat.as_deref() else {
            return false;
        };
        match local.view() {
            Some(view) => view.origin != next.origin,
            None => next.is_primary && next.number <= seat.electorate().number,
        }
    }

    /// Whether the sender is in another component, whatever its place in this one.
    pub(super) fn is_elsewhere(local: &LocalNode, header: &Header) -> bool {
        header.view != ViewNumber::default() && header.lineage != local.mark().lineage
    }

    /// Whether this node leaves its view for another one of the same number, which it is in as well: the view that ranks
    /// lower is left.
    pub(super) fn yields_to(&self, local: &LocalNode, part: &ViewPart<'_>) -> bool {
        let view = local.view_or_empty();
        self.seat.is_some() && (part.is_primary, part.issuer) > (view.is_primary, view.issuer)
    }

    // ---- deciding without a view ------------------------------------------------------------------

    /// Note that this node has promised a ballot, perhaps its own. Returns whether it votes by its seat: another view that
    /// it comes to then has a higher number than `prepare` says.
    pub(super) fn note_promised(
        &mut self,
        now: Instant,
        local: &LocalNode,
        prepare: &Prepare,
    ) -> bool {
        let Some(seat) = self.voting_seat_mut(local) else {
            return false;
        };
        seat.promise(now, prepare);
        true
    }

    /// Whether a request for a promise is about the view that this node has, not about one of the same number.
    pub(super) fn is_electorate(&self, local: &LocalNode, prepare: &Prepare) -> bool {
        let view = local.view().filter(|_| self.seat.is_some());
        view.is_none_or(|view| view.name() == prepare.electorate)
    }

    /// What the promise of a voter is worth, and how late the primary view is that it is about, compared with the one
    /// that this node knows.
    pub(super) fn judge(
        &self,
        local: &LocalNode,
        voter: Identity,
        seat: &Seat,
    ) -> (Vote, Ordering) {
        match self.voting_seat(local) {
            Some(own) => (
                own.vote(voter, seat),
                compare(seat.electorate, own.electorate()),
            ),
            None => (Vote::None, Ordering::Equal),
        }
    }

    /// Take in a part of a proposal under a promised ballot. Returns whether all of it is there and accepted, or `None` if
    /// the proposal does not concern the seat.
    pub(super) fn handle_proposal_part(
        &mut self,
        local: &LocalNode,
        ballot: Ballot,
        part: &ProposalPart<'_>,
    ) -> Option<bool> {
        let seat = self
            .voting_seat_mut(local)
            .filter(|_| part.kind != ProposalKind::Component)?;
        Some(seat.handle_proposal_part(ballot, part))
    }

    /// What this node has accepted in the instance that it votes in now: that of its seat, or that of its view.
    pub(super) fn accepted<'a>(
        &'a self,
        local: &LocalNode,
        acceptor: &'a Acceptor,
    ) -> Option<&'a Proposal> {
        match self.voting_seat(local) {
            Some(seat) => seat.accepted(),
            None => acceptor.accepted(),
        }
    }

    /// What this node has accepted under `ballot`: by its seat, or else by `acceptor`. While the node has a view its seat is
    /// about another one, whose ballots have the same names.
    pub(super) fn accepted_under<'a>(
        &'a self,
        local: &LocalNode,
        acceptor: &'a Acceptor,
        ballot: Ballot,
    ) -> Option<&'a Proposal> {
        self.voting_seat(local)
            .and_then(|seat| seat.accepted_under(ballot))
            .or(acceptor.accepted_under(ballot))
    }

    /// Accept a proposal that this node makes itself.
    pub(super) fn accept_own(&mut self, local: &LocalNode, fill: impl FnOnce(&mut Proposal)) {
        if let Some(seat) = self.voting_seat_mut(local) {
            seat.accept_own(fill);
        }
    }

    /// Note that a voter has told of a primary view that this node does not know, in a ballot about another one. No node
    /// here knows its members, or else that node would lead.
    pub(super) fn note_later_primary(&mut self, local: &LocalNode, electorate: ViewName) {
        if let Some(seat) = self.voting_seat_mut(local) {
            seat.note_later_primary(electorate);
        }
    }

    /// Whether the next ballot can achieve more, since it is about a later primary view than the present one.
    pub(super) fn knows_later_primary(&self) -> bool {
        let seat = self.seat.as_deref();
        seat.is_some_and(KeptSeat::knows_later_primary)
    }

    /// Choose what a ballot among nodes without a view is about: the latest primary view that was heard of.
    pub(super) fn choose_electorate(&mut self, local: &LocalNode) {
        if let Some(seat) = self.voting_seat_mut(local) {
            seat.move_to_latest();
        }
    }

    /// What the promises that this node has got allow it to propose, if it votes by its seat.
    pub(super) fn formable(&self, local: &LocalNode, proposer: &Proposer) -> Option<Formable> {
        let seat = self.voting_seat(local)?;
        Some(seat.formable(proposer, local.configuration()))
    }

    /// If what this node has just decided under `ballot` is a view that its nodes left long ago, the seats are about its
    /// successor from now on. Returns false if it is a view to be installed. `next` is used as room.
    pub(super) fn adopt_decided(
        &mut self,
        local: &LocalNode,
        ballot: Ballot,
        next: &mut ClusterView,
    ) -> bool {
        let seat = self.voting_seat_mut(local);
        seat.is_some_and(|seat| seat.adopt_decided(local.own(), ballot, next))
    }

    // ---- components that meet ---------------------------------------------------------------------

    /// When this member of a component asks elsewhere.
    pub(super) fn next_deadline(&self, local: &LocalNode) -> Option<Instant> {
        let is_asking = local
            .view()
            .is_some_and(|view| !view.is_primary && local.is_coordinator(local.own().node));
        (self.seat.is_some() && (is_asking || self.begins_anew)).then_some(self.ask_at)
    }

    /// Ask the nodes that are not in this component whether they are in another one, if that is due.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        local: &LocalNode,
        outbox: &mut Outbox,
    ) -> Asking {
        if self.next_deadline(local).is_none_or(|at| now < at) {
            return Asking::Done;
        }
        if self.begins_anew {
            return Asking::BeginAnew;
        }
        let configuration = local.configuration();
        let request = JoinRequest {
            settings: configuration.shared(),
            has_heard: false,
            last_view: local.view_or_empty().number,
            primary: self.last_primary(),
            seat: self.seat(local),
        };
        let is_in = |address: &PeerAddress| {
            let mut members = local.view_or_empty().members().iter();
            members.any(|member| member.address == *address)
        };
        let peers = configuration.peers();
        let turn = peers.iter().cycle().skip(self.ask_from);
        let asked = turn.take(peers.len().min(ASKED_MAX));
        outbox.send(asked.filter(|peer| !is_in(peer)), Kind::Join, |writer| {
            writer.write(&request)
        });
        let next = self.ask_from.saturating_add(ASKED_MAX);
        self.ask_from = next.checked_rem(peers.len()).unwrap_or(0);
        self.ask_at = now.after(configuration.formation_round().times(ASKING_ROUNDS));
        Asking::Done
    }

    /// Whether this component dissolves, since a member of another one has answered that its view is `is_primary` and was
    /// issued by `issuer`. `None`: the answer was not expected.
    pub(super) fn yields_to_component(
        &self,
        local: &LocalNode,
        header: &Header,
        is_primary: bool,
        issuer: NodeId,
    ) -> Option<bool> {
        let view = local.view().filter(|view| !view.is_primary);
        let view = view.filter(|_| self.seat.is_some())?;
        let number = header.view;
        if number == ViewNumber::default() || view.has(header.sender) {
            return None;
        }
        Some((is_primary, ViewName { number, issuer }) > (false, view.name()))
    }

    /// Whether this component could be primary if it began anew together with `joiner`: then it has as many nodes of the
    /// last primary view as that needs. (Whether these remember shows only then. It is tried once for each node with a
    /// seat that comes.)
    pub(super) fn could_be_primary(
        &self,
        local: &LocalNode,
        joiner: Identity,
        request: &JoinRequest,
    ) -> bool {
        let view = local.view_or_empty();
        let seat = self.seat.as_deref().filter(|_| !view.is_primary);
        seat.is_some_and(|seat| seat.could_be_primary(view, joiner, request))
    }
}
