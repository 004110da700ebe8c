// SPDX-License-Identifier: GPL-2.0

//! M6rt: at no instant do two processes hold primary views without a common member and both accept sends.
//! A trace shows a send, not whether one would have been accepted: nobody sends in a primary view after a
//! later one without a common member was installed somewhere.

use std::collections::BTreeMap;

use super::m6_primary_chain::{are_linked, primary_views};
use crate::index::{Index, What, CLUSTER};
use crate::trace::EventKind;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M6rt", "one primary view at a time");

/// Looks at each send.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let chain = primary_views(index);
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
        let is_primary = |view: &&usize| chain.iter().any(|(_, primary, _)| primary == *view);
        let Some(&view) = current.get(&key).filter(is_primary) else {
            continue;
        };
        let by = *superseded
            .entry(view)
            .or_insert_with(|| first_disjoint(index, &chain, view));
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
    let by_node = index.options.partitionable;
    let own = index.members(view);
    let number = index.views[view].id.number;
    let after = chain.partition_point(|(other, _, _)| *other <= number);
    chain[after..]
        .iter()
        .filter(|(_, other, _)| !are_linked(own, index.members(*other), by_node))
        .map(|(_, _, event)| *event)
        .min()
}
