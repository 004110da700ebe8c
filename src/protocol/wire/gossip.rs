// SPDX-License-Identifier: GPL-2.0

//! The body of gossip: how far the heartbeat counters of members have come. Members are named by their positions in the view
//! that the header names.
//!
//! ```text
//! 0  members u16      2  first u16      4  counter of the sender u32
//! 8  counters u32, of the members at the positions `first`, `first + 1`, ...; zero: none known
//! ```

use super::bytes::{Reader, Writer};
use crate::protocol::errors::Counter;
use crate::protocol::limits::GOSSIP_ENTRIES_MAX;

/// Bytes of one counter.
const COUNTER_BYTES: usize = 4;

/// The counters that one node sends to another, or those of them that fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipBody<'a> {
    /// Members of the view. The receiver's view must have as many.
    pub members: u16,
    /// The position of the first counter's member.
    pub first: u16,
    /// The sender's own counter, wherever its position is.
    pub own_counter: u32,
    counters: &'a [u8],
}

impl<'a> GossipBody<'a> {
    /// Read a whole body.
    ///
    /// # Errors
    ///
    /// The counter under which the datagram is dropped.
    pub fn parse(body: &'a [u8]) -> Result<Self, Counter> {
        let mut reader = Reader::new(body);
        let members = reader.u16()?;
        let first = reader.u16()?;
        let own_counter = reader.u32()?;
        let counters = reader.rest();
        if counters.len().checked_rem(COUNTER_BYTES) != Some(0) {
            return Err(Counter::DroppedLength);
        }
        let count = counters.len() / COUNTER_BYTES;
        if count > GOSSIP_ENTRIES_MAX
            || usize::from(first).saturating_add(count) > usize::from(members)
        {
            return Err(Counter::DroppedCount);
        }
        if own_counter == 0 {
            return Err(Counter::DroppedValue);
        }
        Ok(Self {
            members,
            first,
            own_counter,
            counters,
        })
    }

    /// The counters.
    pub fn counters(&self) -> impl Iterator<Item = u32> + 'a {
        self.counters
            .chunks_exact(COUNTER_BYTES)
            .filter_map(|bytes| bytes.try_into().ok().map(u32::from_be_bytes))
    }
}

/// Write a whole body.
pub fn write_gossip(
    writer: &mut Writer<'_>,
    members: u16,
    first: u16,
    own_counter: u32,
    counters: impl Iterator<Item = u32>,
) -> Option<()> {
    writer.u16(members)?;
    writer.u16(first)?;
    writer.u32(own_counter)?;
    for counter in counters {
        writer.u32(counter)?;
    }
    Some(())
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_gossip))]
mod tests {
    use super::*;
    use crate::protocol::limits::{DETECTOR_BYTES_MAX, HEADER_BYTES};
    use crate::protocol::test_support::{written, TestResult};

    fn numbers(from: u32, count: usize) -> impl Iterator<Item = u32> + Clone {
        (from..).take(count)
    }

    #[test]
    fn a_body_is_read_as_it_was_written_and_fits_the_largest_datagram() -> TestResult {
        for (members, first, count) in [
            (1, 0, 1),
            (7, 0, 7),
            (1024, 768, GOSSIP_ENTRIES_MAX),
            (9, 9, 0),
        ] {
            let mut buffer = [0; DETECTOR_BYTES_MAX];
            let counters = numbers(u32::MAX - 2000, count);
            let bytes = written(&mut buffer, |writer| {
                write_gossip(writer, members, first, u32::MAX, counters.clone())
            })?;
            assert!(bytes.len() + HEADER_BYTES <= DETECTOR_BYTES_MAX);
            let body = GossipBody::parse(bytes)?;
            assert_eq!((body.members, body.first), (members, first));
            assert_eq!(body.own_counter, u32::MAX);
            assert!(body.counters().eq(counters));
        }
        Ok(())
    }

    #[test]
    fn gossip_that_names_no_place_in_its_view_is_refused() -> TestResult {
        // Members, position of the first, own counter, counters.
        for (members, first, own, count, expected) in [
            (3, 0, 1, 3, None),
            (3, 0, 1, 4, Some(Counter::DroppedCount)),
            (3, 1, 1, 3, Some(Counter::DroppedCount)),
            (3, u16::MAX, 1, 1, Some(Counter::DroppedCount)),
            (
                u16::MAX,
                0,
                1,
                GOSSIP_ENTRIES_MAX + 1,
                Some(Counter::DroppedCount),
            ),
            (3, 0, 0, 3, Some(Counter::DroppedValue)),
        ] {
            let mut buffer = [0; DETECTOR_BYTES_MAX];
            let bytes = written(&mut buffer, |writer| {
                write_gossip(writer, members, first, own, numbers(1, count))
            })?;
            assert_eq!(GossipBody::parse(bytes).err(), expected);
        }
        let mut buffer = [0; 32];
        let bytes = written(&mut buffer, |writer| {
            write_gossip(writer, 3, 0, 1, numbers(1, 3))
        })?;
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap_or_default();
            let expected = match length {
                0..8 => Some(Counter::DroppedShort),
                8 | 12 | 16 => None,
                _ => Some(Counter::DroppedLength),
            };
            assert_eq!(GossipBody::parse(cut).err(), expected);
        }
        Ok(())
    }
}
