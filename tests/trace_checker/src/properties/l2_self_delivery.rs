// SPDX-License-Identifier: GPL-2.0

//! L2: who sends a message delivers it, unless it crashes, leaves or is put out; and it does so before
//! its next view.

use std::collections::HashSet;

use crate::index::{Index, What};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L2", "self delivery");

/// Looks at each sending.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        let own: HashSet<usize> = process
            .actions
            .iter()
            .filter_map(|action| match action.what {
                What::Deliver(message) => Some(message),
                What::Send(_) | What::Install(_) | What::Out | What::Block => None,
            })
            .collect();
        let last = process.installs.len().checked_sub(1);
        let ended = index.ended(process);
        for action in &process.actions {
            let What::Send(message) = action.what else {
                continue;
            };
            // The line may name a later view than the one in which the message was accepted.
            let said = index.message_event(action.event).view;
            let said = said.and_then(|said| index.view_named(process.scope, said));
            let became_part = match said {
                Some(view) => process
                    .installs
                    .iter()
                    .position(|install| install.view == view),
                None => action.install,
            };
            let had_time = !ended || became_part < last && said.is_some();
            if had_time && !own.contains(&message) {
                let text = format!(
                    "message {} of {:?} was never delivered to its sender",
                    index.messages[message].sequence, index.messages[message].sender
                );
                found.add(NAME, &[&index.events[action.event]], text);
            }
        }
    }
}
