// SPDX-License-Identifier: GPL-2.0

//! Faults of messages of different orders in one group, in the story of [`crate::mixed`]: O1 to O7 across orders, S1 to S3,
//! and D3.

use super::Fault;
use crate::mixed::{deliver, move_before_the_crash, send, D};
use crate::story::{Story, A, B, C, NODE_2};
use trace_checker::trace::{EventKind, Order, ViewId};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "two members that crash deliver two agreed messages in different orders, and no other member delivers them",
        spoil: |story| {
            send(story, 1, C, 3, Order::Agreed);
            send(story, 1, D, 2, Order::Agreed);
            deliver(story, 1, C, &[(C, 3), (D, 2)]);
            deliver(story, 1, D, &[(D, 2), (C, 3)]);
            move_before_the_crash(story, 6);
        },
        violates: &["O5", "O7"],
    },
    Fault {
        what: "a member delivers a causal message before one that its sender had delivered",
        spoil: |story| {
            let (from, after) = (story.deliver_at(D, B, 2), story.deliver_at(D, D, 1));
            story.move_after(from, after);
        },
        violates: &["O3"],
    },
    Fault {
        what: "a member delivers a causal message before an agreed one that its sender had delivered",
        spoil: |story| {
            for sequence in [1, 2] {
                let (from, after) = (story.deliver_at(D, B, sequence), story.view_at(D, 1));
                story.move_after(from, after + usize::try_from(sequence).unwrap_or(0) + 3);
            }
        },
        violates: &["O3"],
    },
    Fault {
        what: "a member delivers a safe message before a causal one that its sender had delivered",
        spoil: |story| {
            let (from, after) = (story.deliver_at(D, C, 1), story.deliver_at(D, A, 3));
            story.move_after(from, after);
            let (from, after) = (story.deliver_at(D, C, 2), story.deliver_at(D, C, 1));
            story.move_after(from, after);
            story.remove(story.deliver_at(D, B, 2));
        },
        violates: &["O3"],
    },
    Fault {
        what: "a member delivers a causal message and never one that its sender had delivered",
        spoil: |story| {
            story.remove(story.deliver_at(D, C, 1));
            story.remove(story.deliver_at(D, C, 2));
        },
        violates: &["O4"],
    },
    Fault {
        what: "a FIFO message overtakes a safe one of its own sender",
        spoil: |story| story.swap(story.deliver_at(D, A, 2), story.deliver_at(D, A, 3)),
        violates: &["O1"],
    },
    Fault {
        what: "a FIFO message is delivered, and a safe one that its sender had sent before is not",
        spoil: |story| story.remove(story.deliver_at(D, A, 2)),
        violates: &["O2"],
    },
    Fault {
        what: "a member is given a message as safe that no other one has, and crashes",
        spoil: |story| {
            send(story, 1, C, 3, Order::Safe);
            deliver(story, 1, C, &[(C, 3)]);
            move_before_the_crash(story, 2);
        },
        violates: &["S1", "S3"],
    },
    Fault {
        what: "a member is given a message as safe before all have the agreed one before it, and crashes",
        spoil: |story| {
            send(story, 1, C, 3, Order::Agreed);
            send(story, 1, C, 4, Order::Safe);
            deliver(story, 1, C, &[(C, 3), (C, 4)]);
            move_before_the_crash(story, 4);
        },
        violates: &["S1", "S2", "S3"],
    },
    Fault {
        what: "a member goes on without a safe message that others delivered, and crashes then",
        spoil: |story| {
            send(story, 1, C, 3, Order::Safe);
            deliver(story, 1, C, &[(C, 3)]);
            deliver(story, 1, A, &[(C, 3)]);
            move_before_the_crash(story, 3);
            story.add(NODE_2, EventKind::Crash);
        },
        violates: &["D5", "O4", "O7", "S3"],
    },
    Fault {
        what: "a member that stays is not given a safe message",
        spoil: |story| story.remove(story.deliver_at(B, A, 7)),
        violates: &["L3", "S1"],
    },
    Fault {
        what: "a message is delivered in a view before the one in which its sender called",
        spoil: |story| {
            let place = story.send_at(A, 6);
            story.message_mut(place).call_view = Some(VIEW_2);
        },
        violates: &["D3"],
    },
    Fault {
        what: "in a group with sending view delivery a message is delivered in the view after the one of the call",
        spoil: |story| {
            ask_for_sending_view(story);
            let place = story.send_at(A, 7);
            story.message_mut(place).call_view = Some(VIEW_1);
        },
        violates: &["D3"],
    },
    Fault {
        what: "in a group with sending view delivery a message is delivered in the view after the one that its sender was in",
        spoil: |story| {
            ask_for_sending_view(story);
            let (from, after) = (story.send_at(A, 7), story.deliver_at(A, A, 6));
            story.move_after(from, after);
        },
        violates: &["D3"],
    },
    Fault {
        what: "a FIFO message was sent as a causal one",
        spoil: |story| {
            let place = story.send_at(B, 3);
            story.message_mut(place).order = Order::Causal;
        },
        violates: &["D1"],
    },
];

const VIEW_1: ViewId = ViewId {
    number: 1,
    coordinator: 2,
};
const VIEW_2: ViewId = ViewId {
    number: 2,
    coordinator: 2,
};

/// Let the group have asked for sending view delivery.
pub(crate) fn ask_for_sending_view(story: &mut Story) {
    for event in &mut story.events {
        if let EventKind::View(view) = &mut event.kind {
            view.sending_view = view.scope.is_some();
        }
    }
}
