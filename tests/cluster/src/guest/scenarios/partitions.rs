// SPDX-License-Identifier: GPL-2.0

//! Networks that split and heal while the members of all nodes multicast as much as the kernel accepts. These tests
//! check which component goes on. The trace shows that no message was lost, duplicated, or delivered in another order
//! or view.

use std::time::{Duration, Instant};

use kcgcsctl::netlink::NodeState;

use super::formed::{load, tests_of_one_cluster, Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::Plan;

/// The time for which members multicast before the network splits.
const LOADED: Duration = Duration::from_millis(100);

/// The tests of the suite `partitions`: name, whether it runs on the debug kernel too, check.
const TESTS: [(&str, bool, Check); 5] = [
    (
        "of_two_halves_under_load_the_one_with_the_lowest_node_goes_on",
        false,
        |formed, remarks| {
            // Of two halves the one with the lowest node is a quorum.
            split(formed, &[&[1, 3, 5, 7], &[2, 4, 6, 8]], remarks)
        },
    ),
    (
        "five_nodes_go_on_without_three_under_load",
        true,
        |formed, remarks| split(formed, &[&[2, 4, 5, 6, 8], &[1, 3, 7]], remarks),
    ),
    (
        "seven_nodes_go_on_without_one_under_load",
        false,
        |formed, remarks| split(formed, &[&[2, 3, 4, 5, 6, 7, 8], &[1]], remarks),
    ),
    (
        "the_majority_of_three_components_goes_on_under_load",
        false,
        |formed, remarks| split(formed, &[&[3, 4, 5, 6, 8], &[1, 7], &[2]], remarks),
    ),
    (
        "three_components_without_a_majority_wait_under_load",
        false,
        split_without_majority,
    ),
];

/// The tests of the suite `partitions`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    let mut plan = Plan::of(8);
    if surroundings.debug_kernel {
        plan.settings = relaxed();
    }
    let checks: Vec<(&str, Check)> = TESTS
        .into_iter()
        .filter(|(_, is_for_debug, _)| *is_for_debug || !surroundings.debug_kernel)
        .map(|(name, _, check)| (name, check))
        .collect();
    tests_of_one_cluster("partitions", plan, surroundings, &checks)
}

/// Split the network. The first component must go on in one view, and the others must wait and rejoin at the end.
fn split(
    formed: &mut Formed,
    components: &[&[u16]],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let before = formed.view_number()?;
    let sent = formed.cluster.messages_sent();
    multicast(formed)?;
    formed.cluster.network.split(components)?;
    let begin = Instant::now();
    let rest = components[0];
    let out: Vec<u16> = components[1..].concat();
    let after = formed.wait_under_load("one view of the first component", |cluster| {
        cluster.common_view(rest)
    })?;
    remarks.push(format!(
        "a new view after {} ms",
        begin.elapsed().as_millis()
    ));
    if after.number != before + 1 {
        return Err(format!("view {before} became view {}", after.number));
    }
    formed.wait_under_load("the other components see no quorum", |cluster| {
        for &node in &out {
            if cluster.status(node)?.state == NodeState::Member {
                return Err(format!("node {node} is a member"));
            }
        }
        Ok(())
    })?;
    // The blocked components do not delay the one that goes on.
    formed.work(rest)?;
    heal(formed, sent, remarks)
}

/// Split the network so that no component has a majority. All must wait without giving up, and go on in one view.
fn split_without_majority(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    let sent = formed.cluster.messages_sent();
    let mut incarnations = Vec::new();
    for &node in &all {
        incarnations.push(formed.cluster.status(node)?.incarnation);
    }
    multicast(formed)?;
    formed
        .cluster
        .network
        .split(&[&[1, 2, 3], &[4, 5, 6], &[7, 8]])?;
    let begin = Instant::now();
    formed.wait_under_load("all nodes see no quorum", |cluster| {
        for &node in &all {
            let state = cluster.status(node)?.state;
            if state != NodeState::Blocked {
                return Err(format!("node {node} is {state}"));
            }
        }
        Ok(())
    })?;
    remarks.push(format!("all wait after {} ms", begin.elapsed().as_millis()));
    heal(formed, sent, remarks)?;
    for (&node, incarnation) in all.iter().zip(incarnations) {
        if formed.cluster.status(node)?.incarnation != incarnation {
            return Err(format!("node {node} has begun a new incarnation"));
        }
    }
    Ok(())
}

/// Have the members of all nodes multicast for a while.
fn multicast(formed: &mut Formed) -> Result<(), String> {
    let begin = Instant::now();
    formed.wait_under_load("some load", |_| {
        if begin.elapsed() >= LOADED {
            Ok(())
        } else {
            Err("the time is not over".to_string())
        }
    })?;
    // Send right before the split, so that messages are on their way in every direction.
    load(&mut formed.cluster)
}

fn heal(formed: &mut Formed, sent: usize, remarks: &mut Vec<String>) -> Result<(), String> {
    formed.cluster.network.split(&[])?;
    let all = formed.cluster.all();
    let begin = Instant::now();
    formed.wait_under_load("one view of all", |cluster| cluster.common_view(&all))?;
    remarks.push(format!(
        "one view of all {} ms after the network is whole; {} messages were accepted meanwhile",
        begin.elapsed().as_millis(),
        formed.cluster.messages_sent() - sent
    ));
    let begin = Instant::now();
    formed.work(&all)?;
    remarks.push(format!(
        "all was delivered {} ms later",
        begin.elapsed().as_millis()
    ));
    Ok(())
}
