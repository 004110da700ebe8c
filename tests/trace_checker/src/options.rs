// SPDX-License-Identifier: GPL-2.0

//! How strictly a trace is judged.

/// How strictly a trace is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A node that crashed may have lost the last lines that it wrote. Deliveries of its messages are then accepted
    /// although no line shows the sending.
    pub crashes_lose_lines: bool,
    /// Check messages of every order as agreed ones, not only those sent as agreed or safe.
    pub every_order_is_agreed: bool,
    /// The cluster is partitionable: a node that goes from one component to another begins a new incarnation and keeps
    /// its vote. Consecutive primary views then share a node, though not always a member.
    pub partitionable: bool,
    /// Nodes hold leases on primary views, of the cluster and of groups: no process sends or delivers in a primary view
    /// once another one holds a later primary view without a common member.
    pub lease: bool,
}
