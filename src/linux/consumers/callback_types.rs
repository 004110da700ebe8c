// SPDX-License-Identifier: GPL-2.0

//! The structs and numbers of `include/kcgcs.h`, and their conversion from and to the protocol's types.

#![forbid(unsafe_code)]

use crate::{
    linux::ffi,
    protocol::{
        group_properties::{
            GroupProperty,
            GroupRefusal, //
        },
        group_view::GroupMember,
        identity::{
            MemberId,
            Slot, //
        },
        limits::{
            GROUP_NAME_BYTES_MAX,
            MESSAGE_BYTES_MAX, //
        },
        outputs::{
            ChangeReason,
            Order, //
        }, //
    }, //
};

/// The address of a member in one of its incarnations.
pub(crate) type Member = ffi::kcgcs_member;
/// A member that left, and why.
pub(crate) type Change = ffi::kcgcs_change;
/// A view as consumers see it.
pub(crate) type View = ffi::kcgcs_view;
/// A delivered message.
pub(crate) type Message = ffi::kcgcs_message;
/// The callbacks of a consumer.
pub(crate) type GroupOps = ffi::kcgcs_group_ops;
/// What a consumer asks its group to be like.
pub(crate) type Properties = ffi::kcgcs_group_properties;

/// Why a membership is over, or is for a while: an `enum kcgcs_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The cluster goes on without this node.
    Excluded,
    /// The node stops.
    Stopped,
    /// The consumer does not keep up.
    Slow,
    /// The consumer does not return from a callback.
    Hangs,
    /// There is no memory for a view.
    NoMemory,
    /// The group does not admit the member.
    Refused(GroupRefusal),
}

impl End {
    /// The `enum kcgcs_end`.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Excluded => ffi::KCGCS_END_EXCLUDED,
            Self::Stopped => ffi::KCGCS_END_STOPPED,
            Self::Slow => ffi::KCGCS_END_SLOW,
            Self::Hangs => ffi::KCGCS_END_HANGS,
            Self::NoMemory => ffi::KCGCS_END_NO_MEMORY,
            Self::Refused(_) => ffi::KCGCS_END_REFUSED,
        }
    }

    /// The `enum kcgcs_refusal`.
    pub(crate) fn refusal_number(self) -> u32 {
        let Self::Refused(why) = self else {
            return ffi::KCGCS_REFUSAL_NONE;
        };
        match why {
            GroupRefusal::Property(GroupProperty::DefaultOrder) => {
                ffi::KCGCS_REFUSAL_DEFAULT_ORDER
            }
            GroupRefusal::Property(GroupProperty::SendingView) => {
                ffi::KCGCS_REFUSAL_SENDING_VIEW
            }
            GroupRefusal::Property(GroupProperty::SlowPolicy) => ffi::KCGCS_REFUSAL_SLOW_POLICY,
            GroupRefusal::Property(GroupProperty::QuorumMode) => ffi::KCGCS_REFUSAL_QUORUM_MODE,
            GroupRefusal::TooManyGroups => ffi::KCGCS_REFUSAL_GROUPS,
            GroupRefusal::TooManyMembers => ffi::KCGCS_REFUSAL_MEMBERS,
            GroupRefusal::NameInUse => ffi::KCGCS_REFUSAL_NAME,
        }
    }
}

const _: () = assert!(ffi::KCGCS_GROUP_NAME_MAX as usize == GROUP_NAME_BYTES_MAX);
const _: () = assert!(ffi::KCGCS_MESSAGE_MAX as usize == MESSAGE_BYTES_MAX);

impl Member {
    /// Make the address of `id`, which has `slot`; a member without a slot gets 0.
    pub(crate) fn new(id: MemberId, slot: Option<Slot>) -> Self {
        Self {
            incarnation: id.incarnation.0,
            endpoint: id.endpoint.0,
            node: id.node.number(),
            slot: slot.map_or(0, |slot| slot.0),
        }
    }

    /// Whether this is the address of `id`, with any slot.
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

/// The `enum kcgcs_reason` of a change.
pub(crate) fn reason_number(reason: ChangeReason) -> u32 {
    match reason {
        ChangeReason::Join => ffi::KCGCS_REASON_JOIN,
        ChangeReason::Leave => ffi::KCGCS_REASON_LEAVE,
        ChangeReason::Failed => ffi::KCGCS_REASON_FAILED,
        ChangeReason::Evicted => ffi::KCGCS_REASON_EVICTED,
    }
}

/// The `enum kcgcs_order` of an order.
pub(crate) fn order_number(order: Order) -> u32 {
    match order {
        Order::Fifo => ffi::KCGCS_FIFO,
        Order::Causal => ffi::KCGCS_CAUSAL,
        Order::Agreed => ffi::KCGCS_AGREED,
        Order::Safe => ffi::KCGCS_SAFE,
    }
}

/// The order that an `enum kcgcs_order` names in a group with this default.
pub(crate) fn order_of_number(number: u32, default: Order) -> Option<Order> {
    match number {
        ffi::KCGCS_ORDER_DEFAULT => Some(default),
        ffi::KCGCS_FIFO => Some(Order::Fifo),
        ffi::KCGCS_CAUSAL => Some(Order::Causal),
        ffi::KCGCS_AGREED => Some(Order::Agreed),
        ffi::KCGCS_SAFE => Some(Order::Safe),
        _ => None,
    }
}
