// SPDX-License-Identifier: GPL-2.0

//! The declarations of `include/kcgcs.h` that the sample uses, written by hand.

use core::slice;
use kernel::{bindings, prelude::*};

/// `struct kcgcs_group`, used behind a pointer only.
#[repr(C)]
pub(crate) struct Group {
    private: [u8; 0],
}

/// `struct kcgcs_member`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) incarnation: u64,
    pub(crate) endpoint: u32,
    pub(crate) node: u16,
    pub(crate) slot: u16,
}

/// The first fields of `struct kcgcs_view`. The C struct is longer, so this is never made here, only
/// read by reference.
#[repr(C)]
pub(crate) struct View {
    pub(crate) number: u64,
    pub(crate) cluster_view: u64,
    pub(crate) coordinator: u16,
    pub(crate) primary: u8,
    reserved: u8,
    member_count: u16,
    other_counts: [u16; 3],
    members: *const Member,
}

/// `struct kcgcs_group_properties`, used behind a pointer only, which is NULL here.
#[repr(C)]
pub(crate) struct Properties {
    private: [u8; 0],
}

impl View {
    pub(crate) fn members(&self) -> &[Member] {
        match self.member_count {
            0 => &[],
            // SAFETY: C filled in `members` with a pointer to `member_count` entries, which are valid for
            // as long as the view is, and `self` borrows the view.
            count => unsafe { slice::from_raw_parts(self.members, count.into()) },
        }
    }
}

/// `struct kcgcs_message`.
#[repr(C)]
pub(crate) struct Message {
    pub(crate) sender: Member,
    pub(crate) sequence: u64,
    pub(crate) view: u64,
    pub(crate) order: c_uint,
    length: u32,
    data: *const u8,
}

impl Message {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self.length {
            0 => &[],
            // SAFETY: C filled in `data` with a pointer to `length` bytes, which are valid for as long as
            // the message is, and `self` borrows the message.
            length => unsafe { slice::from_raw_parts(self.data, length as usize) },
        }
    }
}

/// `struct kcgcs_group_ops`. C passes the handle and a valid view or message to the callbacks.
#[repr(C)]
pub(crate) struct Operations {
    /// The size of this struct.
    pub(crate) size: usize,
    pub(crate) owner: *mut c_void,
    pub(crate) view: extern "C" fn(*mut Group, *mut c_void, &View),
    pub(crate) deliver: extern "C" fn(*mut Group, *mut c_void, &Message),
    pub(crate) optional: [Option<extern "C" fn(*mut Group, *mut c_void)>; 4],
    pub(crate) watchdog_ms: c_uint,
    pub(crate) watchdog_leave: bool,
    pub(crate) properties: *const Properties,
}

// SAFETY: No field is ever written after it was made, so sharing it is a shared read. `owner` and `properties` are only
// numbers here: nothing follows the pointers but C, which takes a reference to the module first, and copies properties.
unsafe impl Sync for Operations {}

/// `KCGCS_ORDER_DEFAULT`.
pub(crate) const ORDER_DEFAULT: c_uint = 0;

extern "C" {
    pub(crate) fn kcgcs_join(
        net: *mut c_void,
        name: *const c_char,
        operations: &'static Operations,
        context: *mut c_void,
    ) -> *mut Group;

    pub(crate) fn kcgcs_leave(group: *mut Group) -> c_int;

    pub(crate) fn kcgcs_multicast(
        group: *mut Group,
        data: *const c_void,
        length: usize,
        order: c_uint,
        flags: bindings::gfp_t,
    ) -> c_int;
}
