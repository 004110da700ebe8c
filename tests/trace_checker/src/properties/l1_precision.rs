// SPDX-License-Identifier: GPL-2.0

//! L1: members that are connected and undisturbed come together in one view with exactly these members within the bound,
//! and stay in it. An expectation names the members, the time and the bound.

use crate::index::{Index, Install, CLUSTER};
use crate::sorted::only_in;
use crate::trace::{Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L1", "precision");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (_, event, expectation) in index.expectations() {
        let Expectation::Together {
            group,
            members,
            since,
            bound,
        } = expectation
        else {
            continue;
        };
        let scope = match group {
            None => Some(CLUSTER),
            Some(name) => index.group_scope(name),
        };
        let last = |member| last_install(index, scope, member, event.t);
        let deadline = since.saturating_add(*bound);
        for member in members {
            if let Some(what) = wrong(index, last(member), member, members, deadline) {
                found.add(NAME, &[event], what);
            }
        }
        let views: Vec<usize> = members
            .iter()
            .map_while(|member| Some(last(member)?.view))
            .collect();
        if let Some(what) = different_views(index, members, &views) {
            found.add(NAME, &[event], what);
        }
    }
}

/// The last install of the member until the time `end`.
fn last_install<'i>(
    index: &'i Index<'_>,
    scope: Option<usize>,
    member: &Member,
    end: u64,
) -> Option<&'i Install> {
    (index.processes.iter())
        .filter(|process| Some(process.scope) == scope && process.is(member))
        .flat_map(|process| &process.installs)
        .rfind(|install| index.events[install.event].t <= end)
}

fn wrong(
    index: &Index<'_>,
    last: Option<&Install>,
    member: &Member,
    members: &[Member],
    deadline: u64,
) -> Option<String> {
    let Some(last) = last else {
        return Some(format!("{member:?} never installed a view"));
    };
    let view = index.views[last.view].id;
    let t = index.events[last.event].t;
    let own = &index.view_event(last.event).members;
    if own[..] != *members {
        let missing: Vec<&Member> = only_in(members, own).collect();
        let additional: Vec<&Member> = only_in(own, members).collect();
        return Some(format!(
            "the last view {view:?} of {member:?} lacks {missing:?} and has {additional:?} in addition"
        ));
    }
    if t > deadline {
        return Some(format!(
            "{member:?} installed its last view {view:?} {} ms after the bound",
            (t - deadline) / 1_000_000
        ));
    }
    None
}

/// Two members that are in different views, in words. `views` has the view of each member up to the first without one.
fn different_views(index: &Index<'_>, members: &[Member], views: &[usize]) -> Option<String> {
    let (first, view) = (members.first()?, views.first()?);
    let other = views.iter().position(|other| other != view)?;
    Some(format!(
        "{first:?} is in view {:?} and {:?} in view {:?}",
        index.views[*view].id, members[other], index.views[views[other]].id
    ))
}
