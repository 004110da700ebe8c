// SPDX-License-Identifier: GPL-2.0

//! Proposed views: the changes from the present view to the next, in parts.

use super::agreement::Ballot;
use super::entries::{check_part_count, check_parts};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::view::{ChangeReason, MemberRecord};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, List, Reader, Writer};

/// What a proposed view succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum ProposalKind {
    /// The view of its voters.
    Successor,
    /// No view, and it is primary.
    First,
    /// No view, and it is that of a component of a cluster, without a quorum.
    Component,
}

layout!(enum ProposalKind {
    0 => Successor,
    1 => First,
    2 => Component,
});

/// One difference between a view and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum Change {
    /// A member leaves the view.
    Remove {
        /// The member.
        subject: Identity,
        /// Why; not [`ChangeReason::Join`].
        reason: ChangeReason,
    },
    /// A node becomes a member.
    Add(MemberRecord),
}

layout!(enum Change {
    1 => Remove { subject, reason },
    2 => Add(member),
});

/// The changes of one part of a proposal.
pub type Changes<'a> = List<'a, Change>;

/// A part of a proposed view: the differences from the present one.
///
/// On the wire the fields stand in this order. One byte before `reporters` is its length; `changes` takes the rest.
#[derive(Clone, Copy, Debug)]
pub struct ProposalPart<'a> {
    /// The coordinator that made the proposal; later ballots may carry on the same proposal.
    pub issuer: NodeId,
    /// The number of the proposed view.
    pub number: ViewNumber,
    /// What it succeeds.
    pub kind: ProposalKind,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// How many changes all parts have together.
    pub changes_total: u16,
    /// One bit for each member of the present view, in order: whether it may hold group messages that others lack.
    pub reporters: &'a [u8],
    /// The changes of this part.
    pub changes: Changes<'a>,
}

impl<'a> Decode<'a> for ProposalPart<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        let issuer = reader.read()?;
        let number = reader.read()?;
        if number == ViewNumber::default() {
            return Err(Counter::DroppedValue);
        }
        let kind = reader.read()?;
        let part = reader.u16()?;
        let parts = reader.u16()?;
        let changes_total = reader.u16()?;
        check_parts(part, parts, changes_total, 2 * NODES_MAX)?;
        let reporters_length = usize::from(reader.u8()?);
        if reporters_length > NODES_MAX.div_ceil(8) {
            return Err(Counter::DroppedCount);
        }
        let reporters = reader.bytes(reporters_length)?;
        let changes = List::parse(reader.rest())?;
        check_part_count(part, parts, changes_total, changes.count())?;
        Ok(Self {
            issuer,
            number,
            kind,
            part,
            parts,
            changes_total,
            reporters,
            changes,
        })
    }
}

/// A [`ProposalPart`] that is written, without its changes.
#[derive(Clone, Copy, Debug)]
pub struct ProposalHead<'a> {
    /// See [`ProposalPart::issuer`].
    pub issuer: NodeId,
    /// See [`ProposalPart::number`].
    pub number: ViewNumber,
    /// See [`ProposalPart::kind`].
    pub kind: ProposalKind,
    /// See [`ProposalPart::part`].
    pub part: u16,
    /// See [`ProposalPart::parts`].
    pub parts: u16,
    /// See [`ProposalPart::changes_total`].
    pub changes_total: u16,
    /// See [`ProposalPart::reporters`].
    pub reporters: &'a [u8],
}

/// Read the body of [`Kind::Propose`](crate::protocol::wire::Kind::Propose).
pub fn parse_propose(body: &[u8]) -> Result<(Ballot, ProposalPart<'_>), Counter> {
    Decode::parse(body)
}

/// Write a part of a proposal (behind a ballot).
pub fn write_proposal_part(
    writer: &mut Writer<'_>,
    head: &ProposalHead<'_>,
    changes: &[Change],
) -> Option<()> {
    writer.write(&head.issuer)?;
    writer.write(&head.number)?;
    writer.write(&head.kind)?;
    writer.u16(head.part)?;
    writer.u16(head.parts)?;
    writer.u16(head.changes_total)?;
    writer.u8(u8::try_from(head.reporters.len()).ok()?)?;
    writer.bytes(head.reporters)?;
    changes.iter().try_for_each(|change| writer.write(change))
}
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_proposal))]
mod tests {
    use super::super::agreement::{parse_promise, write_ballot, write_promise, Seat};
    use super::*;
    use crate::protocol::identity::{Incarnation, ViewName};
    use crate::protocol::limits::{PARTS_MAX, PART_ENTRIES_MAX};
    use crate::protocol::test_support::{
        identity, member, node, written, wrong_length_taken, TestResult, Unexpected,
    };

    const BALLOT: Ballot = Ballot {
        round: 0x0102_0304,
        coordinator: node(5),
    };
    const SEAT: Seat = Seat {
        first_incarnation: Incarnation(u64::MAX),
        electorate: ViewName {
            number: ViewNumber(7),
            issuer: node(3),
        },
    };
    const CHANGES: [Change; 3] = [
        Change::Remove {
            subject: identity(3),
            reason: ChangeReason::Failed,
        },
        Change::Remove {
            subject: identity(4),
            reason: ChangeReason::Leave,
        },
        Change::Add(member(9)),
    ];
    const HEAD: ProposalHead<'static> = ProposalHead {
        issuer: node(7),
        number: ViewNumber(8),
        kind: ProposalKind::Successor,
        part: 0,
        parts: 1,
        changes_total: 3,
        reporters: &[0b101, 0xff],
    };
    const BODY_MAX: usize = 1344;

    fn propose<'b>(
        buffer: &'b mut [u8],
        head: &ProposalHead<'_>,
        changes: &[Change],
    ) -> Result<&'b [u8], Unexpected> {
        written(buffer, |writer| {
            write_ballot(writer, BALLOT)?;
            write_proposal_part(writer, head, changes)
        })
    }

    #[test]
    fn promises_carry_what_was_accepted() -> TestResult {
        let before = Ballot {
            round: 1,
            coordinator: node(2),
        };
        let mut buffer = [0; 256];
        let body = written(&mut buffer, |writer| {
            write_promise(writer, BALLOT, true, SEAT, Some(before))?;
            write_proposal_part(writer, &HEAD, &CHANGES)
        })?;
        let promise = parse_promise(body)?;
        let (ballot, part) = promise.accepted.ok_or(Unexpected)?;
        assert_eq!((promise.ballot, ballot), (BALLOT, before));
        assert_eq!(part.issuer, HEAD.issuer);
        assert!(part.changes.eq(CHANGES));
        assert_eq!(
            wrong_length_taken(body, |body| parse_promise(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn a_part_of_a_proposal_is_read_as_it_was_written() -> TestResult {
        let mut buffer = [0; 256];
        let body = propose(&mut buffer, &HEAD, &CHANGES)?;
        let (ballot, part) = parse_propose(body)?;
        assert_eq!((ballot, part.issuer), (BALLOT, HEAD.issuer));
        assert_eq!(part.number, HEAD.number);
        assert_eq!((part.part, part.parts, part.changes_total), (0, 1, 3));
        assert!(part.reporters == HEAD.reporters);
        assert!(part.changes.eq(CHANGES));
        assert_eq!(
            wrong_length_taken(body, |body| parse_propose(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn a_proposal_that_changes_nothing_has_one_empty_part() -> TestResult {
        let head = ProposalHead {
            changes_total: 0,
            reporters: &[],
            ..HEAD
        };
        let mut buffer = [0; 64];
        let (_, part) = parse_propose(propose(&mut buffer, &head, &[])?)?;
        assert_eq!(part.changes.count(), 0);
        assert!(part.reporters.is_empty());
        Ok(())
    }

    #[test]
    fn parts_have_as_many_changes_as_their_totals_ask_for() -> TestResult {
        let full = PART_ENTRIES_MAX;
        let most = 2 * NODES_MAX as u16;
        // Part, parts, changes in all parts, changes in this one, whether it is a part.
        let table = [
            (0, 1, 1, 1, true),
            (0, 1, 1, 0, false),
            (0, 1, 1, 2, false),
            (0, 1, 32, full, true),
            (0, 2, 32, full, false),
            (0, 1, 33, full, false),
            (0, 2, 33, full, true),
            (0, 2, 33, full - 1, false),
            (1, 2, 33, 1, true),
            (1, 2, 33, 0, false),
            (1, 2, 33, full, false),
            (2, 2, 33, 0, false),
            (1, 1, 1, 1, false),
            (0, 0, 0, 0, false),
            (PARTS_MAX as u16 - 1, PARTS_MAX as u16, most, full, true),
            (PARTS_MAX as u16, PARTS_MAX as u16, most, full, false),
            (PARTS_MAX as u16, PARTS_MAX as u16 + 1, most + 1, 1, false),
            (u16::MAX, u16::MAX, u16::MAX, full, false),
        ];
        for (part, parts, changes_total, count, expected) in table {
            let head = ProposalHead {
                part,
                parts,
                changes_total,
                ..HEAD
            };
            let mut buffer = [0; BODY_MAX];
            let changes = [Change::Add(member(9)); PART_ENTRIES_MAX];
            let changes = changes.get(..count).ok_or(Unexpected)?;
            let read = parse_propose(propose(&mut buffer, &head, changes)?);
            assert_eq!(read.is_ok(), expected);
            assert!(expected || read.err() == Some(Counter::DroppedCount));
        }
        Ok(())
    }

    #[test]
    fn there_is_at_most_one_bit_for_each_node_a_view_may_have() -> TestResult {
        let bits = [0; NODES_MAX / 8 + 1];
        for (length, expected) in [(NODES_MAX / 8, true), (NODES_MAX / 8 + 1, false)] {
            let head = ProposalHead {
                reporters: bits.get(..length).ok_or(Unexpected)?,
                ..HEAD
            };
            let mut buffer = [0; BODY_MAX];
            let read = parse_propose(propose(&mut buffer, &head, &CHANGES)?);
            assert_eq!(read.is_ok(), expected);
        }
        Ok(())
    }

    #[test]
    fn the_largest_part_in_a_promise_fits_a_datagram() -> TestResult {
        let bits = [0xff; NODES_MAX / 8];
        let head = ProposalHead {
            changes_total: PART_ENTRIES_MAX as u16,
            reporters: &bits,
            ..HEAD
        };
        let changes = [Change::Add(member(NODES_MAX as u16)); PART_ENTRIES_MAX];
        let mut buffer = [0; BODY_MAX];
        let body = written(&mut buffer, |writer| {
            write_promise(writer, BALLOT, true, SEAT, Some(BALLOT))?;
            write_proposal_part(writer, &head, &changes)
        })?;
        assert!(parse_promise(body).is_ok());
        Ok(())
    }

    #[test]
    fn changes_that_cannot_be_are_refused() -> TestResult {
        // Behind the ballot (6), the head (18) and two bytes of bits stand the changes, of 12, 12 and
        // 31 bytes.
        let table = [
            (4, 0, "the ballot's coordinator"),
            (6, 0, "the issuer"),
            (16, 3, "what it comes from"),
            (26, 0, "the kind of a change"),
            (26, 3, "the kind of a change"),
            (28, 0, "who goes"),
            (37, 1, "the reason: nobody goes because it joins"),
            (37, 0, "the reason"),
            (37, 5, "the reason"),
            (52, 0, "who comes"),
            (79, 5, "the slot"),
        ];
        for (offset, value, _what) in table {
            let mut buffer = [0; 256];
            let length = propose(&mut buffer, &HEAD, &CHANGES)?.len();
            for place in [offset, offset + 1] {
                // Numbers of two bytes are spoiled as a whole.
                let is_wide = matches!(offset, 4 | 6 | 28 | 52 | 79);
                if place == offset || (is_wide && value == 0) {
                    *buffer.get_mut(place).ok_or(Unexpected)? = value;
                }
            }
            let read = parse_propose(buffer.get(..length).ok_or(Unexpected)?);
            assert_eq!(read.err(), Some(Counter::DroppedValue));
        }
        Ok(())
    }
}
