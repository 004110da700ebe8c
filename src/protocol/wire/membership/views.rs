// SPDX-License-Identifier: GPL-2.0

//! Whole views in parts, and the numbers of views that nodes report to each other.

use super::entries::{check_part_count, check_parts};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, ViewName, ViewNumber};
use crate::protocol::limits::{DEPARTURES_IN_PART_MAX, NODES_MAX};
use crate::protocol::view::{ChangeReason, MemberRecord};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, List, Reader, Writer};

/// Bytes of one departure: an identity and a reason.
const DEPARTURE_BYTES: usize = 11;

/// A part of a whole view.
///
/// On the wire the fields stand in this order. One byte before `departures` is their number; `members` takes the rest.
#[derive(Clone, Copy, Debug)]
pub struct ViewPart<'a> {
    /// The view's number.
    pub number: ViewNumber,
    /// The coordinator that issued it.
    pub issuer: NodeId,
    /// Whether it is primary.
    pub is_primary: bool,
    /// The first of the chain of views that led to it.
    pub origin: ViewName,
    /// Which part, from 0.
    pub part: u16,
    /// How many parts there are.
    pub parts: u16,
    /// How many members the view has.
    pub members_total: u16,
    /// Nodes that left lately, each with the reason; at most [`DEPARTURES_IN_PART_MAX`].
    pub departures: Departures<'a>,
    /// The members of this part, each with whether it may hold group messages that others lack.
    pub members: Members<'a>,
}

/// Nodes that left, with the reasons.
pub type Departures<'a> = List<'a, (Identity, ChangeReason)>;

/// Members, each with a flag.
pub type Members<'a> = List<'a, (MemberRecord, bool)>;

impl<'a> Decode<'a> for ViewPart<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        let number = reader.read()?;
        let issuer = reader.read()?;
        let is_primary = reader.read()?;
        let origin = reader.read()?;
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
        let departures_length = departures_count.saturating_mul(DEPARTURE_BYTES);
        let departures = List::parse(reader.bytes(departures_length)?)?;
        let mut last = None;
        let members = Members::parse_checked(reader.rest(), |(member, _)| {
            let node = member.identity.node;
            match last.replace(node) {
                Some(last) if last >= node => Err(Counter::DroppedValue),
                _ => Ok(()),
            }
        })?;
        check_part_count(part, parts, members_total, members.count())?;
        Ok(Self {
            number,
            issuer,
            is_primary,
            origin,
            part,
            parts,
            members_total,
            departures,
            members,
        })
    }
}

/// A [`ViewPart`] that is written, without its members.
#[derive(Clone, Copy, Debug)]
pub struct ViewPartHead<'a> {
    /// See [`ViewPart::number`].
    pub number: ViewNumber,
    /// See [`ViewPart::issuer`].
    pub issuer: NodeId,
    /// See [`ViewPart::is_primary`].
    pub is_primary: bool,
    /// See [`ViewPart::origin`].
    pub origin: ViewName,
    /// See [`ViewPart::part`].
    pub part: u16,
    /// See [`ViewPart::parts`].
    pub parts: u16,
    /// See [`ViewPart::members_total`].
    pub members_total: u16,
    /// See [`ViewPart::departures`].
    pub departures: &'a [(Identity, ChangeReason)],
}

/// Read the body of [`Kind::ViewPart`](crate::protocol::wire::Kind::ViewPart).
pub fn parse_view_part(body: &[u8]) -> Result<ViewPart<'_>, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::ViewPart`](crate::protocol::wire::Kind::ViewPart).
pub fn write_view_part(
    writer: &mut Writer<'_>,
    head: &ViewPartHead<'_>,
    mut members: impl Iterator<Item = (MemberRecord, bool)>,
) -> Option<()> {
    writer.write(&head.number)?;
    writer.write(&head.issuer)?;
    writer.write(&head.is_primary)?;
    writer.write(&head.origin)?;
    writer.u16(head.part)?;
    writer.u16(head.parts)?;
    writer.u16(head.members_total)?;
    writer.u8(u8::try_from(head.departures.len()).ok()?)?;
    for departure in head.departures {
        writer.write(departure)?;
    }
    members.try_for_each(|member| writer.write(&member))
}

/// Why the receiver is not in the sender's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMemberReason {
    /// A later view does not have it.
    Gone(ChangeReason),
    /// Its component of a partitionable cluster has ended, for a better one.
    Dissolved,
}

layout!(enum NotMemberReason {
    0 => Gone(reason),
    1 => Dissolved,
});

/// The receiver is not in the sender's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMember {
    /// The number of the view that does not have it, or one higher than that of its own view.
    pub number: ViewNumber,
    /// Whether that view is primary.
    pub is_primary: bool,
    /// Why.
    pub reason: NotMemberReason,
}

layout!(struct NotMember { number, is_primary, reason });

/// Read the body of [`Kind::NotMember`](crate::protocol::wire::Kind::NotMember).
pub fn parse_not_member(body: &[u8]) -> Result<NotMember, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::NotMember`](crate::protocol::wire::Kind::NotMember).
pub fn write_not_member(writer: &mut Writer<'_>, not_member: &NotMember) -> Option<()> {
    writer.write(not_member)
}

/// Read the body of [`Kind::Installed`](crate::protocol::wire::Kind::Installed).
pub fn parse_number(body: &[u8]) -> Result<ViewNumber, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Installed`](crate::protocol::wire::Kind::Installed).
pub fn write_number(writer: &mut Writer<'_>, number: ViewNumber) -> Option<()> {
    writer.write(&number)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_views))]
mod tests {
    use super::*;
    use crate::protocol::identity::Slot;
    use crate::protocol::limits::{PARTS_MAX, PART_ENTRIES_MAX};
    use crate::protocol::test_support::{
        identity, member, node, written, wrong_length_taken, TestResult, Unexpected,
    };

    const BODY_MAX: usize = 1344;
    const DEPARTURES: [(Identity, ChangeReason); 2] = [
        (identity(8), ChangeReason::Failed),
        (identity(2), ChangeReason::Leave),
    ];
    const HEAD: ViewPartHead<'static> = ViewPartHead {
        number: ViewNumber(0x0102_0304_0506_0708),
        issuer: node(3),
        is_primary: true,
        origin: ViewName {
            number: ViewNumber(2),
            issuer: node(9),
        },
        part: 0,
        parts: 1,
        members_total: 3,
        departures: &DEPARTURES,
    };

    fn part<'b>(
        buffer: &'b mut [u8],
        head: &ViewPartHead<'_>,
        numbers: impl Iterator<Item = u16>,
    ) -> Result<&'b [u8], Unexpected> {
        written(buffer, |writer| {
            write_view_part(writer, head, numbers.map(|n| (member(n), n % 2 == 0)))
        })
    }

    #[test]
    fn a_part_of_a_view_is_read_as_it_was_written() -> TestResult {
        let mut buffer = [0; BODY_MAX];
        let body = part(&mut buffer, &HEAD, [1, 4, 9].into_iter())?;
        let read = parse_view_part(body)?;
        assert_eq!((read.number, read.issuer), (HEAD.number, HEAD.issuer));
        assert!(read.is_primary && read.origin == HEAD.origin);
        assert_eq!((read.part, read.parts, read.members_total), (0, 1, 3));
        assert!(read.departures.eq(DEPARTURES));
        assert!(read
            .members
            .eq([(member(1), false), (member(4), true), (member(9), false)]));
        assert_eq!(
            wrong_length_taken(body, |body| parse_view_part(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn numbers_of_views_are_read_as_they_were_written() -> TestResult {
        for number in [0, 1, u64::MAX] {
            let mut buffer = [0; 16];
            let body = written(&mut buffer, |writer| {
                write_number(writer, ViewNumber(number))
            })?;
            assert_eq!(parse_number(body), Ok(ViewNumber(number)));
            assert_eq!(
                wrong_length_taken(body, |body| parse_number(body).is_ok()),
                None
            );
        }
        Ok(())
    }

    #[test]
    fn view_zero_is_no_view() -> TestResult {
        let head = ViewPartHead {
            number: ViewNumber(0),
            ..HEAD
        };
        let mut buffer = [0; BODY_MAX];
        let body = part(&mut buffer, &head, 1..=3)?;
        assert_eq!(parse_view_part(body).err(), Some(Counter::DroppedValue));
        Ok(())
    }

    #[test]
    fn parts_have_as_many_members_as_their_totals_ask_for() -> TestResult {
        let full = PART_ENTRIES_MAX as u16;
        let most = NODES_MAX as u16;
        let last = most / full - 1;
        // Part, parts, members of the view, members in this part, whether it is a part.
        let table = [
            (0, 1, 0, 0, true),
            (0, 1, 1, 1, true),
            (0, 1, 1, 0, false),
            (0, 1, 1, 2, false),
            (0, 1, full, full, true),
            (0, 2, full, full, false),
            (0, 2, full + 1, full, true),
            (1, 2, full + 1, 1, true),
            (1, 2, full + 1, 2, false),
            (2, 2, full + 1, 1, false),
            (last, last + 1, most, full, true),
            (last + 1, last + 1, most, full, false),
            (last + 1, last + 2, most + 1, 1, false),
            (0, PARTS_MAX as u16, most * 2, full, false),
        ];
        for (number, parts, members_total, count, expected) in table {
            let head = ViewPartHead {
                part: number,
                parts,
                members_total,
                ..HEAD
            };
            let mut buffer = [0; BODY_MAX];
            let body = part(&mut buffer, &head, 1..=count)?;
            let read = parse_view_part(body);
            assert_eq!(read.is_ok(), expected);
            assert!(expected || read.err() == Some(Counter::DroppedCount));
        }
        Ok(())
    }

    #[test]
    fn departures_have_a_limit_and_the_largest_part_fits() -> TestResult {
        let many = [(identity(u16::MAX), ChangeReason::Leave); DEPARTURES_IN_PART_MAX + 1];
        for (count, expected) in [
            (0, true),
            (DEPARTURES_IN_PART_MAX, true),
            (DEPARTURES_IN_PART_MAX + 1, false),
        ] {
            let full = PART_ENTRIES_MAX as u16;
            let head = ViewPartHead {
                members_total: full,
                departures: many.get(..count).ok_or(Unexpected)?,
                ..HEAD
            };
            let mut buffer = [0; BODY_MAX + 11];
            let body = part(
                &mut buffer,
                &head,
                NODES_MAX as u16 - full + 1..=NODES_MAX as u16,
            )?;
            assert_eq!(parse_view_part(body).is_ok(), expected);
            assert!(body.len() <= BODY_MAX || !expected);
        }
        Ok(())
    }

    #[test]
    fn members_stand_in_order_and_none_twice() -> TestResult {
        for numbers in [[1, 1, 2], [2, 1, 3], [1, 3, 2], [3, 3, 3]] {
            let mut buffer = [0; BODY_MAX];
            let body = part(&mut buffer, &HEAD, numbers.into_iter())?;
            assert_eq!(parse_view_part(body).err(), Some(Counter::DroppedValue));
        }
        Ok(())
    }

    #[test]
    fn members_that_cannot_be_are_refused() -> TestResult {
        let most = NODES_MAX as u16;
        for (slot, expected) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let record = MemberRecord {
                slot: Slot(slot),
                ..member(1)
            };
            let head = ViewPartHead {
                members_total: 1,
                ..HEAD
            };
            let mut buffer = [0; 128];
            let body = written(&mut buffer, |writer| {
                write_view_part(writer, &head, [(record, true)].into_iter())
            })?;
            assert_eq!(parse_view_part(body).is_ok(), expected);
            // The flag behind the member is 0 or 1.
            let length = body.len();
            *buffer.get_mut(length - 1).ok_or(Unexpected)? = 2;
            assert!(parse_view_part(buffer.get(..length).ok_or(Unexpected)?).is_err());
        }
        Ok(())
    }

    #[test]
    fn nobody_departs_by_joining() -> TestResult {
        let head = ViewPartHead {
            departures: &[(identity(8), ChangeReason::Join)],
            ..HEAD
        };
        let mut buffer = [0; BODY_MAX];
        let body = part(&mut buffer, &head, 1..=3)?;
        assert_eq!(parse_view_part(body).err(), Some(Counter::DroppedValue));
        Ok(())
    }
}
