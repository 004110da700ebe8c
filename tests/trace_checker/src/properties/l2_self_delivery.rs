// SPDX-License-Identifier: GPL-2.0

//! L2: a process delivers each message that it sent before its next view, unless it crashes, leaves or is excluded
//! first.

use std::collections::HashSet;

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L2", "self delivery");

/// Check each sending.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        let delivered: HashSet<usize> = process.deliveries().collect();
        let last = process.installs.len().checked_sub(1);
        let ended = index.ended(process);
        for action in &process.actions {
            let Some(message) = action.sent() else {
                continue;
            };
            // The line may name a later view than the one in which the process accepted the message.
            let named = index.message_event(action.event).view;
            let named = named.and_then(|named| index.view_named(process.scope, named));
            let part_of = match named {
                Some(view) => process
                    .installs
                    .iter()
                    .position(|install| install.view == view),
                None => action.install,
            };
            let had_time = !ended || part_of < last && named.is_some();
            if had_time && !delivered.contains(&message) {
                let text = format!(
                    "{process} never delivered its own {} in {}",
                    index.messages[message],
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[&index.events[action.event]], text);
            }
        }
    }
}
