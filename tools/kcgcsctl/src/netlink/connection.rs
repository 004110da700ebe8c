// SPDX-License-Identifier: GPL-2.0

//! A connection to the family in the present network namespace.

use std::io;

use netlink_packet_core::{
    NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NLM_F_ACK, NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_sys::{protocols::NETLINK_GENERIC, Socket};
use nix::errno::Errno;

use super::answers::{self, GroupStatus, NodeStatus, ViewStatus};
use super::attributes::{kind, u16_attribute, u32_attribute};
use super::delays::{self, NeighbourDelays};
use super::extended_ack;
use super::message::{body_of, request, take, Body, Command, StartRequest, Wanted, FAMILY};
use crate::failure::Failure;

/// How often a list is asked for again that changed while it was read.
const LIST_TRIES: usize = 20;

/// A connection to the family.
pub struct Connection {
    socket: Socket,
    family: u16,
    sequence: u32,
    /// The last list changed between two parts of the answer.
    is_torn: bool,
}

impl Connection {
    /// Connects in the present network namespace.
    ///
    /// # Errors
    ///
    /// The module is not loaded, or sockets cannot be had.
    pub fn open() -> Result<Self, Failure> {
        let socket = open_socket().map_err(|error| Failure::call("netlink socket", error))?;
        let mut connection = Self {
            socket,
            family: 0,
            sequence: 0,
            is_torn: false,
        };
        connection.family = connection.resolve_family()?;
        Ok(connection)
    }

    /// Starts a node.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn start(&mut self, wishes: &StartRequest) -> Result<(), Failure> {
        let attributes = wishes.attributes()?;
        self.send_command(Command::NodeStart, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// Stops the node: returns when it has left the cluster.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.ask(Command::NodeStop, Wanted::Answer).map(drop)
    }

    /// Puts a member out of the cluster. The view without it follows.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn evict(&mut self, node: u16) -> Result<(), Failure> {
        let attributes = [u16_attribute(kind::NODE_ID, node)];
        self.send_command(Command::Evict, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// Lets no view be agreed on for so many milliseconds; zero ends that.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn pin(&mut self, span_ms: u32) -> Result<(), Failure> {
        let attributes = [u32_attribute(kind::SPAN_MS, span_ms)];
        self.send_command(Command::Pin, Wanted::Answer, &attributes)?;
        self.receive_bodies().map(drop)
    }

    /// Identity, state, settings and counters of the node.
    ///
    /// # Errors
    ///
    /// No node, or an answer that makes no sense.
    pub fn node(&mut self) -> Result<NodeStatus, Failure> {
        let bodies = self.ask(Command::NodeGet, Wanted::Answer)?;
        let body = bodies.first();
        let body = body.ok_or_else(|| Failure::BadAnswer("nothing about the node".to_owned()))?;
        answers::node(&body.attributes)
    }

    /// The present cluster view, if there is one.
    ///
    /// # Errors
    ///
    /// No node, or an answer that makes no sense.
    pub fn view(&mut self) -> Result<Option<ViewStatus>, Failure> {
        let bodies = self.ask_for_list(Command::ViewGet)?;
        match answers::view(bodies.iter().map(|body| body.attributes.as_slice()))? {
            answers::WholeView::Torn => {
                Err(Failure::BadAnswer("members of two views in one".to_owned()))
            }
            answers::WholeView::Nothing => Ok(None),
            answers::WholeView::View(view) => Ok(Some(view)),
        }
    }

    /// The groups that the node knows.
    ///
    /// # Errors
    ///
    /// No node, or an answer that makes no sense.
    pub fn groups(&mut self) -> Result<Vec<GroupStatus>, Failure> {
        let bodies = self.ask_for_list(Command::GroupGet)?;
        let groups = bodies.iter().map(|body| answers::group(&body.attributes));
        groups.collect()
    }

    /// How late heartbeats are, for each neighbour of the node, by their numbers.
    ///
    /// # Errors
    ///
    /// No node, or an answer that makes no sense.
    pub fn delays(&mut self) -> Result<Vec<NeighbourDelays>, Failure> {
        let bodies = self.ask_for_list(Command::DelayGet)?;
        let read = bodies
            .iter()
            .map(|body| delays::neighbour(&body.attributes));
        let mut neighbours = read.collect::<Result<Vec<_>, _>>()?;
        neighbours.sort_by_key(|neighbour| neighbour.node);
        Ok(neighbours)
    }

    /// All entries of a list as they were at one time.
    fn ask_for_list(&mut self, command: Command) -> Result<Vec<Body>, Failure> {
        for _ in 0..LIST_TRIES {
            let bodies = self.ask(command, Wanted::List)?;
            if !self.is_torn {
                return Ok(bodies);
            }
        }
        Err(Failure::TimedOut(format!(
            "the list changed {LIST_TRIES} times while it was read"
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
        attributes: &[netlink_packet_core::DefaultNla],
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

    /// All answers to the last request.
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
                    continue; // the rest of a request that was given up
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
        let mut message = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.to_owned())],
        }));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.send(&bytes)?;
        let missing = || {
            Failure::Usage(format!(
                "the kernel knows no netlink family {FAMILY}: is the module {FAMILY} loaded?"
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

fn family_number(body: &Body) -> Option<u16> {
    let header = netlink_packet_generic::GenlHeader {
        cmd: body.command,
        version: GenlCtrl::version(&GenlCtrl {
            cmd: GenlCtrlCmd::NewFamily,
            nlas: Vec::new(),
        }),
    };
    let control = <GenlCtrl as netlink_packet_core::ParseableParametrized<
        [u8],
        netlink_packet_generic::GenlHeader,
    >>::parse_with_param(&body.attributes, header)
    .ok()?;
    control.nlas.iter().find_map(|attribute| match attribute {
        GenlCtrlAttrs::FamilyId(number) => Some(*number),
        _ => None,
    })
}

/// Whether nothing follows; a refusal is a failure.
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
        DoneMessage, Emitable, ErrorBuffer, ErrorMessage, NetlinkHeader, Parseable, NLM_F_ACK_TLVS,
        NLM_F_CAPPED,
    };

    use super::super::attributes::text_attribute;

    fn words(text: &str) -> Vec<u8> {
        let attribute = text_attribute(1, text).unwrap();
        let mut bytes = vec![0; attribute.buffer_len()];
        attribute.emit(&mut bytes);
        bytes
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
    fn an_acknowledgement_is_the_end() {
        assert!(is_end(&message(NLM_F_CAPPED, error(0, &[]))).unwrap());
    }

    #[test]
    fn a_refusal_has_the_kernels_words() {
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
    fn a_list_may_end_with_a_refusal() {
        let mut done = DoneMessage::default();
        assert!(is_end(&message(0, NetlinkPayload::Done(done.clone()))).unwrap());
        done.code = -19;
        done.extended_ack = words("no node in this network namespace");
        let failure = is_end(&message(NLM_F_ACK_TLVS, NetlinkPayload::Done(done))).unwrap_err();
        assert!(failure.is_no_node());
        assert_eq!(failure.to_string(), "no node in this network namespace");
    }
}
