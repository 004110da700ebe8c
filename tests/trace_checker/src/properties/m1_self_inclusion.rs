// SPDX-License-Identifier: GPL-2.0

//! M1: a process is a member of every view that it installs.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M1", "self inclusion");

/// Check every install.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for install in &process.installs {
            let event = index.view_event(install.event);
            if !process.is_in(&event.members) {
                let text = format!(
                    "{process} installed view {:?} of {}, of which it is no member",
                    event.view,
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[&index.events[install.event]], text);
            }
        }
    }
}
