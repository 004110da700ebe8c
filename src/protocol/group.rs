// SPDX-License-Identifier: GPL-2.0

//! Groups: named sets of members that get agreed views and one order of messages.

use super::configuration::Configuration;
use super::errors::{CommandError, Counter};
use super::identity::{EndpointId, GroupName, Identity, NodeId};
use super::node::GroupSummary;
use super::outbox::Outbox;
use super::outputs::Order;
use super::time::Instant;
use super::view::{ClusterView, MemberRecord};
use super::wire::Kind;
use crate::platform::{BoundedVec, OutOfMemory};

/// All groups of one node.
#[derive(Debug)]
pub struct Groups {
    own: Identity,
}

impl Groups {
    /// No groups yet. `seed` spreads retries.
    pub fn new(own: Identity, _settings: &Configuration, _seed: u64) -> Result<Self, OutOfMemory> {
        Ok(Self { own })
    }

    /// Makes a member; legal before any view.
    pub fn join(&mut self, _now: Instant, _name: GroupName) -> Result<EndpointId, CommandError> {
        Err(CommandError::LimitReached)
    }

    /// Ends a membership; `Event::GroupLeft` follows.
    pub fn leave(
        &mut self,
        _now: Instant,
        _endpoint: EndpointId,
        _outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        Err(CommandError::NoSuchEndpoint)
    }

    /// Queues a message; on error the payload is handed back.
    pub fn multicast(
        &mut self,
        _now: Instant,
        _endpoint: EndpointId,
        _order: Order,
        payload: BoundedVec<u8>,
        _outbox: &mut Outbox,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        Err((CommandError::NoSuchEndpoint, payload))
    }

    /// Whether the node has members of a group or orders one (told in its promise).
    pub fn has_groups(&self) -> bool {
        false
    }

    /// The node promised to a new cluster view: nothing is ordered, accepted or delivered any more.
    pub fn freeze(&mut self, _now: Instant, _outbox: &mut Outbox) {}

    /// A cluster view was installed. `reporters` says which nodes of the view had groups when they
    /// promised and came along from the view before.
    pub fn install(
        &mut self,
        _now: Instant,
        _view: &ClusterView,
        own: Identity,
        _reporters: &dyn Fn(NodeId) -> bool,
        _outbox: &mut Outbox,
    ) {
        self.own = own;
    }

    /// The cluster went on without this node.
    pub fn excluded(&mut self, _now: Instant, new_own: Identity, _outbox: &mut Outbox) {
        self.own = new_own;
    }

    /// Whether sends are accepted.
    pub fn set_quorum(&mut self, _quorum: bool) {}

    /// The node stops: all endpoints are closed.
    pub fn stop(&mut self, _now: Instant, _outbox: &mut Outbox) {}

    /// A datagram of a group from a member of the present view. Nothing has changed on an error.
    pub fn handle_message(
        &mut self,
        _now: Instant,
        _view: &ClusterView,
        _sender: &MemberRecord,
        _kind: Kind,
        _body: &[u8],
        _outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        Err(Counter::DroppedUnexpected)
    }

    /// The time that [`Self::next_deadline`] named has come.
    pub fn handle_deadline(
        &mut self,
        _now: Instant,
        _view: Option<&ClusterView>,
        _outbox: &mut Outbox,
    ) {
    }

    /// When to call [`Self::handle_deadline`].
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// To be called once after every input and command: sends what was packed, delivers what may be.
    pub fn after_input(
        &mut self,
        _now: Instant,
        _view: Option<&ClusterView>,
        _outbox: &mut Outbox,
    ) {
    }

    /// Tells of each group.
    pub fn for_each_group(&self, _each: &mut dyn FnMut(&GroupSummary)) {}
}
