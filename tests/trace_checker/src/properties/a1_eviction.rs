// SPDX-License-Identifier: GPL-2.0

//! A1: a member leaves a view as evicted only if an administrator asked for it. An evicted node learns that, and does
//! not go on under another incarnation by itself, as a node that was excluded for its silence does.
//!
//! A node may begin another incarnation by itself before it learns of the eviction. No view then admits that incarnation.
//! In a partitionable cluster the node may go on in another component, which does not know of the eviction either; then
//! no primary view admits it.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Process, CLUSTER};
use crate::trace::{EventKind, Expectation, Member, Reason};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("A1", "eviction");

/// Check each view that evicts a member, each node that learned of its eviction, and each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut asked: BTreeSet<(u16, u64)> = BTreeSet::new();
    let mut evictions: BTreeMap<(u16, u64), usize> = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        match &event.kind {
            EventKind::Evict { subject } => {
                asked.insert((subject.node, subject.incarnation));
            }
            EventKind::Evicted if !was_asked(&asked, event.node, event.incarnation) => {
                let text = format!(
                    "node {} learned that it was evicted, and no administrator had asked for it",
                    event.node
                );
                found.add(NAME, &[event], text);
            }
            EventKind::View(view) => {
                let evicted = (view.left.iter().flatten())
                    .filter(|change| change.reason == Some(Reason::Evicted));
                for change in evicted {
                    let incarnation = (change.member.node, change.member.incarnation);
                    if !asked.contains(&incarnation) {
                        let text = format!(
                            "view {:?} at node {} evicts {:?}, and no administrator had asked for it",
                            view.view, event.node, change.member
                        );
                        found.add(NAME, &[event], text);
                    }
                    evictions.entry(incarnation).or_insert(number);
                }
            }
            EventKind::Expect(Expectation::Out {
                members,
                since,
                bound,
            }) => {
                let deadline = since.saturating_add(*bound);
                for member in members.iter().filter(|m| !has_learned(index, m, deadline)) {
                    let text = format!(
                        "{member:?} was evicted, and did not learn of it within {} ms",
                        bound / 1_000_000
                    );
                    found.add(NAME, &[event], text);
                }
            }
            _ => {}
        }
    }
    for (incarnation, number) in evictions {
        if let Some(view) = comes_back(index, incarnation, number) {
            let text = format!(
                "node {} was evicted, and came back by itself in view {:?}",
                incarnation.0,
                index.view_event(view).view
            );
            found.add(NAME, &[&index.events[number], &index.events[view]], text);
        }
    }
}

/// Whether an administrator asked for the eviction of this incarnation of the node, or of an earlier one.
fn was_asked(asked: &BTreeSet<(u16, u64)>, node: u16, incarnation: u64) -> bool {
    asked
        .range((node, 0)..=(node, incarnation))
        .next()
        .is_some()
}

fn has_learned(index: &Index<'_>, member: &Member, deadline: u64) -> bool {
    let incarnation = index.incarnations.get(&(member.node, member.incarnation));
    let evicted = incarnation.and_then(|incarnation| incarnation.evicted);
    evicted.is_some_and(|evicted| index.events[evicted].t <= deadline)
}

/// The first view of the incarnations that the node begins by itself after the one that event `eviction` evicted.
fn comes_back(
    index: &Index<'_>,
    (node, incarnation): (u16, u64),
    eviction: usize,
) -> Option<usize> {
    let mut incarnation = incarnation;
    loop {
        let known = index.incarnations.get(&(node, incarnation))?;
        let is_over = known.evicted.is_some() || known.asked_to_leave.is_some();
        let end = known.stop.filter(|stop| *stop > eviction && !is_over)?;
        // A node that begins an incarnation by itself does so at once. An administrator starts it later. M7 reports an
        // incarnation that is not larger.
        let start = index
            .events
            .get(end + 1..)?
            .iter()
            .find(|e| e.node == node)?;
        let is_at_once = start.kind == EventKind::Start && start.t == index.events[end].t;
        if !is_at_once || start.incarnation <= incarnation {
            return None;
        }
        incarnation = start.incarnation;
        let is_next = |process: &&Process| {
            process.scope == CLUSTER && (process.node, process.incarnation) == (node, incarnation)
        };
        let first = index.processes.iter().find(is_next).and_then(|process| {
            process.installs.iter().find(|install| {
                !index.options.partitionable || index.view_event(install.event).primary
            })
        });
        if let Some(first) = first {
            return Some(first.event);
        }
    }
}
