// SPDX-License-Identifier: GPL-2.0

//! M4: all processes that install a view find the same members in it, and the same quorum.
//! Processes that came to it from the same view also agree on why members left.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::sorted::only_in;
use crate::trace::{Change, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M4", "view agreement");

/// Compare all installs of a view with the first one, and with the first one from the same previous view.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for view in &index.views {
        let mut first_from: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        let mut first: Option<usize> = None;
        for &(number, place) in &view.installs {
            let process = &index.processes[number];
            let install = &process.installs[place];
            let event = install.event;
            let first = *first.get_or_insert(event);
            let first_from = *first_from.entry(install.previous).or_insert(event);
            let (one, own) = (index.view_event(first), index.view_event(event));
            let reasons_differ = install.previous.is_some()
                && reasons(&index.view_event(first_from).left) != reasons(&own.left);
            let (other, what) = if one.members != own.members {
                let difference = difference(&one.members, &own.members);
                (first, format!("with other members than node {}: {difference}", node(index, first)))
            } else if one.primary != own.primary {
                let verb = if own.primary { "with" } else { "without" };
                (first, format!("{verb} a quorum, unlike node {}", node(index, first)))
            } else if reasons_differ {
                (first_from, format!("with other reasons for leaving than node {}", node(index, first_from)))
            } else {
                continue;
            };
            let text = format!(
                "{process} installed view {:?} of {} {what}",
                view.id,
                index.scope_name(view.scope)
            );
            found.add(NAME, &[&index.events[other], &index.events[event]], text);
        }
    }
}

fn node(index: &Index<'_>, event: usize) -> u16 {
    index.events[event].node
}

fn reasons(changes: &Option<Vec<Change>>) -> Option<Vec<(Member, Option<&'static str>)>> {
    let mut list: Vec<_> = changes
        .as_ref()?
        .iter()
        .map(|change| (change.member, change.reason.map(|reason| reason.word())))
        .collect();
    list.sort_unstable();
    Some(list)
}

/// How the second list differs from the first, in words.
fn difference(one: &[Member], other: &[Member]) -> String {
    let missing: Vec<&Member> = only_in(one, other).collect();
    let additional: Vec<&Member> = only_in(other, one).collect();
    format!("it lacks {missing:?} and has {additional:?} in addition")
}
