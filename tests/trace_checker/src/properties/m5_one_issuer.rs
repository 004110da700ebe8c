// SPDX-License-Identifier: GPL-2.0

//! M5: within a component, a view number was issued by one coordinator only.
//! Primary views are all of one component; others are if they share a member.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M5", "one issuer");

/// Compares the views of one number.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut by_number: BTreeMap<(usize, u64), Vec<usize>> = BTreeMap::new();
    for (number, view) in index.views.iter().enumerate() {
        by_number
            .entry((view.scope, view.id.number))
            .or_default()
            .push(number);
    }
    for ((scope, number), views) in by_number {
        for (place, &one) in views.iter().enumerate() {
            for &other in views.iter().skip(place + 1) {
                let (a, b) = (first_event(index, one), first_event(index, other));
                let primary = index.view_event(a).primary && index.view_event(b).primary;
                if primary || share_a_member(index.members(one), index.members(other)) {
                    let text = format!(
                        "view number {number} of {} was issued by {} and by {}",
                        index.scope_name(scope),
                        index.views[one].id.coordinator,
                        index.views[other].id.coordinator
                    );
                    found.add(NAME, &[&index.events[a], &index.events[b]], text);
                }
            }
        }
    }
}

fn first_event(index: &Index<'_>, view: usize) -> usize {
    let (process, place) = index.views[view].installs[0];
    index.processes[process].installs[place].event
}

/// Whether two sorted lists have a member in common.
pub fn share_a_member(a: &[Member], b: &[Member]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short
        .iter()
        .any(|member| long.binary_search(member).is_ok())
}
