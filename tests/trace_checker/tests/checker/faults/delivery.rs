// SPDX-License-Identifier: GPL-2.0

//! Faults of deliveries and transitional sets: the properties D1 to D10.

use super::Fault;
use crate::story::{scope, view, Story, A, B, C, C_AGAIN, NODE_1};
use trace_checker::trace::{EventKind, Reason, ViewId};

/// Let B send its third message just before it asks to leave. Nobody delivers it, and B is told how many were lost.
pub(crate) fn leave_with_a_lost_message(story: &mut Story, told: Option<u64>) {
    let after = story.deliver_at(C_AGAIN, A, 5);
    story.send(3, B, 3);
    story.move_after(story.events.len() - 1, after);
    let place = story.find(|event| {
        event.node == B.node && matches!(event.kind, EventKind::Leave { done: true, .. })
    });
    if let EventKind::Leave { lost, .. } = &mut story.events[place].kind {
        *lost = told;
    }
}

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a message is delivered with other bytes",
        spoil: |story| {
            let place = story.deliver_at(B, A, 2);
            story.message_mut(place).hash ^= 1;
        },
        violates: &["D1"],
    },
    Fault {
        what: "a message is delivered with one byte less",
        spoil: |story| {
            let place = story.deliver_at(C, B, 1);
            story.message_mut(place).length -= 1;
        },
        violates: &["D1"],
    },
    Fault {
        what: "a message is delivered that was never sent",
        spoil: |story| story.remove(story.send_at(B, 1)),
        violates: &["D1"],
    },
    Fault {
        what: "a message is delivered twice after a retransmission",
        spoil: |story| {
            let place = story.deliver_at(B, A, 1);
            let again = story.events[place].clone();
            let place = story.deliver_at(B, B, 1);
            story.events.insert(place + 1, again);
            story.events[place + 1].t = story.events[place].t;
        },
        violates: &["D2"],
    },
    Fault {
        what: "a new member delivers a message of the view before its first one",
        spoil: |story| {
            let after = story.deliver_at(C_AGAIN, A, 5);
            story.deliver(3, C_AGAIN, B, 2);
            story.move_after(story.events.len() - 1, after);
        },
        violates: &["D3", "D4", "D5", "O5"],
    },
    Fault {
        what: "a delivery names another view than the one that the member is in",
        spoil: |story| {
            let place = story.deliver_at(B, A, 5);
            story.message_mut(place).view = Some(ViewId {
                number: 2,
                coordinator: 2,
            });
        },
        violates: &["D3"],
    },
    Fault {
        what: "one member misses the last message before a view",
        spoil: |story| story.remove(story.deliver_at(A, B, 2)),
        violates: &["D10", "D5"],
    },
    Fault {
        what: "a transitional set lacks a member that came along",
        spoil: |story| story.view_mut(A, 2).transitional = Some(vec![A]),
        violates: &["D6"],
    },
    Fault {
        what: "a transitional set has a new member",
        spoil: |story| story.view_mut(B, 3).transitional = Some(vec![A, B, C_AGAIN]),
        violates: &["D6"],
    },
    Fault {
        what: "a message of a crashed member is delivered in a view without it",
        spoil: |story| {
            let after = story.deliver_at(C, C, 1);
            story.send(1, C, 2);
            let place = story.send_at(C, 2);
            story.message_mut(place).view = None;
            story.move_after(place, after);
            for who in [A, B] {
                let after = story.deliver_at(who, A, 3);
                story.deliver(2, who, C, 2);
                story.move_after(story.events.len() - 1, after);
            }
        },
        violates: &["D8"],
    },
    Fault {
        what: "an excluded member delivers a message",
        spoil: |story| {
            let out = view(Some(scope(C_AGAIN)), (4, 2), &[], &[], &[]);
            story.add(C_AGAIN, EventKind::View(out));
            story.message(4, A, 7, &[A, C_AGAIN]);
        },
        violates: &["D8"],
    },
    Fault {
        what: "a member delivers a message after leaving returned",
        spoil: |story| {
            let after = story.deliver_at(A, A, 6);
            story.deliver(4, B, A, 6);
            story.move_after(story.events.len() - 1, after);
        },
        violates: &["D9"],
    },
    Fault {
        what: "a member leaves, is told that nothing was lost, and nobody delivers its last message",
        spoil: |story| leave_with_a_lost_message(story, Some(0)),
        violates: &["D10"],
    },
    Fault {
        what: "a member leaves, is told that one message was lost, and nobody delivers its last two",
        spoil: |story| {
            leave_with_a_lost_message(story, Some(1));
            let place = story.send_at(B, 3);
            story.send(3, B, 4);
            story.move_after(story.events.len() - 1, place);
        },
        violates: &["D10"],
    },
    Fault {
        what: "a member is excluded, is told that nothing was lost, and nobody delivers its last message",
        spoil: |story| {
            story.send(4, C_AGAIN, 2);
            let mut out = view(Some(scope(C_AGAIN)), (5, 2), &[], &[], &[]);
            out.lost = Some(0);
            story.add(C_AGAIN, EventKind::View(out));
            story.add(NODE_1, EventKind::Suspect { subject: 3 });
            story.group_view(5, &[A], &[], &[(C_AGAIN, Reason::Failed)]);
        },
        violates: &["D10"],
    },
    Fault {
        what: "the first message of a member is lost, and all deliver the next one",
        spoil: |story| {
            let place = story.send_at(C, 1);
            let message = story.message_mut(place);
            (message.view, message.call_view) = (None, message.view);
            for who in [A, B, C] {
                let place = story.deliver_at(who, C, 1);
                story.remove(place);
            }
            story.message(1, C, 2, &[A, B, C]);
            for _ in 0..4 {
                let after = story.send_at(C, 1);
                story.move_after(story.events.len() - 1, after);
            }
        },
        violates: &["D10", "O2"],
    },
];
