// SPDX-License-Identifier: GPL-2.0

//! D1: what is delivered was sent, by that sender, with that length and hash.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D1", "integrity");

/// Compares each delivery with the sending.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for message in &index.messages {
        for &(process, action) in &message.deliveries {
            let event = index.processes[process].actions[action].event;
            let delivered = index.message_event(event);
            let Some((sending, _)) = message.send else {
                if !may_be_lost(index, message.sender.node, message.sender.incarnation) {
                    let text = "a message was delivered that was never sent".to_owned();
                    found.add(NAME, &[&index.events[event]], text);
                }
                continue;
            };
            let sent = index.message_event(sending);
            let differs = [
                (sent.length != delivered.length, "length"),
                (sent.hash != delivered.hash, "hash"),
                (sent.order != delivered.order, "order"),
            ];
            if let Some((_, what)) = differs.iter().find(|(differs, _)| *differs) {
                let text = format!("the {what} of a message is not the one it was sent with");
                found.add(NAME, &[&index.events[sending], &index.events[event]], text);
            }
        }
    }
}

/// Whether the line that says that the message was sent may be missing.
fn may_be_lost(index: &Index<'_>, node: u16, incarnation: u64) -> bool {
    index.options.crashes_lose_lines
        && index
            .incarnations
            .get(&(node, incarnation))
            .is_none_or(|incarnation| incarnation.crash.is_some() || incarnation.end().is_none())
}
