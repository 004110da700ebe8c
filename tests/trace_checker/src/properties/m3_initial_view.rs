// SPDX-License-Identifier: GPL-2.0

//! M3: a process neither sends nor delivers a message before its first view.

use crate::index::{ActionKind, Index, Phase};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M3", "initial view");

/// Check every action of a process that has no view yet.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            if action.phase != Phase::NoViewYet {
                continue;
            }
            let (verb, message) = match action.kind {
                ActionKind::Send(message) => ("sent", message),
                ActionKind::Deliver(message) => ("delivered", message),
                ActionKind::Install(_) | ActionKind::Excluded | ActionKind::Block => continue,
            };
            let text = format!(
                "{process} {verb} {} before its first view of {}",
                index.messages[message],
                index.scope_name(process.scope)
            );
            found.add(NAME, &[&index.events[action.event]], text);
        }
    }
}
