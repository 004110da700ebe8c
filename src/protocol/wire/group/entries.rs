// SPDX-License-Identifier: GPL-2.0

//! Entries of a group's log on their way to the members, and how far the members have received them.

use super::fragments::{read_part, write_part, Part};
use super::views::ViewBody;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Slot, ViewNumber};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, List, Reader, Writer};

/// The number of [`EntryBody::Data`] on the wire.
const DATA: u8 = 1;
/// The number of [`EntryBody::View`] on the wire.
const VIEW: u8 = 2;
/// The number of [`EntryBody::Start`] on the wire.
const START: u8 = 3;

/// One entry of a group's log. On the wire its number stands first, in one byte, then its fields in this order.
#[derive(Clone, Copy, Debug)]
pub enum EntryBody<'a> {
    /// 1: a fragment of a message.
    Data {
        /// The sender's slot in the view that is in force.
        slot: Slot,
        /// Which fragment.
        part: Part,
        /// The bytes; their length, in two bytes, stands before them.
        bytes: &'a [u8],
    },
    /// 2: a new view.
    View(ViewBody<'a>),
    /// 3: the first view in a cluster view, with how much of the log before it counts.
    Start {
        /// The cluster view of the log before; zero if there is none.
        previous: ViewNumber,
        /// The last entry of that log that counts.
        last: u64,
        /// The view.
        view: ViewBody<'a>,
    },
}

impl<'a> Decode<'a> for EntryBody<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        match reader.u8()? {
            DATA => {
                let slot = Slot(reader.u16()?);
                let (part, bytes) = read_part(reader)?;
                Ok(Self::Data { slot, part, bytes })
            }
            VIEW => Ok(Self::View(reader.read()?)),
            START => Ok(Self::Start {
                previous: reader.read()?,
                last: reader.read()?,
                view: reader.read()?,
            }),
            _ => Err(Counter::DroppedValue),
        }
    }
}

/// Write an [`EntryBody::Data`].
pub fn write_data_entry(
    writer: &mut Writer<'_>,
    slot: Slot,
    part: &Part,
    bytes: &[u8],
) -> Option<()> {
    writer.u8(DATA)?;
    writer.u16(slot.0)?;
    write_part(writer, part, bytes)
}

/// Write what stands before the view in an [`EntryBody::View`].
pub fn write_view_head(writer: &mut Writer<'_>) -> Option<()> {
    writer.u8(VIEW)
}

/// Write what stands before the view in an [`EntryBody::Start`].
pub fn write_start_head(writer: &mut Writer<'_>, previous: ViewNumber, last: u64) -> Option<()> {
    writer.u8(START)?;
    writer.write(&previous)?;
    writer.u64(last)
}

/// Ordered entries, one after the other from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a> {
    /// The position of the first entry.
    pub first: u64,
    /// All members have everything up to here.
    pub stable: u64,
    /// Everything up to here is released: as far as its order allows, it may be delivered.
    pub released: u64,
    entries: List<'a, EntryBody<'a>>,
}

impl<'a> Ordered<'a> {
    /// The entries.
    pub fn entries(&self) -> List<'a, EntryBody<'a>> {
        self.entries
    }
}

/// Read the rest of `Kind::GroupOrdered`: `stable`, `released`, `first`, the entries.
pub fn parse_ordered(mut reader: Reader<'_>) -> Result<Ordered<'_>, Counter> {
    let stable = reader.u64()?;
    let released = reader.u64()?;
    parse_entries(reader, stable, released)
}

/// Read the rest of `Kind::GroupHandover`: the cluster view of the log, `first`, the
/// entries.
pub fn parse_handover(mut reader: Reader<'_>) -> Result<(ViewNumber, Ordered<'_>), Counter> {
    let epoch = reader.read()?;
    Ok((epoch, parse_entries(reader, 0, 0)?))
}

fn parse_entries(
    mut reader: Reader<'_>,
    stable: u64,
    released: u64,
) -> Result<Ordered<'_>, Counter> {
    let first = reader.u64()?;
    if first == 0 {
        return Err(Counter::DroppedValue);
    }
    Ok(Ordered {
        first,
        stable,
        released,
        entries: List::parse(reader.rest())?,
    })
}

/// Read the rest of `Kind::GroupAcknowledge`: the position up to which the sender has
/// all entries.
pub fn parse_acknowledge(mut reader: Reader<'_>) -> Result<u64, Counter> {
    Decode::parse(reader.rest())
}

/// Read the rest of `Kind::GroupMissing`: the first and the last position of a gap.
pub fn parse_missing(mut reader: Reader<'_>) -> Result<(u64, u64), Counter> {
    Decode::parse(reader.rest())
}

/// How far the coordinator of a group is. On the wire the fields stand in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The last entry.
    pub last: u64,
    /// All members have everything up to here.
    pub stable: u64,
    /// Everything up to here is released.
    pub released: u64,
}

layout!(struct Status { last, stable, released });

/// Read the rest of `Kind::GroupStatus`.
pub fn parse_status(mut reader: Reader<'_>) -> Result<Status, Counter> {
    Decode::parse(reader.rest())
}

/// Write what follows the group in `Kind::GroupStatus`.
pub fn write_status(writer: &mut Writer<'_>, status: &Status) -> Option<()> {
    writer.write(status)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_entries)
)]
mod tests {
    use super::*;
    use crate::protocol::outputs::Order;
    use crate::protocol::test_support::{node, written, wrong_length_taken, TestResult};
    use crate::protocol::wire::group::write_view;

    const PART: Part = Part {
        order: Order::Agreed,
        sequence: 4,
        fragment: 0,
        fragments: 1,
        after: 0,
    };

    fn write_empty_view(writer: &mut Writer<'_>, number: u64) -> Option<()> {
        write_view(
            writer,
            ViewNumber(number),
            node(2),
            [].into_iter(),
            &[],
            &[],
        )
    }

    /// All kinds of entries from position `first` on, as they stand in a datagram.
    fn write_all(writer: &mut Writer<'_>, first: u64) -> Option<()> {
        writer.u64(first)?;
        write_start_head(writer, ViewNumber(11), 12)?;
        write_empty_view(writer, 13)?;
        write_data_entry(writer, Slot(5), &PART, b"hello")?;
        write_view_head(writer)?;
        write_empty_view(writer, 14)
    }

    fn are_all(ordered: &Ordered<'_>) -> bool {
        let mut entries = ordered.entries();
        let start = matches!(
            entries.next(),
            Some(EntryBody::Start { previous: ViewNumber(11), last: 12, view })
                if view.number == ViewNumber(13)
        );
        let data = matches!(
            entries.next(),
            Some(EntryBody::Data {
                slot: Slot(5),
                part: PART,
                bytes: b"hello"
            })
        );
        let view = matches!(
            entries.next(),
            Some(EntryBody::View(view)) if view.number == ViewNumber(14)
        );
        start && data && view && entries.next().is_none()
    }

    #[test]
    fn ordered_entries_are_read_as_they_were_written() -> TestResult {
        let mut buffer = [0; 256];
        let body = written(&mut buffer, |writer| {
            writer.u64(99)?;
            writer.u64(98)?;
            write_all(writer, 1)
        })?;
        let ordered = parse_ordered(Reader::new(body))?;
        assert_eq!(
            (ordered.stable, ordered.released, ordered.first),
            (99, 98, 1)
        );
        assert!(are_all(&ordered));
        Ok(())
    }

    #[test]
    fn entries_handed_over_name_their_cluster_view() -> TestResult {
        let mut buffer = [0; 256];
        let body = written(&mut buffer, |writer| {
            writer.u64(3)?;
            write_all(writer, u64::MAX)
        })?;
        let (epoch, ordered) = parse_handover(Reader::new(body))?;
        assert_eq!((epoch, ordered.first), (ViewNumber(3), u64::MAX));
        assert_eq!(ordered.stable, 0);
        assert!(are_all(&ordered));
        Ok(())
    }

    #[test]
    fn a_list_with_a_cut_entry_is_refused_whole() -> TestResult {
        let mut buffer = [0; 64];
        let body = written(&mut buffer, |writer| {
            writer.u64(0)?;
            writer.u64(0)?;
            writer.u64(1)?;
            write_data_entry(writer, Slot(1), &PART, b"abc")
        })?;
        // Without any entry it is whole, too.
        let taken = wrong_length_taken(body, |body| {
            body.len() != 24 && parse_ordered(Reader::new(body)).is_ok()
        });
        assert_eq!(taken, None);
        Ok(())
    }

    #[test]
    fn position_zero_and_unknown_entries_are_refused() -> TestResult {
        let mut buffer = [0; 64];
        let body = written(&mut buffer, |writer| {
            writer.u64(0)?;
            writer.u64(0)?;
            writer.u64(0)
        })?;
        let refused = parse_ordered(Reader::new(body)).err();
        assert_eq!(refused, Some(Counter::DroppedValue));
        for kind in [0, 4, 255] {
            let body = written(&mut buffer, |writer| {
                writer.u64(0)?;
                writer.u64(0)?;
                writer.u64(1)?;
                writer.u8(kind)
            })?;
            let refused = parse_ordered(Reader::new(body)).err();
            assert_eq!(refused, Some(Counter::DroppedValue));
        }
        Ok(())
    }

    #[test]
    fn a_status_is_read_as_it_was_written() -> TestResult {
        let status = Status {
            last: u64::MAX,
            stable: 3,
            released: 4,
        };
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| write_status(writer, &status))?;
        assert_eq!(parse_status(Reader::new(body)), Ok(status));
        let taken = wrong_length_taken(body, |body| parse_status(Reader::new(body)).is_ok());
        assert_eq!(taken, None);
        Ok(())
    }

    #[test]
    fn positions_are_read_whole_or_not_at_all() -> TestResult {
        let mut buffer = [0; 16];
        let body = written(&mut buffer, |writer| {
            writer.u64(u64::MAX)?;
            writer.u64(2)
        })?;
        assert_eq!(parse_missing(Reader::new(body)), Ok((u64::MAX, 2)));
        let taken = wrong_length_taken(body, |body| parse_missing(Reader::new(body)).is_ok());
        assert_eq!(taken, None);
        let body = written(&mut buffer, |writer| writer.u64(7))?;
        assert_eq!(parse_acknowledge(Reader::new(body)), Ok(7));
        let taken = wrong_length_taken(body, |body| parse_acknowledge(Reader::new(body)).is_ok());
        assert_eq!(taken, None);
        Ok(())
    }
}
