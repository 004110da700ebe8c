// SPDX-License-Identifier: GPL-2.0

//! Who this node is and which view it has installed: what every room of the membership reads, and only the
//! dispatcher ([`super::Membership`]) changes.

use crate::platform::OutOfMemory;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::{Identity, Incarnation, NodeId, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::ring::Rings;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};

/// An attempt to form a first view is kept up among the same voters for so many rounds of looking for a cluster.
const FORMING_ROUNDS: u64 = 3;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum Phase {
    /// It has no view and looks for its cluster.
    Joining,
    /// It has a view.
    Member,
    /// It has a view and has asked to leave.
    Leaving,
    /// It has left, or an administrator has evicted it.
    Gone,
}

/// Identity, settings and present view of this node.
///
/// # Invariants
///
/// The number of `view` is zero exactly while this node has no view; the view has no members then.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct LocalNode {
    own: Identity,
    /// The incarnation in which the node was started. It began all later ones by itself and remembers them.
    first_incarnation: Incarnation,
    address: PeerAddress,
    configuration: ValidConfiguration,
    phase: Phase,
    view: ClusterView,
    rings: Rings,
    installed_at: Instant,
    /// When this incarnation installed its first view.
    member_since: Instant,
}

impl LocalNode {
    /// A node without a view. Allocates room for the largest one.
    pub(super) fn new(
        own: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
    ) -> Result<Self, OutOfMemory> {
        // INVARIANT: an empty view has number zero.
        Ok(Self {
            own,
            first_incarnation: own.incarnation,
            address,
            configuration,
            phase: Phase::Joining,
            view: ClusterView::empty(own.node)?,
            rings: Rings::new()?,
            installed_at: now,
            member_since: now,
        })
    }

    // ---- what the rooms read --------------------------------------------------------------------

    /// The present identity of this node.
    pub(super) fn own(&self) -> Identity {
        self.own
    }

    /// The incarnation in which the node was started.
    pub(super) fn first_incarnation(&self) -> Incarnation {
        self.first_incarnation
    }

    /// The address at which this node listens.
    pub(super) fn address(&self) -> PeerAddress {
        self.address
    }

    /// The settings of this node.
    pub(super) fn configuration(&self) -> &ValidConfiguration {
        &self.configuration
    }

    /// Where this node stands.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether this node looks for its cluster.
    pub(super) fn is_joining(&self) -> bool {
        self.phase == Phase::Joining
    }

    /// The present view, if there is one.
    pub(super) fn view(&self) -> Option<&ClusterView> {
        (self.view.number != ViewNumber::default()).then_some(&self.view)
    }

    /// The present view, or one without members and with number zero.
    pub(super) fn view_or_empty(&self) -> &ClusterView {
        &self.view
    }

    /// The rings on which the members of the present view send heartbeats.
    pub(super) fn rings(&self) -> &Rings {
        &self.rings
    }

    /// When this node installed the present view.
    pub(super) fn installed_at(&self) -> Instant {
        self.installed_at
    }

    /// When this incarnation installed its first view.
    pub(super) fn member_since(&self) -> Instant {
        self.member_since
    }

    /// Whether components without a quorum go on with views of their own.
    pub(super) fn is_partitionable(&self) -> bool {
        self.configuration.settings().partitionable != 0
    }

    /// The present view as headers show it. Only a partitionable cluster needs the lineage.
    pub(super) fn mark(&self) -> ViewMark {
        let view = self.view().filter(|_| self.is_partitionable());
        ViewMark {
            number: self.view.number,
            lineage: view.map_or(0, ClusterView::lineage),
        }
    }

    /// How many coordinators a view has, if it has as many members.
    pub(super) fn coordinators_wanted(&self) -> u32 {
        self.configuration.settings().coordinators
    }

    /// How long the next in line waits for a coordinator that does not act.
    pub(super) fn takeover(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().takeover_ms))
    }

    /// How long a node without a quorum keeps its view, where it gives it up at all.
    pub(super) fn blocked_timeout(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().blocked_timeout_ms))
    }

    /// How long an attempt to form a first view is kept up among the same voters.
    pub(super) fn forming_timeout(&self) -> Duration {
        self.configuration.formation_round().times(FORMING_ROUNDS)
    }

    /// Whether `node` is a coordinator of the present view.
    pub(super) fn is_coordinator(&self, node: NodeId) -> bool {
        self.view.is_coordinator(node, self.coordinators_wanted())
    }

    /// The members of the present view without this node.
    pub(super) fn others(&self) -> impl Iterator<Item = &MemberRecord> + '_ {
        let members = self.view.members().iter();
        members.filter(|member| member.identity != self.own)
    }

    /// Whether `subject` is a member of the present view and not this node.
    pub(super) fn is_other_member(&self, subject: Identity) -> bool {
        subject != self.own && self.view.has(subject)
    }

    // ---- what the dispatcher changes ------------------------------------------------------------

    /// Install `next` as the present view. `next` becomes the view before it.
    pub(super) fn install(&mut self, now: Instant, next: &mut ClusterView) {
        core::mem::swap(&mut self.view, next);
        self.installed_at = now;
        self.rings
            .place(self.view.members(), self.configuration.settings().rings);
        if self.phase == Phase::Joining {
            self.phase = Phase::Member;
            self.member_since = now;
        }
    }

    /// Forget the present view.
    pub(super) fn forget_view(&mut self) {
        self.view.clear();
        // INVARIANT: without members, number zero.
        self.view.number = ViewNumber::default();
    }

    /// Go on under another incarnation.
    pub(super) fn set_incarnation(&mut self, incarnation: Incarnation) {
        self.own.incarnation = incarnation;
    }

    /// Change where this node stands.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }
}
