// SPDX-License-Identifier: GPL-2.0

//! Names of nodes, incarnations, addresses, views, groups and members.
//!
//! Each is a type of its own, so that a node number cannot be taken for a slot.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::limits::GROUP_NAME_BYTES_MAX;

/// The number that an operator gives a node, unique in its cluster and never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u16);

impl NodeId {
    /// The node with this number; `None` for zero.
    pub const fn new(number: u16) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The node's number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// Grows each time a node starts. A node that left never returns under the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// One incarnation of one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The incarnation.
    pub incarnation: Incarnation,
}

/// The number of a cluster view or of a group view; zero means no view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ViewNumber(pub u64);

impl ViewNumber {
    /// The number of the view that follows this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The name of a cluster view or of a group view: its number, and the node that issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewName {
    /// The view's number; zero means no view.
    pub number: ViewNumber,
    /// The node that issued it.
    pub issuer: NodeId,
}

/// A hash of a cluster view's name and members. Two different views, also of the same name in different components of a
/// cluster, have the same one in one of 2^64 cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ViewKey(pub u64);

/// What the header of a datagram holds of its sender's view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct ViewMark {
    /// The view's number; zero means no view.
    pub number: ViewNumber,
    /// A hash of the first of the chain of views that led to it; it differs between the components of a cluster.
    pub lineage: u16,
}

/// A small number, from 1, that a member has for as long as it is a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// The address that a node listens at: an IPv6 address (or a mapped IPv4 address) and a UDP port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The address, most significant octet first.
    pub octets: [u8; 16],
    /// The UDP port.
    pub port: u16,
}

impl PeerAddress {
    /// The address of a socket, without its flow label and scope.
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

    /// The address in the standard library's form; IPv4 if it is a mapped IPv4 address.
    pub fn to_socket_address(self) -> SocketAddr {
        let six = Ipv6Addr::from(self.octets);
        let ip = match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => IpAddr::V6(six),
        };
        SocketAddr::new(ip, self.port)
    }
}

/// The name of a group, as its users write it: 1 to [`GROUP_NAME_BYTES_MAX`] bytes, none of them zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct GroupName {
    bytes: [u8; GROUP_NAME_BYTES_MAX],
    length: u8,
}

impl GroupName {
    /// Check and copy a name; `None` if it is not allowed.
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

/// The 64-bit FNV-1a hash of a group's name. A request to join a group also carries the name, so that of two names with
/// the same hash the second is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// One handle of one consumer on one node, unique during the node's incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u32);

/// One member of a group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// Its node.
    pub node: NodeId,
    /// Its handle on that node.
    pub endpoint: EndpointId,
    /// The incarnation of the node.
    pub incarnation: Incarnation,
}

/// The 64-bit FNV-1a hash (Fowler, Noll and Vo).
pub fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The number that stands for a cluster's name in datagrams: its hash, folded.
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_identity))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity_in, node, TestResult, Unexpected};
    use core::fmt::Write;
    use core::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn no_node_has_number_zero() {
        assert_eq!(NodeId::new(0), None);
        for number in [1, 2, 1024, u16::MAX] {
            assert_eq!(NodeId::new(number).map(NodeId::number), Some(number));
        }
    }

    #[test]
    fn identities_are_ordered_by_node_and_then_by_incarnation() {
        assert!(identity_in(1, 9) < identity_in(2, 1));
        assert!(identity_in(2, 1) < identity_in(2, 2));
        assert!(identity_in(2, 2) == identity_in(2, 2));
    }

    #[test]
    fn view_numbers_saturate() {
        assert_eq!(ViewNumber(0).next(), ViewNumber(1));
        assert_eq!(ViewNumber(u64::MAX).next(), ViewNumber(u64::MAX));
    }

    #[test]
    fn names_of_groups_have_1_to_32_bytes_and_no_zero() -> TestResult {
        let long = [b'x'; GROUP_NAME_BYTES_MAX + 1];
        for length in 0..=long.len() {
            let name = long.get(..length).ok_or(Unexpected)?;
            let is_name = (1..=GROUP_NAME_BYTES_MAX).contains(&length);
            assert_eq!(GroupName::new(name).is_some(), is_name);
            if let Some(checked) = GroupName::new(name) {
                assert!(checked.as_bytes() == name);
            }
        }
        assert!(GroupName::new(b"\0").is_none());
        assert!(GroupName::new(b"a\0").is_none());
        assert!(GroupName::new(b"a\0b").is_none());
        assert!(GroupName::new(b"\xff /%").is_some());
        Ok(())
    }

    #[test]
    fn a_name_differs_from_a_longer_one() {
        assert!(GroupName::new(b"a") != GroupName::new(b"aa"));
        assert!(GroupName::new(b"a") == GroupName::new(b"a"));
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
        assert_eq!(
            GroupName::new(b"foobar").map(|name| name.id()),
            Some(GroupId(0x8594_4171_f739_67e8))
        );
        assert_eq!(cluster_number(b"foobar"), 0x8594_4171 ^ 0xf739_67e8);
    }

    #[test]
    fn addresses_of_both_families_are_converted_and_back_without_loss() {
        let four = SocketAddr::from((Ipv4Addr::new(10, 1, 2, 3), 5407));
        let six = SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 7), 1));
        for address in [four, six] {
            let kept = PeerAddress::from_socket_address(address);
            assert_eq!(kept.to_socket_address(), address);
            assert_eq!(kept.port, address.port());
        }
        let mapped = PeerAddress::from_socket_address(four);
        assert!(mapped
            .octets
            .starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10]));
    }

    /// Text of a fixed size.
    struct Text {
        bytes: [u8; 48],
        length: usize,
    }

    impl Write for Text {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = self.length.saturating_add(text.len());
            let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
            place.copy_from_slice(text.as_bytes());
            self.length = end;
            Ok(())
        }
    }

    fn is_shown_as(value: &dyn fmt::Debug, expected: &str) -> bool {
        let mut text = Text {
            bytes: [0; 48],
            length: 0,
        };
        write!(text, "{value:?}").is_ok()
            && text.bytes.get(..text.length) == Some(expected.as_bytes())
    }

    #[test]
    fn log_lines_name_things_briefly() {
        assert!(is_shown_as(&identity_in(3, 1764), "3/1764"));
        assert!(is_shown_as(&ViewNumber(7), "7"));
        assert!(is_shown_as(&Slot(2), "2"));
        assert!(is_shown_as(&GroupId(0xab), "00000000000000ab"));
        assert!(is_shown_as(&GroupName::new(b"a\n"), "Some(a\\n)"));
        let member = MemberId {
            node: node(3),
            endpoint: EndpointId(4),
            incarnation: Incarnation(5),
        };
        assert!(is_shown_as(&member, "3.4/5"));
        let four = PeerAddress::from_socket_address(SocketAddr::from(([10, 0, 0, 3], 5407)));
        assert!(is_shown_as(&four, "10.0.0.3:5407"));
    }
}
