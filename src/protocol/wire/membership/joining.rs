// SPDX-License-Identifier: GPL-2.0

//! Finding a cluster: the request of a node that joins, and its answers.

use super::agreement::Seat;
use crate::protocol::configuration::{DetectorKind, SharedSettings};
use crate::protocol::identity::{Incarnation, NodeId, PeerAddress, ViewNumber};
use crate::protocol::outputs::RefusalReason;
use crate::protocol::wire::layout::layout;

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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_joining))]
mod tests {
    use super::*;
    use crate::protocol::errors::Counter;
    use crate::protocol::identity::ViewName;
    use crate::protocol::test_support::{address, is_read_as_written, node};
    use crate::protocol::wire::Decode;

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
    fn a_join_is_read_as_it_was_written() {
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
        assert!(is_read_as_written(&request));
    }

    #[test]
    fn each_answer_is_read_as_it_was_written() {
        for answer in ANSWERS {
            assert!(is_read_as_written(&answer));
        }
    }

    #[test]
    fn an_unknown_answer_is_refused() {
        for kind in 6..=u8::MAX {
            assert_eq!(JoinAnswer::parse(&[kind]), Err(Counter::DroppedValue));
        }
        for reason in [0, 10, 255] {
            assert_eq!(JoinAnswer::parse(&[2, reason]), Err(Counter::DroppedValue));
        }
        let without_port = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(JoinAnswer::parse(&without_port), Err(Counter::DroppedValue));
    }
}
