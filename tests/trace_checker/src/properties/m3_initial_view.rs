// SPDX-License-Identifier: GPL-2.0

//! M3: a process neither sends nor gets anything before its first view.

use crate::index::{Index, Phase, What};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M3", "initial view");

/// Looks at every message of a process without a view.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            if action.phase != Phase::NoViewYet {
                continue;
            }
            let verb = match action.what {
                What::Send(_) => "sent",
                What::Deliver(_) => "delivered",
                What::Install(_) | What::Out | What::Block => continue,
            };
            let text = format!(
                "a message was {verb} before the first view of {}",
                index.scope_name(process.scope)
            );
            found.add(NAME, &[&index.events[action.event]], text);
        }
    }
}
