// SPDX-License-Identifier: GPL-2.0

//! Names of things: nodes, their incarnations, their addresses, groups, members.
//!
//! Newtypes without logic beyond ordering, so that a node number cannot be taken for a slot.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::limits::GROUP_NAME_BYTES_MAX;

/// The operator's number of a node, unique in a cluster. Zero is never a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// A node number; `None` for zero.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number itself.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Grows each time a node starts; a node that left never comes back under the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// One life of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Which node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// Number of a cluster view or of a group view. Zero: none yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ViewNumber(pub u64);

impl ViewNumber {
    /// The number of the view that follows this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A small number, from 1, that a member keeps for as long as it is a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// Where a node listens: an IPv6 address (IPv4 in its mapped form) and a UDP port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The address, most significant octet first.
    pub octets: [u8; 16],
    /// The UDP port.
    pub port: u16,
}

impl PeerAddress {
    /// Takes the address of a socket; flow label and scope are not kept.
    pub fn from_socket_address(address: SocketAddr) -> Self {
        let octets = match address.ip() {
            IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
            IpAddr::V6(six) => six.octets(),
        };
        Self {
            octets,
            port: address.port(),
        }
    }

    /// The address in the standard library's form, IPv4 if it is a mapped one.
    pub fn to_socket_address(self) -> SocketAddr {
        let six = Ipv6Addr::from(self.octets);
        let ip = match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(six),
        };
        SocketAddr::new(ip, self.port)
    }
}

/// The name of a group as its users write it: 1 to [`GROUP_NAME_BYTES_MAX`] bytes, none of them zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName {
    bytes: [u8; GROUP_NAME_BYTES_MAX],
    length: u8,
}

impl GroupName {
    /// Checks and copies a name.
    pub fn new(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.contains(&0) {
            return None;
        }
        let mut bytes = [0; GROUP_NAME_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self {
            bytes,
            length: u8::try_from(name.len()).ok()?,
        })
    }

    /// The name's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// The number that stands for the name in datagrams.
    pub fn id(&self) -> GroupId {
        GroupId(fnv1a_64(self.as_bytes()))
    }
}

/// The 64-bit FNV-1a hash of a group's name. A join carries the whole name, so that two names with
/// one number are refused and not mixed up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// One handle of one consumer on one node, unique during a node's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// One member of a group in one of its lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// The node it lives on.
    pub node: NodeId,
    /// Which handle on that node.
    pub endpoint: EndpointId,
    /// The node's incarnation.
    pub incarnation: Incarnation,
}

/// The 64-bit FNV-1a hash (Fowler, Noll and Vo).
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The cluster's name folded to the number that every datagram carries.
pub fn cluster_number(name: &[u8]) -> u32 {
    let hash = fnv1a_64(name);
    ((hash >> 32) as u32) ^ (hash as u32)
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.node, self.incarnation)
    }
}

impl fmt::Debug for ViewNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_socket_address())
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{}", core::ascii::escape_default(*byte))?;
        }
        Ok(())
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}.{:?}/{:?}",
            self.node, self.endpoint, self.incarnation
        )
    }
}
