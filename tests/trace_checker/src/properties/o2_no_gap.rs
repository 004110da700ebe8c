// SPDX-License-Identifier: GPL-2.0

//! O2: before a message, a process delivered all that its sender had sent before it, as far as the
//! process was in the view they belong to.

use std::collections::{HashMap, HashSet};

use crate::index::{Index, What};
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O2", "no gap");

/// Follows the sequence numbers of each sender at each process. A number that is awaited and comes
/// later was swapped, which is O1; one that never comes is a gap.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let firsts = first_of_views(index);
    let mut next: HashMap<Member, u64> = HashMap::new();
    for process in &index.processes {
        next.clear();
        let delivered: HashSet<(Member, u64)> = process
            .actions
            .iter()
            .filter_map(|action| match action.what {
                What::Deliver(message) => {
                    let message = &index.messages[message];
                    Some((message.sender, message.sequence))
                }
                What::Send(_) | What::Install(_) | What::Out | What::Block => None,
            })
            .collect();
        for action in &process.actions {
            let What::Deliver(number) = action.what else {
                continue;
            };
            let message = &index.messages[number];
            let (sender, sequence) = (message.sender, message.sequence);
            let view = index.view_at(process, action);
            let first = view.and_then(|view| firsts.get(&(view, sender)).copied());
            let awaited = next.get(&sender).copied().or(first).unwrap_or(sequence);
            let gap = (awaited..sequence).find(|missed| !delivered.contains(&(sender, *missed)));
            if let Some(missed) = gap {
                let text = format!(
                    "message {sequence} of {sender:?} was delivered, its message {missed} never"
                );
                found.add(NAME, &[&index.events[action.event]], text);
            }
            let following = sequence.saturating_add(1).max(awaited);
            next.insert(sender, following);
        }
    }
}

/// The lowest sequence number that each sender sent in each view, as far as sends name their view.
fn first_of_views(index: &Index<'_>) -> HashMap<(usize, Member), u64> {
    let mut firsts: HashMap<(usize, Member), u64> = HashMap::new();
    for process in &index.processes {
        for action in &process.actions {
            let What::Send(number) = action.what else {
                continue;
            };
            let said = index.message_event(action.event).view;
            if let Some(view) = said.and_then(|said| index.view_named(process.scope, said)) {
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
