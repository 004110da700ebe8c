// SPDX-License-Identifier: GPL-2.0

//! S1: a process is given a safe message only if every member of the view delivers it, unless that member crashes.

use super::safe_messages::{delivered_as_safe, Obliged};
use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("S1", "safe");

/// Check each safe message that some process delivered.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut obliged = Obliged::default();
    for (message, view, event) in delivered_as_safe(index) {
        for process in obliged.without(index, view, message) {
            let text = format!(
                "node {} was given safe {} in view {:?} of {}, and {} never delivered it",
                index.events[event].node,
                index.messages[message],
                index.views[view].id,
                index.scope_name(index.views[view].scope),
                index.processes[process],
            );
            found.add(NAME, &[&index.events[event]], text);
        }
    }
}
