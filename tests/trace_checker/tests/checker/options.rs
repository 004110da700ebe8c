// SPDX-License-Identifier: GPL-2.0

//! The checker's options.

use std::collections::BTreeSet;

use trace_checker::trace::Order;
use trace_checker::Options;

use super::story::{good, A, B, C, NODE_1};

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
            story.message_mut(place).order = Order::Causal;
        }
    }
    story.swap(story.deliver_at(A, B, 1), story.deliver_at(A, C, 1));
    assert_eq!(story.violated(), BTreeSet::new());
    let strict = Options {
        every_order_is_agreed: true,
        ..Options::default()
    };
    assert_eq!(story.violated_with(strict), BTreeSet::from(["O7"]));
}
