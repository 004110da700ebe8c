// SPDX-License-Identifier: GPL-2.0

//! D1: a delivered message was sent by its sender, with the same length, hash and order.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D1", "integrity");

/// Compare each delivery with the sending.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for message in &index.messages {
        for &delivery in &message.deliveries {
            let event = index.delivery(delivery);
            let receiver = &index.processes[delivery.0];
            let delivered = index.message_event(event);
            let Some((sending, _)) = message.send else {
                if !may_be_lost(index, message.sender.node, message.sender.incarnation) {
                    let text = format!("{receiver} delivered {message}, which was never sent");
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
                let text =
                    format!("{receiver} delivered {message} with another {what} than it was sent with");
                found.add(NAME, &[&index.events[sending], &index.events[event]], text);
            }
        }
    }
}

/// Whether the line of the sending may be missing, because the sender crashed or the trace ends before it did.
fn may_be_lost(index: &Index<'_>, node: u16, incarnation: u64) -> bool {
    index.options.crashes_lose_lines
        && index
            .incarnations
            .get(&(node, incarnation))
            .is_none_or(|incarnation| incarnation.crash.is_some() || incarnation.end().is_none())
}
