// SPDX-License-Identifier: GPL-2.0

//! O8: all processes that go from one view to the next see the next view at the same place among the messages: if one of
//! them delivers a message before it, no other delivers the message after it.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Install, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O8", "view at the same place");

/// Check the messages that were delivered in several views.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for message in &index.messages {
        let mut by_view: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for &(process, action) in &message.deliveries {
            let owner = &index.processes[process];
            if owner.scope == CLUSTER {
                continue;
            }
            let action = &owner.actions[action];
            if let Some(view) = index.view_at(owner, action) {
                by_view
                    .entry(view)
                    .or_default()
                    .push((process, action.event));
            }
        }
        if by_view.len() < 2 {
            continue;
        }
        let all: Vec<(usize, usize)> = by_view.values().flatten().copied().collect();
        for &(one, early) in &all {
            for &(other, late) in &all {
                if let Some((from, to)) = crossed(index, (one, early), (other, late)) {
                    let text = format!(
                        "{} delivered {message} before view {:?}, and {} after it; both came to it from view {:?}",
                        index.processes[one],
                        index.views[to].id,
                        index.processes[other],
                        index.views[from].id,
                    );
                    found.add(NAME, &[&index.events[early], &index.events[late]], text);
                }
            }
        }
    }
}

/// A transition that both processes made: `one` after its event `early`, and `other` before its event `late`.
fn crossed(
    index: &Index<'_>,
    (one, early): (usize, usize),
    (other, late): (usize, usize),
) -> Option<(usize, usize)> {
    let transition = |install: &Install| Some((install.previous?, install.view));
    let after: BTreeSet<(usize, usize)> = index.processes[one]
        .installs
        .iter()
        .filter(|install| install.event > early)
        .filter_map(transition)
        .collect();
    index.processes[other]
        .installs
        .iter()
        .filter(|install| install.event < late)
        .filter_map(transition)
        .find(|transition| after.contains(transition))
}
