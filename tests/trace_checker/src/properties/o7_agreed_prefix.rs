// SPDX-License-Identifier: GPL-2.0

//! O7: if a process delivers an agreed message before another one, then in the same view no process delivers the second
//! without having delivered the first before it.
//!
//! The check compares the deliveries of each process in a view with the longest list of that view. After the place where
//! the two differ for the first time, they must have no message in common.

use std::collections::{HashMap, HashSet};

use crate::index::Index;
use crate::trace::Order;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O7", "agreed prefix");

/// Compare the deliveries in each view.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (view, mut lists) in index.deliveries_by_view() {
        for (_, list) in &mut lists {
            // D2 reports a message that came twice; here its first place counts.
            let mut seen = HashSet::new();
            list.retain(|message| is_agreed(index, *message) && seen.insert(*message));
        }
        let Some((reference_process, reference)) = lists
            .iter()
            .max_by_key(|(process, list)| (list.len(), std::cmp::Reverse(*process)))
            .cloned()
        else {
            continue;
        };
        for (process, list) in &lists {
            let split = list
                .iter()
                .zip(&reference)
                .position(|(own, other)| own != other);
            let Some(split) = split else { continue };
            let later: HashMap<usize, usize> = reference[split..]
                .iter()
                .enumerate()
                .map(|(place, message)| (*message, place))
                .collect();
            let Some(common) = list[split..].iter().find(|m| later.contains_key(m)) else {
                continue;
            };
            // The common message comes first in at most one of the lists, so another one is ahead of it in the other.
            let (ahead, with, without) = if *common == list[split] {
                (reference[split], reference_process, *process)
            } else {
                (list[split], *process, reference_process)
            };
            let text = format!(
                "in view {:?} of {}, {} delivered {} before {}, and {} did not",
                index.views[view].id,
                index.scope_name(index.views[view].scope),
                index.processes[with],
                index.messages[ahead],
                index.messages[*common],
                index.processes[without],
            );
            let events: Vec<_> = [ahead, *common]
                .iter()
                .filter_map(|message| delivery(index, *message, *process))
                .map(|event| &index.events[event])
                .collect();
            found.add(NAME, &events, text);
        }
    }
}

fn is_agreed(index: &Index<'_>, message: usize) -> bool {
    if index.options.every_order_is_agreed {
        return true;
    }
    let event = index.delivery(index.messages[message].deliveries[0]);
    matches!(
        index.message_event(event).order,
        Order::Agreed | Order::Safe
    )
}

fn delivery(index: &Index<'_>, message: usize, process: usize) -> Option<usize> {
    let deliveries = &index.messages[message].deliveries;
    let own = deliveries.iter().find(|(other, _)| *other == process)?;
    Some(index.delivery(*own))
}
