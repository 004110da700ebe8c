// SPDX-License-Identifier: GPL-2.0

//! D8: messages come only from members of the view and go only to members of it.

use crate::index::{Index, Phase, What};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D8", "scope");

/// Looks at every delivery.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            let What::Deliver(message) = action.what else {
                continue;
            };
            let event = &index.events[action.event];
            if action.phase == Phase::Out {
                let text = format!(
                    "delivered to who is out of {}",
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[event], text);
            }
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let sender = &index.messages[message].sender;
            if index.members(view).binary_search(sender).is_err() {
                let text = format!(
                    "delivered in view {:?} of {}, which does not have the sender {sender:?}",
                    index.views[view].id,
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[event], text);
            }
        }
    }
}
