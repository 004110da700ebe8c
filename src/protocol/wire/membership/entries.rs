// SPDX-License-Identifier: GPL-2.0

//! What several messages have in common: members, and the counts of messages in parts.

use crate::protocol::errors::Counter;
use crate::protocol::identity::Slot;
use crate::protocol::limits::{NODES_MAX, PARTS_MAX, PART_ENTRIES_MAX};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::{Decode, Encode, Reader, Writer};

/// In this order: `identity` `address` `slot`, which is 1 to [`NODES_MAX`].
impl Decode<'_> for MemberRecord {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        let identity = reader.read()?;
        let address = reader.read()?;
        let slot = reader.u16()?;
        if slot == 0 || usize::from(slot) > NODES_MAX {
            return Err(Counter::DroppedValue);
        }
        Ok(Self {
            identity,
            address,
            slot: Slot(slot),
        })
    }
}

impl Encode for MemberRecord {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.write(&self.identity)?;
        writer.write(&self.address)?;
        writer.u16(self.slot.0)
    }
}

/// Demand that there are as many parts as `total` entries need, that `part` is one of them, and that the entries are at most
/// `total_max`.
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

/// Demand that a part has as many entries as its place asks for: all parts but the last are full.
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
