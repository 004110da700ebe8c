// SPDX-License-Identifier: GPL-2.0

//! Taking values from the front of some bytes, and putting them one behind the other.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, NodeId, PeerAddress};

/// Takes values from the front of some bytes. An error names the counter for a short datagram.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Counter> {
        let (front, rest) = self.0.split_first_chunk().ok_or(Counter::DroppedShort)?;
        self.0 = rest;
        Ok(*front)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Counter> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Counter> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Counter> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Counter> {
        self.array().map(u64::from_be_bytes)
    }

    /// A truth value: 0 or 1, nothing else.
    pub fn boolean(&mut self) -> Result<bool, Counter> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Counter::DroppedValue),
        }
    }

    /// A node number; zero is an error.
    pub fn node(&mut self) -> Result<NodeId, Counter> {
        NodeId::new(self.u16()?).ok_or(Counter::DroppedValue)
    }

    /// A node number and an incarnation.
    pub fn identity(&mut self) -> Result<Identity, Counter> {
        Ok(Identity {
            node: self.node()?,
            incarnation: Incarnation(self.u64()?),
        })
    }

    /// An address; port 0 is an error.
    pub fn address(&mut self) -> Result<PeerAddress, Counter> {
        let octets = self.array()?;
        let port = self.u16()?;
        if port == 0 {
            return Err(Counter::DroppedValue);
        }
        Ok(PeerAddress { octets, port })
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Counter> {
        let (front, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(Counter::DroppedShort)?;
        self.0 = rest;
        Ok(front)
    }

    /// Leaves out `length` bytes.
    pub fn skip(&mut self, length: usize) -> Result<(), Counter> {
        self.bytes(length).map(|_| ())
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The end of a body: an error if something is left.
    pub fn end(&self) -> Result<(), Counter> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Counter::DroppedLength)
        }
    }
}

/// Puts values one behind the other into a buffer. `None`: no room, the datagram is given up.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the buffer's first byte.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// How many bytes were written.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// How many bytes still fit.
    pub fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.length)
    }

    /// Some bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.buffer
            .get_mut(self.length..end)?
            .copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> Option<()> {
        self.bytes(&[value])
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) -> Option<()> {
        self.u8(u8::from(value))
    }

    /// A node number and an incarnation.
    pub fn identity(&mut self, identity: Identity) -> Option<()> {
        self.u16(identity.node.number())?;
        self.u64(identity.incarnation.0)
    }

    /// An address.
    pub fn address(&mut self, address: PeerAddress) -> Option<()> {
        self.bytes(&address.octets)?;
        self.u16(address.port)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_bytes))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        address, identity, identity_in, node, TestResult, Unexpected,
    };

    #[test]
    fn values_are_read_as_they_were_written() -> TestResult {
        let mut buffer = [0; 64];
        let mut writer = Writer::new(&mut buffer);
        let write = |writer: &mut Writer<'_>| {
            writer.u8(0xfe)?;
            writer.u16(0xfedc)?;
            writer.u32(0xfedc_ba98)?;
            writer.u64(u64::MAX - 1)?;
            writer.boolean(true)?;
            writer.boolean(false)?;
            writer.identity(identity_in(u16::MAX, u64::MAX))?;
            writer.address(address(9))
        };
        assert!(write(&mut writer).is_some());
        assert_eq!(writer.length(), 1 + 2 + 4 + 8 + 1 + 1 + 10 + 18);
        assert_eq!(writer.room(), 64 - 45);
        let mut reader = Reader::new(buffer.get(..45).ok_or(Unexpected)?);
        assert_eq!(reader.u8()?, 0xfe);
        assert_eq!(reader.u16()?, 0xfedc);
        assert_eq!(reader.u32()?, 0xfedc_ba98);
        assert_eq!(reader.u64()?, u64::MAX - 1);
        assert!(reader.boolean()?);
        assert!(!reader.boolean()?);
        assert_eq!(reader.identity()?, identity_in(u16::MAX, u64::MAX));
        assert_eq!(reader.address()?, address(9));
        assert!(reader.is_empty() && reader.end().is_ok());
        Ok(())
    }

    #[test]
    fn reading_past_the_end_takes_nothing() -> TestResult {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(Counter::DroppedShort));
        assert_eq!(reader.u64(), Err(Counter::DroppedShort));
        assert_eq!(reader.bytes(4), Err(Counter::DroppedShort));
        assert_eq!(reader.bytes(usize::MAX), Err(Counter::DroppedShort));
        assert_eq!(reader.end(), Err(Counter::DroppedLength));
        assert_eq!(reader.u16()?, 0x0102);
        assert!(reader.rest() == [3]);
        assert_eq!(reader.u8(), Err(Counter::DroppedShort));
        assert!(reader.bytes(0).is_ok() && reader.rest().is_empty());
        Ok(())
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for value in 2..=u8::MAX {
            let read = Reader::new(&[value]).boolean();
            assert_eq!(read, Err(Counter::DroppedValue));
        }
        assert_eq!(Reader::new(&[0, 0]).node(), Err(Counter::DroppedValue));
        assert_eq!(Reader::new(&[0, 1]).node(), Ok(node(1)));
        let no_port = [0xaa; 16];
        let mut bytes = [0; 18];
        if let Some(place) = bytes.first_chunk_mut() {
            *place = no_port;
        }
        assert_eq!(Reader::new(&bytes).address(), Err(Counter::DroppedValue));
        let mut no_node = [0; 10];
        assert_eq!(Reader::new(&no_node).identity(), Err(Counter::DroppedValue));
        no_node = [0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(Reader::new(&no_node).identity(), Ok(identity(1)));
    }

    #[test]
    fn a_writer_without_room_stays_where_it_is() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.u32(1), None);
        assert_eq!(writer.length(), 0);
        assert_eq!(writer.u16(0x0102), Some(()));
        assert_eq!(writer.u16(3), None);
        assert_eq!((writer.length(), writer.room()), (2, 1));
        assert_eq!(writer.u8(3), Some(()));
        assert_eq!(writer.u8(4), None);
        assert_eq!(buffer, [1, 2, 3]);
    }
}
