// SPDX-License-Identifier: GPL-2.0

//! The members of groups on this node: consumers that join, submit messages, get deliveries and leave.

use super::Engine;
use crate::{
    linux::{
        consumers::{
            callback_types::End,
            group_handle::{
                Delivery,
                Handle,
                Submission, //
            },
            view_record::ViewRecord, //
        },
        node::errno,
        observability::{
            cluster_log,
            event_log::log_line, //
        },
        runtime::clock, //
    },
    platform::report_broken_invariant,
    protocol::{
        errors::CommandError,
        group::LeaveMode,
        group_properties::GroupRefusal,
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
            .join_group(now, handle.name, handle.properties)
            .map_err(errno::of_command)?;
        handle.set_endpoint(endpoint);
        self.handles.push(handle, GFP_KERNEL)?;
        self.carry_out(now);
        self.link.wake();
        Ok(())
    }

    /// Let a consumer begin to leave: it may wait for the callbacks of its handle.
    ///
    /// # Errors
    ///
    /// - `EDEADLK`: it would wait for ever, as [`Handle::begin_leave`] says.
    pub(crate) fn begin_leave(&self, handle: &Handle) -> Result {
        handle.begin_leave(&self.handles)
    }

    /// Let a consumer, whose callbacks have ended, leave its group. What it has submitted is sent first, for so long at
    /// most; `None`: not at all. [`Handle::wait_over`] waits for the end.
    pub(crate) fn leave(&mut self, handle: &Handle, patience: Option<Duration>) {
        let now = clock::now();
        if self.handle(handle.endpoint()).is_none() {
            // The engine has ended the membership before, or has stopped.
            handle.close(End::Stopped, 0);
            return;
        }
        match patience {
            Some(patience) => handle.set_leave_by(now.after(patience)),
            None => {
                self.end(now, handle, End::Excluded);
            }
        }
        self.advance_leaves(now);
        self.carry_out(now);
        self.link.wake();
    }

    /// Go on with consumers that leave: those that have submitted all leave the group, and those whose messages are all
    /// ordered, or whose time is up, are gone.
    pub(super) fn advance_leaves(&mut self, now: Instant) {
        let mut place: usize = 0;
        while let Some(handle) = self.handles.get(place) {
            place = place.saturating_add(1);
            let Some(by) = handle.leave_by() else {
                continue;
            };
            if handle.has_submissions() && now < by {
                continue;
            }
            let handle = handle.clone();
            let endpoint = handle.endpoint();
            if handle.take_leave() {
                // An error says that the protocol has ended the membership.
                let _ = self.node.leave_group(now, endpoint, LeaveMode::SendFirst);
            }
            if now >= by || self.node.pending_messages(endpoint) == 0 {
                if now >= by {
                    handle.set_late();
                }
                self.end(now, &handle, End::Excluded);
                // The next handle has moved to its place.
                place = place.saturating_sub(1);
            }
        }
    }

    /// When [`Self::advance_leaves`] has something to do although nothing happens.
    pub(super) fn leave_deadline(&self) -> Option<Instant> {
        self.handles.iter().filter_map(|handle| handle.leave_by()).min()
    }

    /// End a membership. What the protocol has taken and not ordered yet is lost, as far as this node knows.
    fn end(&mut self, now: Instant, handle: &Handle, end: End) -> u64 {
        let endpoint = handle.endpoint();
        let lost = u64::try_from(self.node.pending_messages(endpoint)).unwrap_or(u64::MAX);
        handle.close(end, lost);
        self.handles.retain(|known| known.endpoint() != endpoint);
        // An error says that the protocol has ended the membership before.
        let _ = self.node.leave_group(now, endpoint, LeaveMode::Discard);
        lost
    }

    /// The protocol has ended a membership, and has lost so many of its messages.
    pub(super) fn ended(&mut self, endpoint: EndpointId, end: End, lost: u64) {
        if let Some(handle) = self.handle(endpoint) {
            handle.close(end, lost);
            self.handles.retain(|known| known.endpoint() != endpoint);
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
        let Some(submission) = handle.take_submission() else {
            return false;
        };
        let Submission {
            order,
            call_view,
            payload,
        } = submission;
        let again = |payload| Submission {
            order,
            call_view,
            payload,
        };
        let endpoint = handle.endpoint();
        match self.node.absorb_multicast(endpoint, order, call_view, payload) {
            Ok(()) => handle.report_writable(),
            // The message stays with the handle and is tried again after each input. While there is no memory,
            // no input may come: the timer wakes the engine.
            Err((CommandError::OutOfMemory, payload)) => {
                self.give_back(handle, again(payload));
                self.retry_at = Some(now.after(MEMORY_PAUSE));
                return false;
            }
            Err((CommandError::WindowFull | CommandError::NoQuorum, payload)) => {
                self.give_back(handle, again(payload));
                return false;
            }
            // The membership is over. Its end, which is an event on its way, counts the message as lost.
            Err((CommandError::NoSuchEndpoint | CommandError::Stopped, payload)) => {
                self.give_back(handle, again(payload));
                return false;
            }
            Err((error, _)) => {
                pr_warn!("a message that was accepted is lost: {:?}\n", error);
                handle.add_lost(1);
            }
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
                self.exclude(now, &handle, End::Slow);
            }
        }
    }

    /// Queue a view of a group for a consumer, before which `lost` of its messages were lost.
    pub(super) fn deliver_view(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        view: &GroupView,
        lost: u64,
    ) {
        let Some(handle) = self.handle(endpoint) else {
            return;
        };
        let latest = handle.latest();
        let is_known = latest.as_deref().is_none_or(|latest| {
            latest.is_empty() || latest.member_of(view.reader, endpoint).is_some()
        });
        let lost = match is_known {
            true => lost,
            // The node has moved to another component, and has a new incarnation there.
            false => lost.saturating_add(handle.begin_incarnation()),
        };
        let Ok(record) = ViewRecord::of_group(view, lost, latest.as_deref()) else {
            self.exclude_untold(now, &handle, End::NoMemory, lost);
            return;
        };
        let own = record.member_of(view.reader, endpoint);
        if !handle.push_view(record, own) {
            self.exclude_untold(now, &handle, End::Slow, lost);
        }
    }

    /// Report to a consumer that it is out of its group until its node is back. `lost` of its messages were lost.
    pub(super) fn deliver_exclusion(&mut self, now: Instant, endpoint: EndpointId, lost: u64) {
        let Some(handle) = self.handle(endpoint) else {
            return;
        };
        let lost = lost.saturating_add(handle.begin_incarnation());
        let Ok(empty) = ViewRecord::empty() else {
            self.exclude_untold(now, &handle, End::NoMemory, lost);
            return;
        };
        if !handle.push_view(ViewRecord::ended(empty, End::Excluded, lost), None) {
            self.exclude_untold(now, &handle, End::Slow, lost);
        }
    }

    /// The group does not admit a consumer.
    pub(super) fn refused(&mut self, now: Instant, endpoint: EndpointId, reason: GroupRefusal) {
        let Some(handle) = self.handle(endpoint) else {
            return;
        };
        log_line!(
            self.log,
            now,
            "member {} is refused by group {:?}: {}",
            endpoint.0,
            handle.name,
            cluster_log::group_refusal(reason)
        );
        self.ended(endpoint, End::Refused(reason), 0);
    }

    /// Exclude a consumer from its group because of `end`.
    pub(super) fn exclude(&mut self, now: Instant, handle: &Handle, end: End) {
        self.exclude_untold(now, handle, end, 0);
    }

    /// The same; `untold` messages that were lost before could not be told.
    fn exclude_untold(&mut self, now: Instant, handle: &Handle, end: End, untold: u64) {
        handle.add_lost(untold);
        let lost = self.end(now, handle, end).saturating_add(untold);
        let why = match end {
            End::Hangs => "does not return from it",
            End::NoMemory => "gets no memory for a view",
            _ => "does not keep up",
        };
        log_line!(
            self.log,
            now,
            "member {} of group {:?} {} and is excluded; messages of it that are lost: {}",
            handle.endpoint().0,
            handle.name,
            why,
            lost
        );
        self.link.wake();
    }

    /// Close the handles of all consumers.
    pub(super) fn close_handles(&mut self) {
        for handle in self.handles.iter() {
            let pending = self.node.pending_messages(handle.endpoint());
            handle.close(End::Stopped, u64::try_from(pending).unwrap_or(u64::MAX));
        }
        self.handles.clear();
    }
}
