// SPDX-License-Identifier: GPL-2.0

//! A2: while a quorum of a view is pinned, the nodes do not agree on its successor. A node that promised a ballot before
//! it was pinned may still vote in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, CLUSTER};
use crate::trace::{EventKind, Member, ViewEvent, ViewId};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("A2", "pinned views");

/// What is known of one incarnation of one node.
#[derive(Default)]
struct Standing {
    view: Option<ViewId>,
    is_pinned: bool,
    /// Whether it promised a ballot in this view before it was pinned.
    has_promised: bool,
}

/// Check the first install of each view by a node that comes from the view before.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut standings: BTreeMap<(u16, u64), Standing> = BTreeMap::new();
    let mut seen: BTreeSet<ViewId> = BTreeSet::new();
    for event in index.events {
        if event.node == 0 {
            continue;
        }
        let key = (event.node, event.incarnation);
        match &event.kind {
            EventKind::Pin => standings.entry(key).or_default().is_pinned = true,
            EventKind::Unpin | EventKind::Crash | EventKind::Stop => {
                standings.entry(key).or_default().is_pinned = false;
            }
            EventKind::Block { scope: None } => {
                let own = standings.entry(key).or_default();
                own.has_promised |= !own.is_pinned;
            }
            EventKind::View(view) if view.scope.is_none() && !view.members.is_empty() => {
                let before = standings.entry(key).or_default().view;
                let before = before.filter(|before| before.number + 1 == view.view.number);
                let before = before.and_then(|before| index.view_named(CLUSTER, before));
                if let Some(before) = before.filter(|_| seen.insert(view.view)) {
                    if let Some(what) = wrong(index.members(before), &standings, view) {
                        found.add(NAME, &[event], what);
                    }
                }
                let own = standings.entry(key).or_default();
                own.view = Some(view.view);
                own.has_promised = false;
            }
            _ => {}
        }
    }
}

fn wrong(
    before: &[Member],
    standings: &BTreeMap<(u16, u64), Standing>,
    view: &ViewEvent,
) -> Option<String> {
    let may_vote = |member: &&Member| {
        let standing = standings.get(&(member.node, member.incarnation));
        standing.is_none_or(|own| own.has_promised || !own.is_pinned)
    };
    let voters = before.iter().filter(may_vote).count();
    let has_lowest = before.first().as_ref().is_some_and(may_vote);
    let is_quorum = 2 * voters > before.len() || 2 * voters == before.len() && has_lowest;
    (!is_quorum).then(|| {
        format!(
            "view {:?} was agreed on although only {voters} of {} members were not pinned",
            view.view,
            before.len()
        )
    })
}
