// SPDX-License-Identifier: GPL-2.0

//! The settings that a node starts with: addresses, names and numbers of an operator, checked.
//!
//! Module parameters and netlink requests are both checked here, so that both refuse the same values with the same
//! words. A [`Complaint`] names the parameter, the value and what is allowed.

#![forbid(unsafe_code)]

use crate::{
    linux::runtime::text_buffer::TextBuffer,
    platform::BoundedVec,
    protocol::{
        configuration::{
            Configuration,
            ConfigurationError,
            DetectorKind,
            ValidConfiguration, //
        },
        identity::{
            NodeId,
            PeerAddress, //
        },
        limits::PEERS_MAX, //
    }, //
};
use core::net::{
    IpAddr,
    SocketAddr, //
};
use kernel::{
    error::Error,
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};

/// The UDP port of an address that names none.
pub(crate) const DEFAULT_PORT: u16 = 5407;
/// Longest name of a cluster, in bytes.
pub(crate) const CLUSTER_NAME_BYTES_MAX: usize = 32;
/// Longest [`Complaint`], in bytes. A netlink answer has room for its beginning only.
const COMPLAINT_BYTES_MAX: usize = 104;

/// Why a command was refused: a sentence for the operator, and an error number.
pub(crate) struct Complaint {
    bytes: [u8; COMPLAINT_BYTES_MAX],
    length: usize,
    error: Error,
}

impl Complaint {
    /// Make a complaint of a sentence; one that is too long is cut.
    pub(crate) fn new(error: Error, text: fmt::Arguments<'_>) -> Self {
        let mut bytes = [0; COMPLAINT_BYTES_MAX];
        let mut buffer = TextBuffer::new(&mut bytes);
        let _ = buffer.write_fmt(text);
        let length = buffer.as_bytes().len();
        Self {
            bytes,
            length,
            error,
        }
    }

    /// The complaint that there is no memory.
    pub(crate) fn out_of_memory() -> Self {
        Self::new(ENOMEM, format_args!("out of memory"))
    }

    /// The error number.
    pub(crate) fn error(&self) -> Error {
        self.error
    }

    /// The sentence.
    pub(crate) fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or("value is not text")
    }
}

fn invalid(text: fmt::Arguments<'_>) -> Complaint {
    Complaint::new(EINVAL, text)
}

/// Bytes of the operator's text. They are printed with everything but printable ASCII escaped.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

macro_rules! setting_names {
    ($($name:ident)*) => {
        /// The names of all settings: the numbers in [`Configuration`].
        pub(crate) const SETTING_NAMES: &[&CStr] = &[
            $(kernel::c_str!(stringify!($name)),)*
        ];

        /// The place of the setting called `name`.
        pub(crate) fn setting<'a>(
            settings: &'a mut Configuration,
            name: &[u8],
        ) -> Option<&'a mut u32> {
            $(if name == stringify!($name).as_bytes() {
                return Some(&mut settings.$name);
            })*
            None
        }
    };
}

setting_names! {
    heartbeat_interval_ms
    heartbeat_slack_ms
    window_heartbeats
    window_misses
    probe_count
    probe_interval_ms
    rings
    confirmations
    confirmation_timeout_ms
    coordinators
    batching_ms
    retransmit_ms
    takeover_ms
    formation_ms
    blocked_timeout_ms
    expected_nodes
    wait_for_all
    even_split
    partitionable
}

/// The name of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct ClusterName {
    bytes: [u8; CLUSTER_NAME_BYTES_MAX],
    length: usize,
}

impl ClusterName {
    fn new(name: &[u8]) -> Result<Self, Complaint> {
        let mut bytes = [0; CLUSTER_NAME_BYTES_MAX];
        match bytes.get_mut(..name.len()) {
            Some(place) if !name.is_empty() => place.copy_from_slice(name),
            _ => {
                return Err(invalid(format_args!(
                    "cluster={:?}: 1 to {CLUSTER_NAME_BYTES_MAX} bytes are allowed",
                    Shown(name)
                )))
            }
        }
        Ok(Self {
            bytes,
            length: name.len(),
        })
    }

    /// The name's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self.as_bytes()).fmt(f)
    }
}

/// The wishes of an operator, unchecked.
pub(crate) struct Wishes<'a> {
    pub(crate) cluster: &'a [u8],
    pub(crate) node_id: u32,
    pub(crate) address: &'a [u8],
    pub(crate) peers: &'a [u8],
    pub(crate) settings: Configuration,
    /// The name of a detector.
    pub(crate) detector: &'a [u8],
    /// The text given for the number of this name, if it is no number.
    pub(crate) unreadable: fn(&str) -> Option<&'static [u8]>,
}

impl Wishes<'_> {
    /// Whether the operator asks for a node at all.
    pub(crate) fn ask_for_node(&self) -> bool {
        self.node_id != 0 || !self.address.is_empty()
    }

    fn configuration(
        &self,
        cluster: ClusterName,
        address: PeerAddress,
        peers: &[PeerAddress],
    ) -> Result<ValidConfiguration, Complaint> {
        let detector = DetectorKind::from_name(self.detector).ok_or_else(|| {
            let shown = self.detector.get(..40).unwrap_or(self.detector);
            invalid(format_args!(
                "detector={:?}: ring or gossip is allowed",
                Shown(shown)
            ))
        })?;
        let settings = Configuration {
            detector,
            ..self.settings
        };
        ValidConfiguration::new(settings, cluster.as_bytes(), address, peers).map_err(|error| {
            match error {
                ConfigurationError::OutOfMemory => Complaint::out_of_memory(),
                ConfigurationError::Setting(setting) => {
                    self.wrong_number(setting.parameter, setting.value, setting.min, setting.max)
                }
            }
        })
    }

    /// The complaint that a number is out of bounds, or no number at all.
    fn wrong_number(&self, name: &str, value: u64, min: u64, max: u64) -> Complaint {
        match (self.unreadable)(name) {
            Some(text) => invalid(format_args!(
                "{name}={:?}: {min} to {max} is allowed",
                Shown(text.get(..20).unwrap_or(text))
            )),
            None => invalid(format_args!("{name}={value}: {min} to {max} is allowed")),
        }
    }
}

/// Everything a node needs to start.
pub(crate) struct Settings {
    pub(crate) cluster: ClusterName,
    pub(crate) node: NodeId,
    pub(crate) address: PeerAddress,
    pub(crate) configuration: ValidConfiguration,
}

impl Settings {
    /// Check the wishes of an operator who may not ask for a node. Without a node the numbers are checked all the same.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn optional(wishes: &Wishes<'_>) -> Result<Option<Self>, Complaint> {
        if wishes.ask_for_node() {
            return Self::new(wishes).map(Some);
        }
        let nowhere = PeerAddress::from_socket_address(SocketAddr::from(([127, 0, 0, 1], 1)));
        wishes.configuration(ClusterName::new(wishes.cluster)?, nowhere, &[])?;
        Ok(None)
    }

    /// Check the wishes of an operator who asks for a node.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn new(wishes: &Wishes<'_>) -> Result<Self, Complaint> {
        let cluster = ClusterName::new(wishes.cluster)?;
        let node = u16::try_from(wishes.node_id)
            .ok()
            .and_then(NodeId::new)
            .ok_or_else(|| {
                wishes.wrong_number("node_id", wishes.node_id.into(), 1, u16::MAX.into())
            })?;
        let address = parse_address("address", wishes.address)?;
        let peers = parse_peers(wishes.peers, address)?;
        let configuration = wishes.configuration(cluster, address, &peers)?;
        Ok(Self {
            cluster,
            node,
            address,
            configuration,
        })
    }
}

fn is_v4(address: PeerAddress) -> bool {
    address.to_socket_address().is_ipv4()
}

fn parse_peers(text: &[u8], own: PeerAddress) -> Result<BoundedVec<PeerAddress>, Complaint> {
    let count = if text.is_empty() {
        0
    } else {
        text.split(|byte| *byte == b',').count()
    };
    if count > PEERS_MAX {
        return Err(invalid(format_args!(
            "peers: {count} addresses, 0 to {PEERS_MAX} are allowed"
        )));
    }
    let mut peers = BoundedVec::with_capacity(count).map_err(|_| Complaint::out_of_memory())?;
    for part in text.split(|byte| *byte == b',').take(count) {
        let peer = parse_address("peers", part.trim_ascii())?;
        if is_v4(peer) != is_v4(own) {
            return Err(invalid(format_args!(
                "peers={:?}: must be of the same IP version as address",
                Shown(part)
            )));
        }
        peers.push(peer).map_err(|_| Complaint::out_of_memory())?;
    }
    Ok(peers)
}

/// Parse `IP`, `IP:port`, `[IP]` or `[IP]:port`.
fn parse_address(parameter: &str, text: &[u8]) -> Result<PeerAddress, Complaint> {
    let text = text.trim_ascii();
    let complain = |allowed: &str| {
        invalid(format_args!(
            "{parameter}={:?}: {allowed}",
            Shown(text.get(..40).unwrap_or(text))
        ))
    };
    let address = core::str::from_utf8(text)
        .ok()
        .and_then(|text| {
            let bare = text
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let with_port = text.parse::<SocketAddr>().ok();
            with_port.or_else(|| {
                let ip = bare.unwrap_or(text).parse::<IpAddr>().ok()?;
                Some(SocketAddr::new(ip, DEFAULT_PORT))
            })
        })
        .ok_or_else(|| complain("IP, IP:port or [IP]:port is allowed"))?;
    if address.port() == 0 {
        return Err(complain("port 1 to 65535 is allowed"));
    }
    let usable = match address.ip() {
        IpAddr::V4(four) => !four.is_unspecified() && !four.is_multicast() && !four.is_broadcast(),
        IpAddr::V6(six) => {
            !six.is_unspecified() && !six.is_multicast() && !six.is_unicast_link_local()
        }
    };
    if !usable {
        return Err(complain("must be one machine's routed address"));
    }
    Ok(PeerAddress::from_socket_address(address))
}
