// SPDX-License-Identifier: GPL-2.0

//! M7: an incarnation of a node that has ended never appears again: it writes nothing more, later incarnations have
//! larger incarnations, and a member that is gone from the views of a process does not come back.
//! A member that goes with its node to another part of the cluster, together with others, still gets what these have got
//! before it enters its next view.

use std::collections::BTreeMap;
use std::collections::HashSet;

use crate::index::Index;
use crate::trace::{EventKind, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M7", "incarnation");

/// Looks at the nodes' lives, then at the views.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    nothing_after_the_end(index, found);
    incarnations_grow(index, found);
    nobody_comes_back(index, found);
}

fn nothing_after_the_end(index: &Index<'_>, found: &mut Violations) {
    let mut taken_along: HashSet<usize> = HashSet::new();
    for process in &index.processes {
        let (Some(earlier), Some(first)) = (process.continues, process.installs.first()) else {
            continue;
        };
        let acts = index.processes[earlier].actions.iter();
        taken_along.extend(acts.map(|act| act.event).filter(|event| *event < first.event));
    }
    for (number, event) in index.events.iter().enumerate() {
        let is_act = match &event.kind {
            EventKind::Start | EventKind::Send(_) | EventKind::Deliver(_) => true,
            EventKind::Safe(_) | EventKind::Block { .. } => true,
            EventKind::View(view) => !view.members.is_empty(),
            EventKind::Suspect { .. } | EventKind::Accuse { .. } => true,
            EventKind::Evict { .. } | EventKind::Pin | EventKind::Unpin => true,
            EventKind::Guard | EventKind::Fenced { .. } | EventKind::Evicted => true,
            EventKind::Leave { .. } | EventKind::Stop | EventKind::Crash => false,
            EventKind::Expect(_) => false,
        };
        let incarnation = index.incarnations.get(&(event.node, event.incarnation));
        let Some(end) = incarnation.and_then(|incarnation| incarnation.end()) else {
            continue;
        };
        if is_act && end < number && !taken_along.contains(&number) {
            let text = "this incarnation of the node has ended before".to_owned();
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
        if let Some(before) = last.insert(event.node, number) {
            if index.events[before].incarnation >= event.incarnation {
                let text = "a new incarnation of a node has no larger incarnation".to_owned();
                found.add(NAME, &[&index.events[before], event], text);
            }
        }
    }
}

fn nobody_comes_back(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        let mut gone: HashSet<Member> = HashSet::new();
        for pair in process.installs.windows(2) {
            let before = &index.view_event(pair[0].event).members;
            let after = &index.view_event(pair[1].event).members;
            gone.extend(before.iter().filter(|m| after.binary_search(m).is_err()));
            if gone.is_empty() {
                continue;
            }
            for member in after.iter().filter(|member| gone.contains(member)) {
                let text = format!(
                    "{member:?} is back in {} under the incarnation that was gone",
                    index.scope_name(process.scope)
                );
                let events = [&index.events[pair[0].event], &index.events[pair[1].event]];
                found.add(NAME, &events, text);
            }
        }
    }
}
