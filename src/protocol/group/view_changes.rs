// SPDX-License-Identifier: GPL-2.0

//! What the membership tells the groups: that the cluster view is about to change, has changed, or goes on without this
//! node.

use super::acknowledgement::Acknowledgement;
use super::context::Shown;
use super::local::Standing;
use super::Groups;
use crate::protocol::identity::Identity;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::time::Instant;
use crate::protocol::view::ClusterView;

impl Groups {
    /// Whether the node may hold entries that other nodes lack, or has members. Its promise carries this.
    pub fn has_groups(&self) -> bool {
        self.groups.iter().any(|group| {
            !group.locals.is_empty() || group.log.is_some() || group.pending_start.is_some()
        })
    }

    /// The node has made a promise for a new cluster view: order and accept nothing until it is installed.
    pub fn freeze(&mut self, outbox: &mut Outbox) {
        self.is_frozen = true;
        for group in self.groups.as_mut_slice() {
            for local in group.locals.as_mut_slice() {
                local.want_block();
            }
            group.report_blocks(outbox);
        }
    }

    /// A cluster view was installed. `departed` has the nodes that left lately, and why.
    pub fn install(
        &mut self,
        now: Instant,
        view: &ClusterView,
        own: Identity,
        departed: &[(Identity, ChangeReason)],
    ) {
        self.own = own;
        self.cluster_view = view.key();
        self.shown = Shown {
            number: view.number,
            is_primary: view.is_primary,
        };
        self.is_frozen = false;
        self.departed.clear();
        let _ = self.departed.extend_from_slice(departed);
        for group in self.groups.as_mut_slice() {
            group.install(now, view, own.node);
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// The node has begun a new incarnation: its members join again. They are reported as excluded, since the cluster
    /// continues without them, unless the node leaves its component by itself for another one (`changes_component`).
    pub fn excluded(
        &mut self,
        now: Instant,
        new_own: Identity,
        changes_component: bool,
        outbox: &mut Outbox,
    ) {
        let old_own = core::mem::replace(&mut self.own, new_own);
        self.is_frozen = false;
        for group in self.groups.as_mut_slice() {
            group.count_unstable(old_own);
            if changes_component {
                group.begin_transition(
                    old_own,
                    self.shown,
                    now.after(self.transition_timeout),
                    outbox,
                );
            } else {
                group.abandon_transition(outbox);
            }
            group.log = None;
            group.pending_start = None;
            group.sequencer = None;
            group.is_ordering = false;
            group.coordinator = None;
            group.report_at = None;
            group.acknowledgement = Acknowledgement::default();
            group.locals.retain(|local| {
                match local.standing {
                    Standing::Draining | Standing::Leaving => {
                        local.report_left(outbox);
                        return false;
                    }
                    Standing::Member => {
                        local.start_anew();
                        local.report_exclusion(old_own, outbox);
                        local.standing = Standing::Joining;
                    }
                    // Members on their way to another component are told with their next view.
                    Standing::Joining | Standing::Merging => local.start_anew(),
                }
                local.request_at = now;
                true
            });
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// Set whether the cluster view has a quorum. Members cannot send without it.
    pub fn set_quorum(&mut self, quorum: bool) {
        self.has_quorum = quorum;
    }

    /// The node stops: close all members.
    pub fn stop(&mut self, outbox: &mut Outbox) {
        self.is_stopped = true;
        // Keep the logs: other nodes may need them until the cluster view excludes this node.
        let own = self.own;
        for group in self.groups.as_mut_slice() {
            group.abandon_transition(outbox);
            group.count_unstable(own);
            for local in group.locals.as_mut_slice() {
                let endpoint = local.endpoint;
                match local.standing {
                    Standing::Draining | Standing::Leaving => local.report_left(outbox),
                    Standing::Joining | Standing::Member | Standing::Merging => {
                        local.forget_messages();
                        let lost = local.take_lost();
                        outbox.event(Event::GroupClosed { endpoint, lost });
                    }
                }
                local.standing = Standing::Leaving;
                local.is_end_reported = true;
            }
        }
    }
}
