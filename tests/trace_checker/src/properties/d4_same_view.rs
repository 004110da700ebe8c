// SPDX-License-Identifier: GPL-2.0

//! D4: whoever delivers a message delivers it in the same view.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D4", "same view");

/// Compares the deliveries of each message with the first one.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for message in &index.messages {
        let mut first: Option<(usize, usize)> = None;
        for &(process, action) in &message.deliveries {
            let process = &index.processes[process];
            let action = &process.actions[action];
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let (there, event) = *first.get_or_insert((view, action.event));
            if there != view {
                let text = format!(
                    "message {} of {:?} was delivered in view {:?} there and in {:?} here",
                    message.sequence, message.sender, index.views[there].id, index.views[view].id
                );
                found.add(
                    NAME,
                    &[&index.events[event], &index.events[action.event]],
                    text,
                );
            }
        }
    }
}
