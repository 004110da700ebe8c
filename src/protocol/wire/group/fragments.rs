// SPDX-License-Identifier: GPL-2.0

//! Messages of members, cut into fragments, on their way to the coordinator.

use crate::protocol::errors::Counter;
use crate::protocol::identity::EndpointId;
use crate::protocol::limits::{FRAGMENT_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_FRAGMENTS_MAX};
use crate::protocol::outputs::Order;
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, Encode, List, Reader, Writer};

/// Bytes of a data entry or fragment without its payload, at most.
pub const FRAGMENT_HEAD_BYTES: usize = 40;

/// One fragment of a message on its way to the coordinator.
///
/// On the wire the fields stand in this order; the length of `bytes`, in two bytes, stands before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The member that sends it.
    pub endpoint: EndpointId,
    /// The sender's oldest message that it has not seen ordered.
    pub oldest: u64,
    /// Its place in the message.
    pub part: Part,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Which part of which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The order that the sender asked for.
    pub order: Order,
    /// The sender's number of the message, from 1.
    pub sequence: u64,
    /// Which fragment, from 0.
    pub fragment: u16,
    /// How many fragments the message has.
    pub fragments: u16,
    /// The position in the log up to which its sender had delivered when it sent it. Only a causal message has it on
    /// the wire, as the last field; for others it is zero.
    pub after: u64,
}

impl<'a> Decode<'a> for Part {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        let mut part = Self {
            order: reader.read()?,
            sequence: reader.read()?,
            fragment: reader.read()?,
            fragments: reader.read()?,
            after: 0,
        };
        if part.order == Order::Causal {
            part.after = reader.read()?;
        }
        Ok(part)
    }
}

impl Encode for Part {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.write(&self.order)?;
        writer.u64(self.sequence)?;
        writer.write(&self.fragment)?;
        writer.write(&self.fragments)?;
        if self.order == Order::Causal {
            writer.u64(self.after)?;
        }
        Some(())
    }
}

layout!(enum Order {
    1 => Fifo,
    2 => Causal,
    3 => Agreed,
    4 => Safe,
});

impl Part {
    /// Whether it is the message's last fragment.
    pub fn is_last(&self) -> bool {
        self.fragment.saturating_add(1) == self.fragments
    }
}

/// Read a part and its bytes. All parts of a message but the last are full, so that the length of the whole is bounded.
pub(super) fn read_part<'a>(reader: &mut Reader<'a>) -> Result<(Part, &'a [u8]), Counter> {
    let part: Part = reader.read()?;
    let length = usize::from(reader.u16()?);
    if part.fragment >= part.fragments
        || usize::from(part.fragments) > MESSAGE_FRAGMENTS_MAX
        || length > FRAGMENT_BYTES_MAX
        || part.sequence == 0
    {
        return Err(Counter::DroppedCount);
    }
    let is_full = length == FRAGMENT_BYTES_MAX;
    let before = usize::from(part.fragment).saturating_mul(FRAGMENT_BYTES_MAX);
    if (!part.is_last() && !is_full) || before.saturating_add(length) > MESSAGE_BYTES_MAX {
        return Err(Counter::DroppedCount);
    }
    Ok((part, reader.bytes(length)?))
}

/// Write a part and its bytes.
pub(super) fn write_part(writer: &mut Writer<'_>, part: &Part, bytes: &[u8]) -> Option<()> {
    writer.write(part)?;
    writer.u16(u16::try_from(bytes.len()).ok()?)?;
    writer.bytes(bytes)
}

impl<'a> Decode<'a> for Fragment<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        let endpoint = reader.read()?;
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
}

impl Encode for Fragment<'_> {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.write(&self.endpoint)?;
        writer.u64(self.oldest)?;
        write_part(writer, &self.part, self.bytes)
    }
}

/// The fragments of a datagram.
pub type Fragments<'a> = List<'a, Fragment<'a>>;

/// Read the rest of `Kind::GroupData`: up to which position its sender has accepted the log, and the fragments.
pub fn parse_data(mut reader: Reader<'_>) -> Result<(u64, Fragments<'_>), Counter> {
    let accepted = reader.u64()?;
    Ok((accepted, List::parse(reader.rest())?))
}

/// Write one fragment of `Kind::GroupData`.
pub fn write_fragment(writer: &mut Writer<'_>, fragment: &Fragment<'_>) -> Option<()> {
    writer.write(fragment)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_wire_group_fragments)
)]
mod tests {
    use super::*;
    use crate::protocol::limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES};
    use crate::protocol::test_support::{written, wrong_length_taken, TestResult, Unexpected};

    const BYTES: [u8; FRAGMENT_BYTES_MAX] = [0x5a; FRAGMENT_BYTES_MAX];

    /// A fragment of so many bytes of the message 9.
    fn fragment(fragment: u16, fragments: u16, length: usize) -> Fragment<'static> {
        Fragment {
            endpoint: EndpointId(6),
            oldest: 8,
            part: Part {
                order: Order::Agreed,
                sequence: 9,
                fragment,
                fragments,
                after: 0,
            },
            bytes: BYTES
                .split_at_checked(length)
                .map_or(&[], |(front, _)| front),
        }
    }

    /// The error that a datagram with just this fragment gives.
    fn refused(fragment: &Fragment<'_>) -> Result<Option<Counter>, Unexpected> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let body = written(&mut buffer, |writer| {
            writer.u64(7)?;
            write_fragment(writer, fragment)
        })?;
        Ok(parse_data(Reader::new(body)).err())
    }

    #[test]
    fn fragments_are_read_as_they_were_written() -> TestResult {
        let orders = [Order::Fifo, Order::Causal, Order::Agreed, Order::Safe];
        let mut all = [
            fragment(0, 1, 0),
            fragment(0, 1, 1),
            fragment(2, 3, 700),
            fragment(0, 1, 2),
        ];
        for (one, order) in all.iter_mut().zip(orders) {
            one.part.order = order;
            if order == Order::Causal {
                one.part.after = 77;
            }
        }
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let body = written(&mut buffer, |writer| {
            writer.u64(5)?;
            all.iter().try_for_each(|one| write_fragment(writer, one))
        })?;
        let (accepted, fragments) = parse_data(Reader::new(body))?;
        assert_eq!(accepted, 5);
        assert!(fragments.eq(all));
        Ok(())
    }

    #[test]
    fn a_list_with_a_cut_fragment_is_refused_whole() -> TestResult {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let one = fragment(0, 1, 5);
        let first = written(&mut buffer, |writer| write_fragment(writer, &one))?.len();
        let body = written(&mut buffer, |writer| {
            writer.u64(0)?;
            write_fragment(writer, &one)?;
            write_fragment(writer, &one)
        })?;
        let taken = wrong_length_taken(body, |body| {
            body.len() != 8 + first && body.len() != 8 && parse_data(Reader::new(body)).is_ok()
        });
        assert_eq!(taken, None);
        Ok(())
    }

    #[test]
    fn a_message_longer_than_the_largest_is_refused() -> TestResult {
        let count = u16::try_from(MESSAGE_FRAGMENTS_MAX).map_err(|_| Unexpected)?;
        let last = count.saturating_sub(1);
        let before = usize::from(last).saturating_mul(FRAGMENT_BYTES_MAX);
        let rest = MESSAGE_BYTES_MAX.saturating_sub(before);
        assert_eq!(refused(&fragment(last, count, rest))?, None);
        let longer = fragment(last, count, rest.saturating_add(1));
        assert_eq!(refused(&longer)?, Some(Counter::DroppedCount));
        let one_more = fragment(0, count.saturating_add(1), FRAGMENT_BYTES_MAX);
        assert_eq!(refused(&one_more)?, Some(Counter::DroppedCount));
        Ok(())
    }

    #[test]
    fn only_the_last_fragment_may_be_short() -> TestResult {
        assert_eq!(refused(&fragment(0, 2, FRAGMENT_BYTES_MAX))?, None);
        let short = fragment(0, 2, FRAGMENT_BYTES_MAX - 1);
        assert_eq!(refused(&short)?, Some(Counter::DroppedCount));
        assert_eq!(refused(&fragment(1, 2, 1))?, None);
        Ok(())
    }

    #[test]
    fn impossible_numbers_are_refused() -> TestResult {
        for (number, count) in [(0, 0), (1, 1), (u16::MAX, u16::MAX), (3, 2)] {
            let counted = refused(&fragment(number, count, 1))?;
            assert_eq!(counted, Some(Counter::DroppedCount));
        }
        let mut one = fragment(0, 1, 1);
        one.part.sequence = 0;
        assert_eq!(refused(&one)?, Some(Counter::DroppedCount));
        for oldest in [0, 10, u64::MAX] {
            let mut one = fragment(0, 1, 1);
            one.oldest = oldest;
            assert_eq!(refused(&one)?, Some(Counter::DroppedValue));
        }
        Ok(())
    }

    #[test]
    fn no_head_is_longer_than_its_limit_and_a_full_fragment_fits_a_datagram() -> TestResult {
        let mut buffer = [0; DATAGRAM_BYTES_MAX - HEADER_BYTES];
        let empty = fragment(0, 1, 0);
        let head = written(&mut buffer, |writer| write_fragment(writer, &empty))?.len();
        assert!(head <= FRAGMENT_HEAD_BYTES);
        let full = fragment(0, 2, FRAGMENT_BYTES_MAX);
        let body = written(&mut buffer, |writer| {
            writer.u64(1)?;
            writer.u64(2)?;
            write_fragment(writer, &full)
        })?;
        assert_eq!(body.len(), 16 + head + FRAGMENT_BYTES_MAX);
        Ok(())
    }
}
