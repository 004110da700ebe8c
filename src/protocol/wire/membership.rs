// SPDX-License-Identifier: GPL-2.0

//! Messages of the membership protocol: finding a cluster, reporting changes, agreeing on views.
//!
//! Lists are read twice: once when the message is parsed, to be sure that each entry is sound, and
//! once when they are used. Long ones (a proposed view, a whole view) are cut into numbered parts of
//! at most [`PART_ENTRIES_MAX`] entries, each of which makes sense alone.

use super::{Reader, Writer};
use crate::protocol::configuration::SharedSettings;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, NodeId, PeerAddress, Slot, ViewNumber};
use crate::protocol::limits::{DEPARTURES_IN_PART_MAX, NODES_MAX, PARTS_MAX, PART_ENTRIES_MAX};
use crate::protocol::outputs::{ChangeReason, RefusalReason};
use crate::protocol::view::MemberRecord;

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

/// What one node tells coordinators about another one, or about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportRecord {
    /// A watcher does not hear the subject and probes it.
    Suspect(Identity),
    /// A watcher's probes were not answered.
    Accuse(Identity),
    /// A watcher takes back what it said of the subject.
    Clear(Identity),
    /// A coordinator has heard enough watchers: the subject is to be excluded.
    Confirm(Identity),
    /// The subject, which is the sender, wants to leave.
    Leave(Identity),
    /// A node wants to come in.
    Join(Identity, PeerAddress),
}

/// What a node that looks for a cluster is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinAnswer {
    /// The answering node looks for a cluster itself.
    Forming,
    /// There is a cluster: ask the coordinator at this address.
    Known {
        /// Where the coordinator of the asking node's arc is.
        coordinator: PeerAddress,
    },
    /// The cluster does not let the node in.
    Refused(RefusalReason),
    /// The cluster has seen a later life of this node: its next one must be later than this.
    StaleIncarnation(Incarnation),
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

/// A part of a whole view.
#[derive(Clone, Copy, Debug)]
pub struct ViewPart<'a> {
    /// The view's number.
    pub number: ViewNumber,
    /// Who issued it.
    pub issuer: NodeId,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// How many members the view has.
    pub members_total: u16,
    /// Who went lately and why (in part 0).
    pub departures: Departures<'a>,
    /// The members of this part, each with whether it may hold group messages that others lack.
    pub members: Members<'a>,
}

/// Departures that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Departures<'a>(Reader<'a>);

impl Iterator for Departures<'_> {
    type Item = (Identity, ChangeReason);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        read_departure(&mut self.0).ok()
    }
}

/// Members that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a>(Reader<'a>);

impl Iterator for Members<'_> {
    type Item = (MemberRecord, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        read_flagged_member(&mut self.0).ok()
    }
}

/// Report records that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Reports<'a>(Reader<'a>);

impl Iterator for Reports<'_> {
    type Item = ReportRecord;

    fn next(&mut self) -> Option<ReportRecord> {
        if self.0.is_empty() {
            return None;
        }
        read_report(&mut self.0).ok()
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

/// Reads the body of [`super::Kind::Join`].
pub fn parse_join(body: &[u8]) -> Result<SharedSettings, Counter> {
    let mut reader = Reader::new(body);
    let settings = SharedSettings {
        heartbeat_interval_ms: reader.u32()?,
        rings: reader.u32()?,
        confirmations: reader.u32()?,
        coordinators: reader.u32()?,
    };
    reader.end()?;
    Ok(settings)
}

/// Writes the body of [`super::Kind::Join`].
pub fn write_join(writer: &mut Writer<'_>, settings: &SharedSettings) -> Option<()> {
    writer.u32(settings.heartbeat_interval_ms)?;
    writer.u32(settings.rings)?;
    writer.u32(settings.confirmations)?;
    writer.u32(settings.coordinators)
}

/// Reads the body of [`super::Kind::JoinAnswer`].
pub fn parse_join_answer(body: &[u8]) -> Result<JoinAnswer, Counter> {
    let mut reader = Reader::new(body);
    let answer = match reader.u8()? {
        0 => JoinAnswer::Forming,
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
            _ => return Err(Counter::DroppedValue),
        }),
        3 => JoinAnswer::StaleIncarnation(Incarnation(reader.u64()?)),
        _ => return Err(Counter::DroppedValue),
    };
    reader.end()?;
    Ok(answer)
}

/// Writes the body of [`super::Kind::JoinAnswer`].
pub fn write_join_answer(writer: &mut Writer<'_>, answer: &JoinAnswer) -> Option<()> {
    match answer {
        JoinAnswer::Forming => writer.u8(0),
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
            })
        }
        JoinAnswer::StaleIncarnation(incarnation) => {
            writer.u8(3)?;
            writer.u64(incarnation.0)
        }
    }
}

/// Reads the body of [`super::Kind::Report`].
pub fn parse_reports(body: &[u8]) -> Result<Reports<'_>, Counter> {
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        read_report(&mut reader)?;
    }
    Ok(Reports(Reader::new(body)))
}

fn read_report(reader: &mut Reader<'_>) -> Result<ReportRecord, Counter> {
    let kind = reader.u8()?;
    let subject = reader.identity()?;
    Ok(match kind {
        1 => ReportRecord::Suspect(subject),
        2 => ReportRecord::Accuse(subject),
        3 => ReportRecord::Clear(subject),
        4 => ReportRecord::Confirm(subject),
        5 => ReportRecord::Leave(subject),
        6 => ReportRecord::Join(subject, reader.address()?),
        _ => return Err(Counter::DroppedValue),
    })
}

/// Writes one record of the body of [`super::Kind::Report`].
pub fn write_report(writer: &mut Writer<'_>, record: &ReportRecord) -> Option<()> {
    let (kind, subject) = match record {
        ReportRecord::Suspect(subject) => (1, subject),
        ReportRecord::Accuse(subject) => (2, subject),
        ReportRecord::Clear(subject) => (3, subject),
        ReportRecord::Confirm(subject) => (4, subject),
        ReportRecord::Leave(subject) => (5, subject),
        ReportRecord::Join(subject, _) => (6, subject),
    };
    writer.u8(kind)?;
    writer.identity(*subject)?;
    match record {
        ReportRecord::Join(_, address) => writer.address(*address),
        _ => Some(()),
    }
}

/// Reads the body of [`super::Kind::Prepare`] or [`super::Kind::Accepted`].
pub fn parse_ballot(body: &[u8]) -> Result<Ballot, Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    reader.end()?;
    Ok(ballot)
}

/// Writes the body of [`super::Kind::Prepare`] or [`super::Kind::Accepted`].
pub fn write_ballot(writer: &mut Writer<'_>, ballot: Ballot) -> Option<()> {
    ballot.write(writer)
}

/// Reads the body of [`super::Kind::Promise`].
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

/// Writes the body of [`super::Kind::Promise`] of a node that has accepted nothing.
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

/// Reads the body of [`super::Kind::Propose`].
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

fn reason_number(reason: ChangeReason) -> u8 {
    match reason {
        ChangeReason::Join => 1,
        ChangeReason::Leave => 2,
        ChangeReason::Failed => 3,
    }
}

fn read_reason(reader: &mut Reader<'_>) -> Result<ChangeReason, Counter> {
    match reader.u8()? {
        2 => Ok(ChangeReason::Leave),
        3 => Ok(ChangeReason::Failed),
        _ => Err(Counter::DroppedValue),
    }
}

fn read_member(reader: &mut Reader<'_>) -> Result<MemberRecord, Counter> {
    let identity = reader.identity()?;
    let address = reader.address()?;
    let slot = reader.u16()?;
    if slot == 0 || usize::from(slot) > NODES_MAX {
        return Err(Counter::DroppedValue);
    }
    Ok(MemberRecord {
        identity,
        address,
        slot: Slot(slot),
    })
}

fn write_member(writer: &mut Writer<'_>, member: &MemberRecord) -> Option<()> {
    writer.identity(member.identity)?;
    writer.address(member.address)?;
    writer.u16(member.slot.0)
}

fn read_flagged_member(reader: &mut Reader<'_>) -> Result<(MemberRecord, bool), Counter> {
    let member = read_member(reader)?;
    Ok((member, reader.boolean()?))
}

fn read_departure(reader: &mut Reader<'_>) -> Result<(Identity, ChangeReason), Counter> {
    Ok((reader.identity()?, read_reason(reader)?))
}

/// Reads the body of [`super::Kind::Commit`].
pub fn parse_commit(body: &[u8]) -> Result<(Ballot, ViewNumber), Counter> {
    let mut reader = Reader::new(body);
    let ballot = Ballot::parse(&mut reader)?;
    let number = ViewNumber(reader.u64()?);
    reader.end()?;
    Ok((ballot, number))
}

/// Writes the body of [`super::Kind::Commit`].
pub fn write_commit(writer: &mut Writer<'_>, ballot: Ballot, number: ViewNumber) -> Option<()> {
    ballot.write(writer)?;
    writer.u64(number.0)
}

/// Reads the body of [`super::Kind::Installed`] or [`super::Kind::NotMember`].
pub fn parse_number(body: &[u8]) -> Result<ViewNumber, Counter> {
    let mut reader = Reader::new(body);
    let number = ViewNumber(reader.u64()?);
    reader.end()?;
    Ok(number)
}

/// Writes the body of [`super::Kind::Installed`] or [`super::Kind::NotMember`].
pub fn write_number(writer: &mut Writer<'_>, number: ViewNumber) -> Option<()> {
    writer.u64(number.0)
}

/// Reads the body of [`super::Kind::ViewPart`].
pub fn parse_view_part(body: &[u8]) -> Result<ViewPart<'_>, Counter> {
    let mut reader = Reader::new(body);
    let number = ViewNumber(reader.u64()?);
    let issuer = reader.node()?;
    let part = reader.u16()?;
    let parts = reader.u16()?;
    let members_total = reader.u16()?;
    if number == ViewNumber::default() {
        return Err(Counter::DroppedValue);
    }
    check_parts(part, parts, members_total, NODES_MAX)?;
    let departures_count = usize::from(reader.u8()?);
    if departures_count > DEPARTURES_IN_PART_MAX {
        return Err(Counter::DroppedCount);
    }
    let departures = Reader::new(reader.bytes(departures_count.saturating_mul(11))?);
    let mut check = departures;
    while !check.is_empty() {
        read_departure(&mut check)?;
    }
    let members = Reader::new(reader.rest());
    let mut check = members;
    let mut count: usize = 0;
    let mut last = None;
    while !check.is_empty() {
        let (member, _) = read_flagged_member(&mut check)?;
        if last.is_some_and(|last| last >= member.identity.node) {
            return Err(Counter::DroppedValue);
        }
        last = Some(member.identity.node);
        count = count.saturating_add(1);
    }
    check_part_count(part, parts, members_total, count)?;
    Ok(ViewPart {
        number,
        issuer,
        part,
        parts,
        members_total,
        departures: Departures(departures),
        members: Members(members),
    })
}

/// What the head of a view part says; the members are written behind it.
#[derive(Clone, Copy, Debug)]
pub struct ViewPartHead<'a> {
    /// The view's number.
    pub number: ViewNumber,
    /// Who issued it.
    pub issuer: NodeId,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// How many members the view has.
    pub members_total: u16,
    /// Who went lately and why; at most [`DEPARTURES_IN_PART_MAX`].
    pub departures: &'a [(Identity, ChangeReason)],
}

/// Writes the body of [`super::Kind::ViewPart`].
pub fn write_view_part(
    writer: &mut Writer<'_>,
    head: &ViewPartHead<'_>,
    members: impl Iterator<Item = (MemberRecord, bool)>,
) -> Option<()> {
    writer.u64(head.number.0)?;
    writer.u16(head.issuer.number())?;
    writer.u16(head.part)?;
    writer.u16(head.parts)?;
    writer.u16(head.members_total)?;
    writer.u8(u8::try_from(head.departures.len()).ok()?)?;
    for (subject, reason) in head.departures {
        writer.identity(*subject)?;
        writer.u8(reason_number(*reason))?;
    }
    for (member, flag) in members {
        write_member(writer, &member)?;
        writer.boolean(flag)?;
    }
    Some(())
}

/// Whether the numbers of a part fit together.
fn check_parts(part: u16, parts: u16, total: u16, total_max: usize) -> Result<(), Counter> {
    let needed = usize::from(total).div_ceil(PART_ENTRIES_MAX).max(1);
    if part >= parts
        || usize::from(parts) != needed
        || usize::from(parts) > PARTS_MAX
        || usize::from(total) > total_max
    {
        return Err(Counter::DroppedCount);
    }
    Ok(())
}

/// Whether a part has as many entries as its place asks for: all parts but the last are full.
fn check_part_count(part: u16, parts: u16, total: u16, count: usize) -> Result<(), Counter> {
    let before = usize::from(part).saturating_mul(PART_ENTRIES_MAX);
    let expected = if part.saturating_add(1) == parts {
        usize::from(total).saturating_sub(before)
    } else {
        PART_ENTRIES_MAX
    };
    if count == expected {
        Ok(())
    } else {
        Err(Counter::DroppedCount)
    }
}
