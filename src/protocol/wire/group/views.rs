// SPDX-License-Identifier: GPL-2.0

//! Group views: who is in, in which slot, who is new, and who is out and why.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{EndpointId, Incarnation, MemberId, NodeId, Slot, ViewNumber};
use crate::protocol::limits::GROUP_MEMBERS_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::wire::{Reader, Writer};

/// The bit of a slot that says that its member is new.
const JOINED_BIT: u16 = 0x8000;
/// Slots are given from 1 on, and not those that the view before has: so many are enough.
const SLOTS_MAX: usize = 2 * GROUP_MEMBERS_MAX;

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

fn read_member(reader: &mut Reader<'_>) -> Result<(MemberId, Slot, bool), Counter> {
    let node = reader.node()?;
    let endpoint = EndpointId(reader.u32()?);
    let incarnation = Incarnation(reader.u64()?);
    let bits = reader.u16()?;
    let slot = bits & !JOINED_BIT;
    if slot == 0 || usize::from(slot) > SLOTS_MAX {
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
        4 => ChangeReason::Evicted,
        _ => return Err(Counter::DroppedValue),
    };
    if slot == 0 {
        return Err(Counter::DroppedValue);
    }
    Ok((Slot(slot), reason))
}

pub(super) fn read_view<'a>(reader: &mut Reader<'a>) -> Result<ViewBody<'a>, Counter> {
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
    let mut slots_taken = [false; SLOTS_MAX];
    while !check.is_empty() {
        let (member, slot, _) = read_member(&mut check)?;
        let key = (member.node, member.endpoint);
        let is_taken = slots_taken
            .get_mut(usize::from(slot.0).saturating_sub(1))
            .is_none_or(|taken| core::mem::replace(taken, true));
        if is_taken || before.is_some_and(|before| before >= key) {
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
            ChangeReason::Evicted => 4,
            ChangeReason::Leave | ChangeReason::Join => 2,
        })?;
    }
    Some(())
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_views)
)]
mod tests {
    use super::*;
    use crate::protocol::test_support::{node, written, wrong_length_taken, TestResult};

    const HEAD_BYTES: usize = 12;
    const MEMBER_BYTES: usize = 16;
    const LEFT: [(Slot, ChangeReason); 2] = [
        (Slot(9), ChangeReason::Leave),
        (Slot(128), ChangeReason::Failed),
    ];

    fn member(number: u16, endpoint: u32) -> MemberId {
        MemberId {
            node: node(number),
            endpoint: EndpointId(endpoint),
            incarnation: Incarnation(u64::from(number) << 40 | 7),
        }
    }

    fn members() -> [(MemberId, Slot, bool); 3] {
        [
            (member(3, 1), Slot(1), false),
            (member(3, 2), Slot(128), true),
            (member(700, 1), Slot(2), false),
        ]
    }

    fn write(writer: &mut Writer<'_>) -> Option<()> {
        write_view(
            writer,
            ViewNumber(u64::MAX),
            node(700),
            members().into_iter(),
            &LEFT,
        )
    }

    fn read(body: &[u8]) -> Result<ViewBody<'_>, Counter> {
        let mut reader = Reader::new(body);
        let view = read_view(&mut reader)?;
        reader.end()?;
        Ok(view)
    }

    /// What is said of the written view after the bytes at `place` were replaced.
    fn read_changed(place: usize, bytes: &[u8]) -> Option<Counter> {
        let mut buffer = [0; 128];
        let length = written(&mut buffer, write).ok()?.len();
        let target = buffer.get_mut(place..place.checked_add(bytes.len())?)?;
        target.copy_from_slice(bytes);
        read(buffer.get(..length)?).err()
    }

    #[test]
    fn a_view_is_read_as_it_was_written() -> TestResult {
        let mut buffer = [0; 128];
        let body = written(&mut buffer, write)?;
        let view = read(body)?;
        assert_eq!(view.number, ViewNumber(u64::MAX));
        assert_eq!(view.coordinator, node(700));
        assert_eq!((view.member_count, view.left_count()), (3, 2));
        assert!(view.members().eq(members()));
        assert!(view.left().eq(LEFT));
        assert_eq!(wrong_length_taken(body, |body| read(body).is_ok()), None);
        Ok(())
    }

    #[test]
    fn a_view_without_members_is_a_view() -> TestResult {
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| {
            write_view(writer, ViewNumber(5), node(1), [].into_iter(), &[])
        })?;
        let view = read(body)?;
        assert_eq!((view.members().count(), view.left().count()), (0, 0));
        Ok(())
    }

    #[test]
    fn more_members_than_a_group_has_are_refused() {
        let too_many = u8::try_from(GROUP_MEMBERS_MAX.saturating_add(1)).unwrap_or(u8::MAX);
        for place in [HEAD_BYTES - 2, HEAD_BYTES - 1] {
            let refused = read_changed(place, &[too_many]);
            assert_eq!(refused, Some(Counter::DroppedCount));
        }
    }

    #[test]
    fn members_out_of_order_or_twice_are_refused() {
        let second = HEAD_BYTES + MEMBER_BYTES;
        for endpoint in [0_u32, 1] {
            let refused = read_changed(second + 2, &endpoint.to_be_bytes());
            assert_eq!(refused, Some(Counter::DroppedValue));
        }
        let lower_node = read_changed(second, &[0, 2]);
        assert_eq!(lower_node, Some(Counter::DroppedValue));
        let no_node = read_changed(HEAD_BYTES, &[0, 0]);
        assert_eq!(no_node, Some(Counter::DroppedValue));
    }

    #[test]
    fn a_slot_is_one_members_and_within_bounds() {
        let slot = HEAD_BYTES + MEMBER_BYTES + 14;
        // The first member's, with and without the mark of one that is new; none; too high.
        for bytes in [[0, 1], [0x80, 1], [0, 0], [0x80, 0], [0, 129], [0x7f, 0xff]] {
            assert_eq!(read_changed(slot, &bytes), Some(Counter::DroppedValue));
        }
        assert_eq!(read_changed(slot, &[0, 127]), None);
    }

    #[test]
    fn who_is_out_has_a_slot_and_a_reason() {
        let left = HEAD_BYTES + 3 * MEMBER_BYTES;
        assert_eq!(read_changed(left, &[0]), Some(Counter::DroppedValue));
        for reason in [0, 1, 5, 255] {
            let refused = read_changed(left + 1, &[reason]);
            assert_eq!(refused, Some(Counter::DroppedValue));
        }
    }

    #[test]
    fn a_buffer_that_is_too_short_gets_no_view() {
        let mut buffer = [0; HEAD_BYTES + 3 * MEMBER_BYTES + 3];
        assert!(written(&mut buffer, write).is_err());
    }
}
