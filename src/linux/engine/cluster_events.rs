// SPDX-License-Identifier: GPL-2.0

//! What the engine does with events of the cluster: a line in the kernel's log, and news for the
//! notifiers.

use super::{
    super::{
        callback_types::Member,
        cluster_log,
        cluster_notifier::News,
        event_log::log_line,
        instance::Instance,
        trace_points,
        view_record::{
            node_member,
            ViewRecord, //
        }, //
    },
    Engine, //
};
use crate::protocol::{
    identity::{
        Identity,
        ViewNumber, //
    },
    outputs::{
        ChangeReason,
        Event, //
    },
    time::Instant, //
};
use kernel::prelude::*;

impl Engine {
    pub(super) fn handle_cluster_event(&mut self, now: Instant, event: Event, instance: &Instance) {
        let tell = |news| instance.notifier.push(news, &instance.delivery_queue);
        match event {
            Event::ViewChange { subject, reason } => {
                // There is room for all differences of two views.
                let _ = self.changes.push((subject, reason), GFP_KERNEL);
                if matches!(reason, ChangeReason::Failed | ChangeReason::Evicted) {
                    tell(News::Failed(self.cluster_member(subject)));
                }
            }
            Event::ClusterView { .. } => self.tell_view(now, instance),
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
                tell(News::Suspect(self.cluster_member(subject)));
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
            Event::Prepare { .. } => tell(News::Prepare),
            Event::QuorumLost => {
                log_line!(self.log, now, "quorum lost");
                tell(News::QuorumLost);
            }
            Event::QuorumRegained => {
                log_line!(self.log, now, "quorum regained");
                tell(News::QuorumRegained);
            }
            Event::Excluded {
                later_view,
                incarnation,
            } => {
                self.log_exclusion(now, later_view, incarnation);
                self.cluster_view = None;
                self.changes.clear();
                tell(News::Excluded);
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
                tell(News::Excluded);
                // Whoever stops it need not wait for the cluster.
                instance.left.complete_all();
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
            Event::FenceWanted { subject } => self.want_fence(now, subject, instance),
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
            Event::Left => instance.left.complete_all(),
            _ => {}
        }
    }

    /// A cluster view was installed: its differences were told before.
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

    fn tell_view(&mut self, now: Instant, instance: &Instance) {
        if let Some(view) = self.node.view() {
            let is_first = self.cluster_view.is_none();
            let coordinators = instance.configuration.coordinators;
            cluster_log::changes(&mut self.log, now, &self.changes, is_first);
            cluster_log::view(&mut self.log, now, view, coordinators);
            trace_points::view_install(instance.node, view.number, view.count());
            let record = ViewRecord::of_cluster(
                view,
                &self.changes,
                view.is_primary && self.node.has_quorum(),
                self.cluster_view.as_deref(),
            );
            if let Ok(record) = record {
                let news = News::View(record.clone());
                instance.notifier.push(news, &instance.delivery_queue);
                self.cluster_view = Some(record);
            }
        }
        self.changes.clear();
    }

    /// A node as a member of the last cluster view.
    pub(super) fn cluster_member(&self, subject: Identity) -> Member {
        let id = node_member(subject);
        self.cluster_view
            .as_ref()
            .and_then(|view| view.find(id))
            .unwrap_or(Member::new(id, None))
    }
}
