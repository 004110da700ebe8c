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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_admission))]
mod tests {
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::identity::{Incarnation, ViewName, ViewNumber};
    use crate::protocol::membership::test_support::member_node;
    use crate::protocol::outputs::ChangeReason;
    use crate::protocol::test_support::{address, identity, identity_in, node, TestResult};
    use crate::protocol::wire::membership::Seat;

    /// What a member of a view of nodes 1 to 3 decides about a node that remembers nothing before `first_incarnation`.
    /// Node 5 has left, node 6 was evicted, both in incarnation 4.
    fn decided(
        joiner: Identity,
        at_address: u16,
        first_incarnation: u64,
    ) -> Result<Admission, crate::protocol::test_support::Unexpected> {
        let local = member_node(Configuration::DEFAULT, 3)?;
        let suspicion = Suspicion::new(local.configuration())?;
        let mut dissemination = Dissemination::new(&local)?;
        dissemination.note_departure(identity_in(5, 4), ChangeReason::Leave);
        dissemination.note_departure(identity_in(6, 4), ChangeReason::Evicted);
        let request = JoinRequest {
            settings: local.configuration().shared(),
            has_heard: true,
            last_view: ViewNumber(0),
            primary: ViewNumber(0),
            seat: Seat {
                first_incarnation: Incarnation(first_incarnation),
                electorate: ViewName {
                    number: ViewNumber(0),
                    issuer: node(1),
                },
            },
        };
        let from = address(at_address);
        Ok(decide(
            &local,
            &suspicion,
            &dissemination,
            joiner,
            from,
            &request,
        ))
    }

    #[test]
    fn a_new_node_and_a_later_incarnation_of_a_member_may_join() -> TestResult {
        for joiner in [identity(9), identity_in(2, 2), identity_in(5, 5)] {
            let number = joiner.node.number();
            let admission = decided(joiner, number, joiner.incarnation.0)?;
            assert!(matches!(admission, Admission::Eligible));
        }
        Ok(())
    }

    #[test]
    fn a_member_that_has_not_heard_of_its_view_gets_it() -> TestResult {
        assert!(matches!(
            decided(identity(2), 2, 1)?,
            Admission::AlreadyMember
        ));
        Ok(())
    }

    #[test]
    fn an_incarnation_that_was_in_before_must_come_under_a_later_one() -> TestResult {
        for incarnation in 3..=4 {
            let answer = decided(identity_in(5, incarnation), 5, incarnation)?;
            assert!(matches!(
                answer,
                Admission::Answer(JoinAnswer::StaleIncarnation(Incarnation(4)))
            ));
        }
        Ok(())
    }

    #[test]
    fn an_evicted_node_is_told_so_unless_somebody_has_started_it_anew() -> TestResult {
        let answer = decided(identity_in(6, 5), 6, 4)?;
        assert!(matches!(
            answer,
            Admission::Answer(JoinAnswer::Evicted(Incarnation(5)))
        ));
        assert!(matches!(
            decided(identity_in(6, 5), 6, 5)?,
            Admission::Eligible
        ));
        Ok(())
    }

    #[test]
    fn a_node_at_another_address_does_not_take_a_members_number() -> TestResult {
        assert!(matches!(
            decided(identity_in(2, 9), 7, 9)?,
            Admission::Refuse(RefusalReason::DuplicateNodeId)
        ));
        Ok(())
    }
}
