// SPDX-License-Identifier: GPL-2.0

//! Faults that the exploration can seed into the protocol, to show that it finds them.

use std::cell::Cell;

/// A fault of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A voter answers every ballot as if it had promised none.
    ForgottenPromise,
    /// A proposer is content with one vote too few.
    SmallQuorum,
    /// A proposer ignores a value that may have been decided already.
    IgnoredValue,
    /// A proposer that is not in the view it has decided leaves at once, without announcing the decision.
    HastyLeave,
    /// A node of a partitionable cluster that gives up a primary view forgets what it has accepted about the next one.
    ForgottenSeat,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 5] = [
        Fault::ForgottenPromise,
        Fault::SmallQuorum,
        Fault::IgnoredValue,
        Fault::HastyLeave,
        Fault::ForgottenSeat,
    ];
}

thread_local! {
    static SEEDED: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Seed a fault into all nodes of this thread, or remove it with `None`.
pub fn seed(fault: Option<Fault>) {
    SEEDED.set(fault);
}

/// Whether the nodes of this thread have this fault.
pub fn is_seeded(fault: Fault) -> bool {
    SEEDED.get() == Some(fault)
}
