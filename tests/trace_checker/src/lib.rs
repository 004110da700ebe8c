// SPDX-License-Identifier: GPL-2.0

//! Checks the trace of a cluster against the guarantees of KCGCS.
//!
//! A trace is a file of JSON Lines ([`trace`], [`line`]) that the nodes wrote. The checker reads it once, indexes it
//! once ([`index`]), and runs each property ([`properties`]) on the index. The time that a check takes grows linearly
//! with the trace, apart from sorting.

#![forbid(unsafe_code)]

pub mod index;
pub mod line;
mod options;
pub mod properties;
mod sorted;
pub mod trace;
pub mod violation;

pub use options::Options;

use index::Index;
use trace::TraceEvent;
use violation::Violation;

/// Sort the events by time and check all properties. Events of the same time keep their order.
pub fn check(events: &mut [TraceEvent], options: Options) -> Vec<Violation> {
    events.sort_by_key(|event| event.t);
    check_sorted(events, options)
}

/// Check all properties of events that are sorted by time.
pub fn check_sorted(events: &[TraceEvent], options: Options) -> Vec<Violation> {
    let index = Index::new(events, options);
    let mut found = violation::Violations::new();
    for property in properties::ALL {
        (property.check)(&index, &mut found);
    }
    found.into_sorted()
}
