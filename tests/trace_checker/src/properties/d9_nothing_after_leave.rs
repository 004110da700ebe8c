// SPDX-License-Identifier: GPL-2.0

//! D9: once leaving has returned, the handle receives nothing and sends nothing.

use crate::index::{ActionKind, Index, Phase, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D9", "nothing after leave");

/// Check all that handles do after they left.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in index.processes.iter().filter(|p| p.scope != CLUSTER) {
        for action in process.actions.iter().filter(|a| a.phase == Phase::Left) {
            let what = match action.kind {
                ActionKind::Install(_) | ActionKind::Excluded => "installed a view",
                ActionKind::Send(_) => "sent a message",
                ActionKind::Deliver(_) => "delivered a message",
                ActionKind::Block => "learned of a view change",
            };
            let text = format!(
                "{process} {what} after it had left {}",
                index.scope_name(process.scope)
            );
            let mut events = Vec::new();
            events.extend(process.left.map(|left| &index.events[left]));
            events.push(&index.events[action.event]);
            found.add(NAME, &events, text);
        }
    }
}
