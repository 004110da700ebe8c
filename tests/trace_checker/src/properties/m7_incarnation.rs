// SPDX-License-Identifier: GPL-2.0

//! M7: an incarnation that has ended never appears again. It writes nothing more, later incarnations of its node have
//! larger numbers, and a member that left the views of a process does not come back to them.
//!
//! One exception: a node may go to another component together with others, in a new incarnation. Before its first view
//! there its old incarnation still delivers what the others delivered.

use std::collections::{BTreeMap, HashSet};

use crate::index::Index;
use crate::sorted::only_in;
use crate::trace::{EventKind, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M7", "incarnation");

/// Check the incarnations of the nodes, then the views.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    nothing_follows_the_end(index, found);
    incarnations_grow(index, found);
    no_member_comes_back(index, found);
}

fn nothing_follows_the_end(index: &Index<'_>, found: &mut Violations) {
    let mut continued: HashSet<usize> = HashSet::new();
    for process in &index.processes {
        let (Some(earlier), Some(first)) = (process.continues, process.installs.first()) else {
            continue;
        };
        let actions = index.processes[earlier].actions.iter();
        continued.extend(
            actions
                .map(|action| action.event)
                .filter(|event| *event < first.event),
        );
    }
    for (number, event) in index.events.iter().enumerate() {
        let needs_life = match &event.kind {
            EventKind::Start | EventKind::Send(_) | EventKind::Deliver(_) => true,
            EventKind::Safe(_) | EventKind::Block { .. } => true,
            EventKind::View(view) => !view.members.is_empty(),
            EventKind::Suspect { .. } | EventKind::Accuse { .. } => true,
            EventKind::Evict { .. } | EventKind::Pin | EventKind::Unpin => true,
            EventKind::Guard | EventKind::Fenced { .. } | EventKind::Evicted => true,
            EventKind::Leave { .. } | EventKind::Stop | EventKind::Crash => false,
            EventKind::Expect(_) => false,
        };
        let Some(end) = index.end_of(event.node, event.incarnation) else {
            continue;
        };
        if needs_life && end < number && !continued.contains(&number) {
            let text = format!(
                "incarnation {} of node {} had ended before",
                event.incarnation, event.node
            );
            found.add(NAME, &[&index.events[end], event], text);
        }
    }
}

fn incarnations_grow(index: &Index<'_>, found: &mut Violations) {
    let mut last: BTreeMap<u16, usize> = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        if event.kind != EventKind::Start {
            continue;
        }
        let Some(before) = last.insert(event.node, number) else {
            continue;
        };
        let before = &index.events[before];
        if before.incarnation >= event.incarnation {
            let text = format!(
                "node {} started with incarnation {}, after its incarnation {}",
                event.node, event.incarnation, before.incarnation
            );
            found.add(NAME, &[before, event], text);
        }
    }
}

fn no_member_comes_back(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        let mut gone: HashSet<Member> = HashSet::new();
        for pair in process.installs.windows(2) {
            let before = &index.view_event(pair[0].event).members;
            let after = index.view_event(pair[1].event);
            gone.extend(only_in(before, &after.members));
            if gone.is_empty() {
                continue;
            }
            for member in after.members.iter().filter(|member| gone.contains(member)) {
                let text = format!(
                    "{member:?} had left the views of {process} and is back in view {:?} of {}, \
                     in the same incarnation",
                    after.view,
                    index.scope_name(process.scope)
                );
                let events = [&index.events[pair[0].event], &index.events[pair[1].event]];
                found.add(NAME, &events, text);
            }
        }
    }
}
