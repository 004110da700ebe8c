// SPDX-License-Identifier: GPL-2.0

//! What a group needs of its surroundings during one call: the time, the cluster view and the queues.

use super::release::ReleaseRule;
use crate::protocol::identity::{GroupId, Identity, NodeId, PeerAddress, ViewKey, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::random::mix;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::ClusterView;

/// The cluster view of a group view, as members see it.
#[derive(Clone, Copy, Default)]
pub(super) struct Shown {
    pub(super) number: ViewNumber,
    pub(super) is_primary: bool,
}

/// The surroundings of a group for one call.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) own: Identity,
    pub(super) view: &'a ClusterView,
    pub(super) cluster_view: ViewKey,
    pub(super) shown: Shown,
    /// The retransmission interval.
    pub(super) interval: Duration,
    /// When entries may be delivered.
    pub(super) release_rule: ReleaseRule,
    /// Nodes that left the cluster lately, and why.
    pub(super) departed: &'a [(Identity, ChangeReason)],
    /// The highest number of a group view that this node has seen.
    pub(super) highest: &'a mut ViewNumber,
    pub(super) outbox: &'a mut Outbox,
}

impl Context<'_> {
    /// The address of a member of the cluster view.
    pub(super) fn address(&self, node: NodeId) -> Option<PeerAddress> {
        self.view.member(node).map(|member| member.address)
    }
}

/// The coordinator of a group in a cluster view: the node with the highest hash of group and node.
pub(super) fn coordinator_of(group: GroupId, view: &ClusterView) -> Option<NodeId> {
    view.members()
        .iter()
        .map(|member| member.identity.node)
        .max_by_key(|node| mix(group.0 ^ mix(u64::from(node.number()))))
}
