// SPDX-License-Identifier: GPL-2.0

//! D2: a process delivers a message at most once.

use std::collections::HashMap;

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D2", "no duplication");

/// Check the deliveries of each message.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut seen: HashMap<usize, usize> = HashMap::new();
    for message in &index.messages {
        seen.clear();
        for &delivery in &message.deliveries {
            let event = index.delivery(delivery);
            if let Some(first) = seen.insert(delivery.0, event) {
                let text = format!("{} delivered {message} twice", index.processes[delivery.0]);
                found.add(NAME, &[&index.events[first], &index.events[event]], text);
            }
        }
    }
}
