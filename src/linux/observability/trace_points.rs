// SPDX-License-Identifier: GPL-2.0

//! The trace events of `kcgcs_trace.h` as safe functions, which may be called in any context.

use crate::{
    linux::ffi,
    protocol::identity::{
        EndpointId,
        NodeId,
        PeerAddress,
        ViewNumber, //
    }, //
};

fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

macro_rules! datagram_event {
    ($(#[$doc:meta])* $name:ident, $raw:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(node: NodeId, peer: PeerAddress, length: usize) {
            // SAFETY: The address is 16 bytes, which the function copies.
            unsafe { ffi::$raw(node.number(), peer.octets.as_ptr(), peer.port, short(length)) }
        }
    };
}

datagram_event!(
    /// A heartbeat, a probe or an answer to one was sent.
    heartbeat_send,
    kcgcs_trace_heartbeat_send
);
datagram_event!(
    /// A heartbeat, a probe or an answer to one was received and handled.
    heartbeat_receive,
    kcgcs_trace_heartbeat_receive
);
datagram_event!(
    /// Another datagram was sent by the engine.
    datagram_send,
    kcgcs_trace_datagram_send
);
datagram_event!(
    /// Another datagram was received and handed to the engine.
    datagram_receive,
    kcgcs_trace_datagram_receive
);

/// A cluster view was installed.
pub(crate) fn view_install(node: NodeId, number: ViewNumber, members: usize) {
    // SAFETY: The function takes numbers only and has no requirements.
    unsafe { ffi::kcgcs_trace_view_install(node.number(), number.0, short(members)) }
}

/// A message was queued for a consumer.
pub(crate) fn deliver(
    node: NodeId,
    endpoint: EndpointId,
    sender: NodeId,
    sequence: u64,
    length: usize,
) {
    // SAFETY: The function takes numbers only and has no requirements.
    unsafe {
        ffi::kcgcs_trace_deliver(
            node.number(),
            endpoint.0,
            sender.number(),
            sequence,
            short(length),
        )
    }
}
