// SPDX-License-Identifier: GPL-2.0

//! Finding a cluster: what a node that joins says, and what it is told.

use super::agreement::Seat;
use crate::protocol::configuration::{DetectorKind, SharedSettings};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Incarnation, NodeId, PeerAddress, ViewNumber};
use crate::protocol::outputs::RefusalReason;
use crate::protocol::wire::{Reader, Writer};

/// What a node that looks for a cluster says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// What it must have in common with the cluster.
    pub settings: SharedSettings,
    /// Whether it was answered lately that there is a cluster: it hears, and may be let in.
    pub has_heard: bool,
    /// The latest view that it knows of, zero if none.
    pub last_view: ViewNumber,
    /// The number of the last primary view whose members it knows, zero if none.
    pub primary: ViewNumber,
    /// What it remembers.
    pub seat: Seat,
}

/// What a node that looks for a cluster is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The answering node looks for a cluster itself.
    Forming {
        /// The latest view that it knows of, zero if none.
        last_view: ViewNumber,
        /// The number of the last primary view whose members it knows, zero if none.
        primary: ViewNumber,
    },
    /// There is a cluster: ask the coordinator at this address.
    Known {
        /// Where the coordinator of the asking node's arc is.
        coordinator: PeerAddress,
    },
    /// The cluster does not let the node in.
    Refused(RefusalReason),
    /// The cluster has seen a later incarnation of this node: its next one must be later than this.
    StaleIncarnation(Incarnation),
    /// To a member of another component: this node is in a component too. The header has the number of its view.
    Component {
        /// Whether its view is primary.
        is_primary: bool,
        /// Who issued its view.
        issuer: NodeId,
    },
    /// An administrator has put this incarnation of the node out, or an earlier one that it does not know of.
    Evicted(Incarnation),
}

/// Reads the body of [`crate::protocol::wire::Kind::Join`].
pub fn parse_join(body: &[u8]) -> Result<JoinRequest, Counter> {
    let mut reader = Reader::new(body);
    let settings = SharedSettings {
        heartbeat_interval_ms: reader.u32()?,
        rings: reader.u32()?,
        confirmations: reader.u32()?,
        coordinators: reader.u32()?,
        even_split: reader.u32()?,
        partitionable: reader.u32()?,
        detector: DetectorKind::from_number(reader.u8()?).ok_or(Counter::DroppedValue)?,
    };
    let has_heard = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Counter::DroppedValue),
    };
    let last_view = ViewNumber(reader.u64()?);
    let primary = ViewNumber(reader.u64()?);
    let seat = Seat::parse(&mut reader)?;
    reader.end()?;
    Ok(JoinRequest {
        settings,
        has_heard,
        last_view,
        primary,
        seat,
    })
}

/// Writes the body of [`crate::protocol::wire::Kind::Join`].
pub fn write_join(writer: &mut Writer<'_>, request: &JoinRequest) -> Option<()> {
    let settings = &request.settings;
    writer.u32(settings.heartbeat_interval_ms)?;
    writer.u32(settings.rings)?;
    writer.u32(settings.confirmations)?;
    writer.u32(settings.coordinators)?;
    writer.u32(settings.even_split)?;
    writer.u32(settings.partitionable)?;
    writer.u8(settings.detector.number())?;
    writer.u8(u8::from(request.has_heard))?;
    writer.u64(request.last_view.0)?;
    writer.u64(request.primary.0)?;
    request.seat.write(writer)
}

/// Reads the body of [`crate::protocol::wire::Kind::JoinAnswer`].
pub fn parse_join_answer(body: &[u8]) -> Result<JoinAnswer, Counter> {
    let mut reader = Reader::new(body);
    let answer = match reader.u8()? {
        0 => JoinAnswer::Forming {
            last_view: ViewNumber(reader.u64()?),
            primary: ViewNumber(reader.u64()?),
        },
        1 => JoinAnswer::Known {
            coordinator: reader.address()?,
        },
        2 => JoinAnswer::Refused(match reader.u8()? {
            1 => RefusalReason::DuplicateNodeId,
            2 => RefusalReason::HeartbeatInterval,
            3 => RefusalReason::Rings,
            4 => RefusalReason::Confirmations,
            5 => RefusalReason::Coordinators,
            6 => RefusalReason::ViewFull,
            8 => RefusalReason::EvenSplit,
            7 => RefusalReason::Detector,
            9 => RefusalReason::Partitionable,
            _ => return Err(Counter::DroppedValue),
        }),
        3 => JoinAnswer::StaleIncarnation(Incarnation(reader.u64()?)),
        4 => JoinAnswer::Evicted(Incarnation(reader.u64()?)),
        5 => JoinAnswer::Component {
            is_primary: reader.boolean()?,
            issuer: reader.node()?,
        },
        _ => return Err(Counter::DroppedValue),
    };
    reader.end()?;
    Ok(answer)
}

/// Writes the body of [`crate::protocol::wire::Kind::JoinAnswer`].
pub fn write_join_answer(writer: &mut Writer<'_>, answer: &JoinAnswer) -> Option<()> {
    match answer {
        JoinAnswer::Forming { last_view, primary } => {
            writer.u8(0)?;
            writer.u64(last_view.0)?;
            writer.u64(primary.0)
        }
        JoinAnswer::Known { coordinator } => {
            writer.u8(1)?;
            writer.address(*coordinator)
        }
        JoinAnswer::Refused(reason) => {
            writer.u8(2)?;
            writer.u8(match reason {
                RefusalReason::DuplicateNodeId => 1,
                RefusalReason::HeartbeatInterval => 2,
                RefusalReason::Rings => 3,
                RefusalReason::Confirmations => 4,
                RefusalReason::Coordinators => 5,
                RefusalReason::ViewFull => 6,
                RefusalReason::EvenSplit => 8,
                RefusalReason::Detector => 7,
                RefusalReason::Partitionable => 9,
            })
        }
        JoinAnswer::StaleIncarnation(incarnation) => {
            writer.u8(3)?;
            writer.u64(incarnation.0)
        }
        JoinAnswer::Evicted(incarnation) => {
            writer.u8(4)?;
            writer.u64(incarnation.0)
        }
        JoinAnswer::Component { is_primary, issuer } => {
            writer.u8(5)?;
            writer.boolean(*is_primary)?;
            writer.u16(issuer.number())
        }
    }
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
