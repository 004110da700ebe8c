// SPDX-License-Identifier: GPL-2.0

//! D4: all processes that deliver a message deliver it in the same view.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D4", "same view");

/// Compare the deliveries of each message with the first one.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for message in &index.messages {
        let mut first: Option<(usize, usize)> = None;
        for &(number, action) in &message.deliveries {
            let process = &index.processes[number];
            let action = &process.actions[action];
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let (other, event) = *first.get_or_insert((view, action.event));
            if other != view {
                let (other, event) = (index.views[other].id, &index.events[event]);
                let text = format!(
                    "{process} delivered {message} in view {:?}, and node {} in view {other:?}",
                    index.views[view].id, event.node
                );
                found.add(NAME, &[event, &index.events[action.event]], text);
            }
        }
    }
}
