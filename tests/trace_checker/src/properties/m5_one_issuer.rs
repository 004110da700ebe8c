// SPDX-License-Identifier: GPL-2.0

//! M5: within a component, a view number was issued by one coordinator only.
//! Primary views are all of one component; others are if they share a member, unless that one was let in there and went
//! elsewhere.

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
                if primary || share_who_came(index, (one, a), (other, b)) {
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

/// Whether two views, each with the event of its first install, have a member in common that has installed it, or that
/// was in the view before and had installed one, for both.
fn share_who_came(index: &Index<'_>, one: (usize, usize), other: (usize, usize)) -> bool {
    let has_come = |(view, event): (usize, usize), member: &Member| {
        let mut joined = index.view_event(event).joined.iter().flatten();
        let is_new = joined.any(|change| change.member == *member);
        let scope = index.views[view].scope;
        let incarnations = index.processes.iter();
        let mut own = incarnations.filter(|process| process.scope == scope && process.is(member));
        own.any(|process| {
            let mut installs = process.installs.iter();
            installs.any(|install| install.view == view || !is_new && install.event < event)
        })
    };
    let there = index.members(other.0);
    let mut common = index.members(one.0).iter().filter(|member| there.binary_search(member).is_ok());
    common.any(|member| has_come(one, member) && has_come(other, member))
}

/// Whether two sorted lists have a member in common.
pub fn share_a_member(a: &[Member], b: &[Member]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short
        .iter()
        .any(|member| long.binary_search(member).is_ok())
}
