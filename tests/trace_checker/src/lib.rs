// SPDX-License-Identifier: GPL-2.0

//! Checks what a cluster did, as its nodes wrote it down, against what KCGCS promises.
//!
//! A trace is a file of JSON Lines ([`trace`]). It is read once, indexed once ([`index`]), and each
//! property ([`properties`]) looks at the index. Every check is linear in the size of the trace, up
//! to sorting.

#![forbid(unsafe_code)]

pub mod index;
pub mod line;
pub mod properties;
pub mod trace;
pub mod violation;

use index::Index;
use trace::TraceEvent;
use violation::Violation;

/// How strictly a trace is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A node that crashed may have lost the last lines that it wrote: deliveries of messages whose
    /// sending was not recorded are then not held against it.
    pub crashes_lose_lines: bool,
    /// Messages of every order are checked as agreed ones, not only those that say so.
    pub every_order_is_agreed: bool,
    /// The cluster is partitionable: a node that goes from one part to another begins a new incarnation and keeps its
    /// vote, so that consecutive primary views share a node, if not an incarnation of one.
    pub partitionable: bool,
}

/// Sorts the events by time (events of one time keep their order) and checks all properties.
pub fn check(events: &mut [TraceEvent], options: Options) -> Vec<Violation> {
    events.sort_by_key(|event| event.t);
    check_sorted(events, options)
}

/// Checks all properties of events that are sorted by time.
pub fn check_sorted(events: &[TraceEvent], options: Options) -> Vec<Violation> {
    let index = Index::new(events, options);
    let mut found = violation::Violations::new();
    for property in properties::ALL {
        (property.check)(&index, &mut found);
    }
    found.into_sorted()
}
