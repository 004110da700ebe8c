// SPDX-License-Identifier: GPL-2.0

//! The engine of a node: the only caller of the protocol's `Node`, in process context.
//!
//! It hands one input at a time to the node, and carries out all outputs before the next input. Inputs are reports
//! of the failure detector, datagrams, deadlines, messages that consumers submit, and commands. Outputs are
//! datagrams, assignments of the failure detector, and events, which become callbacks of consumers, news for the
//! notifiers, calls of the fence handler and lines in the kernel log.

mod cluster_events;
mod commands;
mod fencing;
mod members;
mod watchdog;

use super::{
    bottom_half::BottomHalf,
    settings::ClusterName, //
};
use crate::{
    linux::{
        consumers::{
            callback_types::End,
            cluster_notifier::ClusterNotifier,
            fence_gate::FenceGate,
            group_handle::{
                Delivery,
                Handle, //
            },
            view_record::ViewRecord, //
        },
        ffi,
        observability::{
            event_log::{
                log_line,
                EventLog, //
            },
            trace_points, //
        },
        runtime::{
            clock,
            engine_link::EngineLink, //
        }, //
    },
    platform::OutOfMemory,
    protocol::{
        configuration::ValidConfiguration,
        identity::{
            Identity,
            NodeId,
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
        time::Instant, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Number of batches of inputs that one run handles before it gives up the processor.
const BATCHES_PER_RUN: usize = 16;
/// Number of datagrams that one batch absorbs before the node draws their consequences.
const DATAGRAMS_PER_BATCH: usize = 64;
/// Number of submitted messages that one batch absorbs.
const MESSAGES_PER_BATCH: usize = 64;

/// The state of the node, for operators: an `enum kcgcs_node_state`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeState {
    Joining = ffi::KCGCS_STATE_JOINING as isize,
    Member = ffi::KCGCS_STATE_MEMBER as isize,
    Blocked = ffi::KCGCS_STATE_BLOCKED as isize,
    Leaving = ffi::KCGCS_STATE_LEAVING as isize,
    Failed = ffi::KCGCS_STATE_FAILED as isize,
    Evicted = ffi::KCGCS_STATE_EVICTED as isize,
}

/// The parts of a node that the engine works with.
pub(super) struct Surroundings {
    pub(super) link: Arc<EngineLink>,
    pub(super) bottom_half: Arc<BottomHalf>,
    pub(super) notifier: Arc<ClusterNotifier>,
    pub(super) fence_gate: Arc<FenceGate>,
}

/// The protocol's node, and where its inputs come from and its outputs go.
pub(crate) struct Engine {
    node: KBox<Node>,
    id: NodeId,
    /// Number of coordinators in a view.
    coordinators: u32,
    link: Arc<EngineLink>,
    bottom_half: Arc<BottomHalf>,
    notifier: Arc<ClusterNotifier>,
    fence_gate: Arc<FenceGate>,
    buffer: KVec<u8>,
    handles: KVec<Arc<Handle>>,
    /// Differences from the last cluster view, which the node reports before the view itself.
    changes: KVec<(Identity, ChangeReason)>,
    cluster_view: Option<Arc<ViewRecord>>,
    log: EventLog,
    /// Place in `handles` of the one that submitted the last message.
    last_submitter: usize,
    /// When to try a submitted message again for which there was no memory.
    retry_at: Option<Instant>,
    /// The shell found one of its own invariants broken.
    is_broken: bool,
    is_leaving: bool,
    is_stopped: bool,
    is_failed: bool,
    is_evicted: bool,
}

impl Engine {
    /// Make an engine with a node that looks for its cluster.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn new(
        identity: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        cluster: ClusterName,
        surroundings: Surroundings,
    ) -> Result<Self> {
        let coordinators = configuration.settings().coordinators;
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
        let Surroundings {
            link,
            bottom_half,
            notifier,
            fence_gate,
        } = surroundings;
        Ok(Self {
            node,
            id: identity.node,
            coordinators,
            link,
            bottom_half,
            notifier,
            fence_gate,
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

    /// Make a node on the heap. It is made on the stack first, where it takes 2 kB, as much as the kernel allows a
    /// whole function: hence a function of its own.
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

    // ---- for operators ------------------------------------------------------------------------

    /// The protocol's node, to read from.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The state of the node.
    pub(crate) fn state(&self) -> NodeState {
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

    /// Handle the input that waits, [`BATCHES_PER_RUN`] batches at most. Returns whether more is left.
    ///
    /// Context: Process context. May sleep.
    pub(super) fn run(&mut self) -> bool {
        self.handle_inputs() && !self.is_stopped
    }

    fn handle_inputs(&mut self) -> bool {
        if !self.is_stopped {
            let now = clock::now();
            self.check_watchdogs(now);
            self.advance_leaves(now);
            self.carry_out(now);
        }
        for _ in 0..BATCHES_PER_RUN {
            if self.is_stopped {
                return false;
            }
            let now = clock::now();
            if !self.absorb_batch(now) {
                if let Some(at) = self.next_deadline() {
                    self.link.wake_at(at);
                }
                return false;
            }
            self.node.finish(now);
            self.carry_out(now);
            self.advance_leaves(now);
            self.carry_out(now);
        }
        true
    }

    /// Absorb what waits: reports of the failure detector, datagrams, a deadline and submitted messages, each up to a
    /// bound, so that a flood of one kind delays no other. The node draws the consequences of all at once: so one
    /// datagram carries the messages of many, and one acknowledgement answers many datagrams. Nothing waits for a
    /// batch to fill. Returns whether there was anything.
    fn absorb_batch(&mut self, now: Instant) -> bool {
        let mut is_done = false;
        while !self.node.is_saturated() && self.handle_report(now) {
            is_done = true;
        }
        for _ in 0..DATAGRAMS_PER_BATCH {
            if self.node.is_saturated() || !self.handle_datagram(now) {
                break;
            }
            is_done = true;
        }
        is_done |= !self.node.is_saturated() && self.handle_deadline(now);
        for _ in 0..MESSAGES_PER_BATCH {
            if self.node.is_saturated() || !self.submit_next(now) {
                break;
            }
            is_done = true;
        }
        is_done
    }

    fn handle_report(&mut self, now: Instant) -> bool {
        let report = self.bottom_half.take_report();
        if let Some(report) = report {
            self.node.handle_detector_report(now, report);
        }
        report.is_some()
    }

    fn handle_datagram(&mut self, now: Instant) -> bool {
        let Some(datagram) = self.bottom_half.take_datagram() else {
            return false;
        };
        let (from, bytes) = (datagram.from(), datagram.bytes());
        trace_points::datagram_receive(self.id, from, bytes.len());
        self.node.absorb_datagram(now, from, bytes);
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
        let wanted = [
            deadline,
            self.retry_at,
            self.watchdog_deadline(),
            self.leave_deadline(),
        ];
        wanted.into_iter().flatten().min()
    }

    // ---- outputs ------------------------------------------------------------------------------

    /// Carry out all outputs of the node.
    fn carry_out(&mut self, now: Instant) {
        loop {
            let mut is_quiet = true;
            while let Some(transmit) = self.node.poll_transmit(&mut self.buffer) {
                is_quiet = false;
                let bytes = self.buffer.get(..transmit.length).unwrap_or_default();
                self.bottom_half.transmit(transmit.to, bytes);
            }
            if let Some(assignment) = self.node.poll_assignment() {
                is_quiet = false;
                let view = self.node.view();
                let members = view.map_or(&[][..], |view| view.members());
                self.bottom_half.assign(now, &assignment, members);
            }
            while let Some(event) = self.node.poll_event() {
                is_quiet = false;
                self.handle_event(now, event);
            }
            if is_quiet {
                self.link.set_quorum(self.node.has_quorum());
                if self.node.is_broken() || self.is_broken {
                    self.fail();
                }
                return;
            }
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::GroupView {
                endpoint,
                view,
                lost,
            } => self.deliver_view(now, endpoint, &view, lost),
            Event::GroupExcluded { endpoint, lost, .. } => {
                self.deliver_exclusion(now, endpoint, lost);
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
                    self.id,
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
                self.deliver(now, endpoint, delivery);
            }
            Event::Block { endpoint } => self.deliver(now, endpoint, Delivery::Block),
            Event::Writable { endpoint } => {
                // `submit_next` tries the message that the handle has back.
                if let Some(handle) = self.handle(endpoint) {
                    handle.report_writable();
                }
            }
            Event::GroupClosed { endpoint, lost } => self.ended(endpoint, End::Stopped, lost),
            Event::GroupLeft { endpoint, lost } => self.ended(endpoint, End::Excluded, lost),
            Event::GroupRefused { endpoint, reason } => {
                self.refused(now, endpoint, reason);
            }
            Event::Sent { .. } => {}
            other => self.handle_cluster_event(now, other),
        }
    }
}
