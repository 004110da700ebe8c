// SPDX-License-Identifier: GPL-2.0

//! M6rt: at no time do two processes hold primary views without a common member and both accept sends.
//!
//! A trace shows sends, and not whether a send would have been accepted. So the check is: no process sends in a primary
//! view after some process installed a later primary view that shares no member with it.
//!
//! With [`crate::Options::lease`] the same is required of the primary views of each group, and of what is delivered in
//! primary views: a node whose lease is over neither accepts nor delivers anything.

use std::collections::{BTreeMap, BTreeSet};

use super::primary_views::{are_linked, link, primary_views, primary_views_of, PrimaryView};
use crate::index::{Index, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M6rt", "one primary view at a time");

/// Check the cluster's views, and with leases those of each group.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    check_cluster(index, found);
    if index.options.lease {
        check_groups(index, found);
    }
}

/// Follow the cluster view of each node, and check each send, and with leases each delivery.
fn check_cluster(index: &Index<'_>, found: &mut Violations) {
    let chain = primary_views(index);
    let mut superseded: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    let mut current: BTreeMap<(u16, u64), usize> = BTreeMap::new();
    let installs: BTreeMap<usize, usize> = (index.nodes().flat_map(|node| &node.installs))
        .map(|install| (install.event, install.view))
        .collect();
    let sends: BTreeSet<usize> = (index.processes.iter().flat_map(|process| &process.actions))
        .filter(|action| {
            action.sent().is_some() || index.options.lease && action.delivered().is_some()
        })
        .map(|action| action.event)
        .collect();
    for (number, event) in index.events.iter().enumerate() {
        let key = (event.node, event.incarnation);
        if let Some(view) = installs.get(&number) {
            current.insert(key, *view);
        }
        if !sends.contains(&number) {
            continue;
        }
        let is_primary = |view: &&usize| chain.iter().any(|primary| primary.view == **view);
        let Some(&view) = current.get(&key).filter(is_primary) else {
            continue;
        };
        let by = *superseded
            .entry(view)
            .or_insert_with(|| first_disjoint(index, &chain, view));
        if let Some(by) = by.filter(|by| *by < number) {
            let text = format!(
                "node {} sent or delivered in primary view {:?}, after node {} had installed the later primary view {:?}, \
                 which shares no {} with it",
                event.node,
                index.views[view].id,
                index.events[by].node,
                index.view_event(by).view,
                link(index)
            );
            found.add(NAME, &[&index.events[by], event], text);
        }
    }
}

/// Check what members send and deliver in primary views of their groups.
fn check_groups(index: &Index<'_>, found: &mut Violations) {
    let chains: Vec<Vec<PrimaryView>> = (0..index.scopes.len())
        .map(|scope| primary_views_of(index, scope))
        .collect();
    let mut superseded: BTreeMap<usize, Option<usize>> = BTreeMap::new();
    for process in index.processes.iter().filter(|p| p.scope != CLUSTER) {
        for action in &process.actions {
            let (verb, message) = match (action.sent(), action.delivered()) {
                (Some(message), _) => ("sent", message),
                (_, Some(message)) => ("delivered", message),
                (None, None) => continue,
            };
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let chain = &chains[process.scope];
            let by = *superseded.entry(view).or_insert_with(|| {
                let is_primary = index.view_event(index.first_install(view)).primary;
                is_primary.then(|| first_disjoint(index, chain, view)).flatten()
            });
            let Some(by) = by.filter(|by| *by < action.event) else {
                continue;
            };
            let text = format!(
                "{process} {verb} {} in primary view {:?} of {}, after node {} had installed the later primary view {:?}, \
                 which shares no {} with it",
                index.messages[message],
                index.views[view].id,
                index.scope_name(process.scope),
                index.events[by].node,
                index.view_event(by).view,
                link(index)
            );
            found.add(NAME, &[&index.events[by], &index.events[action.event]], text);
        }
    }
}

/// The earliest install of a later primary view that is not linked with `view`.
fn first_disjoint(index: &Index<'_>, chain: &[PrimaryView], view: usize) -> Option<usize> {
    let number = index.views[view].id.number;
    let after = chain.partition_point(|other| other.number <= number);
    chain[after..]
        .iter()
        .filter(|other| !are_linked(index, view, other.view))
        .map(|other| other.event)
        .min()
}
