// SPDX-License-Identifier: GPL-2.0

//! The checker bites: each fault that is put into a good trace is reported under the names of exactly
//! the promises that it breaks, and there is such a fault for every promise.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::story::{
    change, good, member, scope, view, Story, A, B, C, C_AGAIN, GROUP, MS, NODE_1, NODE_2, NODE_3,
    NODE_3_AGAIN, NODE_4,
};
use trace_checker::properties;
use trace_checker::trace::{EventKind, Expectation, Member, Order, Reason, ViewId};

/// A way to spoil the good story, and the promises that this breaks.
struct Fault {
    what: &'static str,
    spoil: fn(&mut Story),
    breaks: &'static [&'static str],
}

const FAULTS: &[Fault] = &[
    Fault {
        what: "a node installs a view that it is not in",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            story.tell(stranger, EventKind::Start);
            let theirs = view(None, (5, 1), &[NODE_1, NODE_2], &[], &[]);
            story.tell(stranger, EventKind::View(theirs));
        },
        breaks: &["M1"],
    },
    Fault {
        what: "a node installs the view it has once more",
        spoil: |story| {
            let again = view(None, (4, 1), &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
            story.tell(NODE_1, EventKind::View(again));
        },
        breaks: &["M2"],
    },
    Fault {
        what: "a member sends and gets a message before its first view",
        spoil: |story| {
            let second = member(1, 2, 10);
            story.message(4, second, 1, &[second]);
        },
        breaks: &["M3"],
    },
    Fault {
        what: "a newcomer finds other members in its first view",
        spoil: |story| {
            let members = [NODE_1, NODE_3_AGAIN, NODE_4];
            story.view_mut(NODE_3_AGAIN, 3).members = Arc::from(members);
        },
        breaks: &["M4"],
    },
    Fault {
        what: "a view is primary for one of its members only",
        spoil: |story| story.view_mut(NODE_2, 2).primary = false,
        breaks: &["M4"],
    },
    Fault {
        what: "two nodes disagree on why a third one is gone",
        spoil: |story| {
            story.view_mut(NODE_2, 2).left = Some(vec![change(NODE_3, Reason::Leave)]);
        },
        breaks: &["M4", "M8"],
    },
    Fault {
        what: "two views of one number",
        spoil: |story| story.view_mut(NODE_2, 2).view.coordinator = 2,
        breaks: &["M5"],
    },
    Fault {
        what: "a primary view of somebody who was in none before",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            story.tell(stranger, EventKind::Start);
            story.cluster_view(9, &[stranger], &[stranger], &[]);
        },
        breaks: &["M6"],
    },
    Fault {
        what: "a send in a primary view after one that shares nobody with it",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            let bridge = [NODE_1, NODE_2, NODE_3_AGAIN, stranger];
            story.tell(stranger, EventKind::Start);
            let ours = view(None, (5, 1), &bridge, &[stranger], &[]);
            story.tell(stranger, EventKind::View(ours));
            let left = [NODE_1, NODE_2, NODE_3_AGAIN].map(|m| (m, Reason::Failed));
            for who in [1, 2, 3] {
                story.tell(stranger, EventKind::Suspect { subject: who });
            }
            let alone = view(None, (6, 9), &[stranger], &[], &left);
            story.tell(stranger, EventKind::View(alone));
            story.message(4, A, 7, &[A, C_AGAIN]);
        },
        breaks: &["M6rt"],
    },
    Fault {
        what: "a crashed node suspects another one",
        spoil: |story| story.tell(NODE_3, EventKind::Suspect { subject: 1 }),
        breaks: &["M7"],
    },
    Fault {
        what: "a node starts again with a smaller incarnation",
        spoil: |story| story.tell(member(4, 0, 39), EventKind::Start),
        breaks: &["M7"],
    },
    Fault {
        what: "who was gone from the view comes back under the same incarnation",
        spoil: |story| {
            let all = [NODE_1, NODE_2, NODE_3_AGAIN, NODE_4];
            let back = view(None, (5, 1), &all, &[NODE_4], &[]);
            story.tell(NODE_1, EventKind::View(back));
        },
        breaks: &["M7"],
    },
    Fault {
        what: "a view does not tell who joined",
        spoil: |story| story.view_mut(NODE_1, 3).joined = Some(Vec::new()),
        breaks: &["M8"],
    },
    Fault {
        what: "a view does not tell who left",
        spoil: |story| {
            for who in [NODE_1, NODE_2, NODE_4] {
                story.view_mut(who, 2).left = Some(Vec::new());
            }
        },
        breaks: &["M8"],
    },
    Fault {
        what: "a crash is told as a farewell",
        spoil: |story| {
            for who in [NODE_1, NODE_2, NODE_4] {
                story.view_mut(who, 2).left = Some(vec![change(NODE_3, Reason::Leave)]);
            }
        },
        breaks: &["M8"],
    },
    Fault {
        what: "a farewell is told as a failure",
        spoil: |story| {
            for who in [A, C_AGAIN] {
                story.view_mut(who, 4).left = Some(vec![change(B, Reason::Failed)]);
            }
        },
        breaks: &["M8"],
    },
    Fault {
        what: "a message arrives with other bytes",
        spoil: |story| {
            let place = story.deliver_at(B, A, 2);
            story.message_mut(place).hash ^= 1;
        },
        breaks: &["D1"],
    },
    Fault {
        what: "a message arrives shorter",
        spoil: |story| {
            let place = story.deliver_at(C, B, 1);
            story.message_mut(place).length -= 1;
        },
        breaks: &["D1"],
    },
    Fault {
        what: "a message that nobody sent",
        spoil: |story| {
            let place = story.send_at(B, 1);
            story.events.remove(place);
        },
        breaks: &["D1"],
    },
    Fault {
        what: "a duplicate after a retransmission",
        spoil: |story| {
            let place = story.deliver_at(B, A, 1);
            let again = story.events[place].clone();
            let place = story.deliver_at(B, B, 1);
            story.events.insert(place + 1, again);
            story.events[place + 1].t = story.events[place].t;
        },
        breaks: &["D2"],
    },
    Fault {
        what: "a newcomer gets a message of the view before its first one",
        spoil: |story| {
            let after = story.deliver_at(C_AGAIN, A, 5);
            story.deliver(3, C_AGAIN, B, 2);
            story.move_after(story.events.len() - 1, after);
        },
        breaks: &["D3", "D4", "D5"],
    },
    Fault {
        what: "a delivery names another view than the one the member is in",
        spoil: |story| {
            let place = story.deliver_at(B, A, 5);
            story.message_mut(place).view = Some(ViewId {
                number: 2,
                coordinator: 2,
            });
        },
        breaks: &["D3"],
    },
    Fault {
        what: "the last message before a view is dropped at one member",
        spoil: |story| {
            let place = story.deliver_at(A, B, 2);
            story.events.remove(place);
        },
        breaks: &["D5"],
    },
    Fault {
        what: "a companion is missing in a transitional set",
        spoil: |story| story.view_mut(A, 2).transitional = Some(vec![A]),
        breaks: &["D6"],
    },
    Fault {
        what: "a newcomer is in a transitional set",
        spoil: |story| story.view_mut(B, 3).transitional = Some(vec![A, B, C_AGAIN]),
        breaks: &["D6"],
    },
    Fault {
        what: "a message of a dead member is delivered in a view without it",
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
        breaks: &["D8"],
    },
    Fault {
        what: "a message for who was put out",
        spoil: |story| {
            let out = view(Some(scope(C_AGAIN)), (4, 2), &[], &[], &[]);
            story.tell(C_AGAIN, EventKind::View(out));
            story.message(4, A, 7, &[A, C_AGAIN]);
        },
        breaks: &["D8"],
    },
    Fault {
        what: "a delivery after leave",
        spoil: |story| {
            let after = story.deliver_at(A, A, 6);
            story.deliver(4, B, A, 6);
            story.move_after(story.events.len() - 1, after);
        },
        breaks: &["D9"],
    },
    Fault {
        what: "two messages of one sender swapped, without agreed order",
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
        breaks: &["O1"],
    },
    Fault {
        what: "two messages of one sender swapped, with agreed order",
        spoil: |story| story.swap(story.deliver_at(B, A, 3), story.deliver_at(B, A, 4)),
        breaks: &["O1", "O7"],
    },
    Fault {
        what: "a message is lost for everybody, and a later one of its sender is not",
        spoil: |story| {
            for who in [A, B, C] {
                let place = story.deliver_at(who, A, 1);
                story.events.remove(place);
            }
        },
        breaks: &["O2", "L2"],
    },
    Fault {
        what: "a message in the middle is dropped at one member",
        spoil: |story| {
            let place = story.deliver_at(B, A, 3);
            story.events.remove(place);
        },
        breaks: &["D5", "O2", "O7"],
    },
    Fault {
        what: "two deliveries swapped at a member that lives on",
        spoil: |story| story.swap(story.deliver_at(A, B, 1), story.deliver_at(A, C, 1)),
        breaks: &["O7"],
    },
    Fault {
        what: "two deliveries swapped at a member that crashes",
        spoil: |story| story.swap(story.deliver_at(C, B, 1), story.deliver_at(C, C, 1)),
        breaks: &["O7"],
    },
    Fault {
        what: "a message comes before the view at one member and after it at another",
        spoil: |story| {
            let (from, after) = (story.deliver_at(B, A, 2), story.view_at(B, 2));
            story.move_after(from, after);
        },
        breaks: &["D3", "D4", "D5", "O7", "O8"],
    },
    Fault {
        what: "a node misses the last view",
        spoil: |story| {
            let place = story.view_at(NODE_3_AGAIN, 4);
            story.events.remove(place);
        },
        breaks: &["L1"],
    },
    Fault {
        what: "a member never comes into the group",
        spoil: |story| {
            story.expect_together(Some(GROUP), &[A, C_AGAIN, member(4, 1, 40)], 0);
        },
        breaks: &["L1"],
    },
    Fault {
        what: "a node goes on alone after the others have settled",
        spoil: |story| {
            let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.tell(NODE_1, EventKind::View(view(None, (5, 1), &rest, &[], &[])));
            story.expect_together(None, &rest, 10 * MS);
        },
        breaks: &["L1"],
    },
    Fault {
        what: "the last view comes too late",
        spoil: |story| {
            let place = story.find(|event| match &event.kind {
                EventKind::Expect(Expectation::Together { group, .. }) => group.is_none(),
                _ => false,
            });
            if let EventKind::Expect(Expectation::Together { since, .. }) =
                &mut story.events[place].kind
            {
                *since -= 20 * MS;
            }
        },
        breaks: &["L1"],
    },
    Fault {
        what: "a sender never gets its own message",
        spoil: |story| {
            let place = story.deliver_at(A, A, 6);
            story.events.remove(place);
        },
        breaks: &["L2"],
    },
    Fault {
        what: "a member that stays never gets the last message of another one",
        spoil: |story| {
            let place = story.deliver_at(C_AGAIN, A, 6);
            story.events.remove(place);
        },
        breaks: &["L3"],
    },
    Fault {
        what: "a dead node is in the view for too long",
        spoil: |story| {
            let place = story
                .find(|event| matches!(event.kind, EventKind::Expect(Expectation::Gone { .. })));
            if let EventKind::Expect(Expectation::Gone { bound, .. }) =
                &mut story.events[place].kind
            {
                *bound = 5 * MS;
            }
        },
        breaks: &["L5"],
    },
    Fault {
        what: "two nodes that crash at once go in two view changes",
        spoil: |story| {
            let now = story.now();
            story.tell(NODE_2, EventKind::Crash);
            story.tell(NODE_3_AGAIN, EventKind::Crash);
            for subject in [2, 3] {
                story.tell(NODE_1, EventKind::Suspect { subject });
            }
            let fewer = [NODE_1, NODE_3_AGAIN];
            let one = view(None, (5, 1), &fewer, &[], &[(NODE_2, Reason::Failed)]);
            story.tell(NODE_1, EventKind::View(one));
            story.cluster_view(6, &[NODE_1], &[], &[(NODE_3_AGAIN, Reason::Failed)]);
            story.expect_gone(&[NODE_2, NODE_3_AGAIN], now, 10 * MS, true);
        },
        breaks: &["L5"],
    },
    Fault {
        what: "a node that is up and connected is put out",
        spoil: |story| {
            story.tell(NODE_1, EventKind::Suspect { subject: 2 });
            let fewer = [NODE_1, NODE_3_AGAIN];
            story.cluster_view(5, &fewer, &[], &[(NODE_2, Reason::Failed)]);
            story.expect(Expectation::Kept {
                members: vec![NODE_1, NODE_2, NODE_3_AGAIN],
                since: story.now() - 3 * MS,
            });
        },
        breaks: &["L6"],
    },
    Fault {
        what: "a node that is up and connected begins a new incarnation",
        spoil: |story| {
            let since = story.now();
            story.tell(NODE_2, EventKind::Stop);
            story.tell(member(2, 0, 21), EventKind::Start);
            let members = vec![NODE_1, NODE_2, NODE_3_AGAIN];
            story.expect(Expectation::Kept { members, since });
        },
        breaks: &["L6"],
    },
    Fault {
        what: "a node that stood still accuses one that did not",
        spoil: |story| {
            let since = story.now();
            story.tell(NODE_2, EventKind::Accuse { subject: 1 });
            story.expect(Expectation::Unaccused {
                by: 2,
                members: vec![NODE_1, NODE_3_AGAIN],
                since,
                bound: MS,
            });
        },
        breaks: &["L7"],
    },
    Fault {
        what: "a member of a settled view is not allowed to send",
        spoil: |story| {
            let since = story.now();
            story.message(4, A, 7, &[A, C_AGAIN]);
            story.expect(Expectation::Sending {
                group: Arc::from(GROUP),
                members: vec![A, C_AGAIN],
                since,
                bound: 10 * MS,
            });
        },
        breaks: &["L8"],
    },
    Fault {
        what: "a member of a settled view is allowed to send too late",
        spoil: |story| {
            let since = story.now();
            story.message(4, A, 7, &[A, C_AGAIN]);
            story.message(4, A, 8, &[A, C_AGAIN]);
            story.message(4, C_AGAIN, 2, &[A, C_AGAIN]);
            story.expect(Expectation::Sending {
                group: Arc::from(GROUP),
                members: vec![A, C_AGAIN],
                since,
                bound: 5 * MS,
            });
        },
        breaks: &["L8"],
    },
    Fault {
        what: "a steady fault makes views come and go",
        spoil: |story| {
            let since = story.now();
            let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.cluster_view(5, &rest, &[], &[]);
            story.cluster_view(6, &rest, &[], &[]);
            story.expect(Expectation::Steady { since, views: 1 });
        },
        breaks: &["L9"],
    },
    Fault {
        what: "a node goes as evicted, and nobody asked for that",
        spoil: |story| {
            let fewer = [NODE_1, NODE_3_AGAIN];
            story.cluster_view(5, &fewer, &[], &[(NODE_2, Reason::Evicted)]);
            story.tell(NODE_2, EventKind::Evicted);
            story.tell(NODE_2, EventKind::Stop);
        },
        breaks: &["A1"],
    },
    Fault {
        what: "an evicted node goes on as if it had failed",
        spoil: |story| {
            eviction_of_2(story);
            goes_on_as(story, 21);
            let again = [NODE_1, NODE_2_AGAIN, NODE_3_AGAIN];
            story.cluster_view(6, &again, &[NODE_2_AGAIN], &[]);
        },
        breaks: &["A1"],
    },
    Fault {
        what: "an evicted node is not told so in time",
        spoil: |story| {
            let since = story.now();
            eviction_of_2(story);
            story.tell(NODE_2, EventKind::Evicted);
            story.tell(NODE_2, EventKind::Stop);
            story.expect(Expectation::Out {
                members: vec![NODE_2],
                since,
                bound: 3 * MS,
            });
        },
        breaks: &["A1"],
    },
    Fault {
        what: "a view comes while all are pinned",
        spoil: |story| {
            pinned(story);
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
        },
        breaks: &["A2"],
    },
    Fault {
        what: "a promise of a pinned node counts",
        spoil: |story| {
            story.tell(NODE_2, EventKind::Block { scope: None });
            pinned(story);
            story.tell(NODE_1, EventKind::Block { scope: None });
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
        },
        breaks: &["A2"],
    },
    Fault {
        what: "a failed node goes that was not fenced in this view",
        spoil: |story| {
            let subject = NODE_3_AGAIN;
            let again = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.tell(NODE_1, EventKind::Guard);
            story.tell(NODE_1, EventKind::Fenced { subject });
            story.cluster_view(5, &again, &[], &[]);
            failure_of_3(story, 6);
        },
        breaks: &["A3"],
    },
    Fault {
        what: "a failed node goes that another handler has fenced",
        spoil: |story| {
            let subject = NODE_3_AGAIN;
            story.tell(NODE_1, EventKind::Guard);
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
            story.tell(NODE_2, EventKind::Fenced { subject });
            failure_of_3(story, 6);
        },
        breaks: &["A3"],
    },
];

const NODE_2_AGAIN: Member = member(2, 0, 21);

/// Node 2 goes on by itself, at once.
fn goes_on_as(story: &mut Story, incarnation: u64) {
    story.tell(NODE_2, EventKind::Stop);
    story.tell(member(2, 0, incarnation), EventKind::Start);
    let now = story.now();
    let places = story.events.len();
    story.events[places - 2].t = now;
}

fn eviction_of_2(story: &mut Story) {
    story.tell(NODE_1, EventKind::Evict { subject: NODE_2 });
    let fewer = [NODE_1, NODE_3_AGAIN];
    story.cluster_view(5, &fewer, &[], &[(NODE_2, Reason::Evicted)]);
}

fn pinned(story: &mut Story) {
    for who in [NODE_1, NODE_2, NODE_3_AGAIN] {
        story.tell(who, EventKind::Pin);
    }
}

fn failure_of_3(story: &mut Story, view: u64) {
    story.tell(NODE_1, EventKind::Accuse { subject: 3 });
    story.cluster_view(
        view,
        &[NODE_1, NODE_2],
        &[],
        &[(NODE_3_AGAIN, Reason::Failed)],
    );
}

#[test]
fn what_administrators_may_ask_for_is_not_reported() {
    let mut story = good();
    for who in [NODE_1, NODE_2] {
        story.tell(who, EventKind::Block { scope: None });
    }
    pinned(&mut story);
    story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
    for who in [NODE_1, NODE_2, NODE_3_AGAIN] {
        story.tell(who, EventKind::Unpin);
    }
    story.tell(NODE_1, EventKind::Guard);
    story.cluster_view(6, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
    let subject = NODE_3_AGAIN;
    story.tell(NODE_1, EventKind::Fenced { subject });
    failure_of_3(&mut story, 7);
    let since = story.now();
    story.tell(NODE_1, EventKind::Evict { subject: NODE_2 });
    story.cluster_view(8, &[NODE_1], &[], &[(NODE_2, Reason::Evicted)]);
    story.tell(NODE_2, EventKind::Evicted);
    story.tell(NODE_2, EventKind::Stop);
    let members = vec![NODE_2];
    story.expect(Expectation::Out {
        members,
        since,
        bound: 10 * MS,
    });
    assert_eq!(story.broken(), BTreeSet::new());
}

#[test]
fn who_hears_of_its_eviction_in_its_next_incarnation_is_not_reported() {
    let mut story = good();
    eviction_of_2(&mut story);
    goes_on_as(&mut story, 21);
    story.tell(NODE_2_AGAIN, EventKind::Evicted);
    story.tell(NODE_2_AGAIN, EventKind::Stop);
    assert_eq!(story.broken(), BTreeSet::new());
}

#[test]
fn what_was_kept_is_not_reported() {
    let mut story = good();
    let since = story.now();
    story.tell(NODE_2, EventKind::Accuse { subject: 4 });
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
    assert_eq!(story.broken(), BTreeSet::new());
}

#[test]
fn the_good_story_breaks_nothing() {
    assert_eq!(good().broken(), BTreeSet::new());
}

#[test]
fn each_fault_is_reported_under_its_names() {
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let mut story = good();
        (fault.spoil)(&mut story);
        let (got, wanted) = (story.broken(), fault.breaks.iter().copied().collect());
        if got != wanted {
            wrong.push(format!(
                "{}: reported {got:?}, breaks {wanted:?}",
                fault.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_a_fault_for_every_promise() {
    let bitten: BTreeSet<&str> = FAULTS.iter().flat_map(|f| f.breaks).copied().collect();
    let checked: BTreeSet<&str> = properties::ALL.iter().map(|p| p.name.0).collect();
    assert_eq!(bitten, checked);
}
