// SPDX-License-Identifier: GPL-2.0

//! D9: once leaving has returned, the handle gets nothing any more, and sends nothing.

use crate::index::{Index, Phase, What, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D9", "nothing after leave");

/// Looks at all that handles do after they left.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in index.processes.iter().filter(|p| p.scope != CLUSTER) {
        for action in process.actions.iter().filter(|a| a.phase == Phase::Left) {
            let what = match action.what {
                What::Install(_) | What::Out => "a view was installed",
                What::Send(_) => "a message was sent",
                What::Deliver(_) => "a message was delivered",
                What::Block => "a block came",
            };
            let text = format!(
                "{what} after the handle had left {}",
                index.scope_name(process.scope)
            );
            let mut events = Vec::new();
            events.extend(process.left.map(|left| &index.events[left]));
            events.push(&index.events[action.event]);
            found.add(NAME, &events, text);
        }
    }
}
