// SPDX-License-Identifier: GPL-2.0

//! Whole views in parts, and the numbers of views that nodes tell each other.

use super::entries::{
    check_part_count, check_parts, read_member, read_reason, reason_number, write_member,
};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, ViewNumber};
use crate::protocol::limits::{DEPARTURES_IN_PART_MAX, NODES_MAX};
use crate::protocol::outputs::ChangeReason;
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::{Reader, Writer};

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

/// Reads the body of [`crate::protocol::wire::Kind::Installed`] or [`crate::protocol::wire::Kind::NotMember`].
pub fn parse_number(body: &[u8]) -> Result<ViewNumber, Counter> {
    let mut reader = Reader::new(body);
    let number = ViewNumber(reader.u64()?);
    reader.end()?;
    Ok(number)
}

/// Writes the body of [`crate::protocol::wire::Kind::Installed`] or [`crate::protocol::wire::Kind::NotMember`].
pub fn write_number(writer: &mut Writer<'_>, number: ViewNumber) -> Option<()> {
    writer.u64(number.0)
}

/// Reads the body of [`crate::protocol::wire::Kind::ViewPart`].
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

/// Writes the body of [`crate::protocol::wire::Kind::ViewPart`].
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

fn read_flagged_member(reader: &mut Reader<'_>) -> Result<(MemberRecord, bool), Counter> {
    let member = read_member(reader)?;
    Ok((member, reader.boolean()?))
}

fn read_departure(reader: &mut Reader<'_>) -> Result<(Identity, ChangeReason), Counter> {
    Ok((reader.identity()?, read_reason(reader)?))
}
