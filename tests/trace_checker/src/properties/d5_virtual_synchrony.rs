// SPDX-License-Identifier: GPL-2.0

//! D5: processes that go together from one view to the next delivered the same set of messages in the first.

use std::collections::HashMap;

use crate::index::{Index, CLUSTER};
use crate::sorted::only_in;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D5", "virtual synchrony");

/// Compare the deliveries of all processes that made a transition with those of the first.
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
        let reference = set_of(index.origin(first, first_place));
        for &(process, place) in others {
            let own = set_of(index.origin(process, place));
            let missing = only_in(&reference, &own).next();
            let additional = only_in(&own, &reference).next();
            let Some(message) = missing.or(additional) else {
                continue;
            };
            let (with, without) = if missing.is_some() {
                (first, process)
            } else {
                (process, first)
            };
            let install = index.processes[process].installs[place].event;
            let delivery = index.delivery(index.messages[*message].deliveries[0]);
            let text = format!(
                "{} and {} went together from view {:?} to view {:?} of {}, but only the first delivered {}",
                index.processes[with],
                index.processes[without],
                index.views[from].id,
                index.views[to].id,
                index.scope_name(index.views[from].scope),
                index.messages[*message],
            );
            found.add(NAME, &[&index.events[delivery], &index.events[install]], text);
        }
    }
}
