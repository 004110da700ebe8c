// SPDX-License-Identifier: GPL-2.0

//! Messages of groups. All begin with the group's number; what follows is said at each type.
//!
//! Lists are checked as a whole when a message is parsed, so that whoever reads them later meets
//! only sound entries.

mod entries;
mod flush;
mod fragments;
mod requests;
mod views;

pub use entries::{
    parse_acknowledge, parse_handover, parse_ordered, parse_positions, write_data_entry,
    write_start_head, write_view_head, EntryBody, Ordered,
};
pub use flush::{
    parse_fetch, parse_query, parse_report, write_fetch, write_query, write_report_candidate,
    write_report_log, write_report_nothing, Fetch, Report,
};
pub use fragments::{parse_data, write_fragment, Fragment, Fragments, Part, FRAGMENT_HEAD_BYTES};
pub use requests::{parse_request, write_request, Place, Request};
pub use views::{write_view, Arrival, TransitionalSet, ViewBody};

use super::{Reader, Writer};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, GroupName};
use crate::protocol::limits::GROUP_NAME_BYTES_MAX;

/// Reads the group's number from the front of a body.
pub fn read_group(reader: &mut Reader<'_>) -> Result<GroupId, Counter> {
    reader.u64().map(GroupId)
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
