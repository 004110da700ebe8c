// SPDX-License-Identifier: GPL-2.0

//! The structs of `include/kcgcs.h`, in Rust.
//!
//! `kcgcs_exports.c` and this file check the same sizes, so that neither changes alone.

#![forbid(unsafe_code)]

use crate::protocol::{
    group_view::GroupMember,
    identity::{
        MemberId,
        Slot, //
    },
    outputs::{
        ChangeReason,
        Order, //
    }, //
};
use kernel::{
    bindings,
    ffi::c_void, //
};

/// `struct kcgcs_member`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) incarnation: u64,
    pub(crate) endpoint: u32,
    pub(crate) node: u16,
    pub(crate) slot: u16,
}

impl Member {
    /// The address of `id`, which has `slot`; slot 0 where there is none.
    pub(crate) fn new(id: MemberId, slot: Option<Slot>) -> Self {
        Self {
            incarnation: id.incarnation.0,
            endpoint: id.endpoint.0,
            node: id.node.number(),
            slot: slot.map_or(0, |slot| slot.0),
        }
    }

    /// Whether it is the same member, whatever its slot.
    pub(crate) fn is(&self, id: MemberId) -> bool {
        self.incarnation == id.incarnation.0
            && self.endpoint == id.endpoint.0
            && self.node == id.node.number()
    }
}

impl From<&GroupMember> for Member {
    fn from(member: &GroupMember) -> Self {
        Self::new(member.id, Some(member.slot))
    }
}

/// `struct kcgcs_change`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) member: Member,
    pub(crate) reason: u32,
    pub(crate) reserved: u32,
}

/// `struct kcgcs_view`.
#[repr(C)]
pub(crate) struct View {
    pub(crate) number: u64,
    pub(crate) cluster_view: u64,
    pub(crate) coordinator: u16,
    pub(crate) primary: u8,
    pub(crate) reserved: u8,
    pub(crate) member_count: u16,
    pub(crate) joined_count: u16,
    pub(crate) left_count: u16,
    pub(crate) transitional_count: u16,
    pub(crate) members: *const Member,
    pub(crate) joined: *const Member,
    pub(crate) left: *const Change,
    pub(crate) transitional: *const Member,
}

/// `struct kcgcs_message`.
#[repr(C)]
pub(crate) struct Message {
    pub(crate) sender: Member,
    pub(crate) sequence: u64,
    pub(crate) view: u64,
    pub(crate) order: u32,
    pub(crate) length: u32,
    pub(crate) data: *const c_void,
}

/// `struct kcgcs_group_ops`.
#[repr(C)]
pub(crate) struct GroupOps {
    pub(crate) owner: *mut bindings::module,
    pub(crate) view: Option<unsafe extern "C" fn(context: *mut c_void, view: *const View)>,
    pub(crate) deliver: Option<unsafe extern "C" fn(context: *mut c_void, message: *const Message)>,
    pub(crate) block: Option<unsafe extern "C" fn(context: *mut c_void)>,
    pub(crate) writable: Option<unsafe extern "C" fn(context: *mut c_void)>,
    pub(crate) get_state: Option<unsafe extern "C" fn(context: *mut c_void)>,
    pub(crate) set_state: Option<unsafe extern "C" fn(context: *mut c_void)>,
}

const _: () = assert!(size_of::<Member>() == 16);
const _: () = assert!(size_of::<Change>() == 24);
const _: () = assert!(size_of::<View>() == 64);
const _: () = assert!(size_of::<Message>() == 48);
const _: () = assert!(size_of::<GroupOps>() == 7 * size_of::<usize>());

/// The `enum kcgcs_reason` of a change.
pub(crate) fn reason_number(reason: ChangeReason) -> u32 {
    match reason {
        ChangeReason::Join => 1,
        ChangeReason::Leave => 2,
        ChangeReason::Failed => 3,
    }
}

/// The `enum kcgcs_order` of an order.
pub(crate) fn order_number(order: Order) -> u32 {
    match order {
        Order::Fifo => 1,
        Order::Causal => 2,
        Order::Agreed => 3,
    }
}

/// `KCGCS_SAFE`.
pub(crate) const ORDER_SAFE: u32 = 4;

/// The order that an `enum kcgcs_order` names.
pub(crate) fn order_of_number(number: u32) -> Option<Order> {
    match number {
        1 => Some(Order::Fifo),
        2 => Some(Order::Causal),
        3 => Some(Order::Agreed),
        _ => None,
    }
}
