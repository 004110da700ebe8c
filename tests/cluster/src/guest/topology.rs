// SPDX-License-Identifier: GPL-2.0

//! The topology service of TIPC, which reports to programs which nodes can be reached from their namespace.
#![expect(
    unsafe_code,
    reason = "nix knows no addresses of TIPC, so one system call is made by hand"
)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{recv, send, socket, AddressFamily, MsgFlags, SockFlag, SockType};

const TIPC_SERVICE_ADDR: u8 = 2;
const TIPC_TOP_SRV: u32 = 1;
const TIPC_NODE_STATE: u32 = 0;
const TIPC_SUB_PORTS: u32 = 1;
const TIPC_WAIT_FOREVER: u32 = u32::MAX;
const TIPC_PUBLISHED: u32 = 1;
const TIPC_WITHDRAWN: u32 = 2;
/// `struct tipc_event`.
const EVENT_BYTES: usize = 48;

/// An event of the topology service about a node, by the node's TIPC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The node can be reached.
    Up(u32),
    /// The node can no longer be reached.
    Down(u32),
}

/// The address that node `number` is given: `1.1.number`.
pub fn address(number: u16) -> u32 {
    (1 << 24) | (1 << 12) | u32::from(number)
}

/// The number of the node with this address.
pub fn number(address: u32) -> u16 {
    (address & 0xfff) as u16
}

/// A subscription to the states of all nodes.
pub struct Topology(OwnedFd);

impl Topology {
    /// Subscribe in the calling thread's namespace.
    pub fn subscribe() -> Result<Self, String> {
        let file = socket(
            AddressFamily::Tipc,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(|errno| format!("socket of TIPC: {errno}"))?;
        connect_to_service(&file, TIPC_TOP_SRV, TIPC_TOP_SRV)
            .map_err(|errno| format!("topology service: {errno}"))?;
        let mut request = Vec::new();
        for word in [
            TIPC_NODE_STATE,
            0,
            u32::MAX,
            TIPC_WAIT_FOREVER,
            TIPC_SUB_PORTS,
            // The handle, which is returned with each event.
            0,
            0,
        ] {
            request.extend(word.to_ne_bytes());
        }
        send(file.as_raw_fd(), &request, MsgFlags::empty())
            .map_err(|errno| format!("subscription: {errno}"))?;
        Ok(Self(file))
    }

    /// Receive the next waiting event, if there is one.
    pub fn next(&self) -> Result<Option<NodeEvent>, String> {
        let mut event = [0; EVENT_BYTES];
        loop {
            match recv(self.0.as_raw_fd(), &mut event, MsgFlags::MSG_DONTWAIT) {
                Ok(EVENT_BYTES) => {
                    if let Some(event) = parse(&event) {
                        return Ok(Some(event));
                    }
                }
                Ok(length) => return Err(format!("topology service: {length} bytes")),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(format!("topology service: {errno}")),
            }
        }
    }
}

impl AsFd for Topology {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn parse(event: &[u8; EVENT_BYTES]) -> Option<NodeEvent> {
    let word = |place: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&event[place..place + 4]);
        u32::from_ne_bytes(bytes)
    };
    match word(0) {
        TIPC_PUBLISHED => Some(NodeEvent::Up(word(4))),
        TIPC_WITHDRAWN => Some(NodeEvent::Down(word(4))),
        _ => None,
    }
}

/// Connect to a service on any node.
fn connect_to_service(file: &OwnedFd, kind: u32, instance: u32) -> Result<(), Errno> {
    // `struct sockaddr_tipc`: family, kind of address, scope, type, instance, domain.
    let mut address = [0_u8; 16];
    address[0..2].copy_from_slice(&(libc::AF_TIPC as u16).to_ne_bytes());
    address[2] = TIPC_SERVICE_ADDR;
    address[4..8].copy_from_slice(&kind.to_ne_bytes());
    address[8..12].copy_from_slice(&instance.to_ne_bytes());
    let length = address.len() as libc::socklen_t;
    // SAFETY: The descriptor is open, and the kernel reads `length` bytes, without alignment requirements, from
    // the pointer, which is an array of that length.
    let result = unsafe { libc::connect(file.as_raw_fd(), address.as_ptr().cast(), length) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_name_the_node() {
        let mut event = [0; EVENT_BYTES];
        event[4..8].copy_from_slice(&address(300).to_ne_bytes());
        assert_eq!(parse(&event), None);
        event[0..4].copy_from_slice(&TIPC_WITHDRAWN.to_ne_bytes());
        assert_eq!(parse(&event), Some(NodeEvent::Down(address(300))));
        assert_eq!(number(address(300)), 300);
    }
}
