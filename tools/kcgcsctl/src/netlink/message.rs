// SPDX-License-Identifier: GPL-2.0

//! Requests, and the frames of requests and answers.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
    ParseableParametrized, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

use super::attributes::{bytes_of, kind, pair_attribute, text_attribute, u16_attribute};
use crate::failure::Failure;

/// The family's name.
pub(super) const FAMILY: &str = "kcgcs";
/// The family's version.
const VERSION: u8 = 1;

/// `enum kcgcs_command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Command {
    NodeStart = 1,
    NodeStop = 2,
    NodeGet = 3,
    ViewGet = 4,
    GroupGet = 5,
    Evict = 6,
    Pin = 7,
    DelayGet = 8,
}

/// The kind of answer that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// One answer, then an acknowledgement.
    Answer,
    /// A list (a dump).
    List,
}

/// The body of a request or of an answer, with undecoded attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) command: u8,
    pub(super) attributes: Vec<u8>,
}

impl GenlFamily for Body {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Body {
    fn buffer_len(&self) -> usize {
        self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..self.attributes.len()].copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Body {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self {
            command: header.cmd,
            attributes: bytes.to_vec(),
        })
    }
}

/// A whole request, ready to send.
pub(super) fn request(
    family: u16,
    sequence: u32,
    command: Command,
    wanted: Wanted,
    attributes: &[DefaultNla],
) -> Vec<u8> {
    let mut body = GenlMessage::from_payload(Body {
        command: command as u8,
        attributes: bytes_of(attributes),
    });
    body.set_resolved_family_id(family);
    let flags = match wanted {
        Wanted::Answer => NLM_F_ACK,
        Wanted::List => NLM_F_DUMP,
    };
    framed(NetlinkMessage::from(body), sequence, flags)
}

/// The request that asks the kernel for the number of a family.
pub(super) fn family_request(family: &str, sequence: u32) -> Vec<u8> {
    let body = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(family.to_owned())],
    });
    framed(NetlinkMessage::from(body), sequence, NLM_F_ACK)
}

/// The bytes of a request with its header filled in.
fn framed<M: NetlinkSerializable>(
    mut message: NetlinkMessage<M>,
    sequence: u32,
    flags: u16,
) -> Vec<u8> {
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The first message of the kernel in `bytes`, and the number of bytes that it takes.
///
/// # Errors
///
/// The bytes do not begin with a whole message.
pub(super) fn take(bytes: &[u8]) -> Result<(NetlinkMessage<GenlMessage<Body>>, usize), Failure> {
    let bad = |error: DecodeError| Failure::BadAnswer(error.to_string());
    let message = NetlinkMessage::<GenlMessage<Body>>::deserialize(bytes).map_err(bad)?;
    let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
    // The last message may lack its padding.
    let taken = length
        .checked_next_multiple_of(4)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    if taken == 0 {
        return Err(Failure::BadAnswer("a message without a length".to_owned()));
    }
    Ok((message, taken))
}

/// The body of a message that is an answer.
pub(super) fn body_of(payload: NetlinkPayload<GenlMessage<Body>>) -> Option<Body> {
    match payload {
        NetlinkPayload::InnerMessage(message) => Some(message.payload),
        _ => None,
    }
}

/// The arguments with which a node starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest {
    /// The name of the cluster.
    pub cluster: String,
    /// The number of the node.
    pub node_id: u16,
    /// The address of the node itself.
    pub address: String,
    /// Addresses of nodes that may know the cluster.
    pub peers: Vec<String>,
    /// Settings that differ from their defaults.
    pub settings: Vec<(String, u64)>,
    /// The failure detector, if it is not the kernel's default.
    pub detector: Option<String>,
}

impl StartRequest {
    /// The attributes of the request.
    ///
    /// # Errors
    ///
    /// A text is too long or contains a zero byte.
    pub(super) fn attributes(&self) -> Result<Vec<DefaultNla>, Failure> {
        let mut attributes = vec![
            text_attribute(kind::CLUSTER, &self.cluster)?,
            u16_attribute(kind::NODE_ID, self.node_id),
            text_attribute(kind::ADDRESS, &self.address)?,
        ];
        if !self.peers.is_empty() {
            attributes.push(text_attribute(kind::PEERS, &self.peers.join(","))?);
        }
        if let Some(detector) = &self.detector {
            attributes.push(text_attribute(kind::DETECTOR, detector)?);
        }
        for (name, value) in &self.settings {
            attributes.push(pair_attribute(kind::SETTING, name, *value)?);
        }
        Ok(attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::Attributes;
    use super::*;

    fn start() -> StartRequest {
        StartRequest {
            cluster: "demo".to_owned(),
            node_id: 3,
            address: "10.0.0.3:5407".to_owned(),
            peers: vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()],
            settings: vec![("rings".to_owned(), 2)],
            detector: Some("gossip".to_owned()),
        }
    }

    #[test]
    fn a_start_request_has_all_attributes() {
        let attributes = start().attributes().unwrap();
        let bytes = request(0x1234, 9, Command::NodeStart, Wanted::Answer, &attributes);
        let (message, taken) = take(&bytes).unwrap();
        assert_eq!(taken, bytes.len());
        assert_eq!(message.header.message_type, 0x1234);
        assert_eq!(message.header.sequence_number, 9);
        assert_eq!(message.header.flags, NLM_F_REQUEST | NLM_F_ACK);
        let body = body_of(message.payload).unwrap();
        assert_eq!(body.command, 1);
        let read = Attributes::parse(&body.attributes).unwrap();
        assert_eq!(read.text(kind::CLUSTER).as_deref(), Some("demo"));
        assert_eq!(read.u16(kind::NODE_ID).unwrap(), Some(3));
        assert_eq!(read.text(kind::ADDRESS).as_deref(), Some("10.0.0.3:5407"));
        assert_eq!(read.text(kind::PEERS).as_deref(), Some("10.0.0.1,10.0.0.2"));
        assert_eq!(read.text(kind::DETECTOR).as_deref(), Some("gossip"));
        assert_eq!(
            read.pairs(kind::SETTING).unwrap(),
            [("rings".to_owned(), 2)]
        );
    }

    #[test]
    fn optional_attributes_that_are_not_given_are_not_sent() {
        let mut start = start();
        start.peers.clear();
        start.detector = None;
        let attributes = start.attributes().unwrap();
        let bytes = request(20, 1, Command::NodeStart, Wanted::Answer, &attributes);
        let body = body_of(take(&bytes).unwrap().0.payload).unwrap();
        let read = Attributes::parse(&body.attributes).unwrap();
        assert_eq!(read.text(kind::PEERS), None);
        assert_eq!(read.text(kind::DETECTOR), None);
    }

    #[test]
    fn several_messages_in_one_datagram_are_taken_one_by_one() {
        let mut bytes = request(20, 1, Command::ViewGet, Wanted::List, &[]);
        bytes.extend(request(20, 2, Command::GroupGet, Wanted::List, &[]));
        let (first, taken) = take(&bytes).unwrap();
        let (second, rest) = take(&bytes[taken..]).unwrap();
        assert_eq!(taken + rest, bytes.len());
        assert_eq!(first.header.flags, NLM_F_REQUEST | NLM_F_DUMP);
        assert_eq!(body_of(first.payload).unwrap().command, 4);
        assert_eq!(body_of(second.payload).unwrap().command, 5);
    }

    #[test]
    fn cut_messages_are_refused() {
        let bytes = request(20, 1, Command::NodeGet, Wanted::Answer, &[]);
        for length in 0..bytes.len() {
            assert!(take(&bytes[..length]).is_err(), "{length}");
        }
    }
}
