// SPDX-License-Identifier: GPL-2.0

//! Faults of the order of messages and views: the properties O1 to O8.

use super::Fault;
use crate::story::{A, B, C};
use trace_checker::trace::Order;

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a member delivers two FIFO messages of one sender in the wrong order",
        spoil: |story| {
            for sequence in [3, 4] {
                for place in [
                    story.send_at(A, sequence),
                    story.deliver_at(A, A, sequence),
                    story.deliver_at(B, A, sequence),
                ] {
                    story.message_mut(place).order = Order::Fifo;
                }
            }
            story.swap(story.deliver_at(B, A, 3), story.deliver_at(B, A, 4));
        },
        violates: &["O1"],
    },
    Fault {
        what: "a member delivers two agreed messages of one sender in the wrong order",
        spoil: |story| story.swap(story.deliver_at(B, A, 3), story.deliver_at(B, A, 4)),
        violates: &["O1", "O5", "O7"],
    },
    Fault {
        what: "all members miss a message and deliver a later one of the same sender",
        spoil: |story| {
            for who in [A, B, C] {
                story.remove(story.deliver_at(who, A, 1));
            }
        },
        violates: &["D10", "L2", "O2"],
    },
    Fault {
        what: "one member misses a message and delivers a later one",
        spoil: |story| story.remove(story.deliver_at(B, A, 3)),
        violates: &["D10", "D5", "O2", "O7"],
    },
    Fault {
        what: "a member delivers the messages of two senders in another order",
        spoil: |story| story.swap(story.deliver_at(A, B, 1), story.deliver_at(A, C, 1)),
        violates: &["O3", "O5", "O7"],
    },
    Fault {
        what: "a member that crashes delivers the messages of two senders in another order",
        spoil: |story| story.swap(story.deliver_at(C, B, 1), story.deliver_at(C, C, 1)),
        violates: &["O5", "O7"],
    },
    Fault {
        what: "a message is delivered before a view at one member and after it at another",
        spoil: |story| {
            let (from, after) = (story.deliver_at(B, A, 2), story.view_at(B, 2));
            story.move_after(from, after);
        },
        violates: &["D3", "D4", "D5", "O7", "O8"],
    },
];
