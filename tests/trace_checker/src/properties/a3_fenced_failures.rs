// SPDX-License-Identifier: GPL-2.0

//! A3: if the issuer of a view had a fence handler when it installed the view before, no failed member leaves before
//! the handler has fenced it or run out of time. A node that is back in the same view, in a later incarnation, needs no
//! fencing.

use std::collections::BTreeMap;

use crate::index::{Index, CLUSTER};
use crate::trace::{EventKind, Member, Reason};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("A3", "fenced failures");

/// Check each view once.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    // The incarnations that have a handler, and the event since which they have it.
    let mut guarded: BTreeMap<(u16, u64), usize> = BTreeMap::new();
    // The events in which an incarnation with a handler reported a member as fenced.
    let mut fenced: BTreeMap<((u16, u64), Member), Vec<usize>> = BTreeMap::new();
    for (number, event) in index.events.iter().enumerate() {
        let incarnation = (event.node, event.incarnation);
        match event.kind {
            EventKind::Guard => {
                guarded.entry(incarnation).or_insert(number);
            }
            EventKind::Fenced { subject } => {
                let times = fenced.entry((incarnation, subject)).or_default();
                times.push(number);
            }
            _ => {}
        }
    }
    if guarded.is_empty() {
        return;
    }
    for view in index.views.iter().filter(|view| view.scope == CLUSTER) {
        let mut installs = (view.installs.iter())
            .map(|(process, place)| &index.processes[*process].installs[*place]);
        let Some((install, before)) =
            installs.find_map(|install| Some((install, install.previous?)))
        else {
            continue;
        };
        let issuer = (index.members(before).iter()).find(|m| m.node == view.id.coordinator);
        let Some((issuer, since)) = issuer.and_then(|issuer| {
            let guard = guarded.get(&(issuer.node, issuer.incarnation))?;
            let since = installed_at(index, issuer, before)?;
            (*guard < since).then_some((issuer, since))
        }) else {
            continue;
        };
        let event = index.view_event(install.event);
        for change in event.left.iter().flatten() {
            let comes_back = event.members.iter().any(|m| m.node == change.member.node);
            if change.reason != Some(Reason::Failed) || comes_back {
                continue;
            }
            let key = ((issuer.node, issuer.incarnation), change.member);
            let mut times = fenced.get(&key).into_iter().flatten();
            if !times.any(|at| since < *at && *at < install.event) {
                let text = format!(
                    "view {:?} excludes {:?} as failed, which the fence handler of {issuer:?} had not fenced",
                    view.id, change.member
                );
                found.add(NAME, &[&index.events[install.event]], text);
            }
        }
    }
}

/// The event in which the member installed the view.
fn installed_at(index: &Index<'_>, member: &Member, view: usize) -> Option<usize> {
    let process = index.nodes().find(|process| process.is(member))?;
    let mut installs = process.installs.iter();
    let install = installs.find(|install| install.view == view)?;
    Some(install.event)
}
