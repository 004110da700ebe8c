// SPDX-License-Identifier: GPL-2.0

//! Whole Ethernet frames with UDP over IPv4, received and sent unchanged, to record the datagrams of nodes and to
//! replay them in another node's name.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    bind, recv, send, socket, AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrLike,
};

use super::network::{address4, hardware_address};

/// The port of all nodes.
pub const PORT: u16 = 5407;
const ETHERNET_BYTES: usize = 14;
/// Bytes of an IPv4 header without options.
pub const IPV4_BYTES: usize = 20;
/// Bytes of a UDP header.
pub const UDP_BYTES: usize = 8;
const UDP: u8 = 17;
const FRAME_BYTES_MAX: usize = 2048;

/// A socket on the interface `eth0` of the namespace it was opened in.
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Open a socket in the calling thread's namespace.
    pub fn open() -> Result<Self, String> {
        let what = |errno: Errno| format!("packet socket: {errno}");
        let file = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .map_err(what)?;
        bind(file.as_raw_fd(), &interface()?).map_err(what)?;
        Ok(Self(file))
    }

    /// Receive the next waiting frame, if there is one.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, String> {
        let mut frame = vec![0; FRAME_BYTES_MAX];
        match recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(format!("packet socket: {errno}")),
        }
    }

    /// Send a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<(), String> {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                // The interface's queue is full. It drains by itself.
                Err(Errno::ENOBUFS | Errno::EAGAIN) => std::thread::yield_now(),
                Err(errno) => return Err(format!("packet socket: {errno}")),
            }
        }
    }
}

fn interface() -> Result<LinkAddr, String> {
    nix::ifaddrs::getifaddrs()
        .map_err(|errno| format!("interfaces: {errno}"))?
        .filter(|interface| interface.interface_name == "eth0")
        .find_map(|interface| {
            let address = interface.address?;
            let is_link = address.family() == Some(AddressFamily::Packet);
            address.as_link_addr().filter(|_| is_link).copied()
        })
        .ok_or_else(|| "there is no eth0".to_string())
}

/// The claimed sender and the payload of a frame's datagram, if it is one between nodes and goes to `node`.
pub fn datagram_to(node: u16, frame: &[u8]) -> Option<(u16, &[u8])> {
    let (from, to, payload) = datagram(frame)?;
    (to == node).then_some((from, payload))
}

/// The claimed sender, the receiver and the payload of a frame's datagram, if it is one between nodes.
pub fn datagram(frame: &[u8]) -> Option<(u16, u16, &[u8])> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    let header = ip.get(..IPV4_BYTES)?;
    if frame.get(12..14)? != [8, 0] || header[0] != 0x45 || header[9] != UDP {
        return None;
    }
    let to = u16::from_be_bytes([header[18], header[19]]);
    if header[16..20] != address4(to) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let udp = ip.get(IPV4_BYTES..length)?;
    if udp.get(..4)? != [PORT.to_be_bytes(), PORT.to_be_bytes()].concat() {
        return None;
    }
    let from = u16::from_be_bytes([header[14], header[15]]);
    Some((from, to, udp.get(UDP_BYTES..)?))
}

/// A frame that carries `payload` to a node in the name of another one.
pub fn frame(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (IPV4_BYTES + UDP_BYTES + payload.len()) as u16;
    let mut header = [0; IPV4_BYTES];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[8] = 64;
    header[9] = UDP;
    header[12..16].copy_from_slice(&address4(from));
    header[16..20].copy_from_slice(&address4(to));
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());

    let mut frame = Vec::with_capacity(ETHERNET_BYTES + usize::from(length));
    frame.extend(hardware_address(to));
    // The frame has a hardware address of its own, so that the bridge learns no wrong port for the node in whose name
    // it is.
    frame.extend([2, 0x66, 0, 0, 0, 1]);
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(PORT.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend((UDP_BYTES as u16 + payload.len() as u16).to_be_bytes());
    // There is no UDP checksum, which IPv4 allows.
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// The checksum of an IPv4 header whose checksum field is zero.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_parsed_as_it_was_built() {
        let made = frame(2, 1, b"hello");
        assert_eq!(datagram_to(1, &made), Some((2, &b"hello"[..])));
        assert_eq!(datagram_to(3, &made), None);
        assert_eq!(datagram_to(1, &made[..30]), None);
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        let made = frame(2, 1, b"x");
        assert_eq!(
            checksum(&made[ETHERNET_BYTES..ETHERNET_BYTES + IPV4_BYTES]),
            0
        );
    }
}
