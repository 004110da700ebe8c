// SPDX-License-Identifier: GPL-2.0

//! One node: the only type of the core that the shell talks to in process context.
//!
//! PLACEHOLDER SKELETON: signatures are final, bodies follow.

use super::configuration::ValidConfiguration;
use super::errors::{CommandError, Counters};
use super::identity::{EndpointId, GroupName, Identity, PeerAddress};
use super::outputs::{DeadlineReason, Event, Order, Transmit};
use super::pulse::{PulseAssignment, PulseReport};
use super::time::Instant;
use super::view::ClusterView;
use crate::platform::{BoundedVec, OutOfMemory};

/// One protocol instance. See the module's text for the contract.
pub struct Node {
    counters: Counters,
}

impl Node {
    /// Makes a node that looks for its cluster from `now` on. Allocates everything the node ever
    /// needs but group payloads. May sleep in the kernel.
    pub fn new(
        identity: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        todo!()
    }

    // ---- inputs -------------------------------------------------------------------------------

    /// A datagram that is not one of the pulse's came in.
    pub fn handle_datagram(&mut self, now: Instant, from: PeerAddress, bytes: &[u8]) {
        todo!()
    }

    /// The time that [`Self::next_deadline`] named has come (being early is harmless).
    pub fn handle_deadline(&mut self, now: Instant) {
        todo!()
    }

    /// The pulse has something to say.
    pub fn handle_pulse_report(&mut self, now: Instant, report: PulseReport) {
        todo!()
    }

    // ---- commands -----------------------------------------------------------------------------

    /// Makes a member of the group; its first [`Event::GroupView`] says when it is in. Legal in any
    /// state of the node, also before its first view.
    pub fn join_group(&mut self, now: Instant, name: GroupName) -> Result<EndpointId, CommandError> {
        todo!()
    }

    /// Ends a membership; [`Event::GroupLeft`] follows and is the last event of the endpoint.
    pub fn leave_group(&mut self, now: Instant, endpoint: EndpointId) -> Result<(), CommandError> {
        todo!()
    }

    /// Queues a message for all members. On error the payload is handed back.
    pub fn multicast(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        order: Order,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        todo!()
    }

    /// Says good-bye to the cluster; [`Event::Left`] follows within a bounded time.
    pub fn leave_cluster(&mut self, now: Instant) {
        todo!()
    }

    // ---- outputs, to be polled in this order until empty ----------------------------------------

    /// The next datagram to send, written to `buffer`.
    pub fn poll_transmit(&mut self, buffer: &mut [u8]) -> Option<Transmit> {
        todo!()
    }

    /// Whom to send heartbeats to and whom to watch from now on; hand it to `Pulse::install`.
    pub fn poll_assignment(&mut self) -> Option<PulseAssignment> {
        todo!()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// When to call [`Self::handle_deadline`], and why.
    pub fn next_deadline(&self) -> Option<(Instant, DeadlineReason)> {
        todo!()
    }

    // ---- getters ------------------------------------------------------------------------------

    /// Who this node is now (the incarnation changes when it was excluded).
    pub fn identity(&self) -> Identity {
        todo!()
    }

    /// The present cluster view, if there is one.
    pub fn view(&self) -> Option<&ClusterView> {
        todo!()
    }

    /// Whether the present view has a quorum as far as this node knows: false refuses sends.
    pub fn has_quorum(&self) -> bool {
        todo!()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Groups that this node has members of or orders: calls `each(name, members, is_coordinator,
    /// view number, local endpoints)`.
    pub fn for_each_group(&self, each: &mut dyn FnMut(&GroupSummary)) {
        todo!()
    }
}

/// What `kcgcsctl groups` shows of one group.
#[derive(Clone, Copy, Debug)]
pub struct GroupSummary {
    /// The group's name.
    pub name: GroupName,
    /// Members over all nodes in the group's present view.
    pub members: u16,
    /// Members on this node.
    pub local_members: u16,
    /// Number of the group's present view.
    pub view: super::identity::ViewNumber,
    /// The node that orders the group.
    pub coordinator: super::identity::NodeId,
    /// Ordered entries kept for those who miss them.
    pub log_entries: u32,
}
