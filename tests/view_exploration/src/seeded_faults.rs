// SPDX-License-Identifier: GPL-2.0

//! Faults in the protocol that are there only when the exploration asks for them, to show that it
//! finds them.

use std::cell::Cell;

/// One thing that a node does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A voter answers every ballot as if it had promised none.
    ForgottenPromise,
    /// One vote too few is enough.
    SmallQuorum,
    /// A proposer takes no notice of what may have been decided already.
    IgnoredValue,
    /// A proposer that is not in the view it has decided on goes at once and tells nobody.
    HastyLeave,
    /// In a partitionable cluster, a node that leaves a primary view forgets what it has accepted about the next one.
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

/// Seeds a fault into all nodes of this thread, or none any more.
pub fn seed(fault: Option<Fault>) {
    SEEDED.set(fault);
}

/// Whether the nodes of this thread have this fault.
pub fn is_seeded(fault: Fault) -> bool {
    SEEDED.get() == Some(fault)
}
