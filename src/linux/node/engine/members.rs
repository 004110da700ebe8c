// SPDX-License-Identifier: GPL-2.0

//! The members of groups on this node: consumers that join, submit messages, get deliveries and leave.

use super::Engine;
use crate::{
    linux::{
        consumers::{
            group_handle::{
                Delivery,
                Handle,
                Submission, //
            },
            view_record::ViewRecord, //
        },
        node::errno,
        observability::event_log::log_line,
        runtime::clock, //
    },
    platform::report_broken_invariant,
    protocol::{
        errors::CommandError,
        group_properties::GroupProperties,
        group_view::GroupView,
        identity::EndpointId,
        time::{
            Duration,
            Instant, //
        }, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// How long to wait, after there was no memory for a message, before it is submitted again.
const MEMORY_PAUSE: Duration = Duration::from_milliseconds(10);

impl Engine {
    /// Add a consumer's membership.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the node has stopped.
    /// - `ENOMEM`: out of memory.
    /// - `ENOSPC`: a limit of the protocol is reached.
    pub(crate) fn join(&mut self, handle: Arc<Handle>) -> Result {
        if self.is_stopped {
            return Err(ESHUTDOWN);
        }
        self.handles.reserve(1, GFP_KERNEL)?;
        let now = clock::now();
        let endpoint = self
            .node
            .join_group(now, handle.name, GroupProperties::DEFAULT)
            .map_err(errno::of_command)?;
        handle.set_endpoint(endpoint);
        self.handles.push(handle, GFP_KERNEL)?;
        self.carry_out(now);
        self.link.wake();
        Ok(())
    }

    /// End a consumer's membership.
    pub(crate) fn leave(&mut self, handle: &Handle) {
        let endpoint = handle.endpoint();
        self.handles.retain(|known| known.endpoint() != endpoint);
        if !self.is_stopped {
            let now = clock::now();
            // An error says that the protocol has ended the membership before.
            let _ = self.node.leave_group(now, endpoint);
            self.carry_out(now);
            self.link.wake();
        }
    }

    /// Hand one submitted message to the protocol, taking turns among the members. Returns false if the protocol
    /// takes none.
    pub(super) fn submit_next(&mut self, now: Instant) -> bool {
        let count = self.handles.len();
        for step in 0..count {
            let place = self.last_submitter.wrapping_add(1).wrapping_add(step) % count;
            let Some(handle) = self.handles.get(place).cloned() else {
                continue;
            };
            if self.submit_of(now, &handle) {
                self.last_submitter = place;
                return true;
            }
        }
        false
    }

    fn submit_of(&mut self, now: Instant, handle: &Handle) -> bool {
        let Some(Submission { order, payload }) = handle.take_submission() else {
            return false;
        };
        let endpoint = handle.endpoint();
        match self.node.absorb_multicast(endpoint, order, payload) {
            Ok(()) => handle.report_writable(),
            // The message stays with the handle and is tried again after each input. While there is no memory,
            // no input may come: the timer wakes the engine.
            Err((CommandError::OutOfMemory, payload)) => {
                self.give_back(handle, Submission { order, payload });
                self.retry_at = Some(now.after(MEMORY_PAUSE));
                return false;
            }
            Err((CommandError::WindowFull | CommandError::NoQuorum, payload)) => {
                self.give_back(handle, Submission { order, payload });
                return false;
            }
            // The membership is over, and its messages are dropped with it.
            Err((error, _)) => pr_debug!("a message was dropped: {:?}\n", error),
        }
        true
    }

    fn give_back(&mut self, handle: &Handle, submission: Submission) {
        if !handle.give_back(submission) {
            report_broken_invariant("the place of a submitted message was taken");
            self.is_broken = true;
        }
    }

    /// The handle of a member on this node.
    pub(super) fn handle(&self, endpoint: EndpointId) -> Option<Arc<Handle>> {
        self.handles
            .iter()
            .find(|handle| handle.endpoint() == endpoint)
            .cloned()
    }

    /// Queue a delivery for a consumer.
    pub(super) fn deliver(&mut self, now: Instant, endpoint: EndpointId, delivery: Delivery) {
        if let Some(handle) = self.handle(endpoint) {
            if !handle.push(delivery) {
                self.exclude(now, &handle, "does not keep up");
            }
        }
    }

    /// Queue a view of a group for a consumer.
    pub(super) fn deliver_view(&mut self, now: Instant, endpoint: EndpointId, view: &GroupView) {
        let Some(handle) = self.handle(endpoint) else {
            return;
        };
        let record = if view.members.is_empty() {
            ViewRecord::empty()
        } else {
            ViewRecord::of_group(view, handle.latest().as_deref())
        };
        let Ok(record) = record else {
            self.exclude(now, &handle, "gets no memory for a view");
            return;
        };
        let own = record.member_of(view.reader, endpoint);
        if !handle.push_view(record, own) {
            self.exclude(now, &handle, "does not keep up");
        }
    }

    /// Exclude a consumer, of which `why` says what it does not do, from its group.
    pub(super) fn exclude(&mut self, now: Instant, handle: &Handle, why: &str) {
        let endpoint = handle.endpoint();
        log_line!(
            self.log,
            now,
            "member {} of group {:?} {} and is excluded",
            endpoint.0,
            handle.name,
            why
        );
        handle.close(ViewRecord::empty().ok());
        self.handles.retain(|known| known.endpoint() != endpoint);
        // An error says that the protocol has ended the membership before.
        let _ = self.node.leave_group(now, endpoint);
        self.link.wake();
    }

    /// Close the handles of all consumers.
    pub(super) fn close_handles(&mut self) {
        for handle in self.handles.iter() {
            handle.close(ViewRecord::empty().ok());
        }
        self.handles.clear();
    }
}
