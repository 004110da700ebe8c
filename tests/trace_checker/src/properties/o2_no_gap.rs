// SPDX-License-Identifier: GPL-2.0

//! O2: before a message of a sender, a process delivers all earlier messages that the sender sent in views of this
//! process.

use std::collections::{HashMap, HashSet};

use crate::index::Index;
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O2", "no gap");

/// Follow the sequence numbers of each sender at each process.
///
/// A number that is skipped and never comes is a gap. One that comes later was swapped, which O1 reports.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let firsts = first_of_views(index);
    let mut next: HashMap<Member, u64> = HashMap::new();
    for process in &index.processes {
        next.clear();
        let delivered: HashSet<(Member, u64)> = process
            .deliveries()
            .map(|number| {
                let message = &index.messages[number];
                (message.sender, message.sequence)
            })
            .collect();
        for action in &process.actions {
            let Some(number) = action.delivered() else {
                continue;
            };
            let message = &index.messages[number];
            let (sender, sequence) = (message.sender, message.sequence);
            let view = index.view_at(process, action);
            let first = view.and_then(|view| firsts.get(&(view, sender)).copied());
            let expected = next.get(&sender).copied().or(first).unwrap_or(sequence);
            let gap = (expected..sequence).find(|missed| !delivered.contains(&(sender, *missed)));
            if let Some(missed) = gap {
                let text = format!(
                    "{process} delivered {message} and never message {missed} of the same sender"
                );
                found.add(NAME, &[&index.events[action.event]], text);
            }
            let following = sequence.saturating_add(1).max(expected);
            next.insert(sender, following);
        }
    }
}

/// The lowest sequence number that each sender sent in each view, as far as the lines of sendings name views.
fn first_of_views(index: &Index<'_>) -> HashMap<(usize, Member), u64> {
    let mut firsts: HashMap<(usize, Member), u64> = HashMap::new();
    for process in &index.processes {
        for action in &process.actions {
            let Some(number) = action.sent() else {
                continue;
            };
            // What is called in a view is delivered in it or later.
            let line = index.message_event(action.event);
            for named in [line.view, line.call_view].into_iter().flatten() {
                let Some(view) = index.view_named(process.scope, named) else {
                    continue;
                };
                let message = &index.messages[number];
                let first = firsts
                    .entry((view, message.sender))
                    .or_insert(message.sequence);
                *first = message.sequence.min(*first);
            }
        }
    }
    firsts
}
