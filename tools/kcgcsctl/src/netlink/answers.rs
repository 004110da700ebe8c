// SPDX-License-Identifier: GPL-2.0

//! What the answers say.

use std::fmt;

use serde::{Serialize, Serializer};

use super::attributes::{kind, needed, Attributes};
use crate::failure::Failure;

/// `enum kcgcs_node_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Looks for its cluster.
    Joining,
    /// Has a view with a quorum.
    Member,
    /// Has a view and sees no quorum of it.
    Blocked,
    /// Says good-bye.
    Leaving,
    /// A broken invariant stopped it.
    Failed,
    /// An administrator has put it out.
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

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// The cluster's name.
    pub cluster: String,
    /// The node's number.
    pub node: u16,
    /// Its present incarnation.
    pub incarnation: u64,
    /// Its address.
    pub address: String,
    /// Its state.
    pub state: NodeState,
    /// Number and issuer of its view, if it has one.
    pub view: Option<(u64, u16)>,
    /// Whether that view has a quorum here.
    pub primary: bool,
    /// How many members the view has.
    pub members: u16,
    /// Its slot in the view.
    pub slot: Option<u16>,
    /// Whether it is one of the view's coordinators.
    pub is_coordinator: bool,
    /// For how many milliseconds no view is agreed on, and since which node's administrator wants it so.
    pub pinned: Option<(u32, u16)>,
    /// How silence is found out.
    pub detector: String,
    /// Settings in force.
    pub settings: Vec<(String, u64)>,
    /// Counters since its start.
    pub counters: Vec<(String, u64)>,
}

/// A member of the cluster view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The node's number.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its address.
    pub address: String,
    /// Its slot.
    pub slot: u16,
    /// Whether it is one of the view's coordinators.
    pub is_coordinator: bool,
}

/// The cluster view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewStatus {
    /// Its number.
    pub number: u64,
    /// The node that issued it.
    pub issuer: u16,
    /// Whether it has a quorum.
    pub primary: bool,
    /// Its members, in the kernel's order.
    pub members: Vec<MemberStatus>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    /// The group's name.
    pub group: String,
    /// The number of its view.
    pub view: u64,
    /// The node that orders it.
    pub coordinator: u16,
    /// Members on all nodes.
    pub members: u16,
    /// Members on this node.
    pub local_members: u16,
    /// Messages that are kept for members that may lack them.
    pub log_entries: u32,
}

/// What a list of members came to.
pub(super) enum WholeView {
    Nothing,
    Torn,
    View(ViewStatus),
}

pub(super) fn node(bytes: &[u8]) -> Result<NodeStatus, Failure> {
    let read = Attributes::parse(bytes)?;
    let view = match (read.u64(kind::VIEW_NUMBER)?, read.u16(kind::VIEW_ISSUER)?) {
        (Some(number), Some(issuer)) => Some((number, issuer)),
        _ => None,
    };
    Ok(NodeStatus {
        cluster: needed(read.text(kind::CLUSTER), "cluster name")?,
        node: needed(read.u16(kind::NODE_ID)?, "node number")?,
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

pub(super) fn view<'a>(bodies: impl Iterator<Item = &'a [u8]>) -> Result<WholeView, Failure> {
    let mut whole: Option<ViewStatus> = None;
    for bytes in bodies {
        let read = Attributes::parse(bytes)?;
        let number = needed(read.u64(kind::VIEW_NUMBER)?, "view number")?;
        let issuer = needed(read.u16(kind::VIEW_ISSUER)?, "view's issuer")?;
        let primary = needed(read.flag(kind::PRIMARY)?, "word on the quorum")?;
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
        node: needed(read.u16(kind::NODE_ID)?, "member's number")?,
        incarnation: needed(read.u64(kind::INCARNATION)?, "member's incarnation")?,
        address: needed(read.text(kind::ADDRESS), "member's address")?,
        slot: needed(read.u16(kind::SLOT)?, "member's slot")?,
        is_coordinator: read.flag(kind::IS_COORDINATOR)?.unwrap_or(false),
    })
}

pub(super) fn group(bytes: &[u8]) -> Result<GroupStatus, Failure> {
    let read = Attributes::parse(bytes)?;
    Ok(GroupStatus {
        group: needed(read.text(kind::GROUP), "group's name")?,
        view: needed(read.u64(kind::VIEW_NUMBER)?, "group's view")?,
        coordinator: needed(read.u16(kind::COORDINATOR)?, "group's coordinator")?,
        members: needed(read.u16(kind::MEMBERS)?, "number of members")?,
        local_members: needed(read.u16(kind::LOCAL_MEMBERS)?, "number of local members")?,
        log_entries: read.u32(kind::LOG_ENTRIES)?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests;
