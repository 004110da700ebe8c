// SPDX-License-Identifier: GPL-2.0

//! Group views: the agreed lists of a group's members, as consumers see them.

use super::identity::{GroupName, Identity, MemberId, NodeId, Slot, ViewNumber};
use super::view::ChangeReason;
use crate::platform::{BoundedVec, Shared};

/// A member of a group and the slot it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct GroupMember {
    /// The member.
    pub id: MemberId,
    /// Its small stable number within the group, from 1.
    pub slot: Slot,
}

/// A numbered, agreed list of a group's members.
#[derive(Debug)]
pub struct GroupView {
    /// The view's number; it grows with each view of the group.
    pub number: ViewNumber,
    /// The node that ordered this view; with `number` it names the view.
    pub coordinator: NodeId,
    /// The number of the cluster view that this group view belongs to.
    pub cluster_view: ViewNumber,
    /// Whether the cluster view has a quorum.
    pub primary: bool,
    /// The members, sorted by node and endpoint.
    pub members: BoundedVec<GroupMember>,
    /// Members that were not in the group's last view. If the reader comes from another component of the cluster, all
    /// but `transitional`.
    pub joined: BoundedVec<MemberId>,
    /// Members of the last view that are not in this one, with the reason.
    pub left: BoundedVec<(MemberId, ChangeReason)>,
    /// The transitional set: members that come from the same previous view as the reader. The reader itself is one of
    /// them if it had a view before. Members that come from another component of the cluster had another incarnation
    /// there.
    pub transitional: BoundedVec<MemberId>,
    /// The reader's own node; its endpoint is named by the event.
    pub reader: Identity,
}

/// A view with several owners.
pub type SharedGroupView = Shared<GroupView>;

/// What `kcgcsctl groups` shows of one group.
#[derive(Clone, Copy, Debug)]
pub struct GroupSummary {
    /// The group's name.
    pub name: GroupName,
    /// The number of members in the group's present view, on all nodes.
    pub members: u16,
    /// How many of them are on this node.
    pub local_members: u16,
    /// The number of the group's present view.
    pub view: ViewNumber,
    /// The node that orders the group.
    pub coordinator: NodeId,
    /// Ordered entries that the node keeps for nodes that lack them.
    pub log_entries: u32,
}
