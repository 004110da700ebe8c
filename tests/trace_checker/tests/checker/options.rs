// SPDX-License-Identifier: GPL-2.0

//! The checker's options.

use std::collections::BTreeSet;

use trace_checker::trace::{EventKind, Order, Reason};
use trace_checker::Options;

use super::story::{good, scope, view, Story, A, B, C, C_AGAIN, NODE_1};

#[test]
fn with_the_option_a_crashed_node_may_have_lost_the_line_of_a_sending() {
    let mut story = good();
    story.remove(story.send_at(C, 1));
    assert_eq!(story.violated(), BTreeSet::from(["D1"]));
    let lenient = Options {
        crashes_lose_lines: true,
        ..Options::default()
    };
    assert_eq!(story.violated_with(lenient), BTreeSet::new());
    // A node that left in an orderly way wrote all its lines.
    story.remove(story.send_at(A, 1));
    story.leave(NODE_1, true);
    assert_eq!(story.violated_with(lenient), BTreeSet::from(["D1"]));
}

#[test]
fn with_the_option_messages_of_every_order_are_checked_as_agreed_ones() {
    let mut story = good();
    for sender in [B, C] {
        let mut places = vec![story.send_at(sender, 1)];
        places.extend([A, B, C].map(|who| story.deliver_at(who, sender, 1)));
        for place in places {
            story.message_mut(place).order = Order::Fifo;
        }
    }
    story.swap(story.deliver_at(A, B, 1), story.deliver_at(A, C, 1));
    assert_eq!(story.violated(), BTreeSet::new());
    let strict = Options {
        every_order_is_agreed: true,
        ..Options::default()
    };
    assert_eq!(
        story.violated_with(strict),
        BTreeSet::from(["O3", "O5", "O7"])
    );
}

/// A group of which A and C go separate ways: A keeps its view, and C installs a later primary one alone.
fn two_primary_views() -> Story {
    let mut story = good();
    story.group_view(5, &[A], &[], &[(C_AGAIN, Reason::Leave)]);
    story.message(5, A, 7, &[A]);
    let mut alone = view(Some(scope(C_AGAIN)), (6, 3), &[C_AGAIN], &[], &[]);
    alone.left = None;
    alone.joined = None;
    story.add(C_AGAIN, EventKind::View(alone));
    story
}

#[test]
fn with_the_option_nothing_is_delivered_after_a_later_primary_view_without_a_common_member() {
    let with_leases = Options {
        lease: true,
        ..Options::default()
    };
    let mut story = two_primary_views();
    let without_option = story.violated();
    assert_eq!(story.violated_with(with_leases), without_option);
    let after = story.events.len() - 1;
    story.move_after(story.deliver_at(A, A, 7), after);
    assert_eq!(story.violated(), without_option);
    let mut expected = without_option;
    expected.insert("M6rt");
    assert_eq!(story.violated_with(with_leases), expected);
}
