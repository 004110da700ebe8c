// SPDX-License-Identifier: GPL-2.0

//! Going from one view to the next, and out of the cluster.

use super::proposing::accepted;
use super::{Membership, Phase};
use crate::protocol::errors::Counter;
use crate::protocol::failure_detector::{DetectorAssignment, DetectorPeer};
use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::limits::COORDINATORS_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{
    write_not_member, Ballot, NotMember, NotMemberReason, ProposalKind,
};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// Of those that a view leaves out, how many are told at once. The others hear it from whom they
/// send heartbeats to.
const FAREWELLS_MAX: usize = 4 * COORDINATORS_MAX;

impl Membership {
    /// A quorum has accepted this node's proposal: installs it and tells everybody.
    pub(super) fn decide(&mut self, now: Instant, outbox: &mut Outbox) {
        let ballot = self.proposer.ballot();
        let is_formation = self.memory_without_view().is_some();
        if (is_formation && self.adopt_decided()) || !self.apply_accepted(ballot) {
            self.proposer.stop();
            return;
        }
        self.announcement.begin(now, ballot, self.next.number);
        let is_first = self.view.number == ViewNumber::default();
        let stays = self.next.has(self.own);
        #[cfg(kcgcs_exploration)]
        let stays = stays || is_seeded(Fault::HastyLeave);
        for member in self.next.members() {
            let is_new = !is_first && !self.view.has(member.identity);
            // Who goes has only the view before to send.
            if member.identity != self.own && (stays || !is_new) {
                self.announcement
                    .add(member.identity, member.address, is_new);
            }
        }
        if !stays {
            self.proposer.stop();
            self.parting = Some(self.next.number);
            return;
        }
        let mut farewells: [Option<(PeerAddress, ChangeReason)>; FAREWELLS_MAX] =
            [None; FAREWELLS_MAX];
        let gone = self
            .view
            .members()
            .iter()
            .filter(|member| member.identity != self.own && !self.next.has(member.identity));
        for (place, member) in farewells.iter_mut().zip(gone) {
            *place = Some((member.address, self.departures.reason(member.identity)));
        }
        let (number, is_primary) = (self.next.number, self.next.is_primary);
        self.install_next(now, outbox);
        for (address, reason) in farewells.iter().flatten() {
            let not_member = NotMember {
                number,
                is_primary,
                reason: NotMemberReason::Gone(*reason),
            };
            outbox.send([address], Kind::NotMember, |writer| {
                write_not_member(writer, &not_member)
            });
        }
    }

    /// Ends a parting when all have installed the view, or were told often enough. Who went sooner
    /// would take with it the only knowledge of what was decided, and the vote without which the others
    /// perhaps have no quorum to decide it again.
    pub(super) fn advance_parting(&mut self, now: Instant, outbox: &mut Outbox) {
        if let (Some(later_view), None) = (self.parting, self.announcement.next_deadline()) {
            self.exclude(now, later_view, outbox);
        }
    }

    /// Makes the next view out of the present one and the proposal accepted under `ballot`, and remembers why
    /// who goes. False if there is none.
    pub(super) fn apply_accepted(&mut self, ballot: Ballot) -> bool {
        let memory = self.memory.as_deref();
        let memory = memory.filter(|_| self.phase == Phase::Joining);
        let Some(proposal) = accepted(memory, &self.acceptor, ballot) else {
            return false;
        };
        let has_view = self.view.number != ViewNumber::default();
        let comes_from_a_view = proposal.kind() == ProposalKind::Successor;
        if has_view != comes_from_a_view || self.next.copy_from(&self.view).is_err() {
            return false;
        }
        // What was proposed before somebody came from another part may be numbered lower than it has to be.
        self.next.number = proposal.number().max(self.view.number.next());
        self.next.issuer = proposal.issuer();
        (self.next.is_primary, self.next.origin) = match proposal.kind() {
            ProposalKind::Successor => (self.view.is_primary, self.view.origin),
            ProposalKind::First => (true, self.next.name()),
            ProposalKind::Part => (false, self.next.name()),
        };
        self.next.set_reporters(proposal.reporters());
        self.departures.add_all(proposal.changes());
        proposal.apply_to(&mut self.next);
        true
    }

    /// Installs `next`, or finds that this node is not in it.
    pub(super) fn install_next(&mut self, now: Instant, outbox: &mut Outbox) {
        let number = self.next.number;
        if !self.next.has(self.own) {
            self.exclude(now, number, outbox);
            return;
        }
        self.tell_changes(outbox);
        core::mem::swap(&mut self.view, &mut self.next);
        self.installed_at = now;
        self.rings
            .place(self.view.members(), self.configuration.settings().rings);
        outbox.set_view(self.mark());
        outbox.counters.count(Counter::ViewsInstalled);
        outbox.event(Event::ClusterView { number });
        let assignment = self.make_assignment();
        // The failure detector finds out anew who is silent.
        self.watch.clear();
        self.roll_call.clear();
        self.assign(assignment);
        self.acceptor.clear();
        self.proposer.stop();
        let departures = &self.departures;
        self.changes
            .install(now, &self.view, |joiner| departures.has(joiner));
        self.assembly.clear();
        self.transfers.clear();
        self.reminders.clear();
        self.highest_round = 0;
        self.not_before = now;
        self.requested = None;
        self.parting = None;
        self.pinning.enter_view(self.own.node);
        self.fencing.clear();
        self.is_frozen = false;
        self.has_heard_later_incarnation = false;
        self.troubled_since = None;
        self.regain_quorum(outbox);
        if self.phase == Phase::Joining {
            self.phase = Phase::Member;
            self.member_since = now;
        }
        self.settle_seat(now);
        self.signals.installed = true;
    }

    /// Tells the differences between `view` and `next`: who goes, then who comes.
    fn tell_changes(&mut self, outbox: &mut Outbox) {
        for member in self.view.members() {
            if !self.next.has(member.identity) {
                outbox.event(Event::ViewChange {
                    subject: member.identity,
                    reason: self.departures.reason(member.identity),
                });
            }
        }
        for member in self.next.members() {
            if !self.view.has(member.identity) {
                outbox.event(Event::ViewChange {
                    subject: member.identity,
                    reason: ChangeReason::Join,
                });
            }
        }
    }

    fn assign(&mut self, assignment: DetectorAssignment) {
        self.assignment.clear();
        // There is room for one.
        let _ = self.assignment.push(assignment);
    }

    /// Whom the failure detector sends heartbeats to and whom it watches in the present view.
    fn make_assignment(&self) -> DetectorAssignment {
        let mut assignment = DetectorAssignment::silent(self.own);
        let ViewMark { number, lineage } = self.mark();
        (assignment.view, assignment.lineage) = (number, lineage);
        let Some(position) = self.view.position(self.own.node) else {
            return assignment;
        };
        let put = |places: &mut [Option<DetectorPeer>], other: usize| {
            let Some(member) = self.view.members().get(other) else {
                return;
            };
            let peer = DetectorPeer {
                identity: member.identity,
                address: member.address,
            };
            if places.contains(&Some(peer)) {
                return;
            }
            if let Some(free) = places.iter_mut().find(|place| place.is_none()) {
                *free = Some(peer);
            }
        };
        for successor in self.rings.successors(position) {
            put(&mut assignment.targets, successor);
        }
        for predecessor in self.rings.predecessors(position) {
            put(&mut assignment.monitored, predecessor);
        }
        assignment
    }

    /// The cluster goes on, in view `later_view`, without this node: starts a new incarnation.
    pub(super) fn exclude(&mut self, now: Instant, later_view: ViewNumber, outbox: &mut Outbox) {
        if self.phase == Phase::Leaving {
            self.finish_leaving(outbox);
            return;
        }
        if self.departures.reason(self.own) == ChangeReason::Evicted {
            self.end_evicted(later_view, outbox);
            return;
        }
        let incarnation = Incarnation(self.own.incarnation.0.saturating_add(1));
        self.start_new_incarnation(now, incarnation, later_view, outbox);
    }

    /// This node leaves its view by itself, for another part of the cluster: as above, but the members of its
    /// groups keep what they have.
    pub(super) fn leave_part(&mut self, now: Instant, later_view: ViewNumber, outbox: &mut Outbox) {
        self.exclude(now, later_view, outbox);
        self.signals.keeps_past = self.memory.is_some();
    }

    /// An administrator has put this node out: it does not come back by itself.
    pub(super) fn end_evicted(&mut self, later_view: ViewNumber, outbox: &mut Outbox) {
        self.forget_view(outbox);
        self.phase = Phase::Gone;
        self.signals = super::Signals {
            is_over: true,
            quorum: Some(false),
            ..super::Signals::default()
        };
        outbox.event(Event::Evicted { later_view });
    }

    /// Goes on under another incarnation, without a view.
    pub(super) fn start_new_incarnation(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        later_view: ViewNumber,
        outbox: &mut Outbox,
    ) {
        self.own = Identity {
            incarnation,
            ..self.own
        };
        let last_view = self.view.number;
        let stayed = match self.view() {
            Some(view) if view.is_primary => Some(now.since(self.member_since)),
            // Who comes from a part has nothing to be ashamed of.
            Some(_) => None,
            // It was in, and out again before it heard of that.
            None => Some(Duration::ZERO),
        };
        // Who had no view has lost nothing now that groups know of.
        let keeps_past = self.view().is_none();
        self.keep_seat();
        self.forget_view(outbox);
        self.resume_seat();
        outbox.set_identity(self.own);
        self.phase = Phase::Joining;
        self.joining.note_view(last_view.max(later_view));
        self.joining.restart(now, stayed);
        self.not_before = now;
        self.signals = super::Signals {
            excluded: Some(self.own),
            keeps_past,
            ..super::Signals::default()
        };
        outbox.event(Event::Excluded {
            later_view,
            incarnation: incarnation.0,
        });
    }

    fn forget_view(&mut self, outbox: &mut Outbox) {
        self.view.clear();
        self.view.number = ViewNumber::default();
        outbox.set_view(self.mark());
        self.acceptor.clear();
        self.proposer.stop();
        self.announcement.clear();
        self.watch.clear();
        self.roll_call.clear();
        self.changes.clear();
        self.transfers.clear();
        self.reminders.clear();
        self.assembly.clear();
        self.departures.clear();
        self.farewell = None;
        self.highest_round = 0;
        self.requested = None;
        self.parting = None;
        self.pinning = super::Pinning::new();
        self.fencing.clear();
        self.is_frozen = false;
        self.has_heard_later_incarnation = false;
        self.troubled_since = None;
        self.quorum_lost = false;
        self.assign(DetectorAssignment::silent(self.own));
    }

    /// The cluster has let this node go, or there is nobody to ask.
    pub(super) fn finish_leaving(&mut self, outbox: &mut Outbox) {
        self.forget_view(outbox);
        self.phase = Phase::Gone;
        outbox.event(Event::Left);
    }

    /// Groups stop until the next view: a promise was given. Told once.
    pub(super) fn freeze(&mut self, outbox: &mut Outbox) {
        if self.view().is_some() && !self.is_frozen {
            self.is_frozen = true;
            self.signals.frozen = true;
            outbox.event(Event::Prepare {
                number: self.view.number.next(),
            });
        }
    }
}
