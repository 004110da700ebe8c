// SPDX-License-Identifier: GPL-2.0

//! Headers of datagrams: what this node writes into its own, and how a received one compares with that.

use super::values::DetectorAssignment;
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::time::Instant;
use crate::protocol::wire::{Header, Kind};

/// The sound header of a received datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) now: Instant,
    pub(super) from: PeerAddress,
    pub(super) header: Header,
}

impl Received {
    /// The sender.
    pub(super) fn sender(&self) -> Identity {
        self.header.sender
    }
}

/// The headers that this node writes: its identity, its present view and a sequence number.
pub(super) struct OwnHeader {
    cluster: u32,
    own: Identity,
    view: ViewNumber,
    lineage: u16,
    /// The sequence number of the latest datagram.
    counter: u64,
}

impl OwnHeader {
    /// Headers of a node without a view.
    pub(super) fn new(cluster: u32, own: Identity) -> Self {
        Self {
            cluster,
            own,
            view: ViewNumber::default(),
            lineage: 0,
            counter: 0,
        }
    }

    /// Move to another view. A new incarnation numbers its datagrams from 1.
    pub(super) fn install(&mut self, assignment: &DetectorAssignment) {
        if self.own != assignment.own {
            self.own = assignment.own;
            self.counter = 0;
        }
        self.view = assignment.view;
        self.lineage = assignment.lineage;
    }

    /// The header of the next datagram.
    pub(super) fn next(&mut self, kind: Kind) -> Header {
        self.counter = self.counter.wrapping_add(1);
        Header {
            kind,
            cluster: self.cluster,
            sender: self.own,
            view: self.view,
            lineage: self.lineage,
            counter: self.counter,
        }
    }

    /// The cluster's number.
    pub(super) fn cluster(&self) -> u32 {
        self.cluster
    }

    /// This node in its present incarnation.
    pub(super) fn own(&self) -> Identity {
        self.own
    }

    /// Whether this node has a view.
    pub(super) fn has_view(&self) -> bool {
        self.view != ViewNumber::default()
    }

    /// Whether the sender is in another view than this node.
    pub(super) fn is_other_view(&self, received: &Received) -> bool {
        let header = &received.header;
        (header.view, header.lineage) != (self.view, self.lineage)
    }

    /// Whether the sender is in another component of the cluster. Two components may both have admitted it; in
    /// this one it must not seem alive.
    pub(super) fn is_other_component(&self, received: &Received) -> bool {
        let header = &received.header;
        header.view != ViewNumber::default() && header.lineage != self.lineage
    }
}
