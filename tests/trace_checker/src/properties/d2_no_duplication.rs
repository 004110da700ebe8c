// SPDX-License-Identifier: GPL-2.0

//! D2: a process gets a message at most once.

use std::collections::HashMap;

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D2", "no duplication");

/// Looks at the deliveries of each message.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut seen: HashMap<usize, usize> = HashMap::new();
    for message in &index.messages {
        seen.clear();
        for &(process, action) in &message.deliveries {
            let event = index.processes[process].actions[action].event;
            if let Some(first) = seen.insert(process, event) {
                let text = format!(
                    "message {} of {:?} was delivered twice",
                    message.sequence, message.sender
                );
                found.add(NAME, &[&index.events[first], &index.events[event]], text);
            }
        }
    }
}
