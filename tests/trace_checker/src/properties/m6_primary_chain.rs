// SPDX-License-Identifier: GPL-2.0

//! M6: primary cluster views form one chain in which consecutive ones share a member, and nobody sends
//! in a primary view after a later one without a common member was installed somewhere (M6rt).
//! That a number stands for one view is M5.

use std::collections::BTreeMap;

use super::m5_one_issuer::share_a_member;
use crate::index::{Index, What, CLUSTER};
use crate::trace::EventKind;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M6", "primary chain");

/// Walks the primary views in the order of their numbers, then the sends.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut chain: Vec<(u64, usize, usize)> = Vec::new();
    for (number, view) in index.views.iter().enumerate() {
        let (process, place) = view.installs[0];
        let event = index.processes[process].installs[place].event;
        if view.scope == CLUSTER && index.view_event(event).primary {
            chain.push((view.id.number, number, event));
        }
    }
    chain.sort_unstable();
    for pair in chain.windows(2) {
        let ((_, one, a), (_, other, b)) = (pair[0], pair[1]);
        if !share_a_member(index.members(one), index.members(other)) {
            let text = format!(
                "primary views {:?} and {:?} share no member",
                index.views[one].id, index.views[other].id
            );
            found.add(NAME, &[&index.events[a], &index.events[b]], text);
        }
    }
    sends_in_superseded_views(index, &chain, found);
}

/// M6rt, as far as a trace shows it.
fn sends_in_superseded_views(
    index: &Index<'_>,
    chain: &[(u64, usize, usize)],
    found: &mut Violations,
) {
    let mut superseded: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    let mut current: BTreeMap<(u16, u64), usize> = BTreeMap::new();
    let mut installs: BTreeMap<usize, usize> = BTreeMap::new();
    let mut sends: Vec<usize> = Vec::new();
    for process in &index.processes {
        for install in &process.installs {
            if process.scope == CLUSTER {
                installs.insert(install.event, install.view);
            }
        }
        for action in &process.actions {
            if matches!(action.what, What::Send(_)) {
                sends.push(action.event);
            }
        }
    }
    sends.sort_unstable();
    let mut sends = sends.into_iter().peekable();
    for (number, event) in index.events.iter().enumerate() {
        let key = (event.node, event.incarnation);
        if let EventKind::View(_) = event.kind {
            if let Some(view) = installs.get(&number) {
                current.insert(key, *view);
            }
        }
        if sends.next_if_eq(&number).is_none() {
            continue;
        }
        let Some(&view) = current.get(&key) else {
            continue;
        };
        let by = *superseded
            .entry(view)
            .or_insert_with(|| first_disjoint(index, chain, view));
        if let Some(by) = by.filter(|by| *by < number) {
            let text = format!(
                "sent in primary view {:?} although a later primary view without a common member exists",
                index.views[view].id
            );
            found.add(NAME, &[&index.events[by], event], text);
        }
    }
}

/// The earliest install of a primary view later than `view` that shares no member with it.
fn first_disjoint(index: &Index<'_>, chain: &[(u64, usize, usize)], view: usize) -> Option<usize> {
    let number = index.views[view].id.number;
    let after = chain.partition_point(|(other, _, _)| *other <= number);
    chain[after..]
        .iter()
        .filter(|(_, other, _)| !share_a_member(index.members(view), index.members(*other)))
        .map(|(_, _, event)| *event)
        .min()
}
