// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster: when the network splits, each component goes on in a view of its own, and components
//! merge when they can reach each other again. At most one of these views is primary at any time.

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
/// The longest time from a split to the view of a component without a quorum: detection, the attempts to find a
/// quorum, the timeout, the rounds of looking for a cluster.
const SPLIT_MS: u64 = 12_000;
/// The longest time from the end of a split to the view of all nodes.
const MERGE_MS: u64 = 12_000;

/// Nodes 1 to `count` in one primary view.
fn formed(count: u16) -> Lab {
    let (lab, _) = Lab::formed_with(count, SETTINGS);
    assert!(is_primary(&lab, 1));
    lab
}

/// Split the network into these components. A node that is in none of them reaches nobody.
fn split(lab: &mut Lab, components: &[&[u16]]) {
    let mut sides = BTreeMap::new();
    for (side, members) in components.iter().enumerate() {
        sides.extend(members.iter().map(|member| (*member, side)));
    }
    lab.filter = Box::new(move |from, to, _| {
        from == to
            || sides
                .get(&from)
                .is_some_and(|side| sides.get(&to) == Some(side))
    });
}

fn is_primary(lab: &Lab, number: u16) -> bool {
    let view = lab.hosts[&number].node.view();
    view.is_some_and(|view| view.is_primary)
}

/// Whether all of `numbers` are in the same view, it has no other members, and it is primary or not, as wanted.
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
    split(&mut lab, &[&[1, 2, 3], &[4, 5]]);
    lab.run_until(SPLIT_MS, "a view of each component", |lab| {
        agree(lab, &[1, 2, 3], true) && agree(lab, &[4, 5], false)
    });
    assert!(lab.hosts[&4].node.has_quorum());
    assert!(lab.view_number(4) > first);
    // Both views stay as they are for as long as the network is split.
    let numbers = (lab.view_number(1), lab.view_number(4));
    lab.run_for(20_000);
    assert_eq!((lab.view_number(1), lab.view_number(4)), numbers);
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
    // The majority was never disturbed.
    for number in [1, 2, 3] {
        assert!(!lab.has_reported(number, |event| matches!(event, Event::Excluded { .. })));
    }
    assert!(lab.view_number(1) > numbers.1);
}

#[test]
fn members_in_each_component_have_a_group_view_and_can_send_in_it() {
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
    split(&mut lab, &[&[1, 3, 4], &[2, 5]]);
    lab.run_until(SPLIT_MS, "two groups", |lab| {
        [1, 3, 4]
            .iter()
            .all(|number| has_members(lab, *number, 3, true))
            && [2, 5]
                .iter()
                .all(|number| has_members(lab, *number, 2, false))
    });
    lab.multicast(5, handles[&5], b"here").unwrap();
    lab.multicast(1, handles[&1], b"there").unwrap();
    lab.run_until(1_000, "a message in each component", |lab| {
        (1..=5).all(|number| delivered(lab, number, handles[&number]) == 1)
    });
    lab.heal();
    lab.run_until(MERGE_MS, "a group of five", |lab| {
        (1..=5).all(|number| has_members(lab, number, 5, true))
    });
}

#[test]
fn components_without_a_majority_go_on_and_become_primary_when_two_merge() {
    let mut lab = formed(6);
    split(&mut lab, &[&[1, 2], &[3, 4], &[5, 6]]);
    lab.run_until(SPLIT_MS, "three components", |lab| {
        agree(lab, &[1, 2], false) && agree(lab, &[3, 4], false) && agree(lab, &[5, 6], false)
    });
    split(&mut lab, &[&[1, 2], &[3, 4, 5, 6]]);
    lab.run_until(
        MERGE_MS,
        "two components have merged into a primary one",
        |lab| agree(lab, &[3, 4, 5, 6], true),
    );
    assert!(agree(&lab, &[1, 2], false));
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5, 6], true)
    });
}

#[test]
fn single_nodes_go_on_alone_and_find_each_other_again() {
    let mut lab = formed(4);
    split(&mut lab, &[&[1], &[2], &[3], &[4]]);
    lab.run_until(SPLIT_MS, "four components", |lab| {
        (1..=4).all(|number| agree(lab, &[number], false))
    });
    lab.heal();
    lab.run_until(2 * MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4], true)
    });
}

#[test]
fn a_component_without_a_quorum_excludes_and_admits_nodes() {
    let mut lab = formed(7);
    split(&mut lab, &[&[1, 2, 3, 4], &[5, 6, 7]]);
    lab.run_until(SPLIT_MS, "two components", |lab| {
        agree(lab, &[5, 6, 7], false)
    });
    let incarnation = lab.hosts[&5].node.identity();
    lab.crash(7);
    lab.run_until(2_000, "a view without the crashed node", |lab| {
        agree(lab, &[5, 6], false)
    });
    lab.start(7, 1_000);
    lab.run_until(3_000, "a view with its next incarnation", |lab| {
        agree(lab, &[5, 6, 7], false)
    });
    assert_eq!(lab.hosts[&5].node.identity(), incarnation);
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5, 6, 7], true)
    });
}

/// A quorum has decided a view, and only one node knows that. The others, which form the next primary view without
/// that node, must not contradict the decision.
#[test]
fn components_that_merge_do_not_contradict_a_decision_that_was_not_announced() {
    let mut lab = formed(5);
    lab.crash(5);
    // Only node 1, the proposer, learns that the view without node 5 is decided.
    lab.filter =
        Box::new(|_, _, bytes| !matches!(kind(bytes), Some(Kind::Commit | Kind::ViewPart)));
    lab.run_until(2_000, "a decision", |lab| lab.members(1) == [1, 2, 3, 4]);
    let decided = lab.view_number(1);
    // Node 1 has installed that view and is alone; the others have accepted it.
    split(&mut lab, &[&[1], &[2, 3, 4]]);
    lab.run_until(2 * SPLIT_MS, "a primary view of three", |lab| {
        agree(lab, &[2, 3, 4], true)
    });
    assert!(lab.view_number(2) > decided);
    lab.run_until(2 * SPLIT_MS, "a component of one", |lab| {
        agree(lab, &[1], false)
    });
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4], true)
    });
}

/// Nodes 1 to 3 have decided a view of themselves. Node 3, whose acceptance was needed, does not learn of the decision.
#[test]
fn a_node_that_has_accepted_a_view_gives_no_quorum_to_another_one() {
    let mut lab = formed(5);
    lab.filter = Box::new(|from, to, bytes| {
        let is_decision = matches!(kind(bytes), Some(Kind::Commit | Kind::ViewPart));
        (from <= 3) == (to <= 3) && !(to == 3 && is_decision)
    });
    lab.run_until(2_000, "a decision", |lab| {
        lab.agree(&[1, 2]) || lab.members(2) == [1, 2, 3]
    });
    assert_eq!(lab.members(3), [1, 2, 3, 4, 5]);
    // Nodes 3 to 5 are alone until they give the first view up, so that none proposes the accepted view again.
    split(&mut lab, &[&[1, 2], &[3], &[4], &[5]]);
    lab.run_until(SPLIT_MS, "three components of one", |lab| {
        [3, 4, 5].iter().all(|number| agree(lab, &[*number], false))
    });
    split(&mut lab, &[&[1, 2], &[3, 4, 5]]);
    lab.run_until(MERGE_MS, "a component of three", |lab| {
        agree(lab, &[3, 4, 5], false)
    });
    lab.run_for(20_000);
    assert!(
        agree(&lab, &[3, 4, 5], false),
        "three of the five members of the first view are no primary component"
    );
    assert!(
        agree(&lab, &[1, 2], true),
        "two of the three members of the second view are a quorum"
    );
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_component_whose_majority_includes_restarted_nodes_is_not_primary() {
    let mut lab = formed(5);
    split(&mut lab, &[&[1, 2, 3], &[4, 5]]);
    lab.run_until(SPLIT_MS, "two components", |lab| {
        agree(lab, &[1, 2, 3], true) && agree(lab, &[4, 5], false)
    });
    // Node 3 restarts and joins nodes 4 and 5. They are three of the five members of the first view, but only two
    // remember it.
    lab.crash(3);
    lab.start(3, 1_000);
    split(&mut lab, &[&[1, 2], &[3, 4, 5]]);
    lab.run_until(MERGE_MS, "a component of three", |lab| {
        agree(lab, &[3, 4, 5], false)
    });
    lab.run_for(20_000);
    assert!(agree(&lab, &[1, 2], true), "two of three are a quorum");
    assert!(agree(&lab, &[3, 4, 5], false));
    lab.heal();
    lab.run_until(MERGE_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_cluster_in_which_most_nodes_have_restarted_forms_anew() {
    let mut lab = formed(5);
    for number in [1, 2, 3] {
        lab.crash(number);
    }
    lab.run_for(200);
    for number in [1, 2, 3] {
        lab.start(number, 1_000);
    }
    lab.run_until(3 * SPLIT_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

/// Exactly half of the members of the first view remember it, but not its lowest node, which would make the half a
/// quorum.
#[test]
fn a_half_whose_lowest_node_has_restarted_forms_anew() {
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
        lab.run_until(3 * SPLIT_MS, "one primary view of all", |lab| {
            agree(lab, &all, true)
        });
    }
}

/// Nodes 2 and 3 know of each other that they remember the first view, and then node 2 loses its memory. Node 3 must
/// not wait for node 2 as the lower of two that remember, while node 2 waits for node 3 as the only one that does.
#[test]
fn no_node_waits_for_a_restarted_node_to_lead() {
    let mut lab = formed(5);
    for number in [1, 4, 5] {
        lab.crash(number);
    }
    lab.run_until(SPLIT_MS, "no view", |lab| {
        [2, 3]
            .iter()
            .all(|number| lab.hosts[number].node.view().is_none())
    });
    lab.run_for(100);
    lab.crash(2);
    for number in [1, 2, 4, 5] {
        lab.start(number, 1_000);
    }
    lab.run_until(SPLIT_MS, "one primary view of all", |lab| {
        agree(lab, &[1, 2, 3, 4, 5], true)
    });
}

#[test]
fn a_cluster_whose_nodes_restart_one_after_the_other_forms_anew() {
    let mut lab = formed(5);
    for number in [3, 4, 5] {
        lab.crash(number);
    }
    lab.run_until(SPLIT_MS, "a component of two", |lab| {
        agree(lab, &[1, 2], false)
    });
    // Node 5 is the third of five members to have forgotten the first view, which no quorum can continue now.
    let mut there = vec![1, 2];
    for number in [3, 4, 5] {
        lab.start(number, 1_000);
        there.push(number);
        let (all, is_last) = (there.clone(), number == 5);
        lab.run_until(SPLIT_MS, "a view with it", move |lab| {
            agree(lab, &all, is_last)
        });
        lab.run_for(2_000);
    }
}

#[test]
fn a_node_that_is_not_partitionable_is_refused() {
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
    assert!(lab.has_reported(3, is_refusal));
    assert!(lab.members(3).is_empty() && lab.agree(&[1, 2]));
}
