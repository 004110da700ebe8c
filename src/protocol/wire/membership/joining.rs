// SPDX-License-Identifier: GPL-2.0

//! Finding a cluster: the request of a node that joins, and its answers.

use super::agreement::Seat;
use crate::protocol::configuration::{DetectorKind, SharedSettings};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Incarnation, NodeId, PeerAddress, ViewNumber};
use crate::protocol::outputs::RefusalReason;
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, Writer};

/// The request of a node that looks for a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// The settings that it must have in common with the cluster.
    pub settings: SharedSettings,
    /// Whether a member has answered it lately: it hears the cluster and may be admitted.
    pub has_heard: bool,
    /// The latest view that it knows of, zero if none.
    pub last_view: ViewNumber,
    /// The number of the last primary view whose members it knows, zero if none.
    pub primary: ViewNumber,
    /// What it remembers of that view.
    pub seat: Seat,
}

layout!(struct JoinRequest { settings, has_heard, last_view, primary, seat });

layout!(struct SharedSettings {
    heartbeat_interval_ms,
    rings,
    confirmations,
    coordinators,
    even_split,
    partitionable,
    detector,
});

layout!(enum DetectorKind {
    0 => Ring,
    1 => Gossip,
});

/// The answer to a [`JoinRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The answering node looks for a cluster itself.
    Forming {
        /// The latest view that it knows of, zero if none.
        last_view: ViewNumber,
        /// The number of the last primary view whose members it knows, zero if none.
        primary: ViewNumber,
    },
    /// There is a cluster: ask this coordinator.
    Known {
        /// The address of the coordinator of the asking node's arc.
        coordinator: PeerAddress,
    },
    /// The cluster does not admit the node.
    Refused(RefusalReason),
    /// The cluster has seen this later incarnation of the node: its next one must be later still.
    StaleIncarnation(Incarnation),
    /// The sender is in a component of the cluster other than the asking member's. The header has its view's number.
    Component {
        /// Whether its view is primary.
        is_primary: bool,
        /// The coordinator that issued its view.
        issuer: NodeId,
    },
    /// An administrator evicted this incarnation of the node, or an earlier one; the node does not know it yet.
    Evicted(Incarnation),
}

layout!(enum JoinAnswer {
    0 => Forming { last_view, primary },
    1 => Known { coordinator },
    2 => Refused(reason),
    3 => StaleIncarnation(seen),
    4 => Evicted(evicted),
    5 => Component { is_primary, issuer },
});

layout!(enum RefusalReason {
    1 => DuplicateNodeId,
    2 => HeartbeatInterval,
    3 => Rings,
    4 => Confirmations,
    5 => Coordinators,
    6 => ViewFull,
    7 => Detector,
    8 => EvenSplit,
    9 => Partitionable,
});

/// Read the body of [`Kind::Join`](crate::protocol::wire::Kind::Join).
pub fn parse_join(body: &[u8]) -> Result<JoinRequest, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Join`](crate::protocol::wire::Kind::Join).
pub fn write_join(writer: &mut Writer<'_>, request: &JoinRequest) -> Option<()> {
    writer.write(request)
}

/// Read the body of [`Kind::JoinAnswer`](crate::protocol::wire::Kind::JoinAnswer).
pub fn parse_join_answer(body: &[u8]) -> Result<JoinAnswer, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::JoinAnswer`](crate::protocol::wire::Kind::JoinAnswer).
pub fn write_join_answer(writer: &mut Writer<'_>, answer: &JoinAnswer) -> Option<()> {
    writer.write(answer)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_joining))]
mod tests {
    use super::*;
    use crate::protocol::identity::ViewName;
    use crate::protocol::test_support::{address, node, written, wrong_length_taken, TestResult};

    const SETTINGS: SharedSettings = SharedSettings {
        heartbeat_interval_ms: 160,
        rings: 3,
        confirmations: 2,
        coordinators: u32::MAX,
        even_split: 1,
        partitionable: 1,
        detector: DetectorKind::Gossip,
    };

    const ANSWERS: [JoinAnswer; 15] = [
        JoinAnswer::Forming {
            last_view: ViewNumber(u64::MAX),
            primary: ViewNumber(u64::MAX - 1),
        },
        JoinAnswer::Known {
            coordinator: address(7),
        },
        JoinAnswer::Refused(RefusalReason::DuplicateNodeId),
        JoinAnswer::Refused(RefusalReason::HeartbeatInterval),
        JoinAnswer::Refused(RefusalReason::Rings),
        JoinAnswer::Refused(RefusalReason::Confirmations),
        JoinAnswer::Refused(RefusalReason::Coordinators),
        JoinAnswer::Refused(RefusalReason::ViewFull),
        JoinAnswer::Refused(RefusalReason::EvenSplit),
        JoinAnswer::Refused(RefusalReason::Detector),
        JoinAnswer::Refused(RefusalReason::Partitionable),
        JoinAnswer::StaleIncarnation(Incarnation(0)),
        JoinAnswer::StaleIncarnation(Incarnation(u64::MAX)),
        JoinAnswer::Component {
            is_primary: true,
            issuer: node(9),
        },
        JoinAnswer::Evicted(Incarnation(u64::MAX)),
    ];

    #[test]
    fn a_join_is_read_as_it_was_written() -> TestResult {
        let mut buffer = [0; 64];
        let request = JoinRequest {
            settings: SETTINGS,
            has_heard: true,
            last_view: ViewNumber(9),
            primary: ViewNumber(7),
            seat: Seat {
                first_incarnation: Incarnation(u64::MAX),
                electorate: ViewName {
                    number: ViewNumber(8),
                    issuer: node(3),
                },
            },
        };
        let body = written(&mut buffer, |writer| write_join(writer, &request))?;
        assert_eq!(parse_join(body), Ok(request));
        assert_eq!(
            wrong_length_taken(body, |body| parse_join(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn each_answer_is_read_as_it_was_written() -> TestResult {
        for answer in ANSWERS {
            let mut buffer = [0; 32];
            let body = written(&mut buffer, |writer| write_join_answer(writer, &answer))?;
            assert_eq!(parse_join_answer(body), Ok(answer));
            let taken = wrong_length_taken(body, |body| parse_join_answer(body).is_ok());
            assert_eq!(taken, None);
        }
        Ok(())
    }

    #[test]
    fn answers_that_cannot_be_are_refused() {
        for kind in 6..=u8::MAX {
            assert_eq!(parse_join_answer(&[kind]), Err(Counter::DroppedValue));
        }
        for reason in [0, 10, 255] {
            assert_eq!(parse_join_answer(&[2, reason]), Err(Counter::DroppedValue));
        }
        let without_port = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(parse_join_answer(&without_port), Err(Counter::DroppedValue));
    }
}
