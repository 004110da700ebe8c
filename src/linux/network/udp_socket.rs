// SPDX-License-Identifier: GPL-2.0

//! The UDP socket of a node (`kcgcs_socket.c`), and the queue of datagrams that wait for its engine.
//!
//! ```text
//!   bind --> Socket --start--> receives in soft interrupts --close--> RCU grace period --> drop
//! ```
//!
//! C hands each received datagram to `kcgcs_receive()` and reports a queued one with `kcgcs_received()`. Both
//! are defined once, by the receiver (`node/bottom_half.rs`): the receive path has no call through a pointer.

use crate::{
    linux::{
        ffi,
        observability::live_objects::{
            Kind,
            LiveObject, //
        }, //
    },
    protocol::identity::PeerAddress, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    ffi::c_void,
    prelude::*, //
};

/// A bound UDP socket.
///
/// # Invariants
///
/// The pointer is a socket of `kcgcs_socket_bind`, not freed yet.
pub(crate) struct Socket {
    raw: NonNull<ffi::kcgcs_socket>,
    _live: LiveObject,
}

// SAFETY: The pointer is not bound to a thread: C allocates and frees the socket wherever it is called.
unsafe impl Send for Socket {}
// SAFETY: The C functions on the socket take its queue's lock or use RCU, so any number of threads may call them.
unsafe impl Sync for Socket {}

impl Socket {
    /// Bind `address` in the network namespace. Nothing is received yet.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn bind(net: NonNull<bindings::net>, address: PeerAddress) -> Result<Self> {
        let mut raw = core::ptr::null_mut();
        // SAFETY: The namespace is alive, since its instance is being started; the address has 16
        // bytes; the result is written on success only.
        to_result(unsafe {
            ffi::kcgcs_socket_bind(
                net.as_ptr(),
                address.octets.as_ptr(),
                address.port,
                &mut raw,
            )
        })?;
        // INVARIANT: On success the pointer is a new socket.
        Ok(Self {
            raw: NonNull::new(raw).ok_or(EINVAL)?,
            _live: LiveObject::new(Kind::Socket),
        })
    }

    /// Start to receive: hand each datagram, with `context`, to `kcgcs_receive()`.
    ///
    /// # Safety
    ///
    /// `context` is what `kcgcs_receive()` and `kcgcs_received()` expect. It stays until this socket was dropped,
    /// or was closed and an RCU grace period is over.
    pub(crate) unsafe fn start(&self, context: NonNull<c_void>) {
        // SAFETY: By the type invariant the socket is live. The context is used in RCU read sections that begin
        // before the socket is closed; the caller promises that it outlives those.
        unsafe { ffi::kcgcs_socket_start(self.raw.as_ptr(), context.as_ptr()) }
    }

    /// Give the port back. Closing twice is harmless.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn close(&self) {
        // SAFETY: By the type invariant the socket is live.
        unsafe { ffi::kcgcs_socket_close(self.raw.as_ptr()) }
    }

    /// Send one datagram. An urgent one has the priority of network control traffic in transmit queues.
    ///
    /// # Errors
    ///
    /// - `EMSGSIZE`: longer than a 32-bit length.
    /// - `EAFNOSUPPORT`: `to` is not of the socket's IP version.
    /// - `ENOMEM`: no memory for a packet.
    /// - `ENETDOWN`: the socket is closed.
    /// - Any error of the routing lookup.
    ///
    /// Context: Any context but hard interrupt.
    pub(crate) fn transmit(&self, to: PeerAddress, bytes: &[u8], urgent: bool) -> Result {
        let length = u32::try_from(bytes.len()).map_err(|_| EMSGSIZE)?;
        // SAFETY: The socket is live by the type invariant; the address has 16 bytes and the payload
        // the given length, and both are copied.
        to_result(unsafe {
            ffi::kcgcs_socket_transmit(
                self.raw.as_ptr(),
                to.octets.as_ptr(),
                to.port,
                bytes.as_ptr().cast(),
                length,
                urgent,
            )
        })
    }

    /// Take the oldest datagram that waits for the engine.
    pub(crate) fn take(&self) -> Option<Datagram> {
        let mut raw = ffi::kcgcs_datagram {
            address: [0; 16],
            port: 0,
            length: 0,
            payload: core::ptr::null(),
        };
        // SAFETY: The socket is live by the type invariant; `raw` is written if there is a datagram.
        let skb = unsafe { ffi::kcgcs_socket_take(self.raw.as_ptr(), &mut raw) };
        // INVARIANT: The packet is ours now and `raw` describes it.
        Some(Datagram {
            skb: NonNull::new(skb)?,
            raw,
        })
    }

    /// The number of datagrams dropped because too many waited for the engine.
    pub(crate) fn overflows(&self) -> u64 {
        // SAFETY: By the type invariant the socket is live.
        unsafe { ffi::kcgcs_socket_overflows(self.raw.as_ptr()) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the socket is live; it is not used after this. Closing it a second time is
        // harmless. After the grace period no receive hook and no sender uses it any more.
        unsafe {
            ffi::kcgcs_socket_close(self.raw.as_ptr());
            bindings::synchronize_rcu();
            ffi::kcgcs_socket_free(self.raw.as_ptr());
        }
    }
}

/// A received datagram.
///
/// # Invariants
///
/// `skb` is a packet that this value owns; `raw` describes its payload.
pub(crate) struct Datagram {
    skb: NonNull<bindings::sk_buff>,
    raw: ffi::kcgcs_datagram,
}

impl Datagram {
    /// The sender's address, from the IP and UDP headers.
    pub(crate) fn from(&self) -> PeerAddress {
        PeerAddress {
            octets: self.raw.address,
            port: self.raw.port,
        }
    }

    /// The UDP payload.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: By the type invariant these bytes are the packet's, which lives as long as `self`
        // and is written by nobody.
        unsafe { core::slice::from_raw_parts(self.raw.payload, usize::from(self.raw.length)) }
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the packet is ours.
        unsafe { ffi::kcgcs_socket_give_back(self.skb.as_ptr()) }
    }
}
