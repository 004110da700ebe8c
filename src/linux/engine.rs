// SPDX-License-Identifier: GPL-2.0

//! The engine of a node: the only caller of the protocol's `Node`, in process context, one input at
//! a time, with all outputs carried out before the next one.

mod cluster_events;
mod fencing;
mod watchdog;

use super::{
    clock,
    cluster_notifier::News,
    errno,
    event_log::{
        log_line,
        EventLog, //
    },
    ffi,
    group_handle::{
        Delivery,
        Handle,
        Submission, //
    },
    instance::Instance,
    settings::ClusterName,
    trace_points,
    view_record::ViewRecord, //
};
use crate::{
    platform::{
        report_broken_invariant,
        OutOfMemory, //
    },
    protocol::{
        configuration::ValidConfiguration,
        errors::CommandError,
        group_view::GroupView,
        identity::{
            EndpointId,
            Identity,
            PeerAddress, //
        },
        limits::{
            DATAGRAM_BYTES_MAX,
            NODES_MAX, //
        },
        node::Node,
        outputs::{
            ChangeReason,
            Event, //
        },
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

/// Inputs that one run handles before it gives up the processor.
const INPUTS_PER_RUN: usize = 256;
/// Of so many inputs in a row, one may be something else although datagrams wait.
const INPUTS_PER_TURN: usize = 16;
/// How long the engine waits for memory before it tries again.
const MEMORY_PAUSE: Duration = Duration::from_milliseconds(10);

/// Where the node stands, for operators: an `enum kcgcs_node_state`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeState {
    Joining = ffi::KCGCS_STATE_JOINING as isize,
    Member = ffi::KCGCS_STATE_MEMBER as isize,
    Blocked = ffi::KCGCS_STATE_BLOCKED as isize,
    Leaving = ffi::KCGCS_STATE_LEAVING as isize,
    Failed = ffi::KCGCS_STATE_FAILED as isize,
    Evicted = ffi::KCGCS_STATE_EVICTED as isize,
}

/// The protocol's node and what is to be done with what it says.
pub(super) struct Engine {
    node: KBox<Node>,
    buffer: KVec<u8>,
    handles: KVec<Arc<Handle>>,
    /// Differences from the last cluster view, told before the view itself.
    changes: KVec<(Identity, ChangeReason)>,
    cluster_view: Option<Arc<ViewRecord>>,
    log: EventLog,
    /// Place in `handles` of the one whose message was taken last.
    last_submitter: usize,
    /// When to try again what there was no memory for.
    retry_at: Option<Instant>,
    /// An invariant of the shell was found broken.
    is_broken: bool,
    is_leaving: bool,
    is_stopped: bool,
    is_failed: bool,
    is_evicted: bool,
}

impl Engine {
    /// A node that looks for its cluster.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn new(
        identity: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        cluster: ClusterName,
    ) -> Result<Self> {
        let node = Self::make_node(identity, address, configuration, now)?;
        let mut log = EventLog::new(identity.node, now);
        log_line!(
            log,
            now,
            "started, incarnation {}, address {:?}, cluster {:?}",
            identity.incarnation.0,
            address,
            cluster
        );
        Ok(Self {
            node,
            buffer: KVec::from_elem(0, DATAGRAM_BYTES_MAX, GFP_KERNEL)?,
            handles: KVec::new(),
            changes: KVec::with_capacity(2 * NODES_MAX, GFP_KERNEL)?,
            cluster_view: None,
            log,
            last_submitter: 0,
            retry_at: None,
            is_broken: false,
            is_leaving: false,
            is_stopped: false,
            is_failed: false,
            is_evicted: false,
        })
    }

    /// A node is made on the stack before it is moved to the heap, and has 2 kB, as much as the kernel
    /// allows a whole function: nothing else shall lie on the stack beside it.
    #[inline(never)]
    fn make_node(
        identity: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
    ) -> Result<KBox<Node>> {
        let seed = clock::random_seed();
        let room = KBox::new_uninit(GFP_KERNEL)?;
        match Node::new(identity, address, configuration, now, seed) {
            Ok(node) => Ok(KBox::write(room, node)),
            Err(OutOfMemory) => Err(ENOMEM),
        }
    }

    // ---- for netlink --------------------------------------------------------------------------

    /// The protocol's node, to be looked at.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Where the node stands.
    pub(super) fn state(&self) -> NodeState {
        if self.is_failed {
            NodeState::Failed
        } else if self.is_evicted {
            NodeState::Evicted
        } else if self.is_leaving {
            NodeState::Leaving
        } else if self.node.view().is_none() {
            NodeState::Joining
        } else if self.node.has_quorum() {
            NodeState::Member
        } else {
            NodeState::Blocked
        }
    }

    // ---- inputs -------------------------------------------------------------------------------

    /// Handles what has come in. True if there is more.
    pub(super) fn run(&mut self, instance: &Instance) -> bool {
        self.handle_inputs(instance) && !self.is_stopped
    }

    fn handle_inputs(&mut self, instance: &Instance) -> bool {
        if !self.is_stopped {
            self.check_watchdogs(clock::now(), instance);
        }
        for count in 0..INPUTS_PER_RUN {
            if self.is_stopped {
                return false;
            }
            let now = clock::now();
            // Datagrams come first, but a flood of them holds up nothing else for long.
            let is_turn_of_others = count % INPUTS_PER_TURN == 0;
            let is_done = self.handle_report(now, instance)
                || is_turn_of_others && (self.handle_deadline(now) || self.submit_next(now))
                || self.handle_datagram(now, instance)
                || self.handle_deadline(now)
                || self.submit_next(now);
            if !is_done {
                if let Some(at) = self.next_deadline() {
                    instance.wake_engine_at(at);
                }
                return false;
            }
            self.carry_out(now, instance);
        }
        true
    }

    fn handle_report(&mut self, now: Instant, instance: &Instance) -> bool {
        let report = instance.take_report();
        if let Some(report) = report {
            self.node.handle_detector_report(now, report);
        }
        report.is_some()
    }

    fn handle_datagram(&mut self, now: Instant, instance: &Instance) -> bool {
        let Some(datagram) = instance.socket.take() else {
            return false;
        };
        let (from, bytes) = (datagram.from(), datagram.bytes());
        trace_points::datagram_receive(instance.node, from, bytes.len());
        self.node.handle_datagram(now, from, bytes);
        true
    }

    fn handle_deadline(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        let is_due = self.node.next_deadline().is_some_and(|(at, _)| at <= now);
        if is_due {
            self.node.handle_deadline(now);
        }
        is_due
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.node.next_deadline().map(|(at, _)| at);
        let wanted = [deadline, self.retry_at, self.watchdog_deadline()];
        wanted.into_iter().flatten().min()
    }

    /// Hands one submitted message to the protocol, of one member after the other. False if there is
    /// none that it takes.
    fn submit_next(&mut self, now: Instant) -> bool {
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
        match self.node.multicast(now, endpoint, order, payload) {
            Ok(()) => handle.tell_writable(),
            // What is given back is tried again after each input; nothing may come in, though, while
            // there is no memory.
            Err((CommandError::OutOfMemory, payload)) => {
                self.give_back(handle, Submission { order, payload });
                self.retry_at = Some(now.after(MEMORY_PAUSE));
                return false;
            }
            Err((CommandError::WindowFull | CommandError::NoQuorum, payload)) => {
                self.give_back(handle, Submission { order, payload });
                return false;
            }
            // The membership is over: its messages go with it.
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

    /// Adds a consumer's membership.
    pub(super) fn join(&mut self, instance: &Instance, handle: Arc<Handle>) -> Result {
        if self.is_stopped {
            return Err(ESHUTDOWN);
        }
        self.handles.reserve(1, GFP_KERNEL)?;
        let now = clock::now();
        let endpoint = self
            .node
            .join_group(now, handle.name)
            .map_err(errno::of_command)?;
        handle.set_endpoint(endpoint);
        self.handles.push(handle, GFP_KERNEL)?;
        self.carry_out(now, instance);
        instance.wake_engine();
        Ok(())
    }

    /// Ends a consumer's membership.
    pub(super) fn leave(&mut self, instance: &Instance, handle: &Handle) {
        let endpoint = handle.endpoint();
        self.handles.retain(|known| known.endpoint() != endpoint);
        if !self.is_stopped {
            let now = clock::now();
            // An error says that the protocol has put it out before.
            let _ = self.node.leave_group(now, endpoint);
            self.carry_out(now, instance);
            instance.wake_engine();
        }
    }

    /// Has the protocol do what an administrator wants.
    pub(super) fn administer(
        &mut self,
        instance: &Instance,
        command: impl FnOnce(&mut Node, Instant) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if self.is_stopped || self.is_leaving {
            return Err(CommandError::Stopped);
        }
        let now = clock::now();
        let result = command(&mut self.node, now);
        self.carry_out(now, instance);
        instance.wake_engine();
        result
    }

    /// Says good-bye to the cluster.
    pub(super) fn leave_cluster(&mut self, instance: &Instance) {
        if self.is_stopped || self.is_leaving {
            return;
        }
        let now = clock::now();
        self.is_leaving = true;
        log_line!(self.log, now, "leaving");
        self.node.leave_cluster(now);
        self.carry_out(now, instance);
    }

    /// The end: nothing is done any more.
    pub(super) fn stop(&mut self, instance: &Instance) {
        let was_running = !self.is_stopped;
        self.is_stopped = true;
        self.close_handles();
        self.cluster_view = None;
        if was_running {
            log_line!(self.log, clock::now(), "stopped");
            instance
                .notifier
                .push(News::Stopped, &instance.delivery_queue);
        }
    }

    /// A broken invariant: this node does nothing any more, the machine goes on.
    fn fail(&mut self, instance: &Instance) {
        if self.is_stopped {
            return;
        }
        log_line!(
            self.log,
            clock::now(),
            "failed: a broken invariant, see above; the node is stopped"
        );
        self.is_failed = true;
        self.is_stopped = true;
        instance.silence();
        self.close_handles();
        self.cluster_view = None;
        instance
            .notifier
            .push(News::Stopped, &instance.delivery_queue);
        instance.left.complete_all();
    }

    fn close_handles(&mut self) {
        for handle in self.handles.iter() {
            handle.close(ViewRecord::empty().ok());
        }
        self.handles.clear();
    }

    // ---- outputs ------------------------------------------------------------------------------

    /// Carries out all that the node wants.
    fn carry_out(&mut self, now: Instant, instance: &Instance) {
        loop {
            let mut is_quiet = true;
            while let Some(transmit) = self.node.poll_transmit(&mut self.buffer) {
                is_quiet = false;
                let bytes = self.buffer.get(..transmit.length).unwrap_or_default();
                trace_points::datagram_send(instance.node, transmit.to, bytes.len());
                // A datagram that cannot be sent is one that the network lost.
                let _ = instance.socket.transmit(transmit.to, bytes, false);
            }
            if let Some(assignment) = self.node.poll_assignment() {
                is_quiet = false;
                let view = self.node.view();
                let members = view.map_or(&[][..], |view| view.members());
                instance.assign(now, &assignment, members);
            }
            while let Some(event) = self.node.poll_event() {
                is_quiet = false;
                self.handle_event(now, event, instance);
            }
            if is_quiet {
                instance.set_quorum(self.node.has_quorum());
                if self.node.is_broken() || self.is_broken {
                    self.fail(instance);
                }
                return;
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event, instance: &Instance) {
        match event {
            Event::GroupView { endpoint, view } => {
                self.deliver_view(now, endpoint, &view, instance);
            }
            Event::Deliver {
                endpoint,
                sender,
                sequence,
                order,
                view,
                payload,
            } => {
                trace_points::deliver(
                    instance.node,
                    endpoint,
                    sender.node,
                    sequence,
                    payload.len(),
                );
                let delivery = Delivery::Message {
                    sender,
                    sequence,
                    order,
                    view,
                    payload,
                };
                self.deliver(now, endpoint, delivery, instance);
            }
            Event::Block { endpoint } => self.deliver(now, endpoint, Delivery::Block, instance),
            Event::Writable { endpoint } => {
                // What was given back is tried again by `submit_next`.
                if let Some(handle) = self.handle(endpoint) {
                    handle.tell_writable();
                }
            }
            Event::GroupClosed { endpoint } => {
                if let Some(handle) = self.handle(endpoint) {
                    handle.close(ViewRecord::empty().ok());
                }
            }
            Event::Sent { .. } | Event::GroupLeft { .. } => {}
            other => self.handle_cluster_event(now, other, instance),
        }
    }

    fn handle(&self, endpoint: EndpointId) -> Option<Arc<Handle>> {
        self.handles
            .iter()
            .find(|handle| handle.endpoint() == endpoint)
            .cloned()
    }

    fn deliver(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        delivery: Delivery,
        instance: &Instance,
    ) {
        if let Some(handle) = self.handle(endpoint) {
            if !handle.push(delivery) {
                self.put_out(now, &handle, "does not keep up", instance);
            }
        }
    }

    fn deliver_view(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        view: &GroupView,
        instance: &Instance,
    ) {
        let Some(handle) = self.handle(endpoint) else {
            return;
        };
        let record = if view.members.is_empty() {
            ViewRecord::empty()
        } else {
            ViewRecord::of_group(view, handle.latest().as_deref())
        };
        let Ok(record) = record else {
            self.put_out(now, &handle, "gets no memory for a view", instance);
            return;
        };
        let own = record.member_of(view.reader, endpoint);
        if !handle.push_view(record, own) {
            self.put_out(now, &handle, "does not keep up", instance);
        }
    }

    /// Ends the membership of a consumer that could not be told of everything.
    fn put_out(&mut self, now: Instant, handle: &Handle, why: &str, instance: &Instance) {
        let endpoint = handle.endpoint();
        log_line!(
            self.log,
            now,
            "member {} of group {:?} {} and is put out",
            endpoint.0,
            handle.name,
            why
        );
        handle.close(ViewRecord::empty().ok());
        self.handles.retain(|known| known.endpoint() != endpoint);
        // An error says that the protocol has put it out before.
        let _ = self.node.leave_group(now, endpoint);
        instance.wake_engine();
    }
}
