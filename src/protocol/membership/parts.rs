// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster: a part without a quorum goes on with views of its own, which are not primary,
//! and comes back to the others later.
//!
//! ```text
//!            no quorum for blocked_timeout_ms                      formed by all that it has
//!  Primary -----------------------------------> (no view, votes) ------------------------------> Part
//!     ^                                            |       ^                                      |
//!     |  formed with a quorum of the last primary  |       |  it hears of a part that ranks       |
//!     +---- view, or let in by a primary view -----+       +- higher, or could be primary again --+
//! ```
//!
//! Whoever changes from one part to another begins a new incarnation, as a node does that comes back from a minority
//! to a primary view: its consumers get the empty view, and then that of the new part. What it does not forget
//! is its vote. The last primary view P decides its successor by one instance of Paxos (see
//! [`super::agreement`]), and a node that leaves P without knowing a successor keeps what it has promised and
//! accepted in that instance, its *seat*, until it is in a primary view again. Ballots among nodes without a
//! view are ballots of that instance too: with promises of a quorum of P's seats, a primary view is formed, or
//! one that may have been decided before is decided first. So there is one chain of primary views, whatever
//! parts there have been in between. A node that crashes loses its seat: it says by its *first incarnation*, the first incarnation
//! that it remembers, that it does not know what an earlier one has promised.
//!
//! A part itself is a view like any other: it decides its successors by a quorum of its own. It is formed by all
//! who are in it, each of whom must have accepted it, and binds no seat. Some of its members ask now and then
//! at the addresses of those who are not in it; of two parts that meet, the one that ranks lower dissolves, and
//! its nodes join the other.

mod memory;

use core::cmp::Ordering;

pub(super) use self::memory::Memory;
use self::memory::{compare, no_view, Formation};
use super::agreement::{QuorumRule, Vote};
use super::{Membership, Phase};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewMark, ViewName, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::{
    Ballot, JoinAnswer, JoinRequest, NotMember, NotMemberReason, Prepare, ProposalKind,
    ProposalPart, Seat, ViewPart,
};
use crate::protocol::wire::{Header, Kind};

/// Members of a part ask elsewhere once in so many rounds of looking for a cluster.
const ASKING_ROUNDS: u64 = 4;
/// Of this many of those that are not in the part, by turns.
const ASKED_MAX: usize = 64;

impl Membership {
    /// What this node votes with, while it has no view.
    pub(super) fn memory_without_view(&mut self) -> Option<&mut Memory> {
        let is_without = self.phase == Phase::Joining;
        self.memory.as_deref_mut().filter(|_| is_without)
    }

    /// What others are told that this node remembers.
    pub(super) fn seat(&self) -> Seat {
        let electorate = self.memory.as_deref().map(|memory| memory.electorate);
        Seat {
            first_incarnation: self.joining.first_incarnation(),
            electorate: electorate.unwrap_or(no_view(self.own.node)),
        }
    }

    /// The number of the last primary view whose members this node knows, while it is in none.
    pub(super) fn last_primary(&self) -> ViewNumber {
        let primary = self.memory.as_deref().map(|memory| memory.primary.number);
        primary.unwrap_or_default()
    }

    // ---- leaving and entering views -----------------------------------------------------------

    /// Before the view is forgotten: keeps the seat in it.
    pub(super) fn keep_seat(&mut self) {
        if self.memory.is_some() && self.view().is_some() {
            // There may be a next view of this node's making, which it is not to give its number to another one.
            let accepted = self.acceptor.accepted().map(|proposal| proposal.number());
            let next = self.view.number.next();
            self.joining
                .note_view(accepted.map_or(next, |number| number.max(next)));
        }
        let is_primary = self.view().is_some_and(|view| view.is_primary);
        if let Some(memory) = self.memory.as_deref_mut().filter(|_| is_primary) {
            memory.keep(&self.view, &mut self.acceptor);
        }
    }

    /// After the view was forgotten: goes on with the promises of the seat.
    pub(super) fn resume_seat(&mut self) {
        if let Some(memory) = self.memory.as_deref() {
            let promised = memory.seat.promised().map(|(ballot, _)| ballot);
            self.acceptor.resume(promised);
        }
    }

    /// A view was installed.
    pub(super) fn settle_seat(&mut self, now: Instant) {
        let takeover = self.takeover();
        let enough = [
            self.configuration.formation_quorum(),
            self.configuration.configured_nodes(),
        ];
        if let Some(memory) = self.memory.as_deref_mut() {
            if self.view.is_primary {
                memory.forget();
            }
            // Several may have come at once, or one that has forgotten, as so many may have by now that the last
            // primary view is over, and a majority, or all, begin anew. `next` is the view before by now.
            let has_more_seats = memory
                .has_enough(|member| self.view.member(member.identity.node).is_some())
                && memory.count_in(&self.view) > memory.count_in(&self.next);
            let before = self.next.count();
            let mut enough = enough.into_iter();
            let has_come_to = enough.any(|count| before < count && self.view.count() >= count);
            memory.begins_anew = !self.view.is_primary
                && self.next.number != ViewNumber::default()
                && (has_more_seats || has_come_to);
            // One is enough to say that this part begins anew.
            let is_first = self.view.issuer == self.own.node;
            memory.ask_at = if is_first { now } else { now.after(takeover) };
        }
    }

    /// Whether this node is in a primary view, which a part that is not has nothing to say against.
    pub(super) fn outranks(&self, is_primary: bool) -> bool {
        self.memory.is_some() && !is_primary && self.view().is_some_and(|view| view.is_primary)
    }

    /// Whether this incarnation must not enter `next`, although it was let in there. It has come to a view of another origin
    /// meanwhile, and who goes from one part to another begins a new incarnation. Or it has no view, and may have voted
    /// about the successor of that very view, or of a later one: as a member it would not know of that any more.
    pub(super) fn is_foreign(&self) -> bool {
        let Some(memory) = self.memory.as_deref() else {
            return false;
        };
        match self.view() {
            Some(view) => view.origin != self.next.origin,
            None => self.next.is_primary && self.next.number <= memory.electorate.number,
        }
    }

    /// The present view as headers show it.
    pub(super) fn mark(&self) -> ViewMark {
        let view = self.view().filter(|_| self.memory.is_some());
        ViewMark {
            number: self.view.number,
            lineage: view.map_or(0, ClusterView::lineage),
        }
    }

    /// Whether the sender is in another part of the cluster, whatever its place in this one.
    pub(super) fn is_elsewhere(&self, header: &Header) -> bool {
        header.view != ViewNumber::default() && header.lineage != self.mark().lineage
    }

    /// Another view of the same number came from somebody who is in both: the lower one of two parts is left.
    pub(super) fn meet_namesake(
        &mut self,
        now: Instant,
        part: &ViewPart<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let theirs = (part.is_primary, part.issuer);
        if self.memory.is_none() || theirs <= (self.view.is_primary, self.view.issuer) {
            return Err(Counter::DroppedOtherView);
        }
        self.leave_part(now, part.number, outbox);
        Ok(())
    }

    // ---- deciding without a view --------------------------------------------------------------

    /// A ballot was promised, perhaps one's own.
    pub(super) fn note_promised(&mut self, now: Instant, prepare: &Prepare) {
        let Some(memory) = self.memory_without_view() else {
            return;
        };
        memory.promise(now, prepare);
        // Another view that this node comes to has a higher number.
        self.joining.note_view(prepare.number);
    }

    /// Whether a request for a promise is about the view that this node has, not about one of the same number.
    pub(super) fn is_electorate(&self, prepare: &Prepare) -> bool {
        self.memory.is_none()
            || self
                .view()
                .is_none_or(|view| view.name() == prepare.electorate)
    }

    /// Answers a request for a promise.
    pub(super) fn answer_prepare(&self, to: PeerAddress, outbox: &mut Outbox) {
        let accepted = match self.memory.as_deref() {
            Some(memory) if self.phase == Phase::Joining => memory.accepted(),
            _ => self.acceptor.accepted(),
        };
        self.acceptor
            .send_promise(to, self.has_groups, self.seat(), accepted, outbox);
    }

    /// What a promise is worth, and how late the primary view is that it is about.
    pub(super) fn judge(&self, voter: Identity, seat: &Seat) -> (Vote, Ordering) {
        match self.memory.as_deref() {
            Some(memory) if self.phase == Phase::Joining => (
                memory.vote(voter, seat),
                compare(seat.electorate, memory.electorate),
            ),
            _ => (Vote::None, Ordering::Equal),
        }
    }

    /// A part of a proposal came in under a ballot that was promised. Whether all of it is there, and accepted.
    pub(super) fn take_proposal_part(&mut self, ballot: Ballot, part: &ProposalPart<'_>) -> bool {
        if let Some(memory) = self.memory_without_view() {
            if part.kind != ProposalKind::Part {
                return memory.is_vote && memory.seat.take_part(ballot, part);
            }
        }
        self.acceptor.take_part(ballot, part)
    }

    /// Whether a proposal of this ballot may be accepted: only after its request for a promise, which says what it
    /// is about.
    pub(super) fn has_heard_request(&self, ballot: Ballot) -> bool {
        self.memory.is_none()
            || self
                .acceptor
                .promised()
                .is_some_and(|(promised, _)| promised == ballot)
    }

    /// A voter has told of a primary view that this node does not know, in a ballot that was about another one. Nobody
    /// here knows its members, or else who does would lead.
    pub(super) fn note_later_primary(&mut self, electorate: ViewName) {
        if let Some(memory) = self.memory_without_view() {
            memory.heard_of = memory.heard_of.max(electorate);
        }
    }

    /// Whether the next ballot can come to more, being about a later primary view than this one is.
    pub(super) fn knows_better(&self) -> bool {
        let memory = self.memory.as_deref();
        self.proposer.is_behind()
            && memory.is_some_and(|memory| memory.heard_of.number > memory.electorate.number)
    }

    /// Before a ballot among nodes without a view: what it is about.
    pub(super) fn choose_electorate(&mut self) {
        if let Some(memory) = self.memory_without_view() {
            memory.move_to(memory.heard_of);
        }
    }

    /// Accepts, as the first, what this node proposes to others without a view.
    pub(super) fn fill_formation(&mut self) {
        let configuration = &self.configuration;
        let (own, ballot) = (self.own.node, self.proposer.ballot());
        let proposer = &mut self.proposer;
        let Some(memory) = self.memory.as_deref_mut() else {
            return;
        };
        let formation = memory.formation(proposer, configuration);
        let (acceptor, kind) = match formation {
            Formation::Continued(rule) => {
                proposer.set_rule(rule);
                if let Some(found) = proposer.found() {
                    memory
                        .seat
                        .accept_own(|proposal| proposal.copy_from(found, ballot));
                }
                return;
            }
            Formation::Primary(rule) => {
                proposer.set_rule(rule);
                (&mut memory.seat, ProposalKind::First)
            }
            Formation::Part => {
                proposer.set_rule(QuorumRule::Unanimous);
                (&mut *self.acceptor, ProposalKind::Part)
            }
        };
        let voters = self.proposer.voters();
        let number = self.proposer.number();
        acceptor.accept_own(|proposal| {
            proposal.begin(ballot, own, number, kind);
            super::proposing::add_all(voters, proposal);
            proposal.close();
        });
    }

    /// What this node has just decided, if it is a view that its nodes have left long ago: the seats are about
    /// its successor from now on. False if it is a view to be installed.
    pub(super) fn adopt_decided(&mut self) -> bool {
        let (own, ballot) = (self.own, self.proposer.ballot());
        let Some(memory) = self.memory.as_deref_mut() else {
            return false;
        };
        let Some(decided) = memory.seat.accepted_under(ballot) else {
            return false;
        };
        let is_successor = decided.kind() == ProposalKind::Successor;
        self.next.clear();
        if is_successor && self.next.copy_from(&memory.primary).is_err() {
            return false;
        }
        decided.apply_to(&mut self.next);
        self.next.number = decided.number();
        self.next.issuer = decided.issuer();
        self.next.is_primary = true;
        // A successor is nobody's to install who has left its electorate, though it may let this incarnation in.
        if !is_successor && self.next.has(own) {
            return false;
        }
        if memory.primary.copy_from(&self.next).is_ok() {
            memory.electorate = memory.primary.name();
            memory.seat.forget_accepted();
        }
        true
    }

    // ---- parts that meet ----------------------------------------------------------------------

    /// When this member of a part asks elsewhere.
    pub(super) fn ask_elsewhere_at(&self) -> Option<Instant> {
        let wanted = self.coordinators_wanted();
        let is_asking = self
            .view()
            .is_some_and(|view| !view.is_primary && view.is_coordinator(self.own.node, wanted));
        let memory = self.memory.as_deref();
        let memory = memory.filter(|memory| is_asking || memory.begins_anew);
        memory.map(|memory| memory.ask_at)
    }

    /// Asks those who are not in this part whether they are in another one.
    pub(super) fn advance_asking(&mut self, now: Instant, outbox: &mut Outbox) {
        // A view that was installed just now has to be told first: the deadline stays.
        if self.signals.installed || self.ask_elsewhere_at().is_none_or(|at| now < at) {
            return;
        }
        if self
            .memory
            .as_ref()
            .is_some_and(|memory| memory.begins_anew)
        {
            self.dissolve(now, self.view.number, outbox);
            return;
        }
        let request = JoinRequest {
            settings: self.configuration.shared(),
            has_heard: false,
            last_view: self.view.number,
            primary: self.last_primary(),
            seat: self.seat(),
        };
        let pause = self.configuration.formation_round().times(ASKING_ROUNDS);
        let Some(memory) = self.memory.as_deref_mut() else {
            return;
        };
        let is_in = |address: &PeerAddress| {
            let mut members = self.view.members().iter();
            members.any(|member: &MemberRecord| member.address == *address)
        };
        let peers = self.configuration.peers();
        let turn = peers.iter().cycle().skip(memory.ask_from);
        let asked = turn.take(peers.len().min(ASKED_MAX));
        outbox.send(asked.filter(|peer| !is_in(peer)), Kind::Join, |writer| {
            writer.write(&request)
        });
        let next = memory.ask_from.saturating_add(ASKED_MAX);
        memory.ask_from = next.checked_rem(peers.len()).unwrap_or(0);
        memory.ask_at = now.after(pause);
    }

    /// A member of another part asks; it may have been let in here too before it came there.
    pub(super) fn answer_other_part(&self, from: PeerAddress, outbox: &mut Outbox) {
        if let Some(view) = self.view().filter(|_| self.has_quorum()) {
            let answer = JoinAnswer::Part {
                is_primary: view.is_primary,
                issuer: view.issuer,
            };
            outbox.send([&from], Kind::JoinAnswer, |writer| writer.write(&answer));
        }
    }

    /// There is another part, where one that this node has asked is a member.
    pub(super) fn meet_part(
        &mut self,
        now: Instant,
        header: &Header,
        is_primary: bool,
        issuer: NodeId,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let is_part = self.memory.is_some() && self.view().is_some_and(|view| !view.is_primary);
        let number = header.view;
        if !is_part || number == ViewNumber::default() || self.view.has(header.sender) {
            return Err(Counter::DroppedUnexpected);
        }
        if (is_primary, ViewName { number, issuer }) > (false, self.view.name()) {
            self.dissolve(now, number, outbox);
        }
        Ok(())
    }

    /// Whether this part could be primary if it began anew together with `joiner`: then it has as many nodes of
    /// the last primary view as that needs. (Whether these remember shows only then; it is tried once for each
    /// node with a seat that comes.)
    pub(super) fn could_be_primary(&self, joiner: Identity, request: &JoinRequest) -> bool {
        let Some(memory) = self.memory.as_deref().filter(|_| !self.view.is_primary) else {
            return false;
        };
        let latest = memory.electorate.number.max(request.seat.electorate.number);
        if !memory.knows_electorate() || latest != memory.electorate.number {
            return request.primary == latest && latest != ViewNumber::default();
        }
        let is_seat = |member: &MemberRecord| {
            member.identity.node == joiner.node
                && member.identity.incarnation >= request.seat.first_incarnation
        };
        memory.primary.members().iter().any(is_seat)
            && memory.has_enough(|member| {
                is_seat(member) || self.view.member(member.identity.node).is_some()
            })
    }

    /// This part ends: its nodes look for others under new incarnations. `later` is a view that they hear of.
    pub(super) fn dissolve(&mut self, now: Instant, later: ViewNumber, outbox: &mut Outbox) {
        let not_member = NotMember {
            number: self.view.number.max(later).next(),
            is_primary: false,
            reason: NotMemberReason::Dissolved,
        };
        let members = self.view.members().iter();
        let others = members.filter(|member| member.identity != self.own);
        outbox.send(
            others.map(|member| &member.address),
            Kind::NotMember,
            |writer| writer.write(&not_member),
        );
        self.leave_part(now, not_member.number, outbox);
    }
}
