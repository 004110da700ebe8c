// SPDX-License-Identifier: GPL-2.0

//! What the C files of this module offer to Rust: `kcgcs_internal.h` said again in Rust.
//!
//! Only declarations; the wrappers that make them safe are in the files that use them.

use kernel::{
    bindings,
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    }, //
};

/// `struct kcgcs_socket`, seen through pointers only.
#[repr(C)]
pub(crate) struct RawSocket {
    _private: [u8; 0],
}

/// `struct kcgcs_datagram`.
#[repr(C)]
pub(crate) struct RawDatagram {
    pub(crate) address: [u8; 16],
    pub(crate) port: u16,
    pub(crate) length: u16,
    pub(crate) payload: *const u8,
}

/// `KCGCS_SETTING_NOT_GIVEN`.
pub(crate) const SETTING_NOT_GIVEN: c_uint = u32::MAX;
/// `KCGCS_MESSAGE_SIZE`.
pub(crate) const MESSAGE_SIZE: usize = 80;
/// `KCGCS_REQUEST_SETTINGS_MAX`.
pub(crate) const REQUEST_SETTINGS_MAX: usize = 32;

/// `struct kcgcs_request_setting`.
#[repr(C)]
pub(crate) struct RawRequestSetting {
    pub(crate) name: *const c_char,
    pub(crate) value: u64,
}

/// `struct kcgcs_request`.
#[repr(C)]
pub(crate) struct RawRequest {
    pub(crate) cluster: *const c_char,
    pub(crate) address: *const c_char,
    pub(crate) peers: *const c_char,
    pub(crate) node_id: u32,
    pub(crate) setting_count: u32,
    pub(crate) settings: [RawRequestSetting; REQUEST_SETTINGS_MAX],
}

// Locks have fields without a size where lockdep is off; C never sees their insides through this.
#[allow(improper_ctypes)]
extern "C" {
    pub(crate) fn kcgcs_socket_bind(
        net: *mut bindings::net,
        address: *const u8,
        port: u16,
        result: *mut *mut RawSocket,
    ) -> c_int;
    pub(crate) fn kcgcs_socket_start(socket: *mut RawSocket, context: *mut c_void);
    pub(crate) fn kcgcs_socket_close(socket: *mut RawSocket);
    pub(crate) fn kcgcs_socket_free(socket: *mut RawSocket);
    pub(crate) fn kcgcs_socket_transmit(
        socket: *mut RawSocket,
        address: *const u8,
        port: u16,
        payload: *const c_void,
        length: u32,
        urgent: bool,
    ) -> c_int;
    pub(crate) fn kcgcs_socket_take(
        socket: *mut RawSocket,
        datagram: *mut RawDatagram,
    ) -> *mut bindings::sk_buff;
    pub(crate) fn kcgcs_socket_give_back(skb: *mut bindings::sk_buff);
    pub(crate) fn kcgcs_socket_overflows(socket: *const RawSocket) -> u64;
    pub(crate) fn kcgcs_live_datagrams() -> c_int;

    pub(crate) fn kcgcs_parameter_cluster() -> *const c_char;
    pub(crate) fn kcgcs_parameter_address() -> *const c_char;
    pub(crate) fn kcgcs_parameter_peers() -> *const c_char;
    pub(crate) fn kcgcs_parameter_setting(name: *const c_char) -> *mut c_uint;
    pub(crate) fn kcgcs_parameter_unreadable(name: *const c_char) -> *const c_char;

    pub(crate) fn kcgcs_namespaces_register() -> c_int;
    pub(crate) fn kcgcs_namespaces_unregister();
    pub(crate) fn kcgcs_netlink_register() -> c_int;
    pub(crate) fn kcgcs_netlink_unregister();

    pub(crate) fn kcgcs_put_u8(skb: *mut bindings::sk_buff, attribute: c_int, value: u8) -> c_int;
    pub(crate) fn kcgcs_put_u16(skb: *mut bindings::sk_buff, attribute: c_int, value: u16)
        -> c_int;
    pub(crate) fn kcgcs_put_u32(skb: *mut bindings::sk_buff, attribute: c_int, value: u32)
        -> c_int;
    pub(crate) fn kcgcs_put_u64(skb: *mut bindings::sk_buff, attribute: c_int, value: u64)
        -> c_int;
    pub(crate) fn kcgcs_put_text(
        skb: *mut bindings::sk_buff,
        attribute: c_int,
        text: *const u8,
        length: u32,
    ) -> c_int;
    pub(crate) fn kcgcs_put_pair(
        skb: *mut bindings::sk_buff,
        attribute: c_int,
        name: *const u8,
        length: u32,
        value: u64,
    ) -> c_int;

    pub(crate) fn kcgcs_spin_lock_bh(lock: *mut bindings::spinlock_t);
    pub(crate) fn kcgcs_spin_trylock_bh(lock: *mut bindings::spinlock_t) -> c_int;
    pub(crate) fn kcgcs_spin_unlock_bh(lock: *mut bindings::spinlock_t);
    pub(crate) fn kcgcs_init_notifier_chain(head: *mut bindings::blocking_notifier_head);
    pub(crate) fn kcgcs_no_io_begin() -> c_uint;
    pub(crate) fn kcgcs_no_io_end(before: c_uint);

    pub(crate) fn kcgcs_trace_heartbeat_send(node: u16, address: *const u8, port: u16, length: u32);
    pub(crate) fn kcgcs_trace_heartbeat_receive(
        node: u16,
        address: *const u8,
        port: u16,
        length: u32,
    );
    pub(crate) fn kcgcs_trace_datagram_send(node: u16, address: *const u8, port: u16, length: u32);
    pub(crate) fn kcgcs_trace_datagram_receive(
        node: u16,
        address: *const u8,
        port: u16,
        length: u32,
    );
    pub(crate) fn kcgcs_trace_view_install(node: u16, number: u64, members: u32);
    pub(crate) fn kcgcs_trace_deliver(
        node: u16,
        endpoint: u32,
        sender: u16,
        sequence: u64,
        length: u32,
    );
}
