// SPDX-License-Identifier: GPL-2.0

//! Messages of groups. All begin with the group's number; what follows is said at each type.
//!
//! Lists are checked as a whole when a message is parsed, so that whoever reads them later meets
//! only sound entries.

use super::{Reader, Writer};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{
    EndpointId, GroupId, GroupName, Incarnation, MemberId, NodeId, Slot, ViewNumber,
};
use crate::protocol::limits::{
    FRAGMENT_BYTES_MAX, GROUP_MEMBERS_MAX, GROUP_NAME_BYTES_MAX, MESSAGE_BYTES_MAX,
    MESSAGE_FRAGMENTS_MAX,
};
use crate::protocol::outputs::{ChangeReason, Order};

/// Bytes of a data entry or fragment without its payload, at most.
pub const FRAGMENT_HEAD_BYTES: usize = 32;
/// The bit of a slot that says that its member is new.
const JOINED_BIT: u16 = 0x8000;

/// What an endpoint asks of its group's coordinator, or is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Let me in.
    Join,
    /// Let me go.
    Leave,
    /// The answer to [`Self::Leave`] if the endpoint is not known.
    Gone,
}

/// One fragment of a message on its way to the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Who sends it.
    pub endpoint: EndpointId,
    /// The sender's oldest message that it has not seen ordered.
    pub oldest: u64,
    /// What it is a part of.
    pub part: Part,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Which part of which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The order that was asked for.
    pub order: Order,
    /// The sender's number of the message.
    pub sequence: u64,
    /// Which fragment, from 0.
    pub fragment: u16,
    /// How many fragments the message has.
    pub fragments: u16,
}

impl Part {
    /// Whether it is the message's last fragment.
    pub fn is_last(&self) -> bool {
        self.fragment.saturating_add(1) == self.fragments
    }
}

/// A group view on the wire.
#[derive(Clone, Copy, Debug)]
pub struct ViewBody<'a> {
    /// Its number.
    pub number: ViewNumber,
    /// Who issued it.
    pub coordinator: NodeId,
    /// How many members it has.
    pub member_count: usize,
    members: Reader<'a>,
    left: Reader<'a>,
}

impl ViewBody<'_> {
    /// The members, sorted by node and endpoint, with their slots and whether they are new.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, Slot, bool)> + '_ {
        let mut reader = self.members;
        core::iter::from_fn(move || read_member(&mut reader).ok())
    }

    /// The slots of members of the last view that are out, with the reason.
    pub fn left(&self) -> impl Iterator<Item = (Slot, ChangeReason)> + '_ {
        let mut reader = self.left;
        core::iter::from_fn(move || read_left(&mut reader).ok())
    }

    /// How many are out.
    pub fn left_count(&self) -> usize {
        self.left().count()
    }
}

/// One entry of a group's log.
#[derive(Clone, Copy, Debug)]
pub enum EntryBody<'a> {
    /// A fragment of a message.
    Data {
        /// The sender's slot in the view that is in force.
        slot: Slot,
        /// Which fragment.
        part: Part,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A new view.
    View(ViewBody<'a>),
    /// The first view in a cluster view: says what became of the log before.
    Start {
        /// The cluster view of the log before; zero: there is none.
        previous: ViewNumber,
        /// The last entry of that log that counts.
        last: u64,
        /// The view.
        view: ViewBody<'a>,
    },
}

/// Ordered entries, one after the other from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a> {
    /// The position of the first entry.
    pub first: u64,
    /// All members have everything up to here.
    pub stable: u64,
    entries: Reader<'a>,
}

impl<'a> Ordered<'a> {
    /// The entries.
    pub fn entries(&self) -> impl Iterator<Item = EntryBody<'a>> + 'a {
        let mut reader = self.entries;
        core::iter::from_fn(move || {
            if reader.is_empty() {
                None
            } else {
                read_entry(&mut reader).ok()
            }
        })
    }
}

/// What a node holds of a group.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// Nothing.
    Nothing,
    /// A log.
    Log {
        /// Of which cluster view.
        epoch: ViewNumber,
        /// All entries up to here.
        accepted: u64,
        /// Another report tells of the start of a later log, which is not known to be held by all.
        has_candidate: bool,
        /// The view that is in force after the last accepted entry.
        view: ViewBody<'a>,
    },
    /// The start of a later log.
    Candidate {
        /// Of which cluster view.
        epoch: ViewNumber,
        /// Whether the node has a log of an earlier one too, told of in another report.
        has_log: bool,
        /// Its view.
        view: ViewBody<'a>,
    },
}

/// Reads the group's number from the front of a body.
pub fn read_group(reader: &mut Reader<'_>) -> Result<GroupId, Counter> {
    reader.u64().map(GroupId)
}

/// Reads the rest of [`super::Kind::GroupRequest`].
pub fn parse_request(
    mut reader: Reader<'_>,
    group: GroupId,
) -> Result<(Request, EndpointId, GroupName), Counter> {
    let request = match reader.u8()? {
        1 => Request::Join,
        2 => Request::Leave,
        3 => Request::Gone,
        _ => return Err(Counter::DroppedValue),
    };
    let endpoint = EndpointId(reader.u32()?);
    let name = read_name(&mut reader, group)?;
    reader.end()?;
    Ok((request, endpoint, name))
}

/// Writes [`super::Kind::GroupRequest`].
pub fn write_request(
    writer: &mut Writer<'_>,
    name: &GroupName,
    request: Request,
    endpoint: EndpointId,
) -> Option<()> {
    writer.u64(name.id().0)?;
    writer.u8(match request {
        Request::Join => 1,
        Request::Leave => 2,
        Request::Gone => 3,
    })?;
    writer.u32(endpoint.0)?;
    write_name(writer, name)
}

fn read_name(reader: &mut Reader<'_>, group: GroupId) -> Result<GroupName, Counter> {
    let length = usize::from(reader.u8()?);
    if length > GROUP_NAME_BYTES_MAX {
        return Err(Counter::DroppedCount);
    }
    let name = GroupName::new(reader.bytes(length)?).ok_or(Counter::DroppedValue)?;
    if name.id() != group {
        return Err(Counter::DroppedValue);
    }
    Ok(name)
}

fn write_name(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.u8(u8::try_from(name.as_bytes().len()).ok()?)?;
    writer.bytes(name.as_bytes())
}

fn read_order(reader: &mut Reader<'_>) -> Result<Order, Counter> {
    match reader.u8()? {
        1 => Ok(Order::Fifo),
        2 => Ok(Order::Causal),
        3 => Ok(Order::Agreed),
        _ => Err(Counter::DroppedValue),
    }
}

fn write_order(writer: &mut Writer<'_>, order: Order) -> Option<()> {
    writer.u8(match order {
        Order::Fifo => 1,
        Order::Causal => 2,
        Order::Agreed => 3,
    })
}

fn read_part<'a>(reader: &mut Reader<'a>) -> Result<(Part, &'a [u8]), Counter> {
    let order = read_order(reader)?;
    let sequence = reader.u64()?;
    let fragment = reader.u16()?;
    let fragments = reader.u16()?;
    let length = usize::from(reader.u16()?);
    if fragment >= fragments
        || usize::from(fragments) > MESSAGE_FRAGMENTS_MAX
        || length > FRAGMENT_BYTES_MAX
        || sequence == 0
    {
        return Err(Counter::DroppedCount);
    }
    let part = Part {
        order,
        sequence,
        fragment,
        fragments,
    };
    // All but the last are full, so that the length of the whole is bounded.
    let is_full = length == FRAGMENT_BYTES_MAX;
    let before = usize::from(fragment).saturating_mul(FRAGMENT_BYTES_MAX);
    if (!part.is_last() && !is_full) || before.saturating_add(length) > MESSAGE_BYTES_MAX {
        return Err(Counter::DroppedCount);
    }
    Ok((part, reader.bytes(length)?))
}

fn write_part(writer: &mut Writer<'_>, part: &Part, bytes: &[u8]) -> Option<()> {
    write_order(writer, part.order)?;
    writer.u64(part.sequence)?;
    writer.u16(part.fragment)?;
    writer.u16(part.fragments)?;
    writer.u16(u16::try_from(bytes.len()).ok()?)?;
    writer.bytes(bytes)
}

fn read_fragment<'a>(reader: &mut Reader<'a>) -> Result<Fragment<'a>, Counter> {
    let endpoint = EndpointId(reader.u32()?);
    let oldest = reader.u64()?;
    let (part, bytes) = read_part(reader)?;
    if oldest == 0 || oldest > part.sequence {
        return Err(Counter::DroppedValue);
    }
    Ok(Fragment {
        endpoint,
        oldest,
        part,
        bytes,
    })
}

/// Fragments that were checked.
#[derive(Clone, Copy, Debug)]
pub struct Fragments<'a>(Reader<'a>);

impl<'a> Iterator for Fragments<'a> {
    type Item = Fragment<'a>;

    fn next(&mut self) -> Option<Fragment<'a>> {
        if self.0.is_empty() {
            return None;
        }
        read_fragment(&mut self.0).ok()
    }
}

/// Reads the rest of [`super::Kind::GroupData`].
pub fn parse_data(reader: Reader<'_>) -> Result<Fragments<'_>, Counter> {
    let mut check = reader;
    while !check.is_empty() {
        read_fragment(&mut check)?;
    }
    Ok(Fragments(reader))
}

/// Writes one fragment behind the group's number and other fragments.
pub fn write_fragment(writer: &mut Writer<'_>, fragment: &Fragment<'_>) -> Option<()> {
    writer.u32(fragment.endpoint.0)?;
    writer.u64(fragment.oldest)?;
    write_part(writer, &fragment.part, fragment.bytes)
}

fn read_member(reader: &mut Reader<'_>) -> Result<(MemberId, Slot, bool), Counter> {
    let node = reader.node()?;
    let endpoint = EndpointId(reader.u32()?);
    let incarnation = Incarnation(reader.u64()?);
    let bits = reader.u16()?;
    let slot = bits & !JOINED_BIT;
    if slot == 0 || usize::from(slot) > 2 * GROUP_MEMBERS_MAX {
        return Err(Counter::DroppedValue);
    }
    let member = MemberId {
        node,
        endpoint,
        incarnation,
    };
    Ok((member, Slot(slot), bits & JOINED_BIT != 0))
}

fn read_left(reader: &mut Reader<'_>) -> Result<(Slot, ChangeReason), Counter> {
    let slot = u16::from(reader.u8()?);
    let reason = match reader.u8()? {
        2 => ChangeReason::Leave,
        3 => ChangeReason::Failed,
        _ => return Err(Counter::DroppedValue),
    };
    if slot == 0 {
        return Err(Counter::DroppedValue);
    }
    Ok((Slot(slot), reason))
}

fn read_view<'a>(reader: &mut Reader<'a>) -> Result<ViewBody<'a>, Counter> {
    let number = ViewNumber(reader.u64()?);
    let coordinator = reader.node()?;
    let member_count = usize::from(reader.u8()?);
    let left_count = usize::from(reader.u8()?);
    if member_count > GROUP_MEMBERS_MAX || left_count > GROUP_MEMBERS_MAX {
        return Err(Counter::DroppedCount);
    }
    let members = Reader::new(reader.bytes(member_count.saturating_mul(16))?);
    let left = Reader::new(reader.bytes(left_count.saturating_mul(2))?);
    let mut check = members;
    let mut before = None;
    while !check.is_empty() {
        let (member, _, _) = read_member(&mut check)?;
        let key = (member.node, member.endpoint);
        if before.is_some_and(|before| before >= key) {
            return Err(Counter::DroppedValue);
        }
        before = Some(key);
    }
    let mut check = left;
    while !check.is_empty() {
        read_left(&mut check)?;
    }
    Ok(ViewBody {
        number,
        coordinator,
        member_count,
        members,
        left,
    })
}

/// Writes a view; the lists as [`ViewBody`] gives them.
pub fn write_view(
    writer: &mut Writer<'_>,
    number: ViewNumber,
    coordinator: NodeId,
    members: impl ExactSizeIterator<Item = (MemberId, Slot, bool)>,
    left: &[(Slot, ChangeReason)],
) -> Option<()> {
    writer.u64(number.0)?;
    writer.u16(coordinator.number())?;
    writer.u8(u8::try_from(members.len()).ok()?)?;
    writer.u8(u8::try_from(left.len()).ok()?)?;
    for (member, slot, is_new) in members {
        writer.u16(member.node.number())?;
        writer.u32(member.endpoint.0)?;
        writer.u64(member.incarnation.0)?;
        writer.u16(slot.0 | if is_new { JOINED_BIT } else { 0 })?;
    }
    for (slot, reason) in left {
        writer.u8(u8::try_from(slot.0).ok()?)?;
        writer.u8(match reason {
            ChangeReason::Failed => 3,
            ChangeReason::Leave | ChangeReason::Join => 2,
        })?;
    }
    Some(())
}

fn read_entry<'a>(reader: &mut Reader<'a>) -> Result<EntryBody<'a>, Counter> {
    Ok(match reader.u8()? {
        1 => {
            let slot = reader.u16()?;
            let (part, bytes) = read_part(reader)?;
            EntryBody::Data {
                slot: Slot(slot),
                part,
                bytes,
            }
        }
        2 => EntryBody::View(read_view(reader)?),
        3 => EntryBody::Start {
            previous: ViewNumber(reader.u64()?),
            last: reader.u64()?,
            view: read_view(reader)?,
        },
        _ => return Err(Counter::DroppedValue),
    })
}

/// Writes the head of a data entry and its bytes.
pub fn write_data_entry(
    writer: &mut Writer<'_>,
    slot: Slot,
    part: &Part,
    bytes: &[u8],
) -> Option<()> {
    writer.u8(1)?;
    writer.u16(slot.0)?;
    write_part(writer, part, bytes)
}

/// Writes what stands before the view in a view entry.
pub fn write_view_head(writer: &mut Writer<'_>) -> Option<()> {
    writer.u8(2)
}

/// Writes what stands before the view in a start entry.
pub fn write_start_head(writer: &mut Writer<'_>, previous: ViewNumber, last: u64) -> Option<()> {
    writer.u8(3)?;
    writer.u64(previous.0)?;
    writer.u64(last)
}

/// Reads the rest of [`super::Kind::GroupOrdered`].
pub fn parse_ordered(mut reader: Reader<'_>) -> Result<Ordered<'_>, Counter> {
    let stable = reader.u64()?;
    parse_entries(reader, stable)
}

fn parse_entries(mut reader: Reader<'_>, stable: u64) -> Result<Ordered<'_>, Counter> {
    let first = reader.u64()?;
    if first == 0 {
        return Err(Counter::DroppedValue);
    }
    let mut check = reader;
    while !check.is_empty() {
        read_entry(&mut check)?;
    }
    Ok(Ordered {
        first,
        stable,
        entries: reader,
    })
}

/// Reads the rest of [`super::Kind::GroupHandover`]: the cluster view of the log, and entries.
pub fn parse_handover(mut reader: Reader<'_>) -> Result<(ViewNumber, Ordered<'_>), Counter> {
    let epoch = ViewNumber(reader.u64()?);
    Ok((epoch, parse_entries(reader, 0)?))
}

/// Reads the rest of [`super::Kind::GroupAcknowledge`]: everything up to here has come.
pub fn parse_acknowledge(mut reader: Reader<'_>) -> Result<u64, Counter> {
    let accepted = reader.u64()?;
    reader.end()?;
    Ok(accepted)
}

/// Reads the rest of [`super::Kind::GroupMissing`] or [`super::Kind::GroupStatus`]: two positions.
pub fn parse_positions(mut reader: Reader<'_>) -> Result<(u64, u64), Counter> {
    let positions = (reader.u64()?, reader.u64()?);
    reader.end()?;
    Ok(positions)
}

/// Reads the rest of [`super::Kind::GroupQuery`].
pub fn parse_query(mut reader: Reader<'_>, group: GroupId) -> Result<GroupName, Counter> {
    let name = read_name(&mut reader, group)?;
    reader.end()?;
    Ok(name)
}

/// Writes the body of [`super::Kind::GroupQuery`].
pub fn write_query(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)
}

/// A request to hand entries on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The cluster view of the log.
    pub epoch: ViewNumber,
    /// The first entry.
    pub from: u64,
    /// The last entry.
    pub to: u64,
    /// Whom to hand them to.
    pub receiver: NodeId,
}

/// Reads the rest of [`super::Kind::GroupFetch`].
pub fn parse_fetch(mut reader: Reader<'_>) -> Result<Fetch, Counter> {
    let fetch = Fetch {
        epoch: ViewNumber(reader.u64()?),
        from: reader.u64()?,
        to: reader.u64()?,
        receiver: reader.node()?,
    };
    reader.end()?;
    Ok(fetch)
}

/// Writes the body of [`super::Kind::GroupFetch`].
pub fn write_fetch(writer: &mut Writer<'_>, group: GroupId, fetch: &Fetch) -> Option<()> {
    writer.u64(group.0)?;
    writer.u64(fetch.epoch.0)?;
    writer.u64(fetch.from)?;
    writer.u64(fetch.to)?;
    writer.u16(fetch.receiver.number())
}

/// Reads the rest of [`super::Kind::GroupReport`].
pub fn parse_report(
    mut reader: Reader<'_>,
    group: GroupId,
) -> Result<(GroupName, Report<'_>), Counter> {
    let name = read_name(&mut reader, group)?;
    let report = match reader.u8()? {
        0 => Report::Nothing,
        1 => Report::Log {
            epoch: ViewNumber(reader.u64()?),
            accepted: reader.u64()?,
            has_candidate: reader.boolean()?,
            view: read_view(&mut reader)?,
        },
        2 => Report::Candidate {
            epoch: ViewNumber(reader.u64()?),
            has_log: reader.boolean()?,
            view: read_view(&mut reader)?,
        },
        _ => return Err(Counter::DroppedValue),
    };
    reader.end()?;
    Ok((name, report))
}

/// Writes the body of [`super::Kind::GroupReport`] of a node that holds nothing.
pub fn write_report_nothing(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(0)
}

/// Writes what stands before the view in the report of a log.
pub fn write_report_log(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    accepted: u64,
    has_candidate: bool,
) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(1)?;
    writer.u64(epoch.0)?;
    writer.u64(accepted)?;
    writer.boolean(has_candidate)
}

/// Writes what stands before the view in the report of a candidate.
pub fn write_report_candidate(
    writer: &mut Writer<'_>,
    name: &GroupName,
    epoch: ViewNumber,
    has_log: bool,
) -> Option<()> {
    writer.u64(name.id().0)?;
    write_name(writer, name)?;
    writer.u8(2)?;
    writer.u64(epoch.0)?;
    writer.boolean(has_log)
}
