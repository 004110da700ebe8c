// SPDX-License-Identifier: GPL-2.0

//! What members of a group retain while their node moves from one component of a partitioned cluster to another
//! ([`super::component_change`] has the idea).

use super::context::Shown;
use super::flush::PendingStart;
use super::log::Log;
use crate::protocol::identity::{Identity, MemberId};
use crate::protocol::time::Instant;
use crate::protocol::wire::group::{Place, TransitionalSet};

/// What the members of one group on this node retain of the component that their node left.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Transition {
    /// This node in its incarnation there.
    pub(super) own: Identity,
    /// The cluster view there, as members see it.
    pub(super) shown: Shown,
    pub(super) log: Option<Log>,
    pub(super) pending_start: Option<PendingStart>,
    /// Members that have no view by then are reported as excluded.
    pub(super) deadline: Instant,
}

impl Transition {
    /// How far the members have delivered. `None`: that is not known well enough to continue from there.
    pub(super) fn place(&self, members: impl Iterator<Item = MemberId> + Clone) -> Option<Place> {
        let count = u8::try_from(members.clone().count()).ok()?;
        let start = self
            .pending_start
            .as_ref()
            .filter(|start| members.clone().all(|member| start.view.has(member)));
        match (&self.pending_start, start) {
            (Some(known), _) if known.in_effect => start.map(|start| Place {
                log: start.cluster_view,
                delivered: 1,
                pending_start: None,
                members: count,
            }),
            _ => self.log.as_ref().map(|log| Place {
                log: log.cluster_view,
                delivered: log.delivered,
                pending_start: start.map(|start| start.cluster_view),
                members: count,
            }),
        }
    }

    /// Whether this node holds everything that members of the set have delivered.
    pub(super) fn holds(&self, set: &TransitionalSet) -> bool {
        let is_start = self
            .pending_start
            .as_ref()
            .is_some_and(|start| start.cluster_view == set.cluster_view);
        let log = self.log.as_ref();
        let log = log.filter(|log| log.cluster_view == set.cluster_view);
        is_start && set.last <= 1 || log.is_some_and(|log| set.last <= log.accepted)
    }

    /// Whether this node has delivered everything that members of the set have delivered.
    pub(super) fn has_delivered(&self, set: &TransitionalSet) -> bool {
        self.log
            .as_ref()
            .is_some_and(|log| log.cluster_view == set.cluster_view && log.delivered >= set.last)
    }
}
