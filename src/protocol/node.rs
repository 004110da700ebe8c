// SPDX-License-Identifier: GPL-2.0

//! One node: the only type of the core that the shell talks to in process context.
//!
//! ```text
//!   datagrams --+                                     +--> datagrams to send
//!   failure detector ------+--> Node: Membership, then Groups ---+--> a new assignment for the failure detector
//!   deadlines --+                                     +--> events
//!   commands ---+                                     +--> the next deadline, with its reason
//! ```
//!
//! The shell gives it one input at a time, with the time of the input, then polls the outputs until they are empty. A node
//! never blocks, never asks for the time, and allocates only when it is made and for the payloads of groups. This type
//! only checks who may send what and dispatches: [`super::membership`] knows who belongs to the cluster,
//! [`super::group`] carries the messages of groups.

mod batches;
#[cfg(kcgcs_exploration)]
mod exploration;

use super::configuration::ValidConfiguration;
use super::errors::{CommandError, Counter, Counters};
use super::failure_detector::{DetectorAssignment, DetectorReport};
use super::group::{Groups, LeaveMode};
use super::group_properties::GroupProperties;
use super::group_view::GroupSummary;
use super::identity::{EndpointId, GroupName, Identity, NodeId, PeerAddress};
use super::membership::{Membership, ReplayWindows, Standing};
use super::outbox::Outbox;
use super::outputs::{DeadlineReason, Event, Transmit};
use super::time::{Duration, Instant};
use super::view::ClusterView;
use super::wire::Datagram;
use crate::platform::{OutOfMemory, Owned};

/// One protocol instance. See the module's text for the contract.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub struct Node {
    membership: Membership,
    groups: Groups,
    replay: ReplayWindows,
    outbox: Owned<Outbox>,
    /// Inputs of groups were absorbed whose consequences [`Self::finish`] is still to draw.
    is_unfinished: bool,
    /// The cluster view has changed since the outputs were polled.
    has_changed_view: bool,
}

impl Node {
    /// Make a node that looks for its cluster from `now` on. Allocates all that the node ever needs, except payloads of
    /// groups. May sleep in the kernel.
    ///
    /// # Errors
    ///
    /// There is not enough memory, and no node.
    pub fn new(
        identity: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            groups: Groups::new(identity, configuration.settings())?,
            replay: ReplayWindows::new()?,
            outbox: Owned::try_new(Outbox::new(identity, configuration.cluster())?)?,
            membership: Membership::new(identity, address, configuration, now, seed)?,
            is_unfinished: false,
            has_changed_view: false,
        })
    }

    // ---- inputs -------------------------------------------------------------------------------

    /// Do what is due at the time that [`Self::next_deadline`] named. Calling early is harmless.
    pub fn handle_deadline(&mut self, now: Instant) {
        self.finish(now);
        self.begin_input();
        self.membership.advance(now, &mut self.outbox);
        self.end_input(now);
    }

    /// Take in a report of the failure detector.
    pub fn handle_detector_report(&mut self, now: Instant, report: DetectorReport) {
        self.finish(now);
        self.begin_input();
        self.membership
            .handle_detector_report(now, report, &mut self.outbox);
        self.end_input(now);
    }

    // ---- commands -----------------------------------------------------------------------------

    /// Join a group with these properties. The first [`Event::GroupView`] shows that the new member is in;
    /// [`Event::GroupRefused`] that the group does not admit it. Legal in any state of the node, also before its first
    /// view.
    pub fn join_group(
        &mut self,
        now: Instant,
        name: GroupName,
        properties: GroupProperties,
    ) -> Result<EndpointId, CommandError> {
        if self.membership.is_gone() {
            return Err(CommandError::Stopped);
        }
        let result = self
            .groups
            .join(now, name, properties, self.membership.view());
        self.end_input(now);
        result
    }

    /// Leave a group. [`Event::GroupLeft`] follows and is the last event of the endpoint. `mode` says what happens to its
    /// messages that are not ordered yet.
    pub fn leave_group(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        mode: LeaveMode,
    ) -> Result<(), CommandError> {
        let result = self.groups.leave(now, endpoint, mode);
        self.end_input(now);
        result
    }

    /// Evict a member. The view without it follows, unless this node crashes or loses its quorum at once. The evicted node
    /// gets [`Event::Evicted`] as soon as it can be told.
    pub fn evict(&mut self, now: Instant, node: NodeId) -> Result<(), CommandError> {
        self.begin_input();
        let result = self.membership.evict(now, node, &mut self.outbox);
        self.end_input(now);
        result
    }

    /// Let no view be agreed on for `span_ms` from now on. Zero ends that. It holds once a quorum of members has heard of
    /// it, which takes as long as a datagram.
    pub fn pin(&mut self, now: Instant, span_ms: u32) -> Result<(), CommandError> {
        self.begin_input();
        let result = self.membership.set_pin(now, span_ms, &mut self.outbox);
        self.end_input(now);
        result
    }

    /// Let a handler confirm that a failed node can do no harm any more before this node proposes a view without it
    /// ([`Event::FenceWanted`]), unless the handler takes longer than `timeout`. `None` ends that.
    pub fn set_fence_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        self.begin_input();
        self.membership
            .set_fence_timeout(now, timeout, &mut self.outbox);
        self.end_input(now);
    }

    /// Whether the handler is still to fence `subject`. To be asked just before the handler is called, since it may have
    /// been busy with another node.
    pub fn wants_fence(&self, subject: Identity) -> bool {
        self.membership.wants_fence(subject)
    }

    /// Take in that the handler has fenced `subject`, or failed to.
    pub fn answer_fence(&mut self, now: Instant, subject: Identity, is_fenced: bool) {
        self.begin_input();
        self.membership
            .handle_fence_answer(now, subject, is_fenced, &mut self.outbox);
        self.end_input(now);
    }

    /// Leave the cluster. [`Event::Left`] follows within a bounded time.
    pub fn leave_cluster(&mut self, now: Instant) {
        self.begin_input();
        self.groups.stop(&mut self.outbox);
        self.membership.leave_cluster(now, &mut self.outbox);
        self.end_input(now);
    }

    // ---- outputs, to be polled in this order until empty ----------------------------------------

    /// The next datagram to send, written to `buffer`, which must hold
    /// [`super::limits::DATAGRAM_BYTES_MAX`] bytes.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        if let Some(transmit) = self.outbox.poll_transmit(buffer) {
            return Some(transmit);
        }
        // Datagrams that had to wait for room have it now.
        self.membership.pump(&mut self.outbox);
        self.outbox.poll_transmit(buffer)
    }

    /// Which nodes to send heartbeats to and which to monitor from now on, for `FailureDetector::install`.
    pub fn poll_assignment(&mut self) -> Option<DetectorAssignment> {
        self.membership.take_assignment()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.has_changed_view = false;
        self.outbox.poll_event()
    }

    /// When to call [`Self::handle_deadline`], and why.
    pub fn next_deadline(&self) -> Option<(Instant, DeadlineReason)> {
        // A node that left sends nothing for its groups.
        let groups = self
            .groups
            .next_deadline()
            .filter(|_| !self.membership.is_gone())
            .map(|at| (at, DeadlineReason::Group));
        match (self.membership.next_deadline(), groups) {
            (Some(first), Some(second)) if second.0 < first.0 => Some(second),
            (Some(first), _) => Some(first),
            (None, second) => second,
        }
    }

    // ---- getters ------------------------------------------------------------------------------

    /// The present identity of this node. The incarnation changes when the node is excluded.
    pub fn identity(&self) -> Identity {
        self.membership.own()
    }

    /// The present cluster view, if there is one.
    pub fn view(&self) -> Option<&ClusterView> {
        self.membership.view()
    }

    /// Whether the present view has a quorum, as far as this node knows. Without one, sends are refused.
    pub fn has_quorum(&self) -> bool {
        self.membership.has_quorum()
    }

    /// How much longer views are pinned, and which node asked for it.
    pub fn pinned(&self, now: Instant) -> Option<(Duration, NodeId)> {
        self.membership.pin(now)
    }

    /// Whether an invariant of the node was found broken: it must not go on.
    pub fn is_broken(&self) -> bool {
        self.outbox.is_broken()
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.outbox.counters
    }

    /// How many messages of a member are accepted and not ordered yet.
    pub fn pending_messages(&self, endpoint: EndpointId) -> usize {
        self.groups.pending_messages(endpoint)
    }

    /// Call `each` for every group that this node has members of or orders.
    pub fn for_each_group(&self, each: &mut dyn FnMut(&GroupSummary)) {
        self.groups.for_each_group(each);
    }

    // ---- dispatch -----------------------------------------------------------------------------

    fn begin_input(&mut self) {
        self.membership.set_has_groups(self.groups.has_groups());
    }

    fn receive(&mut self, now: Instant, from: PeerAddress, bytes: &[u8]) -> Result<(), Counter> {
        let datagram = Datagram::parse(bytes, self.membership.cluster())?;
        let header = &datagram.header;
        if header.kind.is_failure_detection() {
            return Err(Counter::DroppedUnexpected);
        }
        let standing = self
            .membership
            .check_sender(now, header, from, &mut self.outbox)?;
        if standing == Standing::Outsider {
            return self.pass_on(now, from, &datagram);
        }
        if self.replay.has(header.sender, header.counter) {
            return Err(Counter::DroppedDuplicate);
        }
        let result = self.pass_on(now, from, &datagram);
        // Garbage in the name of a member must not use up its numbers.
        if !result.is_err_and(Counter::is_malformed) {
            self.replay.add(header.sender, header.counter);
        }
        result
    }

    fn pass_on(
        &mut self,
        now: Instant,
        from: PeerAddress,
        datagram: &Datagram<'_>,
    ) -> Result<(), Counter> {
        let header = &datagram.header;
        if !header.kind.is_group() {
            // The membership may freeze the groups: what they absorbed before counts as before.
            self.finish(now);
            return self.membership.handle_message(
                now,
                header,
                from,
                datagram.body,
                &mut self.outbox,
            );
        }
        self.membership
            .check_view(now, header, from, &mut self.outbox)?;
        let (true, Some(view)) = (self.membership.is_settled(), self.membership.view()) else {
            return Err(Counter::DroppedUnexpected);
        };
        let sender = view
            .member(header.sender.node)
            .ok_or(Counter::DroppedNonMember)?;
        self.groups.handle_message(
            now,
            view,
            sender,
            header.kind,
            datagram.body,
            &mut self.outbox,
        )
    }

    /// Do with the groups what the membership asks for.
    fn follow_membership(&mut self, now: Instant) {
        let signals = self.membership.take_signals();
        self.has_changed_view |= signals.installed || signals.is_over || signals.excluded.is_some();
        if signals.frozen {
            self.groups.freeze(&mut self.outbox);
        }
        if signals.installed {
            if let Some(view) = self.membership.view() {
                self.replay.install(view);
                let own = self.membership.own();
                let departed = self.membership.departed();
                self.groups.install(now, view, own, departed);
                self.groups.set_quorum(true);
            }
        }
        if signals.is_over {
            self.replay.clear();
            self.groups.stop(&mut self.outbox);
        }
        if let Some(own) = signals.excluded {
            self.replay.clear();
            let changes_component = signals.changes_component;
            self.groups
                .excluded(now, own, changes_component, &mut self.outbox);
            self.groups.set_quorum(false);
        }
        if let Some(quorum) = signals.quorum {
            self.groups.set_quorum(quorum);
        }
    }

    fn end_input(&mut self, now: Instant) {
        self.follow_membership(now);
        self.is_unfinished = true;
        self.finish(now);
    }
}
