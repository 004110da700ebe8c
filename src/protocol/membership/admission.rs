// SPDX-License-Identifier: GPL-2.0

//! Who looks for a cluster: what it is answered by those who have one, and by those who look for one too.

use super::{Membership, Phase};
use crate::protocol::configuration::SharedSettings;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{Event, RefusalReason};
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{JoinAnswer, JoinRequest, ReportRecord};
use crate::protocol::wire::{Header, Kind};

impl Membership {
    /// Somebody looks for a cluster.
    pub(super) fn handle_join(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        request: JoinRequest,
        outbox: &mut Outbox,
    ) {
        let joiner = header.sender;
        if let Some(reason) = mismatch(&request.settings, &self.configuration.shared()) {
            self.refuse(joiner, from, reason, outbox);
            return;
        }
        if joiner.node == self.own.node {
            if from == self.address {
                // An earlier incarnation of this node.
                return;
            }
            self.refuse(joiner, from, RefusalReason::DuplicateNodeId, outbox);
            return;
        }
        if header.view != ViewNumber::default() {
            self.answer_other_part(from, outbox);
            return;
        }
        self.changes.renew_join(now, joiner);
        match self.phase {
            Phase::Joining => {
                let (last_view, primary) = (request.last_view, request.primary);
                let news = self
                    .joining
                    .add_candidate(now, joiner, from, last_view, primary);
                if news {
                    let (last_view, primary) = (self.joining.last_view(), self.last_primary());
                    answer_join(from, &JoinAnswer::Forming { last_view, primary }, outbox);
                }
            }
            Phase::Member | Phase::Leaving if self.has_quorum() => {
                self.answer_joiner(now, joiner, &request, from, outbox);
            }
            // Nobody is let in now, but nobody shall form another cluster either.
            Phase::Member | Phase::Leaving => {
                let coordinator = self.address;
                answer_join(from, &JoinAnswer::Known { coordinator }, outbox);
            }
            Phase::Gone => {}
        }
    }

    /// A node without a view asks this one, which has one.
    fn answer_joiner(
        &mut self,
        now: Instant,
        joiner: Identity,
        request: &JoinRequest,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        if let Some(member) = self.view.member(joiner.node) {
            let (known, address) = (member.identity, member.address);
            if known == joiner && address == from {
                // It is in and has not heard it yet.
                self.transfers.begin(from);
                return;
            }
            if known.incarnation > joiner.incarnation && address == from {
                let answer = JoinAnswer::StaleIncarnation(known.incarnation);
                answer_join(from, &answer, outbox);
                return;
            }
            if address != from && !self.changes.suspicions.is_confirmed(known) {
                self.refuse(joiner, from, RefusalReason::DuplicateNodeId, outbox);
                return;
            }
        } else if (self.departures).was_evicted_since(joiner, request.seat.first_incarnation) {
            // It has given its view up, or did not hear that it was in, and does not know that it is out.
            let answer = JoinAnswer::Evicted(joiner.incarnation);
            answer_join(from, &answer, outbox);
            return;
        } else if let Some(last) = self
            .departures
            .last_incarnation(joiner)
            .filter(|last| *last >= joiner.incarnation)
        {
            // It was in, perhaps without hearing of it, or this is an old datagram.
            answer_join(from, &JoinAnswer::StaleIncarnation(last), outbox);
            return;
        } else if self.view.count() >= NODES_MAX {
            self.refuse(joiner, from, RefusalReason::ViewFull, outbox);
            return;
        }
        let coordinator = self
            .arc_coordinator(joiner.node)
            .map_or(self.address, |member| member.address);
        let answer = JoinAnswer::Known { coordinator };
        answer_join(from, &answer, outbox);
        // Who hears nothing would only be put out again.
        if !request.has_heard || !self.is_arc_coordinator(joiner.node) {
            return;
        }
        let last_view = request.last_view;
        if self.could_be_primary(joiner, request) {
            self.dissolve(now, last_view, outbox);
            return;
        }
        self.changes.add_join(now, joiner, from, last_view);
        self.relay(&ReportRecord::Join(joiner, from, last_view), outbox);
    }

    fn refuse(
        &mut self,
        joiner: Identity,
        from: PeerAddress,
        reason: RefusalReason,
        outbox: &mut Outbox,
    ) {
        answer_join(from, &JoinAnswer::Refused(reason), outbox);
        outbox.event(Event::RefusedOther {
            subject: joiner,
            address: from,
            reason,
        });
    }

    /// Somebody answers this node, which looks for one.
    pub(super) fn handle_join_answer(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        answer: &JoinAnswer,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        // Members of parts ask each other as well.
        let is_for_member = matches!(answer, JoinAnswer::Part { .. });
        if self.phase != Phase::Joining && !is_for_member {
            return Err(Counter::DroppedUnexpected);
        }
        let tells_whom_to_ask = is_for_member || matches!(answer, JoinAnswer::Known { .. });
        if header.view != ViewNumber::default() && !tells_whom_to_ask {
            // Whatever it says, who has a view knows of a cluster.
            self.joining.learn(now, from);
        }
        match *answer {
            JoinAnswer::Forming { last_view, primary } => {
                self.joining
                    .add_candidate(now, header.sender, from, last_view, primary);
            }
            JoinAnswer::Known { coordinator } => {
                if self.joining.learn(now, coordinator) {
                    let known = (self.last_primary(), self.seat());
                    let request = self.joining.request(now, &self.configuration, known);
                    outbox.send([&coordinator], Kind::Join, |writer| writer.write(&request));
                }
            }
            JoinAnswer::Refused(reason) => {
                outbox.event(Event::Refused { by: from, reason });
            }
            JoinAnswer::Part { is_primary, issuer } => {
                return self.meet_part(now, header, is_primary, issuer, outbox);
            }
            JoinAnswer::StaleIncarnation(later) => {
                if later < self.own.incarnation {
                    return Err(Counter::DroppedUnexpected);
                }
                let incarnation = Incarnation(later.0.saturating_add(1));
                self.start_new_incarnation(now, incarnation, header.view, outbox);
            }
            JoinAnswer::Evicted(incarnation) => {
                if incarnation != self.own.incarnation {
                    return Err(Counter::DroppedUnexpected);
                }
                self.end_evicted(header.view, outbox);
            }
        }
        Ok(())
    }
}

fn answer_join(to: PeerAddress, answer: &JoinAnswer, outbox: &mut Outbox) {
    outbox.send([&to], Kind::JoinAnswer, |writer| writer.write(answer));
}

/// The first setting in which two nodes differ.
fn mismatch(theirs: &SharedSettings, ours: &SharedSettings) -> Option<RefusalReason> {
    if theirs.heartbeat_interval_ms != ours.heartbeat_interval_ms {
        Some(RefusalReason::HeartbeatInterval)
    } else if theirs.rings != ours.rings {
        Some(RefusalReason::Rings)
    } else if theirs.confirmations != ours.confirmations {
        Some(RefusalReason::Confirmations)
    } else if theirs.coordinators != ours.coordinators {
        Some(RefusalReason::Coordinators)
    } else if theirs.even_split != ours.even_split {
        Some(RefusalReason::EvenSplit)
    } else if theirs.partitionable != ours.partitionable {
        Some(RefusalReason::Partitionable)
    } else if theirs.detector != ours.detector {
        Some(RefusalReason::Detector)
    } else {
        None
    }
}
