// SPDX-License-Identifier: GPL-2.0

//! Bytes and messages. After this module nobody looks at bytes: a message that exists is valid.
//!
//! Every datagram is a fixed header of 56 bytes and a body that the kind in the header names, all
//! numbers big-endian:
//!
//! ```text
//!  0  magic u16      2 version u8    3 kind u8       4 cluster u32
//!  8  sender u16    10 key id u16   12 body length u16   14 flags u16
//! 16  incarnation u64               24 view u64
//! 32  counter u64                   40 tag, 16 bytes (room for authentication, zero)
//! ```
//!
//! Reading takes bytes from the front of a slice and fails where they end; nothing is indexed.
//! Writing is done to a buffer that the caller lends and fails where it ends.

pub mod group;
pub mod membership;
pub mod pulse;

use super::errors::Counter;
use super::identity::{Identity, Incarnation, NodeId, PeerAddress, ViewNumber};
use super::limits::HEADER_BYTES;

/// First two bytes of every datagram: "KG".
pub const MAGIC: u16 = 0x4B47;
/// The version of the format.
pub const VERSION: u8 = 1;

/// What a datagram is about. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// "I am here."
    Heartbeat = 1,
    /// "Are you there?"
    Probe = 2,
    /// "I am."
    ProbeReply = 3,
    /// A node looks for its cluster.
    Join = 8,
    /// What it is told.
    JoinAnswer = 9,
    /// Accusations, joins and leaves on their way to a coordinator.
    Report = 10,
    /// A coordinator asks for promises for the next view.
    Prepare = 11,
    /// The answer to [`Kind::Prepare`].
    Promise = 12,
    /// A part of a proposed view.
    Propose = 13,
    /// The answer to a whole proposal.
    Accepted = 14,
    /// A proposal was decided.
    Commit = 15,
    /// A node has installed a view.
    Installed = 16,
    /// A node asks for the present view.
    ViewRequest = 17,
    /// A part of a whole view.
    ViewPart = 18,
    /// "You are not in my view, which is later than yours."
    NotMember = 19,
    /// An endpoint asks the group's coordinator to let it in or go.
    GroupRequest = 32,
    /// A fragment on its way to the group's coordinator.
    GroupData = 33,
    /// Ordered entries.
    GroupOrdered = 34,
    /// How far a node has received a group's entries.
    GroupAcknowledge = 35,
    /// Entries that a node misses.
    GroupMissing = 36,
    /// How far a group's coordinator has got, when it has nothing to send.
    GroupStatus = 37,
    /// A group's coordinator asks members to stop sending before the next group view.
    GroupPrepare = 38,
    /// What a node knows of a group: the answer to [`Kind::GroupPrepare`], and told to the new
    /// coordinator after a cluster view.
    GroupReport = 39,
    /// All group reports of a node for this cluster view were sent: how many there are.
    GroupReportsDone = 40,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Heartbeat,
            2 => Self::Probe,
            3 => Self::ProbeReply,
            8 => Self::Join,
            9 => Self::JoinAnswer,
            10 => Self::Report,
            11 => Self::Prepare,
            12 => Self::Promise,
            13 => Self::Propose,
            14 => Self::Accepted,
            15 => Self::Commit,
            16 => Self::Installed,
            17 => Self::ViewRequest,
            18 => Self::ViewPart,
            19 => Self::NotMember,
            32 => Self::GroupRequest,
            33 => Self::GroupData,
            34 => Self::GroupOrdered,
            35 => Self::GroupAcknowledge,
            36 => Self::GroupMissing,
            37 => Self::GroupStatus,
            38 => Self::GroupPrepare,
            39 => Self::GroupReport,
            40 => Self::GroupReportsDone,
            _ => return None,
        })
    }

    /// Whether the soft interrupt deals with it.
    pub const fn is_pulse(self) -> bool {
        matches!(self, Self::Heartbeat | Self::Probe | Self::ProbeReply)
    }

    /// Whether it belongs to a group.
    pub const fn is_group(self) -> bool {
        (self as u8) >= 32
    }
}

/// The header of a datagram, without what is the same in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: Kind,
    /// The cluster's number.
    pub cluster: u32,
    /// Who sent it.
    pub sender: Identity,
    /// The sender's present view.
    pub view: ViewNumber,
    /// The sender's number of the datagram, growing.
    pub counter: u64,
}

/// A header that was checked, and the bytes behind it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The header.
    pub header: Header,
    /// The body.
    pub body: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Checks the header. `Err` names the counter of the first thing that is wrong.
    pub fn parse(bytes: &'a [u8], cluster: u32) -> Result<Self, Counter> {
        if bytes.len() < HEADER_BYTES {
            return Err(Counter::DroppedShort);
        }
        let mut reader = Reader::new(bytes);
        if reader.u16()? != MAGIC {
            return Err(Counter::DroppedMagic);
        }
        if reader.u8()? != VERSION {
            return Err(Counter::DroppedVersion);
        }
        let kind_number = reader.u8()?;
        if reader.u32()? != cluster {
            return Err(Counter::DroppedCluster);
        }
        let kind = Kind::from_number(kind_number).ok_or(Counter::DroppedKind)?;
        let node = reader.node()?;
        if reader.u16()? != 0 {
            // A key id: authentication is not part of this version.
            return Err(Counter::DroppedVersion);
        }
        let body_length = usize::from(reader.u16()?);
        let _flags = reader.u16()?;
        let incarnation = Incarnation(reader.u64()?);
        let view = ViewNumber(reader.u64()?);
        let counter = reader.u64()?;
        reader.skip(16)?;
        let body = reader.rest();
        if body.len() != body_length {
            return Err(Counter::DroppedLength);
        }
        Ok(Self {
            header: Header {
                kind,
                cluster,
                sender: Identity { node, incarnation },
                view,
                counter,
            },
            body,
        })
    }
}

/// Writes a whole datagram to `buffer`; returns its length, or `None` if it does not fit.
pub fn write_datagram(
    buffer: &mut [u8],
    header: &Header,
    body: impl FnOnce(&mut Writer<'_>) -> Option<()>,
) -> Option<usize> {
    let (head, tail) = buffer.split_at_mut_checked(HEADER_BYTES)?;
    let mut writer = Writer::new(tail);
    body(&mut writer)?;
    let body_length = writer.length();
    let mut writer = Writer::new(head);
    writer.u16(MAGIC)?;
    writer.u8(VERSION)?;
    writer.u8(header.kind as u8)?;
    writer.u32(header.cluster)?;
    writer.u16(header.sender.node.number())?;
    writer.u16(0)?;
    writer.u16(u16::try_from(body_length).ok()?)?;
    writer.u16(0)?;
    writer.u64(header.sender.incarnation.0)?;
    writer.u64(header.view.0)?;
    writer.u64(header.counter)?;
    writer.bytes(&[0; 16])?;
    HEADER_BYTES.checked_add(body_length)
}

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
