// SPDX-License-Identifier: GPL-2.0

//! M5: within a component of the cluster, only one coordinator issues a view of a given number.
//!
//! All primary views belong to one component. Other views belong to the same component if they share a member that came
//! to both. A member that a component admits and that goes to another component instead came only to the second.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::sorted::has;
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M5", "one issuer");

/// Compare the views of the same number.
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
                let (a, b) = (index.first_install(one), index.first_install(other));
                let primary = index.view_event(a).primary && index.view_event(b).primary;
                if primary || share_a_member_that_came(index, (one, a), (other, b)) {
                    let text = format!(
                        "nodes {} and {} both issued view number {number} of {}",
                        index.views[one].id.coordinator,
                        index.views[other].id.coordinator,
                        index.scope_name(scope),
                    );
                    found.add(NAME, &[&index.events[a], &index.events[b]], text);
                }
            }
        }
    }
}

/// Whether two views, each given with the event of its first install, share a member that came to both.
///
/// A member came to a view if it installed the view, or if it was in the view before and had installed a view by then.
fn share_a_member_that_came(
    index: &Index<'_>,
    one: (usize, usize),
    other: (usize, usize),
) -> bool {
    let has_come = |(view, event): (usize, usize), member: &Member| {
        let mut joined = index.view_event(event).joined.iter().flatten();
        let is_new = joined.any(|change| change.member == *member);
        let scope = index.views[view].scope;
        let processes = index.processes.iter();
        let mut own = processes.filter(|process| process.scope == scope && process.is(member));
        own.any(|process| {
            let mut installs = process.installs.iter();
            installs.any(|install| install.view == view || !is_new && install.event < event)
        })
    };
    let others = index.members(other.0);
    let mut common = index.members(one.0).iter().filter(|member| has(others, member));
    common.any(|member| has_come(one, member) && has_come(other, member))
}
