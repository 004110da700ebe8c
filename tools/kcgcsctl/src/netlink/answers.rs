// SPDX-License-Identifier: GPL-2.0

//! The answers, decoded.

use std::fmt;

use serde::{Serialize, Serializer};

use super::attributes::{kind, needed, Attributes};
use crate::failure::Failure;

/// `enum kcgcs_node_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It looks for its cluster.
    Joining,
    /// It is in a view that has a quorum.
    Member,
    /// It is in a view and cannot reach a quorum of it.
    Blocked,
    /// It leaves the cluster.
    Leaving,
    /// It stopped at a broken invariant.
    Failed,
    /// An administrator evicted it.
    Evicted,
    /// A state that this tool does not know.
    Other(u8),
}

impl From<u8> for NodeState {
    fn from(number: u8) -> Self {
        match number {
            1 => Self::Joining,
            2 => Self::Member,
            3 => Self::Blocked,
            4 => Self::Leaving,
            5 => Self::Failed,
            6 => Self::Evicted,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining => f.write_str("joining"),
            Self::Member => f.write_str("member"),
            Self::Blocked => f.write_str("blocked"),
            Self::Leaving => f.write_str("leaving"),
            Self::Failed => f.write_str("failed"),
            Self::Evicted => f.write_str("evicted"),
            Self::Other(number) => write!(f, "state {number}"),
        }
    }
}

impl Serialize for NodeState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The node of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The name of its cluster.
    pub cluster: String,
    /// The number of the node.
    pub node: u16,
    /// Its current incarnation.
    pub incarnation: u64,
    /// Its address.
    pub address: String,
    /// Its state.
    pub state: NodeState,
    /// The number and the issuer of its view, if it has one.
    pub view: Option<(u64, u16)>,
    /// Whether the node sees a quorum of that view.
    pub primary: bool,
    /// The number of members of the view.
    pub members: u16,
    /// Its slot in the view, if it has one.
    pub slot: Option<u16>,
    /// Whether it is one of the coordinators of the view.
    pub is_coordinator: bool,
    /// If the view is pinned: the milliseconds until the pin ends, and the node whose administrator asked for it.
    pub pinned: Option<(u32, u16)>,
    /// The failure detector.
    pub detector: String,
    /// The settings in force.
    pub settings: Vec<(String, u64)>,
    /// The counters since the start of the node.
    pub counters: Vec<(String, u64)>,
}

/// A member of the cluster view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The number of the node.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its address.
    pub address: String,
    /// Its slot in the view.
    pub slot: u16,
    /// Whether it is one of the coordinators of the view.
    pub is_coordinator: bool,
}

/// The cluster view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewStatus {
    /// The number of the view.
    pub number: u64,
    /// The node that issued the view.
    pub issuer: u16,
    /// Whether the view has a quorum.
    pub primary: bool,
    /// The members, in the kernel's order.
    pub members: Vec<MemberStatus>,
}

/// A group that the node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// The name of the group.
    pub group: String,
    /// The number of the group's view.
    pub view: u64,
    /// The node that orders the messages of the group.
    pub coordinator: u16,
    /// The number of members on all nodes.
    pub members: u16,
    /// The number of members on this node.
    pub local_members: u16,
    /// The number of messages that the node keeps for members that may lack them.
    pub log_entries: u32,
}

/// What a list of members amounts to.
pub(super) enum WholeView {
    /// The list is empty: the node has no view.
    Nothing,
    /// The list has members of two views, because the view changed meanwhile.
    Torn,
    /// The list is one view.
    View(ViewStatus),
}

/// Decode the answer about the node.
///
/// # Errors
///
/// The answer lacks an attribute, or cannot be decoded.
pub(super) fn node(bytes: &[u8]) -> Result<NodeStatus, Failure> {
    let read = Attributes::parse(bytes)?;
    let view = match (read.u64(kind::VIEW_NUMBER)?, read.u16(kind::VIEW_ISSUER)?) {
        (Some(number), Some(issuer)) => Some((number, issuer)),
        _ => None,
    };
    Ok(NodeStatus {
        cluster: needed(read.text(kind::CLUSTER), "name of the cluster")?,
        node: needed(read.u16(kind::NODE_ID)?, "number of the node")?,
        incarnation: needed(read.u64(kind::INCARNATION)?, "incarnation")?,
        address: needed(read.text(kind::ADDRESS), "address")?,
        state: needed(read.u8(kind::STATE)?, "state")?.into(),
        view,
        primary: read.flag(kind::PRIMARY)?.unwrap_or(false),
        members: read.u16(kind::MEMBERS)?.unwrap_or(0),
        slot: read.u16(kind::SLOT)?,
        is_coordinator: read.flag(kind::IS_COORDINATOR)?.unwrap_or(false),
        pinned: read.u32(kind::SPAN_MS)?.zip(read.u16(kind::PINNED_BY)?),
        detector: needed(read.text(kind::DETECTOR), "detector")?,
        settings: read.pairs(kind::SETTING)?,
        counters: read.pairs(kind::COUNTER)?,
    })
}

/// Put the answers about the members of the view together.
///
/// # Errors
///
/// An answer lacks an attribute, or cannot be decoded.
pub(super) fn view<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Result<WholeView, Failure> {
    let mut whole: Option<ViewStatus> = None;
    for bytes in bodies {
        let read = Attributes::parse(bytes)?;
        let number = needed(read.u64(kind::VIEW_NUMBER)?, "number of the view")?;
        let issuer = needed(read.u16(kind::VIEW_ISSUER)?, "issuer of the view")?;
        let primary = needed(read.flag(kind::PRIMARY)?, "quorum of the view")?;
        let view = whole.get_or_insert(ViewStatus {
            number,
            issuer,
            primary,
            members: Vec::new(),
        });
        if (view.number, view.issuer) != (number, issuer) {
            return Ok(WholeView::Torn);
        }
        view.primary = primary;
        view.members.push(member(&read)?);
    }
    Ok(whole.map_or(WholeView::Nothing, WholeView::View))
}

fn member(read: &Attributes<'_>) -> Result<MemberStatus, Failure> {
    Ok(MemberStatus {
        node: needed(read.u16(kind::NODE_ID)?, "number of a member")?,
        incarnation: needed(read.u64(kind::INCARNATION)?, "incarnation of a member")?,
        address: needed(read.text(kind::ADDRESS), "address of a member")?,
        slot: needed(read.u16(kind::SLOT)?, "slot of a member")?,
        is_coordinator: read.flag(kind::IS_COORDINATOR)?.unwrap_or(false),
    })
}

/// Decode the answer about one group.
///
/// # Errors
///
/// The answer lacks an attribute, or cannot be decoded.
pub(super) fn group(bytes: &[u8]) -> Result<GroupStatus, Failure> {
    let read = Attributes::parse(bytes)?;
    Ok(GroupStatus {
        group: needed(read.text(kind::GROUP), "name of a group")?,
        view: needed(read.u64(kind::VIEW_NUMBER)?, "view of a group")?,
        coordinator: needed(read.u16(kind::COORDINATOR)?, "coordinator of a group")?,
        members: needed(read.u16(kind::MEMBERS)?, "number of members")?,
        local_members: needed(read.u16(kind::LOCAL_MEMBERS)?, "number of local members")?,
        log_entries: read.u32(kind::LOG_ENTRIES)?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests;
