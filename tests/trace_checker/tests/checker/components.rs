// SPDX-License-Identifier: GPL-2.0

//! Members that go with their nodes from one component of a cluster to another: what they must have delivered, and which
//! members their transitional sets must have. Members that go together are companions.

use std::collections::BTreeSet;

use trace_checker::trace::{Change, EventKind, Member, Reason, ViewEvent};
use trace_checker::Options;

use crate::story::{good, member, scope, view, Story, A, C_AGAIN, NODE_1, NODE_2, NODE_3_AGAIN};

/// A, C and their nodes in the incarnations that they begin in the other component.
const A_THERE: Member = member(1, 1, 11);
const C_THERE: Member = member(3, 1, 32);
const NODE_1_THERE: Member = member(1, 0, 11);
const NODE_3_THERE: Member = member(3, 0, 32);
/// A member on node 2, which was in the other component before.
const B_THERE: Member = member(2, 2, 20);

/// Let `who` install the view of the group in the other component.
fn group_view_there(story: &mut Story, who: Member, transitional: &[Member], joined: &[Member]) {
    let members = [A_THERE, B_THERE, C_THERE];
    let mut event = view(Some(scope(who)), (5, 2), &members, joined, &[]);
    event.transitional = Some(transitional.to_vec());
    story.add(who, EventKind::View(event));
}

/// The good story, after which nodes 1 and 3 go to another component. C delivers the last message only then.
fn good_merge() -> Story {
    let mut story = good();
    story.message(4, A, 7, &[A]);
    for (old, new) in [(NODE_1, NODE_1_THERE), (NODE_3_AGAIN, NODE_3_THERE)] {
        story.add(old, EventKind::Stop);
        story.add(new, EventKind::Start);
    }
    let there = [NODE_1_THERE, NODE_2, NODE_3_THERE];
    for who in there {
        let joined = [NODE_1_THERE, NODE_3_THERE];
        let left = [(NODE_1, Reason::Failed), (NODE_3_AGAIN, Reason::Failed)];
        let left = if who == NODE_2 { &left[..] } else { &[] };
        let joined = if who == NODE_2 { &joined[..] } else { &there };
        story.add(
            who,
            EventKind::View(view(None, (5, 1), &there, joined, left)),
        );
    }
    story.deliver(4, C_AGAIN, A, 7);
    group_view_there(&mut story, A_THERE, &[A_THERE, C_THERE], &[B_THERE]);
    group_view_there(&mut story, C_THERE, &[A_THERE, C_THERE], &[B_THERE]);
    group_view_there(&mut story, B_THERE, &[], &[A_THERE, B_THERE, C_THERE]);
    story.message(5, A_THERE, 1, &[A_THERE, B_THERE, C_THERE]);
    story
}

/// Add a member to the list of those that joined, without a reason.
fn list_as_joined(view: &mut ViewEvent, member: Member) {
    let reason = None;
    let joined = view.joined.as_mut().unwrap();
    joined.push(Change { member, reason });
}

fn violated(story: &Story) -> BTreeSet<&'static str> {
    story.violated_with(Options {
        partitionable: true,
        ..Options::default()
    })
}

/// Spoil the good story of this module: the checker must report exactly these properties.
fn finds(spoil: impl FnOnce(&mut Story), names: &[&str]) {
    let mut story = good_merge();
    spoil(&mut story);
    assert_eq!(violated(&story), names.iter().copied().collect());
}

#[test]
fn members_that_go_together_and_delivered_the_same_violate_nothing() {
    assert_eq!(violated(&good_merge()), BTreeSet::new());
}

#[test]
fn a_message_that_only_one_of_two_companions_delivered_is_found() {
    let lose = |story: &mut Story| {
        story.remove(story.deliver_at(C_AGAIN, A, 7));
    };
    finds(lose, &["D5"]);
}

#[test]
fn a_companion_that_a_transitional_set_lacks_is_found() {
    let forget = |story: &mut Story| {
        let view = story.view_mut(A_THERE, 5);
        view.transitional = Some(vec![A_THERE]);
        list_as_joined(view, C_THERE);
    };
    finds(forget, &["D6"]);
}

#[test]
fn a_member_that_was_there_before_belongs_in_no_transitional_set() {
    let add = |story: &mut Story| {
        let view = story.view_mut(C_THERE, 5);
        view.transitional = Some(vec![A_THERE, B_THERE, C_THERE]);
        view.joined = Some(Vec::new());
    };
    finds(add, &["D6"]);
}

#[test]
fn a_companion_listed_as_joined_is_found() {
    let list = |story: &mut Story| {
        let view = story.view_mut(C_THERE, 5);
        list_as_joined(view, A_THERE);
    };
    finds(list, &["M8"]);
}

#[test]
fn a_member_that_comes_alone_delivers_nothing_more_in_its_old_incarnation() {
    let separate = |story: &mut Story| {
        for who in [A_THERE, C_THERE] {
            let view = story.view_mut(who, 5);
            view.transitional = Some(Vec::new());
        }
    };
    finds(separate, &["M7"]);
}
