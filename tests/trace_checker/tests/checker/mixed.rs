// SPDX-License-Identifier: GPL-2.0

//! A short trace in which messages of all four orders are mixed, and every property holds.
//!
//! Four nodes have a member each in group `g`. Nodes 3 and 4 crash in view 1, after which A and B deliver three more
//! messages in it and go on to view 2. In view 1 messages of weaker orders overtake agreed and safe messages of other
//! senders.

use trace_checker::trace::{EventKind, Member, Order, Reason};

use super::story::{member, Story, A, B, C, NODE_1, NODE_2, NODE_3, NODE_4};

/// The member on node 4.
pub(crate) const D: Member = member(4, 1, 40);

/// Let `sender` send a message of this order.
pub(crate) fn send(story: &mut Story, view: u64, sender: Member, sequence: u64, order: Order) {
    story.send(view, sender, sequence);
    let place = story.events.len() - 1;
    story.message_mut(place).order = order;
}

/// Let `receiver` deliver messages in this order. They must have been sent.
pub(crate) fn deliver(story: &mut Story, view: u64, receiver: Member, messages: &[(Member, u64)]) {
    for &(sender, sequence) in messages {
        let sending = story.send_at(sender, sequence);
        let order = story.message_mut(sending).order;
        story.deliver(view, receiver, sender, sequence);
        let place = story.events.len() - 1;
        story.message_mut(place).order = order;
    }
}

/// Move the last `count` events, in their order, to just before the crash of node 3.
pub(crate) fn move_before_the_crash(story: &mut Story, count: usize) {
    let crash = story.find(|event| event.kind == EventKind::Crash && event.node == 3);
    let first = story.events.len() - count;
    let mut moved = story.events.split_off(first);
    let t = story.events[crash - 1].t;
    for event in &mut moved {
        event.t = t;
    }
    story.events.splice(crash..crash, moved);
}

/// The story that the text of this module tells.
pub(crate) fn mixed() -> Story {
    let mut story = Story::default();
    let nodes = [NODE_1, NODE_2, NODE_3, NODE_4];
    for who in nodes {
        story.add(who, EventKind::Start);
    }
    story.cluster_view(1, &nodes, &nodes, &[]);
    let all = [A, B, C, D];
    story.group_view(1, &all, &all, &[]);

    // These four depend on nothing. Only A1 and D1 have one place for all.
    send(&mut story, 1, A, 1, Order::Agreed);
    send(&mut story, 1, B, 1, Order::Fifo);
    send(&mut story, 1, C, 1, Order::Causal);
    send(&mut story, 1, D, 1, Order::Agreed);
    deliver(&mut story, 1, A, &[(A, 1), (B, 1), (C, 1), (D, 1)]);
    deliver(&mut story, 1, B, &[(B, 1), (C, 1), (A, 1), (D, 1)]);
    deliver(&mut story, 1, C, &[(C, 1), (A, 1), (D, 1), (B, 1)]);
    deliver(&mut story, 1, D, &[(B, 1), (A, 1), (D, 1), (C, 1)]);

    // B2 comes after C1, A1 and D1. A2 depends on the same, and A3 on A2 only. C2 and B2 overtake A2.
    send(&mut story, 1, A, 2, Order::Safe);
    send(&mut story, 1, A, 3, Order::Fifo);
    send(&mut story, 1, B, 2, Order::Causal);
    send(&mut story, 1, C, 2, Order::Fifo);
    deliver(&mut story, 1, A, &[(A, 2), (A, 3), (C, 2), (B, 2)]);
    deliver(&mut story, 1, B, &[(B, 2), (C, 2), (A, 2), (A, 3)]);
    deliver(&mut story, 1, C, &[(C, 2), (A, 2), (B, 2), (A, 3)]);
    deliver(&mut story, 1, D, &[(C, 2), (B, 2), (A, 2), (A, 3)]);

    story.add(NODE_3, EventKind::Crash);
    story.add(NODE_4, EventKind::Crash);
    for sequence in 4..=6 {
        send(&mut story, 1, A, sequence, Order::Agreed);
    }
    for who in [A, B] {
        deliver(&mut story, 1, who, &[(A, 4), (A, 5), (A, 6)]);
    }
    for subject in [3, 4] {
        story.add(NODE_1, EventKind::Suspect { subject });
        story.add(NODE_1, EventKind::Accuse { subject });
    }
    let failed = [(NODE_3, Reason::Failed), (NODE_4, Reason::Failed)];
    story.cluster_view(2, &[NODE_1, NODE_2], &[], &failed);
    let failed = [(C, Reason::Failed), (D, Reason::Failed)];
    story.group_view(2, &[A, B], &[], &failed);
    send(&mut story, 2, A, 7, Order::Safe);
    send(&mut story, 2, B, 3, Order::Fifo);
    deliver(&mut story, 2, A, &[(A, 7), (B, 3)]);
    deliver(&mut story, 2, B, &[(B, 3), (A, 7)]);
    story
}
