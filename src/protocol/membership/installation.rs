// SPDX-License-Identifier: GPL-2.0

//! Going from one view to the next, and out of the cluster.

use super::local::Phase;
use super::{Membership, Signals};
use crate::protocol::errors::Counter;
use crate::protocol::failure_detector::{DetectorAssignment, DetectorPeer};
use crate::protocol::identity::{Incarnation, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::limits::COORDINATORS_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{Ballot, NotMember, NotMemberReason, ProposalKind};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// A view that leaves out more nodes tells only so many of them at once. The others hear it from the nodes that they send
/// heartbeats to.
const TOLD_EXCLUDED_MAX: usize = 4 * COORDINATORS_MAX;

impl Membership {
    /// Install the view that a quorum has accepted under `ballot`, and announce it.
    pub(super) fn decide(&mut self, now: Instant, ballot: Ballot, outbox: &mut Outbox) {
        let is_adopted = self
            .partitions
            .adopt_decided(&self.local, ballot, &mut self.next);
        if is_adopted || !self.apply_accepted(ballot) {
            self.agreement.stop();
            return;
        }
        let number = self.next.number;
        self.dissemination.begin_announcement(now, ballot, number);
        let own = self.local.own();
        let view = self.local.view_or_empty();
        let is_first = self.local.view().is_none();
        let stays = self.next.has(own);
        #[cfg(kcgcs_exploration)]
        let stays = stays || is_seeded(Fault::HastyLeave);
        for member in self.next.members() {
            let is_new = !is_first && !view.has(member.identity);
            // A node that goes has only the view before to send.
            if member.identity != own && (stays || !is_new) {
                self.dissemination.announce_to(member, is_new);
            }
        }
        if !stays {
            self.agreement.stop();
            self.leaving.note_decided(number);
            return;
        }
        let mut excluded: [Option<(PeerAddress, ChangeReason)>; TOLD_EXCLUDED_MAX] =
            [None; TOLD_EXCLUDED_MAX];
        let gone = self.local.others();
        let gone = gone.filter(|member| !self.next.has(member.identity));
        for (place, member) in excluded.iter_mut().zip(gone) {
            let reason = self.dissemination.departure_reason(member.identity);
            *place = Some((member.address, reason));
        }
        let is_primary = self.next.is_primary;
        self.install_next(now, outbox);
        for (address, reason) in excluded.iter().flatten() {
            let not_member = NotMember {
                number,
                is_primary,
                reason: NotMemberReason::Gone(*reason),
            };
            outbox.send([address], Kind::NotMember, |writer| {
                writer.write(&not_member)
            });
        }
    }

    /// Make the next view out of the present one and the proposal accepted under `ballot`, and remember why nodes leave.
    /// Returns false if there is no such proposal.
    pub(super) fn apply_accepted(&mut self, ballot: Ballot) -> bool {
        let accepted = self
            .agreement
            .accepted_under(&self.local, &self.partitions, ballot);
        let Some(proposal) = accepted else {
            return false;
        };
        let view = self.local.view_or_empty();
        let has_view = self.local.view().is_some();
        let follows_a_view = proposal.kind() == ProposalKind::Successor;
        if has_view != follows_a_view || self.next.copy_from(view).is_err() {
            return false;
        }
        // A proposal that was made before a node came from another component may have a lower number than it needs.
        self.next.number = proposal.number().max(view.number.next());
        self.next.issuer = proposal.issuer();
        (self.next.is_primary, self.next.origin) = match proposal.kind() {
            ProposalKind::Successor => (view.is_primary, view.origin),
            ProposalKind::First => (true, self.next.name()),
            ProposalKind::Component => (false, self.next.name()),
        };
        self.next.set_reporters(proposal.reporters());
        self.dissemination.note_changes(proposal.changes());
        proposal.apply_to(&mut self.next);
        true
    }

    /// Install `next`, or find that this node is not in it.
    pub(super) fn install_next(&mut self, now: Instant, outbox: &mut Outbox) {
        let number = self.next.number;
        if !self.next.has(self.local.own()) {
            self.exclude(now, number, outbox);
            return;
        }
        self.tell_changes(outbox);
        self.local.install(now, &mut self.next);
        outbox.set_view(self.local.mark());
        outbox.counters.count(Counter::ViewsInstalled);
        outbox.event(Event::ClusterView { number });
        self.assign(self.make_assignment());
        self.suspicion.clear();
        let dissemination = &self.dissemination;
        self.agreement
            .install(now, &self.local, |node| dissemination.has_departed(node));
        self.dissemination.install();
        self.leaving.install();
        self.quorum.install(outbox);
        // `next` is the view before by now.
        self.partitions.install(now, &self.local, &self.next);
        self.signals.installed = true;
    }

    /// Tell the differences between `view` and `next`: first the nodes that leave, then those that join.
    fn tell_changes(&self, outbox: &mut Outbox) {
        let view = self.local.view_or_empty();
        for member in view.members() {
            if !self.next.has(member.identity) {
                outbox.event(Event::ViewChange {
                    subject: member.identity,
                    reason: self.dissemination.departure_reason(member.identity),
                });
            }
        }
        for member in self.next.members() {
            if !view.has(member.identity) {
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

    /// The nodes that the failure detector sends heartbeats to, and those that it monitors, in the present view.
    fn make_assignment(&self) -> DetectorAssignment {
        let mut assignment = DetectorAssignment::silent(self.local.own());
        let ViewMark { number, lineage } = self.local.mark();
        (assignment.view, assignment.lineage) = (number, lineage);
        let view = self.local.view_or_empty();
        let Some(position) = view.position(self.local.own().node) else {
            return assignment;
        };
        let put = |places: &mut [Option<DetectorPeer>], other: usize| {
            let Some(member) = view.members().get(other) else {
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
        for successor in self.local.rings().successors(position) {
            put(&mut assignment.targets, successor);
        }
        for predecessor in self.local.rings().predecessors(position) {
            put(&mut assignment.monitored, predecessor);
        }
        assignment
    }

    // ---- out of the view --------------------------------------------------------------------------

    /// Give the view up, since the cluster goes on without this node in view `later_view`.
    pub(super) fn exclude(&mut self, now: Instant, later_view: ViewNumber, outbox: &mut Outbox) {
        let own = self.local.own();
        if self.local.phase() == Phase::Leaving {
            self.finish_leaving(outbox);
        } else if self.dissemination.departure_reason(own) == ChangeReason::Evicted {
            self.end_evicted(later_view, outbox);
        } else {
            let incarnation = Incarnation(own.incarnation.0.saturating_add(1));
            self.start_new_incarnation(now, incarnation, later_view, outbox);
        }
    }

    /// Leave the view for another component of the cluster: as [`Self::exclude`], but the members of the node's groups keep
    /// what they have.
    pub(super) fn leave_component(
        &mut self,
        now: Instant,
        later_view: ViewNumber,
        outbox: &mut Outbox,
    ) {
        self.exclude(now, later_view, outbox);
        self.signals.changes_component = self.local.is_partitionable();
    }

    /// End this component: its nodes look for others under new incarnations. `later` is a view that they are told of.
    pub(super) fn dissolve(&mut self, now: Instant, later: ViewNumber, outbox: &mut Outbox) {
        let not_member = NotMember {
            number: self.local.view_or_empty().number.max(later).next(),
            is_primary: false,
            reason: NotMemberReason::Dissolved,
        };
        let others = self.local.others().map(|member| &member.address);
        outbox.send(others, Kind::NotMember, |writer| writer.write(&not_member));
        self.leave_component(now, not_member.number, outbox);
    }

    /// End the membership, since an administrator has evicted this node: it does not come back by itself.
    pub(super) fn end_evicted(&mut self, later_view: ViewNumber, outbox: &mut Outbox) {
        self.forget_view(outbox);
        self.local.set_phase(Phase::Gone);
        self.restart_signals(Signals {
            is_over: true,
            quorum: Some(false),
            ..Signals::default()
        });
        outbox.event(Event::Evicted { later_view });
    }

    /// Go on under another incarnation, without a view.
    pub(super) fn start_new_incarnation(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        later_view: ViewNumber,
        outbox: &mut Outbox,
    ) {
        self.local.set_incarnation(incarnation);
        let last_view = self.local.view_or_empty().number;
        let stayed = match self.local.view() {
            Some(view) if view.is_primary => Some(now.since(self.local.member_since())),
            // A node that comes from a component has not been excluded.
            Some(_) => None,
            // It was in, and out again before it heard of that.
            None => Some(Duration::ZERO),
        };
        // A node that had no view has lost nothing now that groups know of.
        let changes_component = self.local.view().is_none();
        if self.local.is_partitionable() && self.local.view().is_some() {
            // There may be a next view of this node's making. Its number must not be given to another one.
            let next = last_view.next();
            let accepted = self.agreement.accepted_number();
            self.formation
                .note_view(accepted.map_or(next, |number| number.max(next)));
        }
        self.agreement.keep_seat(&self.local, &mut self.partitions);
        self.forget_view(outbox);
        self.agreement.resume(now, &self.local, &self.partitions);
        outbox.set_identity(self.local.own());
        self.local.set_phase(Phase::Joining);
        self.formation.note_view(last_view.max(later_view));
        self.formation.restart(now, stayed);
        self.restart_signals(Signals {
            excluded: Some(self.local.own()),
            changes_component,
            ..Signals::default()
        });
        outbox.event(Event::Excluded {
            later_view,
            incarnation: incarnation.0,
        });
    }

    fn forget_view(&mut self, outbox: &mut Outbox) {
        self.local.forget_view();
        outbox.set_view(self.local.mark());
        self.agreement.clear();
        self.suspicion.clear();
        self.dissemination.clear();
        self.leaving.clear();
        self.quorum.clear();
        self.assign(DetectorAssignment::silent(self.local.own()));
    }

    /// End the membership: the cluster has let this node go, or there is nobody to ask.
    pub(super) fn finish_leaving(&mut self, outbox: &mut Outbox) {
        self.forget_view(outbox);
        self.local.set_phase(Phase::Gone);
        outbox.event(Event::Left);
    }
}
