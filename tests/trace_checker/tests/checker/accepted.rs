// SPDX-License-Identifier: GPL-2.0

//! The checker accepts what nodes may do: the good story, and orderly administration and met expectations after it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::faults::delivery::leave_with_a_lost_message;
use super::faults::mixed_orders::ask_for_sending_view;
use super::mixed::mixed;
use super::story::{good, A, C_AGAIN, GROUP, MS, NODE_1, NODE_2, NODE_2_AGAIN, NODE_3_AGAIN};
use trace_checker::trace::{EventKind, Expectation, Reason, ViewId};

#[test]
fn the_good_story_violates_nothing() {
    assert_eq!(good().violated(), BTreeSet::new());
}

#[test]
fn messages_of_weaker_orders_may_overtake_agreed_and_safe_ones_of_other_senders() {
    assert_eq!(mixed().violated(), BTreeSet::new());
}

#[test]
fn evictions_pins_and_fencing_that_administrators_asked_for_are_accepted() {
    let mut story = good();
    for who in [NODE_1, NODE_2] {
        story.add(who, EventKind::Block { scope: None });
    }
    story.pin_all();
    // Two of three nodes promised a ballot before they were pinned.
    story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
    for who in [NODE_1, NODE_2, NODE_3_AGAIN] {
        story.add(who, EventKind::Unpin);
    }
    story.add(NODE_1, EventKind::Guard);
    story.cluster_view(6, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
    let subject = NODE_3_AGAIN;
    story.add(NODE_1, EventKind::Fenced { subject });
    story.fail_node_3(7);
    let since = story.now();
    story.add(NODE_1, EventKind::Evict { subject: NODE_2 });
    story.cluster_view(8, &[NODE_1], &[], &[(NODE_2, Reason::Evicted)]);
    story.add(NODE_2, EventKind::Evicted);
    story.add(NODE_2, EventKind::Stop);
    let members = vec![NODE_2];
    story.expect(Expectation::Out {
        members,
        since,
        bound: 10 * MS,
    });
    assert_eq!(story.violated(), BTreeSet::new());
}

#[test]
fn a_node_may_learn_of_its_eviction_in_its_next_incarnation() {
    let mut story = good();
    story.evict_node_2(5);
    story.restart_at_once(NODE_2, NODE_2_AGAIN);
    story.add(NODE_2_AGAIN, EventKind::Evicted);
    story.add(NODE_2_AGAIN, EventKind::Stop);
    assert_eq!(story.violated(), BTreeSet::new());
}

#[test]
fn expectations_that_are_met_violate_nothing() {
    let mut story = good();
    let since = story.now();
    story.add(NODE_2, EventKind::Accuse { subject: 4 });
    story.message(4, A, 7, &[A, C_AGAIN]);
    story.message(4, C_AGAIN, 2, &[A, C_AGAIN]);
    let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
    story.cluster_view(5, &rest, &[], &[]);
    let members = rest.to_vec();
    story.expect(Expectation::Kept {
        members: members.clone(),
        since,
    });
    story.expect(Expectation::Unaccused {
        by: 2,
        members,
        since,
        bound: 100 * MS,
    });
    story.expect(Expectation::Sending {
        group: Arc::from(GROUP),
        members: vec![A, C_AGAIN],
        since,
        bound: 5 * MS,
    });
    story.expect(Expectation::Steady { since, views: 1 });
    assert_eq!(story.violated(), BTreeSet::new());
}

#[test]
fn messages_of_which_a_leaving_member_was_told_that_they_are_lost_are_accepted() {
    // A line without a number says nothing of them.
    for told in [Some(1), Some(2), None] {
        let mut story = good();
        leave_with_a_lost_message(&mut story, told);
        assert_eq!(story.violated(), BTreeSet::new(), "told {told:?}");
    }
}

#[test]
fn without_sending_view_delivery_a_message_may_be_delivered_in_a_later_view_than_that_of_the_call()
{
    let mut story = mixed();
    let place = story.send_at(A, 7);
    story.message_mut(place).call_view = Some(ViewId {
        number: 1,
        coordinator: 2,
    });
    assert_eq!(story.violated(), BTreeSet::new());
}

#[test]
fn with_sending_view_delivery_messages_are_delivered_in_the_view_of_the_call() {
    let mut story = mixed();
    ask_for_sending_view(&mut story);
    let place = story.send_at(A, 7);
    story.message_mut(place).call_view = Some(ViewId {
        number: 2,
        coordinator: 2,
    });
    assert_eq!(story.violated(), BTreeSet::new());
}
