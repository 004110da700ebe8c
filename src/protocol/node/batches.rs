// SPDX-License-Identifier: GPL-2.0

//! Batches: a node absorbs many datagrams and messages of consumers, then draws the consequences of all at once.

use super::Node;
use crate::platform::BoundedVec;
use crate::protocol::errors::CommandError;
use crate::protocol::identity::{EndpointId, PeerAddress, ViewName};
use crate::protocol::outputs::Order;
use crate::protocol::time::Instant;

impl Node {
    /// Handle a datagram that is not one of the failure detector's.
    pub fn handle_datagram(&mut self, now: Instant, from: PeerAddress, bytes: &[u8]) {
        self.absorb_datagram(now, from, bytes);
        self.finish(now);
    }

    /// Handle a datagram, but leave to [`Self::finish`] what its group sends because of it. So a group answers many
    /// datagrams that wait already with few. Call `finish` once when no more input waits, and before polling outputs.
    pub fn absorb_datagram(&mut self, now: Instant, from: PeerAddress, bytes: &[u8]) {
        self.begin_input();
        if let Err(counter) = self.receive(now, from, bytes) {
            self.outbox.counters.count(counter);
        }
        self.follow_membership(now);
        self.is_unfinished = true;
    }

    /// Let groups send and deliver what the inputs absorbed so far ask for. Does nothing if there are none.
    pub fn finish(&mut self, now: Instant) {
        if self.is_unfinished {
            self.is_unfinished = false;
            self.groups
                .after_input(now, self.membership.view(), &mut self.outbox);
        }
    }

    /// Whether the caller has to finish and poll the outputs before it absorbs more: their queues are half full, or the
    /// cluster view has changed, and whoever handles the event of that looks at [`Node::view`].
    pub fn is_saturated(&self) -> bool {
        self.has_changed_view || self.outbox.is_half_full()
    }

    /// Queue a message for all members. `call_view` is the group view that the consumer had been shown last when it
    /// submitted it. On error the payload is handed back.
    pub fn multicast(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        order: Order,
        call_view: ViewName,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        let result = self.absorb_multicast(endpoint, order, call_view, payload);
        self.finish(now);
        result
    }

    /// Queue a message for all members, and leave sending it to [`Self::finish`]. On error the payload is handed back.
    pub fn absorb_multicast(
        &mut self,
        endpoint: EndpointId,
        order: Order,
        call_view: ViewName,
        payload: BoundedVec<u8>,
    ) -> Result<(), (CommandError, BoundedVec<u8>)> {
        let result = self.groups.multicast(endpoint, order, call_view, payload);
        self.is_unfinished = true;
        result
    }
}
