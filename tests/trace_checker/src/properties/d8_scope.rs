// SPDX-License-Identifier: GPL-2.0

//! D8: only members of a view deliver messages in it, and only messages of its members.

use crate::index::{Index, Phase};
use crate::sorted::has;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D8", "scope");

/// Check every delivery.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            let Some(message) = action.delivered() else {
                continue;
            };
            let message = &index.messages[message];
            let event = &index.events[action.event];
            if action.phase == Phase::Excluded {
                let text = format!(
                    "{process} delivered {message}, although it is excluded from {}",
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[event], text);
            }
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            if !has(index.members(view), &message.sender) {
                let text = format!(
                    "{process} delivered {message} in view {:?} of {}, of which the sender is no member",
                    index.views[view].id,
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[event], text);
            }
        }
    }
}
