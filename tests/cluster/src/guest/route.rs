// SPDX-License-Identifier: GPL-2.0

//! The few rtnetlink requests that a cluster of namespaces needs, without starting a program for each: bridges, veth
//! pairs, addresses, and putting ports into a bridge and out of it.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    recv, sendto, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const IFF_UP: u32 = 1;

/// A request under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        Self(bytes)
    }

    /// `struct ifinfomsg`.
    fn link(mut self, index: u32, flags: u32, change: u32) -> Self {
        self.0.extend([0, 0, 0, 0]);
        self.0.extend(index.to_ne_bytes());
        self.0.extend(flags.to_ne_bytes());
        self.0.extend(change.to_ne_bytes());
        self
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (value.len() + 4) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn name(self, kind: u16, name: &str) -> Self {
        self.attribute(kind, format!("{name}\0").as_bytes())
    }

    /// The attributes alone, to be nested into another message.
    fn nested(build: impl FnOnce(Self) -> Self) -> Vec<u8> {
        build(Self(Vec::new())).0
    }
}

/// An rtnetlink socket, which configures the namespace in which it was opened.
pub struct Route(OwnedFd);

impl Route {
    /// Open a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, String> {
        socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .map(Self)
        .map_err(|error| format!("netlink socket: {error}"))
    }

    fn request(&self, what: &str, message: Message) -> Result<(), String> {
        let mut bytes = message.0;
        let length = bytes.len() as u32;
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        sendto(
            self.0.as_raw_fd(),
            &bytes,
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )
        .map_err(|error| format!("{what}: send: {error}"))?;
        let mut answer = [0; 4096];
        let received = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())
            .map_err(|error| format!("{what}: receive: {error}"))?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if received < 20 || kind != NLMSG_ERROR {
            return Err(format!("{what}: unexpected answer of kind {kind}"));
        }
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            code => Err(format!(
                "{what}: {}",
                std::io::Error::from_raw_os_error(-code)
            )),
        }
    }

    /// Create a bridge, and set it up.
    pub fn add_bridge(&self, name: &str) -> Result<(), String> {
        let info = Message::nested(|message| message.name(IFLA_INFO_KIND, "bridge"));
        let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .link(0, IFF_UP, IFF_UP)
            .name(IFLA_IFNAME, name)
            .attribute(IFLA_LINKINFO, &info);
        self.request(&format!("bridge {name}"), message)
    }

    /// Create a veth pair: `name` here, and `peer_name` with hardware address `peer_address` in `peer_namespace`.
    pub fn add_veth(
        &self,
        name: &str,
        peer_name: &str,
        peer_address: [u8; 6],
        peer_namespace: BorrowedFd<'_>,
    ) -> Result<(), String> {
        let mut peer = vec![0; 16];
        peer.extend(Message::nested(|message| {
            message
                .name(IFLA_IFNAME, peer_name)
                .attribute(IFLA_ADDRESS, &peer_address)
                .attribute(IFLA_NET_NS_FD, &peer_namespace.as_raw_fd().to_ne_bytes())
        }));
        let data = Message::nested(|message| message.attribute(VETH_INFO_PEER, &peer));
        let info = Message::nested(|message| {
            message
                .name(IFLA_INFO_KIND, "veth")
                .attribute(IFLA_INFO_DATA, &data)
        });
        let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .link(0, 0, 0)
            .name(IFLA_IFNAME, name)
            .attribute(IFLA_LINKINFO, &info);
        self.request(&format!("veth {name}"), message)
    }

    /// Remove an interface.
    pub fn delete(&self, name: &str) -> Result<(), String> {
        let message = Message::new(RTM_DELLINK, 0)
            .link(0, 0, 0)
            .name(IFLA_IFNAME, name);
        self.request(&format!("delete {name}"), message)
    }

    /// Set an interface up.
    pub fn set_up(&self, name: &str) -> Result<(), String> {
        let message = Message::new(RTM_SETLINK, 0)
            .link(0, IFF_UP, IFF_UP)
            .name(IFLA_IFNAME, name);
        self.request(&format!("set {name} up"), message)
    }

    /// Put an interface into a bridge (by its index), or take it out of its bridge (index 0). The carrier does not
    /// change, so neither end notices.
    pub fn set_master(&self, name: &str, bridge_index: u32) -> Result<(), String> {
        let message = Message::new(RTM_SETLINK, 0)
            .link(0, 0, 0)
            .name(IFLA_IFNAME, name)
            .attribute(IFLA_MASTER, &bridge_index.to_ne_bytes());
        self.request(&format!("set master of {name}"), message)
    }

    /// Give an interface an IPv4 address.
    pub fn add_address(&self, index: u32, address: [u8; 4], prefix: u8) -> Result<(), String> {
        const AF_INET: u8 = 2;
        let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        message.0.extend([AF_INET, prefix, 0, 0]);
        message.0.extend(index.to_ne_bytes());
        let message = message
            .attribute(IFA_LOCAL, &address)
            .attribute(IFA_ADDRESS, &address);
        self.request("IPv4 address", message)
    }

    /// Give an interface an IPv6 address that is usable at once.
    pub fn add_address6(&self, index: u32, address: [u8; 16], prefix: u8) -> Result<(), String> {
        const AF_INET6: u8 = 10;
        let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        message.0.extend([AF_INET6, prefix, 0, 0]);
        message.0.extend(index.to_ne_bytes());
        let message = message
            .attribute(IFA_LOCAL, &address)
            .attribute(IFA_ADDRESS, &address)
            .attribute(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
        self.request("IPv6 address", message)
    }
}
