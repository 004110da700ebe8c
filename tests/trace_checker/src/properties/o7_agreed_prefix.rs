// SPDX-License-Identifier: GPL-2.0

//! O7: if somebody delivers an agreed message before another one, nobody delivers the other one in that
//! view without having delivered the first before it.
//!
//! All lists of a view are compared with the longest one: where one leaves it, no later message may be
//! in both.

use std::collections::{HashMap, HashSet};

use crate::index::Index;
use crate::trace::Order;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O7", "agreed prefix");

/// Compares the deliveries in each view.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (view, mut lists) in index.deliveries_by_view() {
        for (_, list) in &mut lists {
            // What came twice is D2's to report; its place is that of the first time.
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
            let ahead = if *common == list[split] {
                reference[split]
            } else {
                list[split]
            };
            let name = |number: usize| {
                let message = &index.messages[number];
                format!("message {} of {:?}", message.sequence, message.sender)
            };
            let text = format!(
                "in view {:?} of {}, {} is before {} at one of the nodes {} and {}, and not at the other",
                index.views[view].id,
                index.scope_name(index.views[view].scope),
                name(ahead),
                name(*common),
                index.processes[reference_process].node,
                index.processes[*process].node,
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
    let (process, action) = index.messages[message].deliveries[0];
    let event = index.processes[process].actions[action].event;
    matches!(
        index.message_event(event).order,
        Order::Agreed | Order::Safe
    )
}

fn delivery(index: &Index<'_>, message: usize, process: usize) -> Option<usize> {
    index.messages[message]
        .deliveries
        .iter()
        .find(|(other, _)| *other == process)
        .map(|(_, action)| index.processes[process].actions[*action].event)
}
