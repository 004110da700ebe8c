// SPDX-License-Identifier: GPL-2.0

//! Events of the cluster: a line in the kernel log, and news for the notifiers.

use super::Engine;
use crate::{
    linux::{
        consumers::{
            callback_types::Member,
            cluster_notifier::News,
            view_record::{
                node_member,
                ViewRecord, //
            }, //
        },
        observability::{
            cluster_log,
            event_log::log_line,
            trace_points, //
        }, //
    },
    protocol::{
        identity::{
            Identity,
            ViewNumber, //
        },
        outputs::{
            ChangeReason,
            Event, //
        },
        time::Instant, //
    }, //
};
use kernel::prelude::*;

impl Engine {
    /// Handle an event that concerns the whole node, not one group.
    pub(super) fn handle_cluster_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::ViewChange { subject, reason } => {
                // The vector has room for all differences of two views.
                let _ = self.changes.push((subject, reason), GFP_KERNEL);
                if matches!(reason, ChangeReason::Failed | ChangeReason::Evicted) {
                    self.notifier.push(News::Failed(self.cluster_member(subject)));
                }
            }
            Event::ClusterView { .. } => self.announce_view(now),
            Event::Suspected {
                subject,
                silence_ms,
            } => {
                log_line!(
                    self.log,
                    now,
                    "suspects node {:?}, silent for {} ms",
                    subject.node,
                    silence_ms
                );
                self.notifier.push(News::Suspect(self.cluster_member(subject)));
            }
            Event::Unsuspected { subject } => {
                log_line!(self.log, now, "hears node {:?} again", subject.node);
            }
            Event::Accused {
                subject,
                silence_ms,
            } => {
                log_line!(
                    self.log,
                    now,
                    "accuses node {:?}, silent for {} ms",
                    subject.node,
                    silence_ms
                );
            }
            Event::Contradicted { subject, by } => {
                log_line!(
                    self.log,
                    now,
                    "does not hear node {:?}, but node {:?} does: the link from it to this node does not work",
                    subject.node,
                    by.node
                );
            }
            Event::Prepare { .. } => self.notifier.push(News::Prepare),
            Event::QuorumLost => {
                log_line!(self.log, now, "quorum lost");
                self.notifier.push(News::QuorumLost);
            }
            Event::QuorumRegained => {
                log_line!(self.log, now, "quorum regained");
                self.notifier.push(News::QuorumRegained);
            }
            Event::Excluded {
                later_view,
                incarnation,
            } => {
                self.log_exclusion(now, later_view, incarnation);
                self.cluster_view = None;
                self.changes.clear();
                self.notifier.push(News::Excluded);
            }
            Event::Evicted { later_view } => {
                log_line!(
                    self.log,
                    now,
                    "evicted by view {:?}: does nothing any more until it is started anew",
                    later_view
                );
                self.cluster_view = None;
                self.changes.clear();
                self.is_evicted = true;
                self.notifier.push(News::Excluded);
                // An administrator who stops the node need not wait for the cluster.
                self.link.announce_left();
            }
            Event::Pinned { by, span_ms } => {
                log_line!(
                    self.log,
                    now,
                    "views are pinned for {} s, by node {:?}",
                    span_ms.div_ceil(1000),
                    by
                );
            }
            Event::FenceWanted { subject } => self.want_fence(now, subject),
            Event::FenceTimedOut { subject } => {
                log_line!(
                    self.log,
                    now,
                    "the fence handler did not confirm node {:?} in time: the view goes on WITHOUT FENCING it",
                    subject.node
                );
            }
            Event::FenceAwaited { subject, by } => {
                log_line!(
                    self.log,
                    now,
                    "the next view waits for node {:?}, which fences node {:?}",
                    by.node,
                    subject.node
                );
            }
            Event::Unpinned => log_line!(self.log, now, "views are not pinned any more"),
            Event::Refused { by, reason } => {
                log_line!(
                    self.log,
                    now,
                    "refused by {:?}: {}",
                    by,
                    cluster_log::refusal(reason)
                );
            }
            Event::RefusedOther {
                subject,
                address,
                reason,
            } => {
                log_line!(
                    self.log,
                    now,
                    "refuses node {:?} at {:?}: {}",
                    subject.node,
                    address,
                    cluster_log::refusal(reason)
                );
            }
            Event::Left => self.link.announce_left(),
            _ => {}
        }
    }

    /// Log that this node lost its view: the cluster excluded it, or it gave the view up by itself.
    fn log_exclusion(&mut self, now: Instant, later_view: ViewNumber, incarnation: u64) {
        let own = self.cluster_view.as_ref();
        let own = own.map(|view| ViewNumber(view.as_view().number));
        if own == Some(later_view) {
            log_line!(
                self.log,
                now,
                "gives up view {:?}, new incarnation {}",
                later_view,
                incarnation
            );
        } else {
            log_line!(
                self.log,
                now,
                "excluded by view {:?}, new incarnation {}",
                later_view,
                incarnation
            );
        }
    }

    /// Log a new cluster view and announce it to the notifiers.
    fn announce_view(&mut self, now: Instant) {
        if let Some(view) = self.node.view() {
            let is_first = self.cluster_view.is_none();
            cluster_log::changes(&mut self.log, now, &self.changes, is_first);
            cluster_log::view(&mut self.log, now, view, self.coordinators);
            trace_points::view_install(self.id, view.number, view.count());
            let record = ViewRecord::of_cluster(
                view,
                &self.changes,
                view.is_primary && self.node.has_quorum(),
                self.cluster_view.as_deref(),
            );
            if let Ok(record) = record {
                self.notifier.push(News::View(record.clone()));
                self.cluster_view = Some(record);
            }
        }
        self.changes.clear();
    }

    /// A node as a member of the last cluster view, with its slot if it was one.
    pub(super) fn cluster_member(&self, subject: Identity) -> Member {
        let id = node_member(subject);
        self.cluster_view
            .as_ref()
            .and_then(|view| view.find(id))
            .unwrap_or(Member::new(id, None))
    }
}
