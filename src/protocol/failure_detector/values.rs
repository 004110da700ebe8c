// SPDX-License-Identifier: GPL-2.0

//! What the engine and the failure detector hand each other: plain data.

use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::limits::WATCHED_MAX;

/// A node that heartbeats go to, or come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorPeer {
    /// Who.
    pub identity: Identity,
    /// Where.
    pub address: PeerAddress,
}

/// Whom to send to and whom to watch in one view. Plain data, under 1 kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorAssignment {
    /// This node in this view (the incarnation may have changed).
    pub own: Identity,
    /// The view; zero: no view, be silent.
    pub view: ViewNumber,
    /// What headers say of what it has come of.
    pub lineage: u16,
    /// Heartbeats go to these. The place in the list decides the phase within the interval.
    pub targets: [Option<DetectorPeer>; WATCHED_MAX],
    /// Heartbeats are awaited from these.
    pub sources: [Option<DetectorPeer>; WATCHED_MAX],
}

impl DetectorAssignment {
    /// No view: be silent.
    pub const fn silent(own: Identity) -> Self {
        Self {
            own,
            view: ViewNumber(0),
            lineage: 0,
            targets: [None; WATCHED_MAX],
            sources: [None; WATCHED_MAX],
        }
    }
}

/// What the failure detector tells the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorReport {
    /// Heartbeats of a watched node are missing and a first probe was not answered.
    Silent {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A node reported as silent was heard again.
    Heard {
        /// The node.
        subject: Identity,
    },
    /// None of the probes was answered, or a later incarnation of the node answered.
    Dead {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A heartbeat or probe came from a node whose view is not ours.
    OtherView {
        /// Who sent it.
        sender: Identity,
        /// From where.
        from: PeerAddress,
        /// Its view.
        view: ViewMark,
    },
}

/// What became of a datagram in the soft interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorVerdict {
    /// It was a heartbeat, a probe or an answer, and is done with.
    Consumed,
    /// Its header is sound and its kind is the engine's: queue it for `Node::handle_datagram`.
    ForEngine,
    /// The same, and the failure detector has something to send because of it.
    ForBoth,
    /// Refused and counted.
    Dropped(Counter),
}

impl DetectorVerdict {
    /// Whether the datagram is to be queued for the engine.
    pub const fn is_for_engine(self) -> bool {
        matches!(self, Self::ForEngine | Self::ForBoth)
    }
}
