// SPDX-License-Identifier: GPL-2.0

//! Agreeing on a view: ballots, promises, proposals in parts, the decision.

use super::entries::{
    check_part_count, check_parts, read_member, read_reason, reason_number, write_member,
};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, NodeId, ViewName, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::{Reader, Writer};

/// Names an attempt to decide on the next view. Later rounds win; within a round the higher node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Ballot {
    /// Grows with each attempt.
    pub round: u32,
    /// The coordinator that tries.
    pub coordinator: NodeId,
}

impl Ballot {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        Ok(Self {
            round: reader.u32()?,
            coordinator: reader.node()?,
        })
    }

    fn write(self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u32(self.round)?;
        writer.u16(self.coordinator.number())
    }
}

/// What a node that looks for a cluster remembers of the last primary view (in a partitionable cluster).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Seat {
    /// The first incarnation of the node that it remembers: it has forgotten nothing since then.
    pub first_incarnation: Incarnation,
    /// The primary view about whose successor its promises are, number zero if none.
    pub electorate: ViewName,
}

impl Seat {
    /// Reads one.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        Ok(Self {
            first_incarnation: Incarnation(reader.u64()?),
            electorate: read_view_name(reader)?,
        })
    }

    /// Writes it.
    pub(super) fn write(self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u64(self.first_incarnation.0)?;
        write_view_name(writer, self.electorate)
    }
}

pub(super) fn read_view_name(reader: &mut Reader<'_>) -> Result<ViewName, Counter> {
    Ok(ViewName {
        number: ViewNumber(reader.u64()?),
        issuer: reader.node()?,
    })
}

pub(super) fn write_view_name(writer: &mut Writer<'_>, name: ViewName) -> Option<()> {
    writer.u64(name.number.0)?;
    writer.u16(name.issuer.number())
}

/// A request for a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The ballot.
    pub ballot: Ballot,
    /// The primary view whose successor it is to be, as far as the coordinator knows.
    pub electorate: ViewName,
    /// The number that the view to come has, if its voters have none now: no other view that they come to has it.
    pub number: ViewNumber,
}

/// What a proposed view comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum ProposalKind {
    /// The view that its voters have.
    Successor,
    /// Nothing, and it is primary.
    First,
    /// No view, and it is a component without a quorum.
    Component,
}

/// One difference between a view and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum Change {
    /// A member goes.
    Remove {
        /// Who.
        subject: Identity,
        /// [`ChangeReason::Leave`] or [`ChangeReason::Failed`].
        reason: ChangeReason,
    },
    /// A node comes.
    Add(MemberRecord),
}

/// A part of a proposed view: the differences from the present one.
#[derive(Clone, Copy, Debug)]
pub struct ProposalPart<'a> {
    /// The coordinator that made the proposal; later ballots may carry the same proposal on.
    pub issuer: NodeId,
    /// The number of the proposed view.
    pub number: ViewNumber,
    /// What it comes from.
    pub kind: ProposalKind,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// How many changes all parts have.
    pub changes_total: u16,
    /// One bit for each member of the present view in order: whether it may hold group messages
    /// that others lack.
    pub reporters: &'a [u8],
    /// The changes of this part.
    pub changes: Changes<'a>,
}

/// Changes that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a>(Reader<'a>);

impl Iterator for Changes<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if self.0.is_empty() {
            return None;
        }
        read_change(&mut self.0).ok()
    }
}

/// An answer to a request for a promise.
#[derive(Clone, Copy, Debug)]
pub struct Promise<'a> {
    /// The highest ballot that was promised: the one asked for, or a higher one as a refusal.
    pub ballot: Ballot,
    /// The node may hold group messages that others lack.
    pub has_groups: bool,
    /// What the node remembers, if it has no view.
    pub seat: Seat,
    /// What the node has accepted already, if anything: a part of it.
    pub accepted: Option<(Ballot, ProposalPart<'a>)>,
}

/// Reads the body of [`crate::protocol::wire::Kind::Prepare`].
pub fn parse_prepare(body: &[u8]) -> Result<Prepare, Counter> {
    let mut reader = Reader::new(body);
    let prepare = Prepare {
        ballot: Ballot::parse(&mut reader)?,
        electorate: read_view_name(&mut reader)?,
        number: ViewNumber(reader.u64()?),
    };
    reader.end()?;
    Ok(prepare)
}

/// Writes the body of [`crate::protocol::wire::Kind::Prepare`].
pub fn write_prepare(writer: &mut Writer<'_>, prepare: &Prepare) -> Option<()> {
    prepare.ballot.write(writer)?;
    write_view_name(writer, prepare.electorate)?;
    writer.u64(prepare.number.0)
}

/// Reads the body of [`crate::protocol::wire::Kind::Accepted`].
pub fn parse_ballot(body: &[u8]) -> Result<Ballot, Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    reader.end()?;
    Ok(ballot)
}

/// Writes the body of [`crate::protocol::wire::Kind::Accepted`].
pub fn write_ballot(writer: &mut Writer<'_>, ballot: Ballot) -> Option<()> {
    ballot.write(writer)
}

/// Reads the body of [`crate::protocol::wire::Kind::Hold`]: the ballot, and whose fencing it waits for.
pub fn parse_hold(body: &[u8]) -> Result<(Ballot, Identity), Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    let subject = reader.identity()?;
    reader.end()?;
    Ok((ballot, subject))
}

/// Writes the body of [`crate::protocol::wire::Kind::Hold`].
pub fn write_hold(writer: &mut Writer<'_>, ballot: Ballot, subject: Identity) -> Option<()> {
    ballot.write(writer)?;
    writer.identity(subject)
}

/// Reads the body of [`crate::protocol::wire::Kind::Promise`].
pub fn parse_promise(body: &[u8]) -> Result<Promise<'_>, Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    let has_groups = reader.boolean()?;
    let seat = Seat::parse(&mut reader)?;
    let accepted = if reader.boolean()? {
        let accepted = Ballot::parse(&mut reader)?;
        Some((accepted, read_proposal_part(&mut reader)?))
    } else {
        reader.end()?;
        None
    };
    Ok(Promise {
        ballot,
        has_groups,
        seat,
        accepted,
    })
}

/// Writes the body of [`crate::protocol::wire::Kind::Promise`] of a node that has accepted nothing.
pub fn write_promise(
    writer: &mut Writer<'_>,
    ballot: Ballot,
    has_groups: bool,
    seat: Seat,
    accepted: Option<Ballot>,
) -> Option<()> {
    ballot.write(writer)?;
    writer.boolean(has_groups)?;
    seat.write(writer)?;
    writer.boolean(accepted.is_some())?;
    match accepted {
        // The caller writes a part of the proposal behind it.
        Some(accepted) => accepted.write(writer),
        None => Some(()),
    }
}

/// Reads the body of [`crate::protocol::wire::Kind::Propose`].
pub fn parse_propose(body: &[u8]) -> Result<(Ballot, ProposalPart<'_>), Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    Ok((ballot, read_proposal_part(&mut reader)?))
}

/// What the head of a proposal part says; the changes are written behind it.
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

/// Writes a part of a proposal (behind a ballot).
pub fn write_proposal_part(
    writer: &mut Writer<'_>,
    head: &ProposalHead<'_>,
    changes: &[Change],
) -> Option<()> {
    writer.u16(head.issuer.number())?;
    writer.u64(head.number.0)?;
    writer.u8(match head.kind {
        ProposalKind::Successor => 0,
        ProposalKind::First => 1,
        ProposalKind::Component => 2,
    })?;
    writer.u16(head.part)?;
    writer.u16(head.parts)?;
    writer.u16(head.changes_total)?;
    writer.u8(u8::try_from(head.reporters.len()).ok()?)?;
    writer.bytes(head.reporters)?;
    for change in changes {
        match change {
            Change::Remove { subject, reason } => {
                writer.u8(1)?;
                writer.identity(*subject)?;
                writer.u8(reason_number(*reason))?;
            }
            Change::Add(member) => {
                writer.u8(2)?;
                write_member(writer, member)?;
            }
        }
    }
    Some(())
}

fn read_proposal_part<'a>(reader: &mut Reader<'a>) -> Result<ProposalPart<'a>, Counter> {
    let issuer = reader.node()?;
    let number = ViewNumber(reader.u64()?);
    if number == ViewNumber::default() {
        return Err(Counter::DroppedValue);
    }
    let kind = match reader.u8()? {
        0 => ProposalKind::Successor,
        1 => ProposalKind::First,
        2 => ProposalKind::Component,
        _ => return Err(Counter::DroppedValue),
    };
    let part = reader.u16()?;
    let parts = reader.u16()?;
    let changes_total = reader.u16()?;
    check_parts(part, parts, changes_total, 2 * NODES_MAX)?;
    let reporters_length = usize::from(reader.u8()?);
    if reporters_length > NODES_MAX.div_ceil(8) {
        return Err(Counter::DroppedCount);
    }
    let reporters = reader.bytes(reporters_length)?;
    let changes = Reader::new(reader.rest());
    let mut check = changes;
    let mut count: usize = 0;
    while !check.is_empty() {
        read_change(&mut check)?;
        count = count.saturating_add(1);
    }
    check_part_count(part, parts, changes_total, count)?;
    Ok(ProposalPart {
        issuer,
        number,
        kind,
        part,
        parts,
        changes_total,
        reporters,
        changes: Changes(changes),
    })
}

fn read_change(reader: &mut Reader<'_>) -> Result<Change, Counter> {
    match reader.u8()? {
        1 => Ok(Change::Remove {
            subject: reader.identity()?,
            reason: read_reason(reader)?,
        }),
        2 => Ok(Change::Add(read_member(reader)?)),
        _ => Err(Counter::DroppedValue),
    }
}

/// Reads the body of [`crate::protocol::wire::Kind::Commit`].
pub fn parse_commit(body: &[u8]) -> Result<(Ballot, ViewNumber), Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    let number = ViewNumber(reader.u64()?);
    reader.end()?;
    Ok((ballot, number))
}

/// Writes the body of [`crate::protocol::wire::Kind::Commit`].
pub fn write_commit(writer: &mut Writer<'_>, ballot: Ballot, number: ViewNumber) -> Option<()> {
    ballot.write(writer)?;
    writer.u64(number.0)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_agreement))]
mod tests {
    use super::*;
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
    fn later_rounds_win_and_then_higher_nodes() {
        let ballot = |round, number| Ballot {
            round,
            coordinator: node(number),
        };
        assert!(ballot(1, 9) < ballot(2, 1));
        assert!(ballot(2, 1) < ballot(2, 2));
        assert!(ballot(u32::MAX, 1) > ballot(0, u16::MAX));
    }

    #[test]
    fn ballots_holds_and_commits_are_read_as_they_were_written() -> TestResult {
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| write_ballot(writer, BALLOT))?;
        assert_eq!(parse_ballot(body), Ok(BALLOT));
        assert_eq!(
            wrong_length_taken(body, |body| parse_ballot(body).is_ok()),
            None
        );
        assert_eq!(parse_ballot(&[0; 6]), Err(Counter::DroppedValue));
        let prepare = Prepare {
            ballot: BALLOT,
            electorate: SEAT.electorate,
            number: ViewNumber(8),
        };
        let body = written(&mut buffer, |writer| write_prepare(writer, &prepare))?;
        assert_eq!(parse_prepare(body), Ok(prepare));
        assert_eq!(
            wrong_length_taken(body, |body| parse_prepare(body).is_ok()),
            None
        );
        let subject = identity(7);
        let body = written(&mut buffer, |writer| write_hold(writer, BALLOT, subject))?;
        assert_eq!(parse_hold(body), Ok((BALLOT, subject)));
        assert_eq!(
            wrong_length_taken(body, |body| parse_hold(body).is_ok()),
            None
        );
        let number = ViewNumber(u64::MAX);
        let body = written(&mut buffer, |writer| write_commit(writer, BALLOT, number))?;
        assert_eq!(parse_commit(body), Ok((BALLOT, number)));
        assert_eq!(
            wrong_length_taken(body, |body| parse_commit(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn promises_of_who_has_accepted_nothing_are_read_as_they_were_written() -> TestResult {
        for has_groups in [false, true] {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| {
                write_promise(writer, BALLOT, has_groups, SEAT, None)
            })?;
            let promise = parse_promise(body)?;
            assert_eq!((promise.ballot, promise.has_groups), (BALLOT, has_groups));
            assert_eq!(promise.seat, SEAT);
            assert!(promise.accepted.is_none());
            assert_eq!(
                wrong_length_taken(body, |body| parse_promise(body).is_ok()),
                None
            );
        }
        Ok(())
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
