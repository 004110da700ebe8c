// SPDX-License-Identifier: GPL-2.0

//! Members that go with their nodes from one part of a cluster to another: what they must have delivered, and whom
//! they must know.

use std::collections::BTreeSet;

use trace_checker::trace::{Change, EventKind, Member, Reason};
use trace_checker::Options;

use crate::story::{good, member, scope, view, Story, A, C_AGAIN, NODE_1, NODE_2, NODE_3_AGAIN};

/// A and C in their incarnations in the other part.
const A_THERE: Member = member(1, 1, 11);
const C_THERE: Member = member(3, 1, 32);
const NODE_1_THERE: Member = member(1, 0, 11);
const NODE_3_THERE: Member = member(3, 0, 32);
/// A member that node 2 has there from the beginning.
const B_THERE: Member = member(2, 2, 20);

/// A view of the group there, for one of its members.
fn group_view_there(story: &mut Story, who: Member, along: &[Member], joined: &[Member]) {
    let members = [A_THERE, B_THERE, C_THERE];
    let mut event = view(Some(scope(who)), (5, 2), &members, joined, &[]);
    event.transitional = Some(along.to_vec());
    story.tell(who, EventKind::View(event));
}

/// The good story, after which nodes 1 and 3 go to another part. C had not yet delivered the last message.
fn good_parts() -> Story {
    let mut story = good();
    story.message(4, A, 7, &[A]);
    for (old, new) in [(NODE_1, NODE_1_THERE), (NODE_3_AGAIN, NODE_3_THERE)] {
        story.tell(old, EventKind::Stop);
        story.tell(new, EventKind::Start);
    }
    let there = [NODE_1_THERE, NODE_2, NODE_3_THERE];
    for who in there {
        let joined = [NODE_1_THERE, NODE_3_THERE];
        let left = [(NODE_1, Reason::Failed), (NODE_3_AGAIN, Reason::Failed)];
        let left = if who == NODE_2 { &left[..] } else { &[] };
        let joined = if who == NODE_2 { &joined[..] } else { &there };
        story.tell(
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

fn broken(story: &Story) -> BTreeSet<&'static str> {
    story.broken_with(Options {
        partitionable: true,
        ..Options::default()
    })
}

fn finds(spoil: impl FnOnce(&mut Story), names: &[&str]) {
    let mut story = good_parts();
    spoil(&mut story);
    assert_eq!(broken(&story), names.iter().copied().collect());
}

#[test]
fn members_that_go_together_and_deliver_the_same_break_nothing() {
    assert_eq!(broken(&good_parts()), BTreeSet::new());
}

#[test]
fn a_message_that_one_of_them_has_not_delivered_is_missed() {
    let lose = |story: &mut Story| {
        let place = story.deliver_at(C_AGAIN, A, 7);
        story.events.remove(place);
    };
    finds(lose, &["D5"]);
}

#[test]
fn a_companion_that_is_not_told_is_missed() {
    let forget = |story: &mut Story| {
        let view = story.view_mut(A_THERE, 5);
        view.transitional = Some(vec![A_THERE]);
        view.joined.as_mut().unwrap().push(Change {
            member: C_THERE,
            reason: None,
        });
    };
    finds(forget, &["D6"]);
}

#[test]
fn who_was_there_before_is_no_companion() {
    let claim = |story: &mut Story| {
        let view = story.view_mut(C_THERE, 5);
        view.transitional = Some(vec![A_THERE, B_THERE, C_THERE]);
        view.joined = Some(Vec::new());
    };
    finds(claim, &["D6"]);
}

#[test]
fn a_companion_that_is_told_as_new_is_found() {
    let tell = |story: &mut Story| {
        let view = story.view_mut(C_THERE, 5);
        view.joined.as_mut().unwrap().push(Change {
            member: A_THERE,
            reason: None,
        });
    };
    finds(tell, &["M8"]);
}

#[test]
fn who_comes_alone_delivers_nothing_more_of_its_last_incarnation() {
    let part = |story: &mut Story| {
        for who in [A_THERE, C_THERE] {
            let view = story.view_mut(who, 5);
            view.transitional = Some(Vec::new());
        }
    };
    finds(part, &["M7"]);
}
