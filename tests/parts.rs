// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster: parts go on with views of their own, find each other again, and at most one of
//! them is primary at any time.

mod lab;

use std::collections::BTreeMap;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::outputs::{Event, RefusalReason};
use kcgcs_protocol::protocol::wire::Kind;
use lab::groups::{delivered, kind};
use lab::Lab;

const SETTINGS: Configuration = Configuration {
    partitionable: 1,
    ..Configuration::DEFAULT
};
/// From a cut to the view of a part without a quorum: the silence, the attempts to find a quorum, the timeout,
/// rounds of looking for a cluster.
const PART_MS: u64 = 12_000;
/// From healing to the view of all.
const MERGE_MS: u64 = 12_000;

/// Nodes 1 to `count` in one primary view.
fn formed(count: u16) -> Lab {
    let all: Vec<u16> = (1..=count).collect();
    let mut lab = Lab::new(count, SETTINGS);
    lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
    lab.run_for(1_000);
    assert!(is_primary(&lab, 1));
    lab
}

/// The network falls into these parts; who is in none of them hears nobody.
fn part(lab: &mut Lab, parts: &[&[u16]]) {
    let mut sides = BTreeMap::new();
    for (side, members) in parts.iter().enumerate() {
        sides.extend(members.iter().map(|member| (*member, side)));
    }
    lab.filter = Box::new(move |from, to, _| {
        from == to
            || sides
                .get(&from)
                .is_some_and(|side| sides.get(&to) == Some(side))
    });
}

fn heal(lab: &mut Lab) {
    lab.filter = Box::new(|_, _, _| true);
}

fn is_primary(lab: &Lab, number: u16) -> bool {
    let view = lab.hosts[&number].node.view();
    view.is_some_and(|view| view.is_primary)
}

/// All of `numbers` have one view of exactly themselves, primary or not.
fn agree(lab: &Lab, numbers: &[u16], primary: bool) -> bool {
    lab.agree(numbers)
        && numbers
            .iter()
            .all(|number| is_primary(lab, *number) == primary)
}

#[test]
fn a_minority_goes_on_by_itself_and_comes_back() {
    let mut lab = formed(5);
    let first = lab.view_number(1);
    part(&mut lab, &[&[1, 2, 3], &[4, 5]]);
    lab.run_until(PART_MS, "a view of each part", |lab| {
        agree(lab, &[1, 2, 3], true) && agree(lab, &[4, 5], false)
    });
    assert!(lab.hosts[&4].node.has_quorum());
    assert!(lab.view_number(4) > first);
    // Both parts stay as they are for as long as they are parted.
    let numbers = (lab.view_number(1), lab.view_number(4));
    lab.run_for(20_000);
    assert_eq!((lab.view_number(1), lab.view_number(4)), numbers);
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
    // The majority was never disturbed.
    for number in [1, 2, 3] {
        assert!(!lab.was_told(number, |event| matches!(event, Event::Excluded { .. })));
    }
    assert!(lab.view_number(1) > numbers.1);
}

#[test]
fn consumers_in_each_part_have_a_view_of_their_group_and_send_in_it() {
    let mut lab = formed(5);
    let handles: BTreeMap<u16, _> = (1..=5)
        .map(|number| (number, lab.join(number, b"g")))
        .collect();
    let has_members = |lab: &Lab, number: u16, count: usize, primary: bool| {
        let mut events = lab.hosts[&number].events.iter().rev();
        let last = events.find_map(|(_, event)| match event {
            Event::GroupView { view, .. } => Some((view.members.len(), view.primary)),
            _ => None,
        });
        last == Some((count, primary))
    };
    lab.run_until(3_000, "a group of five", |lab| {
        (1..=5).all(|number| has_members(lab, number, 5, true))
    });
    part(&mut lab, &[&[1, 3, 4], &[2, 5]]);
    lab.run_until(PART_MS, "two groups", |lab| {
        [1, 3, 4]
            .iter()
            .all(|number| has_members(lab, *number, 3, true))
            && [2, 5]
                .iter()
                .all(|number| has_members(lab, *number, 2, false))
    });
    lab.multicast(5, handles[&5], b"here").unwrap();
    lab.multicast(1, handles[&1], b"there").unwrap();
    lab.run_until(1_000, "a message in each part", |lab| {
        (1..=5).all(|number| delivered(lab, number, handles[&number]) == 1)
    });
    heal(&mut lab);
    lab.run_until(MERGE_MS, "a group of five", |lab| {
        (1..=5).all(|number| has_members(lab, number, 5, true))
    });
}

#[test]
fn parts_of_which_none_has_a_majority_go_on_and_become_primary_when_two_meet() {
    let mut lab = formed(6);
    part(&mut lab, &[&[1, 2], &[3, 4], &[5, 6]]);
    lab.run_until(PART_MS, "three parts", |lab| {
        agree(lab, &[1, 2], false) && agree(lab, &[3, 4], false) && agree(lab, &[5, 6], false)
    });
    part(&mut lab, &[&[1, 2], &[3, 4, 5, 6]]);
    lab.run_until(MERGE_MS, "two of them are primary", |lab| {
        agree(lab, &[3, 4, 5, 6], true)
    });
    assert!(agree(&lab, &[1, 2], false));
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5, 6], true)
    });
}

#[test]
fn a_single_node_goes_on_alone_and_all_of_many_find_each_other_again() {
    let mut lab = formed(4);
    part(&mut lab, &[&[1], &[2], &[3], &[4]]);
    lab.run_until(PART_MS, "four parts", |lab| {
        (1..=4).all(|number| agree(lab, &[number], false))
    });
    heal(&mut lab);
    lab.run_until(2 * MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4], true)
    });
}

#[test]
fn a_part_loses_and_lets_in_nodes_as_any_view_does() {
    let mut lab = formed(7);
    part(&mut lab, &[&[1, 2, 3, 4], &[5, 6, 7]]);
    lab.run_until(PART_MS, "two parts", |lab| agree(lab, &[5, 6, 7], false));
    let incarnation = lab.hosts[&5].node.identity();
    lab.crash(7);
    lab.run_until(2_000, "without the crashed one", |lab| {
        agree(lab, &[5, 6], false)
    });
    lab.start(7, 1_000);
    lab.run_until(3_000, "with its next incarnation", |lab| {
        agree(lab, &[5, 6, 7], false)
    });
    assert_eq!(lab.hosts[&5].node.identity(), incarnation);
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5, 6, 7], true)
    });
}

/// A view was decided by a quorum, and only the node that crashes then has heard so: whoever forms the next
/// primary view must not contradict it.
#[test]
fn what_was_decided_and_not_told_is_not_contradicted_by_parts_that_meet() {
    let mut lab = formed(5);
    lab.crash(5);
    // Nobody hears that the view without node 5 is decided but node 1, which decides.
    lab.filter =
        Box::new(|_, _, bytes| !matches!(kind(bytes), Some(Kind::Commit | Kind::ViewPart)));
    lab.run_until(2_000, "a decision", |lab| lab.members(1) == [1, 2, 3, 4]);
    let decided = lab.view_number(1);
    // Node 1 has it and is alone; the others have accepted it.
    part(&mut lab, &[&[1], &[2, 3, 4]]);
    lab.run_until(2 * PART_MS, "a primary view of three", |lab| {
        agree(lab, &[2, 3, 4], true)
    });
    assert!(lab.view_number(2) > decided);
    lab.run_until(2 * PART_MS, "a part of one", |lab| agree(lab, &[1], false));
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4], true)
    });
}

/// Nodes 1 to 3 have decided on a view of themselves, of which node 3, whose acceptance was needed, does not hear.
#[test]
fn who_has_accepted_a_view_does_not_help_others_to_another_one() {
    let mut lab = formed(5);
    lab.filter = Box::new(|from, to, bytes| {
        let is_told = matches!(kind(bytes), Some(Kind::Commit | Kind::ViewPart));
        (from <= 3) == (to <= 3) && !(to == 3 && is_told)
    });
    lab.run_until(2_000, "a decision", |lab| {
        lab.agree(&[1, 2]) || lab.members(2) == [1, 2, 3]
    });
    assert_eq!(lab.members(3), [1, 2, 3, 4, 5]);
    // Nor do the others propose it again before they give the first view up.
    part(&mut lab, &[&[1, 2], &[3], &[4], &[5]]);
    lab.run_until(PART_MS, "three parts of one", |lab| {
        [3, 4, 5].iter().all(|number| agree(lab, &[*number], false))
    });
    part(&mut lab, &[&[1, 2], &[3, 4, 5]]);
    lab.run_until(MERGE_MS, "a part of three", |lab| {
        agree(lab, &[3, 4, 5], false)
    });
    lab.run_for(20_000);
    assert!(
        agree(&lab, &[3, 4, 5], false),
        "three of the five of the first view"
    );
    assert!(
        agree(&lab, &[1, 2], true),
        "two of the three of the second one"
    );
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_part_with_enough_nodes_that_have_forgotten_is_not_primary() {
    let mut lab = formed(5);
    part(&mut lab, &[&[1, 2, 3], &[4, 5]]);
    lab.run_until(PART_MS, "two parts", |lab| {
        agree(lab, &[1, 2, 3], true) && agree(lab, &[4, 5], false)
    });
    // Node 3 comes to the others with a new memory: 3 of the 5 that 4 and 5 know, but two that remember.
    lab.crash(3);
    lab.start(3, 1_000);
    part(&mut lab, &[&[1, 2], &[3, 4, 5]]);
    lab.run_until(MERGE_MS, "a part of three", |lab| {
        agree(lab, &[3, 4, 5], false)
    });
    lab.run_for(20_000);
    assert!(agree(&lab, &[1, 2], true), "two of three are a quorum");
    assert!(agree(&lab, &[3, 4, 5], false));
    heal(&mut lab);
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_cluster_of_which_most_have_forgotten_begins_anew() {
    let mut lab = formed(5);
    for number in [1, 2, 3] {
        lab.crash(number);
    }
    lab.run_for(200);
    for number in [1, 2, 3] {
        lab.start(number, 1_000);
    }
    lab.run_until(3 * PART_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

/// Exactly half of the first view remembers, without the node that makes a half a quorum.
#[test]
fn a_half_whose_lowest_node_has_forgotten_begins_anew() {
    for count in [2, 4] {
        let mut lab = formed(count);
        let all: Vec<u16> = (1..=count).collect();
        for number in 1..=count / 2 {
            lab.crash(number);
        }
        lab.run_for(200);
        for number in 1..=count / 2 {
            lab.start(number, 1_000);
        }
        lab.run_until(3 * PART_MS, "one primary view of all", |lab| {
            agree(lab, &all, true)
        });
    }
}

/// Nodes 2 and 3 have heard each other remember the first view when node 2 loses its memory: node 3 is not to wait for
/// it, as the lower one of two that remember, while node 2 waits for node 3, as the one that does.
#[test]
fn nobody_waits_for_a_node_that_has_forgotten_to_lead() {
    let mut lab = formed(5);
    for number in [1, 4, 5] {
        lab.crash(number);
    }
    lab.run_until(PART_MS, "no view", |lab| {
        [2, 3]
            .iter()
            .all(|number| lab.hosts[number].node.view().is_none())
    });
    lab.run_for(100);
    lab.crash(2);
    for number in [1, 2, 4, 5] {
        lab.start(number, 1_000);
    }
    lab.run_until(PART_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_cluster_whose_nodes_forget_one_after_the_other_begins_anew() {
    let mut lab = formed(5);
    for number in [3, 4, 5] {
        lab.crash(number);
    }
    lab.run_until(PART_MS, "a part", |lab| agree(lab, &[1, 2], false));
    // Node 5 is the third of five to have forgotten: the view of which they were can never go on.
    let mut there = vec![1, 2];
    for number in [3, 4, 5] {
        lab.start(number, 1_000);
        there.push(number);
        let (all, is_last) = (there.clone(), number == 5);
        lab.run_until(PART_MS, "a view with it", move |lab| {
            agree(lab, &all, is_last)
        });
        lab.run_for(2_000);
    }
}

#[test]
fn who_differs_in_this_is_refused() {
    let mut lab = formed(3);
    lab.crash(3);
    lab.run_until(2_000, "a view of two", |lab| lab.agree(&[1, 2]));
    let other = Configuration::DEFAULT;
    lab.start_with(3, 1_000, other);
    lab.run_for(2_000);
    let is_refusal = |event: &Event| {
        let expected = RefusalReason::Partitionable;
        matches!(event, Event::Refused { reason, .. } if *reason == expected)
    };
    assert!(lab.was_told(3, is_refusal));
    assert!(lab.members(3).is_empty() && lab.agree(&[1, 2]));
}
