// SPDX-License-Identifier: GPL-2.0

//! The number and the name of a group, with which its messages begin.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{GroupId, GroupName};
use crate::protocol::limits::GROUP_NAME_BYTES_MAX;
use crate::protocol::wire::{Reader, Writer};

/// Read the number of the group from the front of a body.
pub fn read_group(reader: &mut Reader<'_>) -> Result<GroupId, Counter> {
    reader.read()
}

/// Read the length and the bytes of a group's name, which must be the one that `group` stands for.
pub(super) fn read_name(reader: &mut Reader<'_>, group: GroupId) -> Result<GroupName, Counter> {
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

/// Write the length and the bytes of a group's name.
pub(super) fn write_name(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.u8(u8::try_from(name.as_bytes().len()).ok()?)?;
    writer.bytes(name.as_bytes())
}

/// Write a group's number and its name.
pub(super) fn write_group_and_name(writer: &mut Writer<'_>, name: &GroupName) -> Option<()> {
    writer.write(&name.id())?;
    write_name(writer, name)
}
