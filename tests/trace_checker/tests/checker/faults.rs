// SPDX-License-Identifier: GPL-2.0

//! The checker finds faults: it reports each fault that a test puts into a good story under the names of exactly the
//! properties that the fault violates, and there is a fault for every property.

mod administration;
pub(crate) mod delivery;
mod liveness;
mod membership;
pub(crate) mod mixed_orders;
mod order;

use std::collections::BTreeSet;

use super::mixed::mixed;
use super::story::{good, Story};
use trace_checker::properties;

/// A way to spoil a good story.
struct Fault {
    /// What the spoilt story shows.
    what: &'static str,
    /// Spoil the story.
    spoil: fn(&mut Story),
    /// The properties that the spoilt story violates.
    violates: &'static [&'static str],
}

/// Makes the story that some faults spoil.
type MakeStory = fn() -> Story;

/// All faults, each with the story that it spoils.
fn faults() -> impl Iterator<Item = (MakeStory, &'static Fault)> {
    let themes: [(MakeStory, &'static [Fault]); 6] = [
        (good, membership::FAULTS),
        (good, delivery::FAULTS),
        (good, order::FAULTS),
        (mixed, mixed_orders::FAULTS),
        (good, liveness::FAULTS),
        (good, administration::FAULTS),
    ];
    themes
        .into_iter()
        .flat_map(|(story, faults)| faults.iter().map(move |fault| (story, fault)))
}

#[test]
fn the_checker_reports_each_fault_under_the_names_of_what_it_violates() {
    let mut wrong = Vec::new();
    for (good_story, fault) in faults() {
        let mut story = good_story();
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
    let violated: BTreeSet<&str> = faults().flat_map(|(_, f)| f.violates).copied().collect();
    let checked: BTreeSet<&str> = properties::ALL.iter().map(|p| p.name.0).collect();
    assert_eq!(violated, checked);
}
