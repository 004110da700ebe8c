// SPDX-License-Identifier: GPL-2.0

//! A1: who is said to have been evicted was; it is told so and does not go on by itself under another
//! incarnation, as who was put out for silence does.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Life};
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
            EventKind::Evicted if !asked.contains(&(event.node, event.incarnation)) => {
                let text = format!("node {} was put out, and nobody asked for it", event.node);
                found.add(NAME, &[event], text);
            }
            EventKind::View(view) => {
                let evicted = (view.left.iter().flatten())
                    .filter(|change| change.reason == Some(Reason::Evicted));
                for change in evicted {
                    let life = (change.member.node, change.member.incarnation);
                    if !asked.contains(&life) {
                        let text = format!(
                            "{:?} is said to have been evicted, and nobody asked for it",
                            change.member
                        );
                        found.add(NAME, &[event], text);
                    }
                    out.entry(life).or_insert(number);
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
        let life = index.lives.get(&key);
        if let Some(end) = life.and_then(|life| goes_on(life, number)) {
            let text = format!("node {} was evicted and does not know it", key.0);
            found.add(NAME, &[&index.events[number], &index.events[end]], text);
        }
    }
}

fn is_told(index: &Index<'_>, member: &Member, deadline: u64) -> bool {
    let life = index.lives.get(&(member.node, member.incarnation));
    let told = life.and_then(|life| life.evicted);
    told.is_some_and(|told| index.events[told].t <= deadline)
}

/// The end of a life that was not told, if it ended in order after event `out`, other than by a farewell.
fn goes_on(life: &Life, out: usize) -> Option<usize> {
    let is_excused = life.evicted.is_some() || life.asked_to_leave.is_some();
    let end = life.stop.filter(|stop| *stop > out && !is_excused)?;
    life.crash.is_none_or(|crash| crash > end).then_some(end)
}
