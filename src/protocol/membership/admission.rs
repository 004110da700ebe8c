// SPDX-License-Identifier: GPL-2.0

//! What a node that asks to join is answered by a member.
//!
//! The decision is a function of what this node knows; the dispatcher carries it out.

use super::dissemination::Dissemination;
use super::local::LocalNode;
use super::suspicion::Suspicion;
use crate::protocol::configuration::SharedSettings;
use crate::protocol::identity::{Identity, PeerAddress};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::RefusalReason;
use crate::protocol::wire::membership::{write_join_answer, JoinAnswer, JoinRequest};
use crate::protocol::wire::Kind;

/// What becomes of a request to join.
#[derive(Clone, Copy, Debug)]
pub(super) enum Admission {
    /// The node is a member and has not heard of it yet: it gets the view.
    AlreadyMember,
    /// The node gets this answer, and nothing else happens.
    Answer(JoinAnswer),
    /// The node is refused.
    Refuse(RefusalReason),
    /// The node may join: it is told which coordinator collects its request.
    Eligible,
}

/// Decide about the request of `joiner`, which has no view, while this node has one with a quorum.
pub(super) fn decide(
    local: &LocalNode,
    suspicion: &Suspicion,
    dissemination: &Dissemination,
    joiner: Identity,
    from: PeerAddress,
    request: &JoinRequest,
) -> Admission {
    let view = local.view_or_empty();
    if let Some(member) = view.member(joiner.node) {
        let (known, is_same_address) = (member.identity, member.address == from);
        if known == joiner && is_same_address {
            Admission::AlreadyMember
        } else if known.incarnation > joiner.incarnation && is_same_address {
            Admission::Answer(JoinAnswer::StaleIncarnation(known.incarnation))
        } else if !is_same_address && !suspicion.is_confirmed(known) {
            Admission::Refuse(RefusalReason::DuplicateNodeId)
        } else {
            Admission::Eligible
        }
    } else if dissemination.was_evicted_since(joiner, request.seat.first_incarnation) {
        // It has given its view up, or did not hear that it was in, and does not know that it is out.
        Admission::Answer(JoinAnswer::Evicted(joiner.incarnation))
    } else if let Some(last) = dissemination
        .last_incarnation(joiner)
        .filter(|last| *last >= joiner.incarnation)
    {
        // It was in, perhaps without hearing of it, or this is an old datagram.
        Admission::Answer(JoinAnswer::StaleIncarnation(last))
    } else if view.count() >= NODES_MAX {
        Admission::Refuse(RefusalReason::ViewFull)
    } else {
        Admission::Eligible
    }
}

/// Whether a join is collected here that another coordinator passes on: the node is neither a member nor did it leave
/// under this incarnation.
pub(super) fn may_collect(
    local: &LocalNode,
    dissemination: &Dissemination,
    joiner: Identity,
) -> bool {
    !local.view_or_empty().has(joiner) && !dissemination.has_departed(joiner)
}

/// Answer a request to join.
pub(super) fn answer_join(to: PeerAddress, answer: &JoinAnswer, outbox: &mut Outbox) {
    outbox.send([&to], Kind::JoinAnswer, |writer| {
        write_join_answer(writer, answer)
    });
}

/// The first setting in which two nodes differ although it must agree.
pub(super) fn mismatch(theirs: &SharedSettings, ours: &SharedSettings) -> Option<RefusalReason> {
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
