// SPDX-License-Identifier: GPL-2.0

//! The agreed list of a group's members, as consumers see it.

use super::identity::{GroupName, Identity, MemberId, NodeId, Slot, ViewNumber};
use super::view::ChangeReason;
use crate::platform::{BoundedVec, Shared};

/// A member of a group and the slot it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Who.
    pub id: MemberId,
    /// Its small stable number within the group, from 1.
    pub slot: Slot,
}

/// A numbered, agreed list of a group's members.
#[derive(Debug)]
pub struct GroupView {
    /// Grows with each view of the group.
    pub number: ViewNumber,
    /// The node that ordered this view: with `number` it names the view.
    pub coordinator: NodeId,
    /// The number of the cluster view that this group view belongs to.
    pub cluster_view: ViewNumber,
    /// Whether the cluster view has a quorum.
    pub primary: bool,
    /// The members, sorted by node, endpoint.
    pub members: BoundedVec<GroupMember>,
    /// Members that were not in the group's last view; if the reader has come from another part of the cluster,
    /// all but `transitional`.
    pub joined: BoundedVec<MemberId>,
    /// Members of the last view that are not in this one, with the reason.
    pub left: BoundedVec<(MemberId, ChangeReason)>,
    /// Members that came here together with the reader from the same previous view. The reader
    /// itself is one of them if it had a view before. Where they have come from another part of the cluster, all
    /// have another incarnation there than here.
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
    /// Members over all nodes in the group's present view.
    pub members: u16,
    /// Members on this node.
    pub local_members: u16,
    /// Number of the group's present view.
    pub view: ViewNumber,
    /// The node that orders the group.
    pub coordinator: NodeId,
    /// Ordered entries kept for those who miss them.
    pub log_entries: u32,
}
