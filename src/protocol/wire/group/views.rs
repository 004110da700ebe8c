// SPDX-License-Identifier: GPL-2.0

//! Group views: the members and their slots, how each came to the view, who left and why, and which members come
//! together from another component of the cluster (transitional sets).

use crate::protocol::errors::Counter;
use crate::protocol::identity::{MemberId, NodeId, Slot, ViewKey, ViewNumber};
use crate::protocol::limits::{GROUP_MEMBERS_MAX, TRANSITIONAL_SETS_MAX};
use crate::protocol::view::ChangeReason;
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, Encode, List, Reader, Writer};

/// The bit of a slot that is set if its member is new.
const JOINED_BIT: u16 = 0x8000;
/// The bits of a slot that hold the set in which its member, which is new, came: one more than the position of the set.
const SET_BITS: u16 = 0x7000;
const SET_SHIFT: u32 = 12;
/// Slots are given from 1 on, without those of the view before: so many are enough.
const SLOTS_MAX: usize = 2 * GROUP_MEMBERS_MAX;
/// Bytes of a member with its slot.
const MEMBER_BYTES: usize = 16;
/// Bytes of the slot of a member that left, with the reason.
const LEFT_BYTES: usize = 2;
/// Bytes of a transitional set.
const SET_BYTES: usize = 16;

/// How a member came to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum Arrival {
    /// From the group's view before.
    Along,
    /// By itself.
    New,
    /// From another component of the cluster, with all others of the set at this position.
    Together(u8),
}

/// Members that come together from one view of another component of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct TransitionalSet {
    /// The cluster view that they come from.
    pub cluster_view: ViewKey,
    /// The last entry of the group's log there that they all deliver.
    pub last: u64,
}

layout!(struct TransitionalSet { cluster_view, last });

const _: () = assert!(TRANSITIONAL_SETS_MAX < (SET_BITS >> SET_SHIFT) as usize);

/// A group view on the wire.
///
/// In this order: `number`, `coordinator`, one byte each with the numbers of members, of members that left and of sets,
/// then these lists. A member is its [`MemberId`] and its slot, whose upper bits hold its [`Arrival`]; a member that
/// left is its slot, in one byte, and the reason.
#[derive(Clone, Copy, Debug)]
pub struct ViewBody<'a> {
    /// Its number.
    pub number: ViewNumber,
    /// The node that issued it.
    pub coordinator: NodeId,
    /// How many members it has.
    pub member_count: usize,
    members: List<'a, Member>,
    left: List<'a, Left>,
    sets: List<'a, TransitionalSet>,
}

/// A member, its slot, and how it came.
#[derive(Clone, Copy, Debug)]
struct Member(MemberId, Slot, Arrival);

/// The slot of a member that left, and the reason.
#[derive(Clone, Copy, Debug)]
struct Left(Slot, ChangeReason);

impl<'a> ViewBody<'a> {
    /// The members, sorted by node and endpoint, with their slots and how they came.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, Slot, Arrival)> + 'a {
        self.members
            .map(|Member(id, slot, arrival)| (id, slot, arrival))
    }

    /// The slots of members of the last view that left, with the reason.
    pub fn left(&self) -> impl Iterator<Item = (Slot, ChangeReason)> + 'a {
        self.left.map(|Left(slot, reason)| (slot, reason))
    }

    /// How many left.
    pub fn left_count(&self) -> usize {
        self.left.count()
    }

    /// The sets in which members came.
    pub fn sets(&self) -> List<'a, TransitionalSet> {
        self.sets
    }

    /// How many sets there are.
    pub fn set_count(&self) -> usize {
        self.sets.count()
    }
}

impl Decode<'_> for Member {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        let member = reader.read()?;
        let bits = reader.u16()?;
        let slot = bits & !(JOINED_BIT | SET_BITS);
        if slot == 0 || usize::from(slot) > SLOTS_MAX {
            return Err(Counter::DroppedValue);
        }
        let set = u8::try_from((bits & SET_BITS) >> SET_SHIFT).unwrap_or(u8::MAX);
        let arrival = match (bits & JOINED_BIT != 0, set.checked_sub(1)) {
            (true, Some(position)) => Arrival::Together(position),
            (true, None) => Arrival::New,
            (false, None) => Arrival::Along,
            (false, Some(_)) => return Err(Counter::DroppedValue),
        };
        Ok(Self(member, Slot(slot), arrival))
    }
}

impl Encode for Member {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        let Self(member, slot, arrival) = self;
        writer.write(member)?;
        let bits = match arrival {
            Arrival::Along => 0,
            Arrival::New => JOINED_BIT,
            Arrival::Together(position) => {
                JOINED_BIT | u16::from(position.checked_add(1)?).checked_shl(SET_SHIFT)? & SET_BITS
            }
        };
        writer.u16(slot.0 | bits)
    }
}

impl Decode<'_> for Left {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        let slot = u16::from(reader.u8()?);
        let reason = reader.read()?;
        if slot == 0 {
            return Err(Counter::DroppedValue);
        }
        Ok(Self(Slot(slot), reason))
    }
}

impl Encode for Left {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        let Self(slot, reason) = self;
        writer.u8(u8::try_from(slot.0).ok()?)?;
        writer.write(reason)
    }
}

impl<'a> Decode<'a> for ViewBody<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        let number = reader.read()?;
        let coordinator = reader.read()?;
        let member_count = usize::from(reader.u8()?);
        let left_count = usize::from(reader.u8()?);
        let set_count = usize::from(reader.u8()?);
        if member_count > GROUP_MEMBERS_MAX
            || left_count > GROUP_MEMBERS_MAX
            || set_count > TRANSITIONAL_SETS_MAX
        {
            return Err(Counter::DroppedCount);
        }
        let members = reader.bytes(member_count.saturating_mul(MEMBER_BYTES))?;
        let left = reader.bytes(left_count.saturating_mul(LEFT_BYTES))?;
        let sets = reader.bytes(set_count.saturating_mul(SET_BYTES))?;
        let mut last = None;
        let mut slots_taken = [false; SLOTS_MAX];
        let members = List::parse_checked(members, |Member(member, slot, arrival)| {
            if matches!(arrival, Arrival::Together(position) if usize::from(*position) >= set_count)
            {
                return Err(Counter::DroppedValue);
            }
            let key = (member.node, member.endpoint);
            let is_taken = slots_taken
                .get_mut(usize::from(slot.0).saturating_sub(1))
                .is_none_or(|taken| core::mem::replace(taken, true));
            if is_taken || last.is_some_and(|last| last >= key) {
                return Err(Counter::DroppedValue);
            }
            last = Some(key);
            Ok(())
        })?;
        Ok(ViewBody {
            number,
            coordinator,
            member_count,
            members,
            left: List::parse(left)?,
            sets: List::parse(sets)?,
        })
    }
}

/// Write a view; the lists as [`ViewBody`] gives them.
pub fn write_view(
    writer: &mut Writer<'_>,
    number: ViewNumber,
    coordinator: NodeId,
    members: impl ExactSizeIterator<Item = (MemberId, Slot, Arrival)>,
    left: &[(Slot, ChangeReason)],
    sets: &[TransitionalSet],
) -> Option<()> {
    writer.write(&number)?;
    writer.write(&coordinator)?;
    for count in [members.len(), left.len(), sets.len()] {
        writer.u8(u8::try_from(count).ok()?)?;
    }
    for (member, slot, arrival) in members {
        writer.write(&Member(member, slot, arrival))?;
    }
    for (slot, reason) in left {
        writer.write(&Left(*slot, *reason))?;
    }
    sets.iter().try_for_each(|set| writer.write(set))
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_views)
)]
mod tests {
    use super::*;
    use crate::protocol::identity::{EndpointId, Incarnation};
    use crate::protocol::test_support::{node, written, wrong_length_taken, TestResult};

    const HEAD_BYTES: usize = 13;
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

    const SETS: [TransitionalSet; 1] = [TransitionalSet {
        cluster_view: ViewKey(u64::MAX),
        last: 17,
    }];

    fn members() -> [(MemberId, Slot, Arrival); 3] {
        [
            (member(3, 1), Slot(1), Arrival::Together(0)),
            (member(3, 2), Slot(128), Arrival::New),
            (member(700, 1), Slot(2), Arrival::Along),
        ]
    }

    fn write(writer: &mut Writer<'_>) -> Option<()> {
        write_view(
            writer,
            ViewNumber(u64::MAX),
            node(700),
            members().into_iter(),
            &LEFT,
            &SETS,
        )
    }

    fn read(body: &[u8]) -> Result<ViewBody<'_>, Counter> {
        Decode::parse(body)
    }

    /// The error that the written view gives after the bytes at `place` were replaced.
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
        assert!(view.sets().eq(SETS));
        assert!(view.members().eq(members()));
        assert!(view.left().eq(LEFT));
        assert_eq!(wrong_length_taken(body, |body| read(body).is_ok()), None);
        Ok(())
    }

    #[test]
    fn a_view_without_members_is_a_view() -> TestResult {
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| {
            write_view(writer, ViewNumber(5), node(1), [].into_iter(), &[], &[])
        })?;
        let view = read(body)?;
        assert_eq!((view.members().count(), view.left().count()), (0, 0));
        Ok(())
    }

    #[test]
    fn more_members_than_a_group_has_are_refused() {
        let too_many = u8::try_from(GROUP_MEMBERS_MAX.saturating_add(1)).unwrap_or(u8::MAX);
        for place in [HEAD_BYTES - 3, HEAD_BYTES - 2] {
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
    fn a_slot_belongs_to_one_member_and_is_within_bounds() {
        let slot = HEAD_BYTES + MEMBER_BYTES + 14;
        // That of the first member, as a new one and not; none; one that is too high.
        for bytes in [[0, 1], [0x80, 1], [0, 0], [0x80, 0], [0, 129], [0x0f, 0xff]] {
            assert_eq!(read_changed(slot, &bytes), Some(Counter::DroppedValue));
        }
        assert_eq!(read_changed(slot, &[0, 127]), None);
    }

    #[test]
    fn a_member_of_a_set_is_new_and_its_set_exists() {
        let slot = HEAD_BYTES + MEMBER_BYTES + 14;
        // In a set and not new; in a set that does not exist.
        for bytes in [[0x10, 2], [0xa0, 2], [0xf0, 2]] {
            assert_eq!(read_changed(slot, &bytes), Some(Counter::DroppedValue));
        }
        assert_eq!(read_changed(slot, &[0x90, 3]), None);
        let too_many = u8::try_from(TRANSITIONAL_SETS_MAX.saturating_add(1)).unwrap_or(u8::MAX);
        let refused = read_changed(HEAD_BYTES - 1, &[too_many]);
        assert_eq!(refused, Some(Counter::DroppedCount));
    }

    #[test]
    fn a_member_that_left_has_a_slot_and_a_reason() {
        let left = HEAD_BYTES + 3 * MEMBER_BYTES;
        assert_eq!(read_changed(left, &[0]), Some(Counter::DroppedValue));
        for reason in [0, 1, 5, 255] {
            let refused = read_changed(left + 1, &[reason]);
            assert_eq!(refused, Some(Counter::DroppedValue));
        }
    }

    #[test]
    fn a_view_is_not_written_to_a_buffer_that_is_too_short() {
        let mut buffer = [0; HEAD_BYTES + 3 * MEMBER_BYTES + 3];
        assert!(written(&mut buffer, write).is_err());
    }
}
