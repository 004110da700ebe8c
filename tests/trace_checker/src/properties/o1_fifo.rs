// SPDX-License-Identifier: GPL-2.0

//! O1: a process delivers the messages of one sender in the order in which they were sent.

use std::collections::HashMap;

use crate::index::Index;
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O1", "FIFO");

/// Follow the sequence numbers of each sender at each process.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut last: HashMap<Member, (u64, usize)> = HashMap::new();
    for process in &index.processes {
        last.clear();
        for action in &process.actions {
            let Some(message) = action.delivered() else {
                continue;
            };
            let message = &index.messages[message];
            let before = last.get(&message.sender).copied();
            let later = before.filter(|(sequence, _)| message.sequence < *sequence);
            if let Some((sequence, event)) = later {
                let text = format!(
                    "{process} delivered {message} after message {sequence} of the same sender"
                );
                let events = [&index.events[event], &index.events[action.event]];
                found.add(NAME, &events, text);
                continue;
            }
            last.insert(message.sender, (message.sequence, action.event));
        }
    }
}
