// SPDX-License-Identifier: GPL-2.0

//! The plain data that the engine and the failure detector exchange.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::limits::MONITORED_MAX;

/// A node that this node monitors, or that monitors this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorPeer {
    /// The node in one incarnation.
    pub identity: Identity,
    /// Where it listens.
    pub address: PeerAddress,
}

/// Which nodes this node monitors in one view, and which nodes monitor it. Under 1 kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorAssignment {
    /// This node in this view. The incarnation may have changed.
    pub own: Identity,
    /// The view. Zero: no view, so send nothing and monitor no node.
    pub view: ViewNumber,
    /// The view's lineage, for the headers.
    pub lineage: u16,
    /// The monitors of this node: its heartbeats go to them. The place in the list decides the phase within the
    /// heartbeat interval.
    pub targets: [Option<DetectorPeer>; MONITORED_MAX],
    /// The nodes that this node monitors.
    pub monitored: [Option<DetectorPeer>; MONITORED_MAX],
}

impl DetectorAssignment {
    /// An assignment without a view: send nothing and monitor no node.
    pub const fn silent(own: Identity) -> Self {
        Self {
            own,
            view: ViewNumber(0),
            lineage: 0,
            targets: [None; MONITORED_MAX],
            monitored: [None; MONITORED_MAX],
        }
    }
}

/// What the failure detector reports to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorReport {
    /// Heartbeats of a monitored node are missing, and it did not answer the first probe.
    Silent {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A node that was reported as silent or dead was heard again.
    Heard {
        /// The node.
        subject: Identity,
    },
    /// A monitored node answered none of the probes, or a later incarnation of it answered.
    Dead {
        /// The dead node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A heartbeat or probe came from a node that is in another view.
    OtherView {
        /// The sender.
        sender: Identity,
        /// The address that it sent from.
        from: PeerAddress,
        /// Its view.
        view: ViewMark,
    },
}

/// What the failure detector made of a received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorVerdict {
    /// A heartbeat, a probe or a reply: the failure detector has handled it.
    Consumed,
    /// The header is sound and the kind is the engine's: queue it for `Node::handle_datagram`.
    ForEngine,
    /// As [`Self::ForEngine`], and the failure detector has probes to send because of it.
    ForBoth,
    /// Refused, and counted under this counter.
    Dropped(Counter),
}

impl DetectorVerdict {
    /// Whether the datagram is to be queued for the engine.
    pub const fn is_for_engine(self) -> bool {
        matches!(self, Self::ForEngine | Self::ForBoth)
    }
}
