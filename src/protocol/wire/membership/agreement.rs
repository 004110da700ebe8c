// SPDX-License-Identifier: GPL-2.0

//! Agreeing on a view: ballots, promises, proposals in parts, the decision.

use super::entries::{
    check_part_count, check_parts, read_member, read_reason, reason_number, write_member,
};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::{Reader, Writer};

/// Names an attempt to decide on the next view. Later rounds win; within a round the higher node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// One difference between a view and the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// What the node has accepted already, if anything: a part of it.
    pub accepted: Option<(Ballot, ProposalPart<'a>)>,
}

/// Reads the body of [`crate::protocol::wire::Kind::Prepare`] or [`crate::protocol::wire::Kind::Accepted`].
pub fn parse_ballot(body: &[u8]) -> Result<Ballot, Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    reader.end()?;
    Ok(ballot)
}

/// Writes the body of [`crate::protocol::wire::Kind::Prepare`] or [`crate::protocol::wire::Kind::Accepted`].
pub fn write_ballot(writer: &mut Writer<'_>, ballot: Ballot) -> Option<()> {
    ballot.write(writer)
}

/// Reads the body of [`crate::protocol::wire::Kind::Promise`].
pub fn parse_promise(body: &[u8]) -> Result<Promise<'_>, Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    let has_groups = reader.boolean()?;
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
        accepted,
    })
}

/// Writes the body of [`crate::protocol::wire::Kind::Promise`] of a node that has accepted nothing.
pub fn write_promise(
    writer: &mut Writer<'_>,
    ballot: Ballot,
    has_groups: bool,
    accepted: Option<Ballot>,
) -> Option<()> {
    ballot.write(writer)?;
    writer.boolean(has_groups)?;
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
