// SPDX-License-Identifier: GPL-2.0

//! What the sample uses of `include/kcgcs.h`, declared by hand.

use core::slice;
use kernel::{bindings, prelude::*};

/// `struct kcgcs_group`: only ever behind a pointer.
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

/// The head of `struct kcgcs_view`, which is longer: never made here, only read by reference.
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

impl View {
    pub(crate) fn members(&self) -> &[Member] {
        match self.member_count {
            0 => &[],
            // SAFETY: `members` has `member_count` entries for as long as the view can be read.
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
            // SAFETY: `data` has `length` bytes for as long as the message can be read.
            length => unsafe { slice::from_raw_parts(self.data, length as usize) },
        }
    }
}

/// `struct kcgcs_group_ops`; C hands a valid view or message to the callbacks.
#[repr(C)]
pub(crate) struct Operations {
    pub(crate) owner: *mut c_void,
    pub(crate) view: extern "C" fn(*mut c_void, &View),
    pub(crate) deliver: extern "C" fn(*mut c_void, &Message),
    pub(crate) optional: [Option<extern "C" fn(*mut c_void)>; 4],
    pub(crate) watchdog_ms: c_uint,
    pub(crate) watchdog_leave: bool,
}

// SAFETY: Nothing in it ever changes, and `owner` outlives the statics of the module it names.
unsafe impl Sync for Operations {}

/// `KCGCS_AGREED`.
pub(crate) const AGREED: c_uint = 3;

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
