// SPDX-License-Identifier: GPL-2.0

//! Requests to join and their answers: what [`super::admission`] decides is carried out here.

use super::admission::{answer_join, decide, mismatch, Admission};
use super::local::Phase;
use super::Membership;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{Event, RefusalReason};
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{write_join, JoinAnswer, JoinRequest, ReportRecord};
use crate::protocol::wire::{Header, Kind};

impl Membership {
    /// Handle a request to join.
    pub(super) fn handle_join(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        request: JoinRequest,
        outbox: &mut Outbox,
    ) {
        let joiner = header.sender;
        let own_settings = self.local.configuration().shared();
        if let Some(reason) = mismatch(&request.settings, &own_settings) {
            refuse(joiner, from, reason, outbox);
            return;
        }
        if joiner.node == self.local.own().node {
            // At this node's address it is an earlier incarnation of this node.
            if from != self.local.address() {
                refuse(joiner, from, RefusalReason::DuplicateNodeId, outbox);
            }
            return;
        }
        if header.view != ViewNumber::default() {
            self.answer_component(from, outbox);
            return;
        }
        self.agreement.renew_join(now, joiner);
        match self.local.phase() {
            Phase::Joining => {
                let is_news = self.formation.add_candidate(
                    now,
                    joiner,
                    from,
                    request.last_view,
                    request.primary,
                );
                if is_news {
                    let answer = JoinAnswer::Forming {
                        last_view: self.formation.last_view(),
                        primary: self.partitions.last_primary(),
                    };
                    answer_join(from, &answer, outbox);
                }
            }
            Phase::Member | Phase::Leaving if self.has_quorum() => {
                self.admit(now, joiner, &request, from, outbox);
            }
            // Nobody is admitted now, but nobody shall form another cluster either.
            Phase::Member | Phase::Leaving => {
                let coordinator = self.local.address();
                answer_join(from, &JoinAnswer::Known { coordinator }, outbox);
            }
            Phase::Gone => {}
        }
    }

    /// Carry out what is decided about a node that asks this member.
    fn admit(
        &mut self,
        now: Instant,
        joiner: Identity,
        request: &JoinRequest,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        let (local, suspicion) = (&self.local, &self.suspicion);
        match decide(local, suspicion, &self.dissemination, joiner, from, request) {
            Admission::AlreadyMember => self.dissemination.send_view(from),
            Admission::Answer(answer) => answer_join(from, &answer, outbox),
            Admission::Refuse(reason) => refuse(joiner, from, reason, outbox),
            Admission::Eligible => self.collect_join(now, joiner, request, from, outbox),
        }
    }

    /// Tell a node that may join which coordinator collects its request. If that is this node, collect it.
    fn collect_join(
        &mut self,
        now: Instant,
        joiner: Identity,
        request: &JoinRequest,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        let coordinator = self.arc_coordinator(joiner.node);
        let coordinator = coordinator.map_or(self.local.address(), |member| member.address);
        answer_join(from, &JoinAnswer::Known { coordinator }, outbox);
        // A node that hears nothing would only be excluded again.
        if !request.has_heard || !self.is_arc_coordinator(joiner.node) {
            return;
        }
        let last_view = request.last_view;
        if (self.partitions).could_be_primary(&self.local, joiner, request) {
            self.dissolve(now, last_view, outbox);
            return;
        }
        self.agreement
            .add_join(now, &self.suspicion, joiner, from, last_view);
        self.relay(&ReportRecord::Join(joiner, from, last_view), outbox);
    }

    /// Answer a member of another component. It may have been admitted here too before it came there.
    fn answer_component(&self, from: PeerAddress, outbox: &mut Outbox) {
        if let Some(view) = self.local.view().filter(|_| self.has_quorum()) {
            let answer = JoinAnswer::Component {
                is_primary: view.is_primary,
                issuer: view.issuer,
            };
            answer_join(from, &answer, outbox);
        }
    }

    /// Handle the answer to a request to join.
    pub(super) fn handle_join_answer(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        answer: &JoinAnswer,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        // Members of components ask each other as well.
        let is_for_member = matches!(answer, JoinAnswer::Component { .. });
        if !self.local.is_joining() && !is_for_member {
            return Err(Counter::DroppedUnexpected);
        }
        let names_coordinator = is_for_member || matches!(answer, JoinAnswer::Known { .. });
        if header.view != ViewNumber::default() && !names_coordinator {
            // Whatever it answers, a node that has a view knows of a cluster.
            self.formation.learn(now, from);
        }
        match *answer {
            JoinAnswer::Forming { last_view, primary } => {
                self.formation
                    .add_candidate(now, header.sender, from, last_view, primary);
            }
            JoinAnswer::Known { coordinator } => {
                if self.formation.learn(now, coordinator) {
                    let seat = self.partitions.seat(&self.local);
                    let known = (self.partitions.last_primary(), seat);
                    let request = self
                        .formation
                        .request(now, self.local.configuration(), known);
                    outbox.send([&coordinator], Kind::Join, |writer| {
                        write_join(writer, &request)
                    });
                }
            }
            JoinAnswer::Refused(reason) => outbox.event(Event::Refused { by: from, reason }),
            JoinAnswer::Component { is_primary, issuer } => {
                let yields =
                    (self.partitions).yields_to_component(&self.local, header, is_primary, issuer);
                if yields.ok_or(Counter::DroppedUnexpected)? {
                    self.dissolve(now, header.view, outbox);
                }
            }
            JoinAnswer::StaleIncarnation(later) => {
                if later < self.local.own().incarnation {
                    return Err(Counter::DroppedUnexpected);
                }
                let incarnation = Incarnation(later.0.saturating_add(1));
                self.start_new_incarnation(now, incarnation, header.view, outbox);
            }
            JoinAnswer::Evicted(incarnation) => {
                if incarnation != self.local.own().incarnation {
                    return Err(Counter::DroppedUnexpected);
                }
                self.end_evicted(header.view, outbox);
            }
        }
        Ok(())
    }
}

fn refuse(joiner: Identity, from: PeerAddress, reason: RefusalReason, outbox: &mut Outbox) {
    answer_join(from, &JoinAnswer::Refused(reason), outbox);
    outbox.event(Event::RefusedOther {
        subject: joiner,
        address: from,
        reason,
    });
}
