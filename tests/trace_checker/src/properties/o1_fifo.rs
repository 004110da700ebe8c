// SPDX-License-Identifier: GPL-2.0

//! O1: the messages of one sender are delivered in the order they were sent.

use std::collections::HashMap;

use crate::index::{Index, What};
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O1", "FIFO");

/// Follows the sequence numbers of each sender at each process.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut last: HashMap<Member, (u64, usize)> = HashMap::new();
    for process in &index.processes {
        last.clear();
        for action in &process.actions {
            let What::Deliver(message) = action.what else {
                continue;
            };
            let message = &index.messages[message];
            let before = last.get(&message.sender).copied();
            if let Some((sequence, event)) = before {
                if message.sequence < sequence {
                    let text = format!(
                        "message {} of {:?} was delivered after its message {sequence}",
                        message.sequence, message.sender
                    );
                    found.add(
                        NAME,
                        &[&index.events[event], &index.events[action.event]],
                        text,
                    );
                    continue;
                }
            }
            last.insert(message.sender, (message.sequence, action.event));
        }
    }
}
