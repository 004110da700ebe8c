// SPDX-License-Identifier: GPL-2.0

//! The header of every datagram.

use super::bytes::{Reader, Writer};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, ViewMark, ViewNumber};
use crate::protocol::limits::HEADER_BYTES;

/// The first two bytes of every datagram: "KG".
pub const MAGIC: u16 = 0x4B47;
/// The version of the format.
pub const VERSION: u8 = 1;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $number:literal,)+) => {
        /// What a datagram is about. The number is the one in the header.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)+
        }

        impl Kind {
            /// The kind with this number.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$kind),)+
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// A node is alive; sent to its monitors. Body: [`DetectorBody`](super::heartbeat::DetectorBody).
    Heartbeat = 1,
    /// A monitor asks a silent node whether it is alive. Body: as a heartbeat.
    Probe = 2,
    /// The answer to [`Kind::Probe`]. Body: as a heartbeat.
    ProbeReply = 3,
    /// How far the heartbeat counters of all nodes have come. Body: [`GossipBody`](super::gossip::GossipBody).
    Gossip = 4,
    /// A node looks for its cluster. Body: [`JoinRequest`](super::membership::JoinRequest).
    Join = 8,
    /// The answer to [`Kind::Join`]. Body: [`JoinAnswer`](super::membership::JoinAnswer).
    JoinAnswer = 9,
    /// Accusations, joins and leaves on their way to a coordinator. Body: any number of
    /// [`ReportRecord`](super::membership::ReportRecord)s.
    Report = 10,
    /// A coordinator asks for promises for the next view. Body: [`Prepare`](super::membership::Prepare).
    Prepare = 11,
    /// The answer to [`Kind::Prepare`]. Body: [`Promise`](super::membership::Promise).
    Promise = 12,
    /// A part of a proposed view. Body: a [`Ballot`](super::membership::Ballot) and a
    /// [`ProposalPart`](super::membership::ProposalPart).
    Propose = 13,
    /// A node has accepted a whole proposal. Body: its [`Ballot`](super::membership::Ballot).
    Accepted = 14,
    /// A proposal was decided. Body: its [`Ballot`](super::membership::Ballot) and the number of the view.
    Commit = 15,
    /// A node has installed a view. Body: the number of the view.
    Installed = 16,
    /// A node asks for the present view. No body.
    ViewRequest = 17,
    /// A part of a whole view. Body: [`ViewPart`](super::membership::ViewPart).
    ViewPart = 18,
    /// The receiver is not in the sender's view, which is later. Body: [`NotMember`](super::membership::NotMember).
    NotMember = 19,
    /// A coordinator asks an accused node, at its protocol engine, whether it is alive. Body: the node's identity.
    IndirectProbe = 20,
    /// The answer to [`Kind::IndirectProbe`]. Body: the answering node's identity.
    IndirectProbeAck = 21,
    /// A proposer waits until a failed node is fenced. Body: its [`Ballot`](super::membership::Ballot) and the failed
    /// node's identity.
    Hold = 22,
    /// An endpoint asks the group's coordinator to admit it or to let it leave. The bodies of this kind and of all
    /// below begin with the number of the group; see [`group`](super::group).
    GroupRequest = 32,
    /// Fragments of messages on their way to the group's coordinator.
    GroupData = 33,
    /// Ordered entries.
    GroupOrdered = 34,
    /// How far a node has received a group's entries.
    GroupAcknowledge = 35,
    /// Entries that a node lacks.
    GroupMissing = 36,
    /// How far a group's coordinator has got, when it has nothing else to send.
    GroupStatus = 37,
    /// A group's new coordinator asks what a node holds of the group.
    GroupQuery = 38,
    /// What a node holds of a group. It answers a query, and each node sends it to the new coordinator after a cluster
    /// view was installed.
    GroupReport = 39,
    /// A new coordinator asks a node to hand entries of an earlier cluster view to another node.
    GroupFetch = 40,
    /// Entries of an earlier cluster view.
    GroupHandover = 41,
}

impl Kind {
    /// Whether the failure detector handles it, in soft-interrupt context.
    pub const fn is_failure_detection(self) -> bool {
        matches!(
            self,
            Self::Heartbeat | Self::Probe | Self::ProbeReply | Self::Gossip
        )
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
    /// The node that sent it.
    pub sender: Identity,
    /// The sender's present view.
    pub view: ViewNumber,
    /// The sender's present view's [`lineage`](crate::protocol::view::ClusterView::lineage): in a partitionable cluster two
    /// components may have views of the same number.
    pub lineage: u16,
    /// The sender's number of the datagram; it grows with each.
    pub counter: u64,
}

impl Header {
    /// The sender's present view.
    pub fn mark(&self) -> ViewMark {
        ViewMark {
            number: self.view,
            lineage: self.lineage,
        }
    }
}

/// A header that was checked, and the bytes behind it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The header.
    pub header: Header,
    /// The body.
    pub body: &'a [u8],
}

/// Bytes that have room for authentication and are zero.
const TAG: [u8; 16] = [0; 16];

impl<'a> Datagram<'a> {
    /// Read a datagram and check its header.
    ///
    /// # Errors
    ///
    /// The counter of the first field that is wrong.
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
        let node = reader.read()?;
        if reader.u16()? != 0 {
            // A key id: this version has no authentication.
            return Err(Counter::DroppedVersion);
        }
        let body_length = usize::from(reader.u16()?);
        let lineage = reader.u16()?;
        let incarnation = reader.read()?;
        let view = reader.read()?;
        let counter = reader.u64()?;
        reader.bytes(TAG.len())?;
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
                lineage,
                counter,
            },
            body,
        })
    }
}

/// Write a whole datagram to `buffer`. Returns its length, or `None` if it does not fit.
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
    writer.write(&header.sender.node)?;
    writer.u16(0)?;
    writer.u16(u16::try_from(body_length).ok()?)?;
    writer.u16(header.lineage)?;
    writer.write(&header.sender.incarnation)?;
    writer.write(&header.view)?;
    writer.u64(header.counter)?;
    writer.bytes(&TAG)?;
    HEADER_BYTES.checked_add(body_length)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity_in, TestResult, Unexpected, CLUSTER};

    const HEADER: Header = Header {
        kind: Kind::Heartbeat,
        cluster: CLUSTER,
        sender: identity_in(7, 0x0102_0304_0506_0708),
        view: ViewNumber(0x1112_1314_1516_1718),
        lineage: 0x191a,
        counter: 0x2122_2324_2526_2728,
    };

    /// A header and a body of five bytes.
    fn sample() -> [u8; HEADER_BYTES + 5] {
        let mut bytes = [0; HEADER_BYTES + 5];
        let _ = write_datagram(&mut bytes, &HEADER, |writer| writer.bytes(b"hello"));
        bytes
    }

    #[test]
    fn every_kind_of_datagram_is_read_as_it_was_written() -> TestResult {
        for number in 0..=u8::MAX {
            let Some(kind) = Kind::from_number(number) else {
                continue;
            };
            assert_eq!(kind as u8, number);
            assert_eq!(kind.is_failure_detection(), (1..=4).contains(&number));
            assert_eq!(kind.is_group(), number >= 32);
            let header = Header { kind, ..HEADER };
            let mut buffer = [0xff; 100];
            let length = write_datagram(&mut buffer, &header, |writer| writer.bytes(b"hello"));
            assert_eq!(length, Some(HEADER_BYTES + 5));
            let bytes = buffer.get(..HEADER_BYTES + 5).ok_or(Unexpected)?;
            let datagram = Datagram::parse(bytes, CLUSTER)?;
            assert_eq!(datagram.header, header);
            assert!(datagram.body == b"hello");
        }
        Ok(())
    }

    #[test]
    fn the_bytes_of_the_header_stand_where_the_drawing_says() {
        let bytes = sample();
        assert!(bytes.starts_with(&[
            0x4b, 0x47, 1, 1, 0x12, 0x34, 0x56, 0x78, 0, 7, 0, 0, 0, 5, 0x19, 0x1a, 1, 2, 3, 4, 5,
            6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x23, 0x24, 0x25,
            0x26, 0x27, 0x28, 0, 0, 0, 0,
        ]));
        assert!(bytes.ends_with(b"\0\0\0\0hello"));
    }

    #[test]
    fn each_wrong_field_is_counted_under_its_name() {
        let table = [
            (0, 0x4c, Counter::DroppedMagic),
            (1, 0x48, Counter::DroppedMagic),
            (2, 0, Counter::DroppedVersion),
            (2, 2, Counter::DroppedVersion),
            (3, 0, Counter::DroppedKind),
            (3, 5, Counter::DroppedKind),
            (3, 23, Counter::DroppedKind),
            (3, 255, Counter::DroppedKind),
            (4, 0x13, Counter::DroppedCluster),
            (7, 0x79, Counter::DroppedCluster),
            (9, 0, Counter::DroppedValue),
            (10, 1, Counter::DroppedVersion),
            (11, 1, Counter::DroppedVersion),
            (12, 1, Counter::DroppedLength),
            (13, 4, Counter::DroppedLength),
            (13, 6, Counter::DroppedLength),
        ];
        for (offset, value, counter) in table {
            let mut bytes = sample();
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = value;
            }
            assert_eq!(Datagram::parse(&bytes, CLUSTER).err(), Some(counter));
        }
        assert!(Datagram::parse(&sample(), CLUSTER).is_ok());
    }

    #[test]
    fn a_datagram_cut_off_anywhere_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let counter = if length < HEADER_BYTES {
                Counter::DroppedShort
            } else {
                Counter::DroppedLength
            };
            let cut = bytes.get(..length).unwrap_or_default();
            assert_eq!(Datagram::parse(cut, CLUSTER).err(), Some(counter));
        }
    }

    #[test]
    fn nothing_is_written_where_there_is_no_room() {
        for length in 0..HEADER_BYTES + 5 {
            let mut buffer = [0; HEADER_BYTES + 5];
            let place = buffer.get_mut(..length).unwrap_or_default();
            let written = write_datagram(place, &HEADER, |writer| writer.bytes(b"hello"));
            assert_eq!(written, None);
        }
    }

    #[test]
    fn a_body_that_fails_is_no_datagram() {
        let mut buffer = [0; 100];
        assert_eq!(write_datagram(&mut buffer, &HEADER, |_| None), None);
        assert_eq!(
            write_datagram(&mut buffer, &HEADER, |_| Some(())),
            Some(HEADER_BYTES)
        );
    }
}
