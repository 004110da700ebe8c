// SPDX-License-Identifier: GPL-2.0

//! The numbers of messages. A member counts the messages that the kernel accepts from it, anew in each incarnation of
//! its node. But one message of each member may wait in the kernel, because the window is full or there is no quorum.
//! If the node is excluded meanwhile, that message is the first one of the next incarnation. Every test message has
//! another text, so the deliveries show the number of each.

use std::collections::BTreeMap;

use trace_checker::trace::{EventKind, Member, MessageEvent, TraceEvent};

/// A message, identified by its sender's node, its length and its hash.
type Words = (u16, u64, u64);

fn words(message: &MessageEvent) -> Words {
    (message.sender.node, message.length, message.hash)
}

/// Give each message that was sent the number under which it was delivered, and the messages after it the following
/// numbers. Fails if a message was delivered under two numbers.
pub fn correct(events: &mut [TraceEvent]) -> Result<(), String> {
    let mut delivered: BTreeMap<Words, (Member, u64)> = BTreeMap::new();
    let mut begins: BTreeMap<Member, u64> = BTreeMap::new();
    for event in events.iter() {
        match &event.kind {
            EventKind::Deliver(message) => {
                let number = (message.sender, message.sequence);
                let known = *delivered.entry(words(message)).or_insert(number);
                if known != number {
                    return Err(format!(
                        "one message was delivered as {known:?} and as {number:?}"
                    ));
                }
            }
            EventKind::View(view) => {
                let scope = view.scope.as_ref();
                let Some(endpoint) = scope.and_then(|scope| scope.endpoint) else {
                    continue;
                };
                let member = Member {
                    node: event.node,
                    endpoint,
                    incarnation: event.incarnation,
                };
                begins.entry(member).or_insert(event.t);
            }
            _ => {}
        }
    }
    let mut last: BTreeMap<Member, u64> = BTreeMap::new();
    for event in events {
        let EventKind::Send(message) = &mut event.kind else {
            continue;
        };
        if let Some(&(sender, sequence)) = delivered.get(&words(message)) {
            if sender.incarnation != message.sender.incarnation {
                // It was sent in that incarnation as soon as the member was admitted.
                event.t = event
                    .t
                    .max(begins.get(&sender).map_or(0, |begin| begin + 1));
                event.incarnation = sender.incarnation;
            }
            message.sender = sender;
            message.sequence = sequence;
        } else if let Some(before) = last.get(&message.sender) {
            message.sequence = before + 1;
        }
        last.insert(message.sender, message.sequence);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use trace_checker::trace::{GroupScope, Order};

    use super::*;

    const NODE: u16 = 6;

    fn message(incarnation: u64, sequence: u64, hash: u64) -> MessageEvent {
        MessageEvent {
            scope: GroupScope {
                group: Arc::from("g"),
                endpoint: Some(1),
            },
            view: None,
            sender: Member {
                node: NODE,
                endpoint: 1,
                incarnation,
            },
            sequence,
            order: Order::Agreed,
            length: 40,
            call_view: None,
            hash,
        }
    }

    fn sent(incarnation: u64, sequence: u64, hash: u64) -> TraceEvent {
        TraceEvent {
            t: 10 * incarnation + sequence,
            node: NODE,
            incarnation,
            kind: EventKind::Send(message(incarnation, sequence, hash)),
        }
    }

    fn delivered(incarnation: u64, sequence: u64, hash: u64) -> TraceEvent {
        TraceEvent {
            t: 100,
            node: 1,
            incarnation: 1,
            kind: EventKind::Deliver(message(incarnation, sequence, hash)),
        }
    }

    fn numbers(events: &[TraceEvent]) -> Vec<(u64, u64)> {
        events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Send(message) => Some((event.incarnation, message.sequence)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_message_that_waited_is_the_first_of_the_next_incarnation() {
        let mut events = vec![
            sent(1, 1, 71),
            sent(1, 2, 72),
            sent(2, 1, 73),
            sent(2, 2, 74),
            delivered(1, 1, 71),
            delivered(2, 1, 72),
            delivered(2, 2, 73),
        ];
        assert_eq!(correct(&mut events), Ok(()));
        assert_eq!(numbers(&events), [(1, 1), (2, 1), (2, 2), (2, 3)]);
    }

    #[test]
    fn a_message_that_was_delivered_under_two_numbers_is_an_error() {
        let mut events = vec![sent(1, 1, 71), delivered(1, 1, 71), delivered(2, 1, 71)];
        assert!(correct(&mut events).is_err());
    }
}
