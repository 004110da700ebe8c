// SPDX-License-Identifier: GPL-2.0

//! The UDP socket of a node (`kcgcs_socket.c`), and the datagrams that wait for its engine.
//!
//! ```text
//!   bind --> Socket --start--> receives in soft interrupts --close--> RCU grace period --> drop
//! ```

use super::{
    ffi,
    instance::Instance,
    live_objects::{
        Kind,
        LiveObject, //
    }, //
};
use crate::protocol::identity::PeerAddress;
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

// SAFETY: The C functions on the socket lock by themselves and may be called from any thread.
unsafe impl Send for Socket {}
// SAFETY: As above.
unsafe impl Sync for Socket {}

impl Socket {
    /// Binds `address` in the network namespace. Nothing is received yet.
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

    /// From now on each datagram is shown to `instance`, which owns this socket and closes it, and
    /// waits for an RCU grace period, before it goes away.
    pub(crate) fn start(&self, instance: &Instance) {
        let context = core::ptr::from_ref(instance).cast_mut().cast::<c_void>();
        // SAFETY: By the type invariant the socket is live; the context is looked at in RCU read
        // sections that begin before the socket is closed, and the instance outlives those.
        unsafe { ffi::kcgcs_socket_start(self.raw.as_ptr(), context) }
    }

    /// Gives the port back. Closing twice is harmless.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn close(&self) {
        // SAFETY: By the type invariant the socket is live.
        unsafe { ffi::kcgcs_socket_close(self.raw.as_ptr()) }
    }

    /// Sends one datagram. Urgent ones go before others where queues know that.
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

    /// The oldest datagram that waits for the engine.
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

    /// Datagrams that were dropped since too many waited for the engine.
    pub(crate) fn overflows(&self) -> u64 {
        // SAFETY: By the type invariant the socket is live.
        unsafe { ffi::kcgcs_socket_overflows(self.raw.as_ptr()) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: The socket is live and this is its end. Closing is harmless if it was closed. An
        // instance that was started has closed it and waited already; one that was not has no
        // receivers or senders.
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
    /// Who sent it, as its header says.
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

ffi::as_declared!(kcgcs_receive, kcgcs_received);

/// A datagram has come in. Returns whether it is to be queued for the engine.
///
/// Context: Soft interrupt, inside of an RCU read section.
///
/// # Safety
///
/// `context` was given to `kcgcs_socket_start`; `address` is 16 bytes, `payload` is `length` bytes.
#[no_mangle]
unsafe extern "C" fn kcgcs_receive(
    context: *mut c_void,
    address: *const u8,
    port: u16,
    payload: *const u8,
    length: u32,
) -> bool {
    // SAFETY: `Socket::start` gave a reference to an instance, which waits for this RCU read section
    // before it goes away.
    let instance = unsafe { &*context.cast::<Instance>() };
    // SAFETY: The caller says that there are 16 bytes; an array of bytes needs no alignment.
    let octets = unsafe { *address.cast::<[u8; 16]>() };
    // SAFETY: The caller says that the payload has this length; it stays during this call.
    let bytes = unsafe { core::slice::from_raw_parts(payload, length as usize) };
    instance.handle_received(PeerAddress { octets, port }, bytes)
}

/// A datagram was put to the queue of the engine.
///
/// Context: Soft interrupt, inside of an RCU read section.
///
/// # Safety
///
/// `context` was given to `kcgcs_socket_start`.
#[no_mangle]
unsafe extern "C" fn kcgcs_received(context: *mut c_void) {
    // SAFETY: As in `kcgcs_receive`.
    let instance = unsafe { &*context.cast::<Instance>() };
    instance.wake_engine();
}
