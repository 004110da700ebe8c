// SPDX-License-Identifier: GPL-2.0

//! What the entries of several messages have in common: reasons, members, and the counts of parts.

use crate::protocol::errors::Counter;
use crate::protocol::identity::Slot;
use crate::protocol::limits::{NODES_MAX, PARTS_MAX, PART_ENTRIES_MAX};
use crate::protocol::view::{ChangeReason, MemberRecord};
use crate::protocol::wire::{Reader, Writer};

pub(super) fn reason_number(reason: ChangeReason) -> u8 {
    match reason {
        ChangeReason::Join => 1,
        ChangeReason::Leave => 2,
        ChangeReason::Failed => 3,
        ChangeReason::Evicted => 4,
    }
}

pub(super) fn read_reason(reader: &mut Reader<'_>) -> Result<ChangeReason, Counter> {
    match reader.u8()? {
        2 => Ok(ChangeReason::Leave),
        3 => Ok(ChangeReason::Failed),
        4 => Ok(ChangeReason::Evicted),
        _ => Err(Counter::DroppedValue),
    }
}

pub(super) fn read_member(reader: &mut Reader<'_>) -> Result<MemberRecord, Counter> {
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

pub(super) fn write_member(writer: &mut Writer<'_>, member: &MemberRecord) -> Option<()> {
    writer.identity(member.identity)?;
    writer.address(member.address)?;
    writer.u16(member.slot.0)
}

/// Whether the numbers of a part fit together.
pub(super) fn check_parts(
    part: u16,
    parts: u16,
    total: u16,
    total_max: usize,
) -> Result<(), Counter> {
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
pub(super) fn check_part_count(
    part: u16,
    parts: u16,
    total: u16,
    count: usize,
) -> Result<(), Counter> {
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
