// SPDX-License-Identifier: GPL-2.0

//! The checker finds faults: it reports each fault that a test puts into the good story under the names of exactly the
//! properties that the fault violates, and there is a fault for every property.

mod administration;
mod delivery;
mod liveness;
mod membership;
mod order;

use std::collections::BTreeSet;

use super::story::{good, Story};
use trace_checker::properties;

/// A way to spoil the good story.
struct Fault {
    /// What the spoilt story shows.
    what: &'static str,
    /// Spoil the good story.
    spoil: fn(&mut Story),
    /// The properties that the spoilt story violates.
    violates: &'static [&'static str],
}

fn faults() -> impl Iterator<Item = &'static Fault> {
    let themes = [
        membership::FAULTS,
        delivery::FAULTS,
        order::FAULTS,
        liveness::FAULTS,
        administration::FAULTS,
    ];
    themes.into_iter().flatten()
}

#[test]
fn the_checker_reports_each_fault_under_the_names_of_what_it_violates() {
    let mut wrong = Vec::new();
    for fault in faults() {
        let mut story = good();
        (fault.spoil)(&mut story);
        let (reported, expected) = (story.violated(), fault.violates.iter().copied().collect());
        if reported != expected {
            wrong.push(format!(
                "{}: reported {reported:?}, violates {expected:?}",
                fault.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_property_has_a_fault_that_violates_it() {
    let violated: BTreeSet<&str> = faults().flat_map(|f| f.violates).copied().collect();
    let checked: BTreeSet<&str> = properties::ALL.iter().map(|p| p.name.0).collect();
    assert_eq!(violated, checked);
}
