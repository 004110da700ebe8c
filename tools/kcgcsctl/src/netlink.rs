// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `kcgcs`, as described in `include/uapi/kcgcs_netlink.h`.

mod answers;
mod attributes;
mod connection;
mod delays;
mod extended_ack;
mod message;

pub use answers::{GroupStatus, MemberStatus, NodeState, NodeStatus, ViewStatus};
pub use connection::Connection;
pub use delays::{Histogram, NeighbourDelays};
pub use message::StartRequest;
