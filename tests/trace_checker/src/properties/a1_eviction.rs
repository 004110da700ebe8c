// SPDX-License-Identifier: GPL-2.0

//! A1: who is said to have been evicted was; it is told so and does not go on by itself under another
//! incarnation, as who was put out for silence does. (It may have begun another incarnation by itself before it
//! hears of the eviction. Then that one comes into no view. In a partitionable cluster it may go on in another
//! part, which does not know either, and comes into no primary view.)

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Process, CLUSTER};
use crate::trace::{EventKind, Expectation, Member, Reason};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("A1", "eviction");

/// Looks at each view that leaves somebody out as evicted, at each node that was told so, and at each
/// expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut asked: BTreeSet<(u16, u64)> = BTreeSet::new();
    let mut out: BTreeMap<(u16, u64), usize> = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        match &event.kind {
            EventKind::Evict { subject } => {
                asked.insert((subject.node, subject.incarnation));
            }
            EventKind::Evicted if !was_asked(&asked, event.node, event.incarnation) => {
                let text = format!("node {} was put out, and nobody asked for it", event.node);
                found.add(NAME, &[event], text);
            }
            EventKind::View(view) => {
                let evicted = (view.left.iter().flatten())
                    .filter(|change| change.reason == Some(Reason::Evicted));
                for change in evicted {
                    let incarnation = (change.member.node, change.member.incarnation);
                    if !asked.contains(&incarnation) {
                        let text = format!(
                            "{:?} is said to have been evicted, and nobody asked for it",
                            change.member
                        );
                        found.add(NAME, &[event], text);
                    }
                    out.entry(incarnation).or_insert(number);
                }
            }
            EventKind::Expect(Expectation::Out {
                members,
                since,
                bound,
            }) => {
                let deadline = since.saturating_add(*bound);
                for member in members.iter().filter(|m| !is_told(index, m, deadline)) {
                    let text = format!("{member:?} was evicted and not told so in time");
                    found.add(NAME, &[event], text);
                }
            }
            _ => {}
        }
    }
    for (key, number) in out {
        if let Some(view) = comes_back(index, key, number) {
            let text = format!("node {} was evicted and goes on by itself", key.0);
            found.add(NAME, &[&index.events[number], &index.events[view]], text);
        }
    }
}

/// Whether somebody asked for the eviction of this incarnation of the node, or of one before it.
fn was_asked(asked: &BTreeSet<(u16, u64)>, node: u16, incarnation: u64) -> bool {
    asked
        .range((node, 0)..=(node, incarnation))
        .next()
        .is_some()
}

fn is_told(index: &Index<'_>, member: &Member, deadline: u64) -> bool {
    let incarnation = index.incarnations.get(&(member.node, member.incarnation));
    let told = incarnation.and_then(|incarnation| incarnation.evicted);
    told.is_some_and(|told| index.events[told].t <= deadline)
}

/// The first view of the incarnations that the node begins by itself after the one that went in event `out`.
fn comes_back(index: &Index<'_>, (node, incarnation): (u16, u64), out: usize) -> Option<usize> {
    let mut incarnation = incarnation;
    loop {
        let known = index.incarnations.get(&(node, incarnation))?;
        let is_over = known.evicted.is_some() || known.asked_to_leave.is_some();
        let end = known.stop.filter(|stop| *stop > out && !is_over)?;
        // Who is started anew by somebody is so later.
        let start = index
            .events
            .get(end + 1..)?
            .iter()
            .find(|e| e.node == node)?;
        if start.kind != EventKind::Start || start.t != index.events[end].t {
            return None;
        }
        incarnation = start.incarnation;
        let is_next = |process: &&Process| {
            process.scope == CLUSTER && (process.node, process.incarnation) == (node, incarnation)
        };
        let first = index
            .processes
            .iter()
            .find(is_next)
            .and_then(|process| {
                let mut installs = process.installs.iter();
                installs.find(|install| !index.options.partitionable || index.view_event(install.event).primary)
            });
        if let Some(first) = first {
            return Some(first.event);
        }
    }
}
