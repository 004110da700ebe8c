// SPDX-License-Identifier: GPL-2.0

//! D5: processes that go together from one view to the next delivered the same set in the first.

use std::collections::HashMap;

use crate::index::{Index, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D5", "virtual synchrony");

/// Compares the deliveries of all who made a transition with those of the first.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let by_view = index.deliveries_by_view();
    for ((from, to), movers) in index.transitions() {
        if index.views[from].scope == CLUSTER {
            continue;
        }
        let lists: HashMap<usize, &Vec<usize>> = by_view
            .get(&from)
            .into_iter()
            .flatten()
            .map(|(process, list)| (*process, list))
            .collect();
        let set_of = |process: usize| {
            let mut set = lists.get(&process).map_or(Vec::new(), |list| list.to_vec());
            set.sort_unstable();
            set.dedup();
            set
        };
        let Some((&(first, first_place), others)) = movers.split_first() else {
            continue;
        };
        let reference = set_of(index.mover(first, first_place));
        for &(process, place) in others {
            let own = set_of(index.mover(process, place));
            if own == reference {
                continue;
            }
            let install = index.processes[process].installs[place].event;
            let (missing, extra) = (only_in(&reference, &own), only_in(&own, &reference));
            let (message, who) = match (missing, extra) {
                (Some(message), _) => (message, "and not here"),
                (None, Some(message)) => (message, "and not there"),
                (None, None) => continue,
            };
            let (deliverer, action) = index.messages[message].deliveries[0];
            let evidence = [
                &index.events[index.processes[deliverer].actions[action].event],
                &index.events[install],
            ];
            let text = format!(
                "{} went from view {:?} to {:?} of {} like node {}, but message {} of {:?} was delivered by one of them {who}",
                index.processes[process].node,
                index.views[from].id,
                index.views[to].id,
                index.scope_name(index.views[from].scope),
                index.processes[first].node,
                index.messages[message].sequence,
                index.messages[message].sender,
            );
            found.add(NAME, &evidence, text);
        }
    }
}

/// The first that sorted `a` has and sorted `b` lacks.
fn only_in(a: &[usize], b: &[usize]) -> Option<usize> {
    a.iter().find(|one| b.binary_search(one).is_err()).copied()
}
