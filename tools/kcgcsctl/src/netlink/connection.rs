// SPDX-License-Identifier: GPL-2.0

//! A connection to the netlink family in the current network namespace.

use std::io;

use netlink_packet_core::{
    DefaultNla, NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NLM_F_DUMP_INTR,
};
use netlink_sys::{protocols::NETLINK_GENERIC, Socket};
use nix::errno::Errno;

use super::answers::{self, GroupStatus, NodeStatus, ViewStatus};
use super::attributes::{kind, u16_attribute, u32_attribute, Attributes};
use super::delays::{self, NeighbourDelays};
use super::extended_ack;
use super::message::{
    body_of, family_request, request, take, Body, Command, StartRequest, Wanted, FAMILY,
};
use crate::failure::Failure;

/// How often to ask again for a list that changed while the kernel wrote it.
const LIST_TRIES: usize = 20;

/// `CTRL_ATTR_FAMILY_ID` of the kernel's `genetlink.h`.
const FAMILY_ID: u16 = 1;

/// A connection to the family.
pub struct Connection {
    socket: Socket,
    family: u16,
    sequence: u32,
    /// Whether the last list changed while the kernel wrote it.
    is_torn: bool,
}

impl Connection {
    /// Connect in the current network namespace.
    ///
    /// # Errors
    ///
    /// The module is not loaded, or a socket cannot be opened.
    pub fn open() -> Result<Self, Failure> {
        let socket =
            open_socket().map_err(|error| Failure::call("cannot open a netlink socket", error))?;
        let mut connection = Self {
            socket,
            family: 0,
            sequence: 0,
            is_torn: false,
        };
        connection.family = connection.resolve_family()?;
        Ok(connection)
    }

    /// Start the node.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn start(&mut self, wishes: &StartRequest) -> Result<(), Failure> {
        let attributes = wishes.attributes()?;
        self.send_command(Command::NodeStart, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// Let the node leave the cluster and stop. Returns when it has left.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.ask(Command::NodeStop, Wanted::Answer).map(drop)
    }

    /// Evict a member from the cluster. The view without it follows later.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn evict(&mut self, node: u16) -> Result<(), Failure> {
        let attributes = [u16_attribute(kind::NODE_ID, node)];
        self.send_command(Command::Evict, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// Pin the view for this many milliseconds. Zero ends a pin.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn pin(&mut self, span_ms: u32) -> Result<(), Failure> {
        let attributes = [u32_attribute(kind::SPAN_MS, span_ms)];
        self.send_command(Command::Pin, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// The identity, state, settings and counters of the node.
    ///
    /// # Errors
    ///
    /// The namespace has no node, or the answer cannot be decoded.
    pub fn node(&mut self) -> Result<NodeStatus, Failure> {
        let bodies = self.ask(Command::NodeGet, Wanted::Answer)?;
        let body = bodies.first();
        let body =
            body.ok_or_else(|| Failure::BadAnswer("it has nothing about the node".to_owned()))?;
        answers::node(&body.attributes)
    }

    /// The current cluster view, if the node has one.
    ///
    /// # Errors
    ///
    /// The namespace has no node, or the answer cannot be decoded.
    pub fn view(&mut self) -> Result<Option<ViewStatus>, Failure> {
        let bodies = self.ask_for_list(Command::ViewGet)?;
        match answers::view(bodies.iter().map(|body| body.attributes.as_slice()))? {
            answers::WholeView::Torn => Err(Failure::BadAnswer(
                "it has the members of two views".to_owned(),
            )),
            answers::WholeView::Nothing => Ok(None),
            answers::WholeView::View(view) => Ok(Some(view)),
        }
    }

    /// The groups that the node knows.
    ///
    /// # Errors
    ///
    /// The namespace has no node, or the answer cannot be decoded.
    pub fn groups(&mut self) -> Result<Vec<GroupStatus>, Failure> {
        let bodies = self.ask_for_list(Command::GroupGet)?;
        let groups = bodies.iter().map(|body| answers::group(&body.attributes));
        groups.collect()
    }

    /// How late heartbeats are, for each neighbour of the node, sorted by number.
    ///
    /// # Errors
    ///
    /// The namespace has no node, or the answer cannot be decoded.
    pub fn delays(&mut self) -> Result<Vec<NeighbourDelays>, Failure> {
        let bodies = self.ask_for_list(Command::DelayGet)?;
        let read = bodies
            .iter()
            .map(|body| delays::neighbour(&body.attributes));
        let mut neighbours = read.collect::<Result<Vec<_>, _>>()?;
        neighbours.sort_by_key(|neighbour| neighbour.node);
        Ok(neighbours)
    }

    /// All entries of a list, as they were at one time.
    fn ask_for_list(&mut self, command: Command) -> Result<Vec<Body>, Failure> {
        for _ in 0..LIST_TRIES {
            let bodies = self.ask(command, Wanted::List)?;
            if !self.is_torn {
                return Ok(bodies);
            }
        }
        Err(Failure::TimedOut(format!(
            "the list changed {LIST_TRIES} times while it was read: try again"
        )))
    }

    fn ask(&mut self, command: Command, wanted: Wanted) -> Result<Vec<Body>, Failure> {
        self.send_command(command, wanted, &[])?;
        self.receive_bodies()
    }

    fn send_command(
        &mut self,
        command: Command,
        wanted: Wanted,
        attributes: &[DefaultNla],
    ) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request(self.family, self.sequence, command, wanted, attributes);
        self.send(&bytes)
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = retry_interrupted(|| self.socket.send(bytes, 0));
        sent.map(drop)
            .map_err(|error| Failure::call("netlink", error))
    }

    fn receive(&self) -> Result<Vec<u8>, Failure> {
        let received = retry_interrupted(|| self.socket.recv_from_full());
        received
            .map(|(bytes, _)| bytes)
            .map_err(|error| Failure::call("netlink", error))
    }

    /// All answers to the last request, up to its acknowledgement or the end of the list.
    fn receive_bodies(&mut self) -> Result<Vec<Body>, Failure> {
        let mut bodies = Vec::new();
        self.is_torn = false;
        loop {
            let bytes = self.receive()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (message, taken) = take(rest)?;
                rest = rest.get(taken..).unwrap_or_default();
                if message.header.sequence_number != self.sequence {
                    continue; // an answer to an earlier request
                }
                self.is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
                if is_end(&message)? {
                    return Ok(bodies);
                }
                bodies.extend(body_of(message.payload));
            }
        }
    }

    fn resolve_family(&mut self) -> Result<u16, Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&family_request(FAMILY, self.sequence))?;
        let missing = || {
            Failure::Usage(format!(
                "the kernel has no netlink family {FAMILY}: is the module {FAMILY} loaded?"
            ))
        };
        let bodies = match self.receive_bodies() {
            Err(Failure::Refused {
                errno: Errno::ENOENT,
                ..
            }) => return Err(missing()),
            other => other?,
        };
        bodies.iter().find_map(family_number).ok_or_else(missing)
    }
}

fn open_socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    Ok(socket)
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The number of the family, from the kernel's answer.
fn family_number(body: &Body) -> Option<u16> {
    let attributes = Attributes::parse(&body.attributes).ok()?;
    attributes.u16(FAMILY_ID).ok()?
}

/// Whether the message is the last one of an answer.
///
/// # Errors
///
/// The message is a refusal, or says that answers were lost.
fn is_end<M>(message: &NetlinkMessage<M>) -> Result<bool, Failure>
where
    M: NetlinkDeserializable,
{
    let flags = message.header.flags;
    let (code, words) = match &message.payload {
        NetlinkPayload::Error(error) => (
            error.raw_code(),
            extended_ack::of_error(flags, &error.header),
        ),
        NetlinkPayload::Done(done) => (done.code, extended_ack::of_end(flags, &done.extended_ack)),
        NetlinkPayload::Overrun(_) => {
            return Err(Failure::BadAnswer("answers were lost".to_owned()));
        }
        _ => return Ok(false),
    };
    if code < 0 {
        return Err(Failure::Refused {
            errno: Errno::from_raw(code.saturating_neg()),
            message: words,
        });
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{
        DoneMessage, ErrorBuffer, ErrorMessage, NetlinkHeader, Parseable, NLM_F_ACK_TLVS,
        NLM_F_CAPPED,
    };
    use netlink_packet_generic::GenlMessage;

    use super::super::attributes::{bytes_of, text_attribute};

    fn words(text: &str) -> Vec<u8> {
        bytes_of(&[text_attribute(1, text).unwrap()])
    }

    fn message(
        flags: u16,
        payload: NetlinkPayload<GenlMessage<Body>>,
    ) -> NetlinkMessage<GenlMessage<Body>> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        NetlinkMessage::new(header, payload)
    }

    fn error(code: i32, behind: &[u8]) -> NetlinkPayload<GenlMessage<Body>> {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([0; 16]);
        bytes.extend(behind);
        let buffer = ErrorBuffer::new_checked(&bytes).unwrap();
        NetlinkPayload::Error(ErrorMessage::parse(&buffer).unwrap())
    }

    #[test]
    fn the_number_of_the_family_is_read_from_the_answer() {
        let mut attributes = vec![text_attribute(2, FAMILY).unwrap()];
        let body = |attributes: &[DefaultNla]| Body {
            command: 1,
            attributes: bytes_of(attributes),
        };
        assert_eq!(family_number(&body(&attributes)), None);
        attributes.push(u16_attribute(FAMILY_ID, 0x1234));
        assert_eq!(family_number(&body(&attributes)), Some(0x1234));
    }

    #[test]
    fn an_acknowledgement_is_the_end() {
        assert!(is_end(&message(NLM_F_CAPPED, error(0, &[]))).unwrap());
    }

    #[test]
    fn a_refusal_has_the_words_of_the_kernel() {
        let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let refused = is_end(&message(
            flags,
            error(-22, &words("rings=99: 1 to 8 is allowed")),
        ));
        let failure = refused.unwrap_err();
        assert!(matches!(
            failure,
            Failure::Refused {
                errno: Errno::EINVAL,
                ..
            }
        ));
        assert_eq!(failure.to_string(), "rings=99: 1 to 8 is allowed");
    }

    #[test]
    fn a_list_can_end_with_a_refusal() {
        let mut done = DoneMessage::default();
        assert!(is_end(&message(0, NetlinkPayload::Done(done.clone()))).unwrap());
        done.code = -19;
        done.extended_ack = words("no node in this network namespace");
        let failure = is_end(&message(NLM_F_ACK_TLVS, NetlinkPayload::Done(done))).unwrap_err();
        assert!(failure.is_no_node());
        assert_eq!(failure.to_string(), "no node in this network namespace");
    }
}
