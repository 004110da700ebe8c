// SPDX-License-Identifier: GPL-2.0

//! L1: members that are connected and undisturbed come together in one view with exactly these members
//! within the bound, and stay in it. The trace says who, since when and with which bound.

use crate::index::{Index, Process};
use crate::trace::{EventKind, Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L1", "precision");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for event in index.events {
        let EventKind::Expect(Expectation::Together {
            group,
            members,
            since,
            bound,
        }) = &event.kind
        else {
            continue;
        };
        let scope = match group {
            None => Some(crate::index::CLUSTER),
            Some(name) => index
                .scopes
                .iter()
                .skip(1)
                .position(|s| *s == name.as_ref())
                .map(|n| n + 1),
        };
        let deadline = since.saturating_add(*bound);
        for member in members {
            if let Some(what) = wrong(index, scope, member, members, deadline, event.t) {
                found.add(NAME, &[event], what);
            }
        }
        if let Some(what) = different_views(index, scope, members, event.t) {
            found.add(NAME, &[event], what);
        }
    }
}

fn processes_of<'i>(
    index: &'i Index<'_>,
    scope: Option<usize>,
    member: &'i Member,
) -> impl Iterator<Item = &'i Process> {
    index
        .processes
        .iter()
        .filter(move |process| Some(process.scope) == scope && process.is(member))
}

fn wrong(
    index: &Index<'_>,
    scope: Option<usize>,
    member: &Member,
    members: &[Member],
    deadline: u64,
    end: u64,
) -> Option<String> {
    let installs = processes_of(index, scope, member).flat_map(|process| &process.installs);
    let Some(last) = installs.filter(|i| index.events[i.event].t <= end).last() else {
        return Some(format!("{member:?} never had a view"));
    };
    let view = index.views[last.view].id;
    let t = index.events[last.event].t;
    let got = &index.view_event(last.event).members;
    if got[..] != *members {
        let missing: Vec<_> = members
            .iter()
            .filter(|m| got.binary_search(m).is_err())
            .collect();
        let more: Vec<_> = got
            .iter()
            .filter(|m| members.binary_search(m).is_err())
            .collect();
        return Some(format!(
            "the last view {view:?} of {member:?} lacks {missing:?} and has {more:?} too many"
        ));
    }
    if t > deadline {
        return Some(format!(
            "{member:?} came to the last view {view:?} {} ms after the bound",
            (t - deadline) / 1_000_000
        ));
    }
    None
}

fn different_views(
    index: &Index<'_>,
    scope: Option<usize>,
    members: &[Member],
    end: u64,
) -> Option<String> {
    let mut first = None;
    for member in members {
        let installs = processes_of(index, scope, member).flat_map(|process| &process.installs);
        let last = installs.filter(|i| index.events[i.event].t <= end).last()?;
        let (one, view) = *first.get_or_insert((member, last.view));
        if view != last.view {
            return Some(format!(
                "{one:?} is in view {:?} and {member:?} in view {:?}",
                index.views[view].id, index.views[last.view].id
            ));
        }
    }
    None
}
