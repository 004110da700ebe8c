// SPDX-License-Identifier: GPL-2.0

//! Networks that fall apart and heal while the members of all nodes multicast as much as the kernel takes.
//! Who goes on is checked here; that no message was lost, doubled or given in another order or view, by
//! the trace.

use std::time::{Duration, Instant};

use kcgcsctl::netlink::NodeState;

use super::formed::{load, tests_of_one_cluster, Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::Plan;

/// For so long members multicast before the network falls apart.
const LOADED: Duration = Duration::from_millis(100);

/// The tests of the suite `partitions`: name, whether it runs on the debug kernel too, what finds out.
const TESTS: [(&str, bool, Check); 5] = [
    ("four_and_four_under_load", false, |formed, remarks| {
        // Of two halves the one with the lowest node is a quorum.
        part(formed, &[&[1, 3, 5, 7], &[2, 4, 6, 8]], remarks)
    }),
    ("five_and_three_under_load", true, |formed, remarks| {
        part(formed, &[&[2, 4, 5, 6, 8], &[1, 3, 7]], remarks)
    }),
    ("one_and_seven_under_load", false, |formed, remarks| {
        part(formed, &[&[2, 3, 4, 5, 6, 7, 8], &[1]], remarks)
    }),
    (
        "three_ways_with_a_majority_under_load",
        false,
        |formed, remarks| part(formed, &[&[3, 4, 5, 6, 8], &[1, 7], &[2]], remarks),
    ),
    (
        "three_ways_without_a_majority_under_load",
        false,
        part_without_majority,
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

/// The first part goes on in one view, the others wait; when the network is whole, these come back.
fn part(formed: &mut Formed, parts: &[&[u16]], remarks: &mut Vec<String>) -> Result<(), String> {
    let before = formed.view_number()?;
    let sent = formed.cluster.messages_sent();
    multicast(formed)?;
    formed.cluster.network.part(parts)?;
    let begin = Instant::now();
    let rest = parts[0];
    let out: Vec<u16> = parts[1..].concat();
    let after = formed.wait_under_load("one view of the first part", |cluster| {
        cluster.common_view(rest)
    })?;
    remarks.push(format!(
        "a new view after {} ms",
        begin.elapsed().as_millis()
    ));
    if after.number != before + 1 {
        return Err(format!("view {before} became view {}", after.number));
    }
    formed.wait_under_load("the other parts see no quorum", |cluster| {
        for &node in &out {
            if cluster.status(node)?.state == NodeState::Member {
                return Err(format!("node {node} is a member"));
            }
        }
        Ok(())
    })?;
    // Those that go on are not held up by those that do not.
    formed.work(rest)?;
    heal(formed, sent, remarks)
}

/// All parts wait, nobody gives up, and all go on in one view when the network is whole.
fn part_without_majority(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
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
        .part(&[&[1, 2, 3], &[4, 5, 6], &[7, 8]])?;
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

/// The members of all nodes multicast for a while.
fn multicast(formed: &mut Formed) -> Result<(), String> {
    let begin = Instant::now();
    formed.wait_under_load("some load", |_| {
        if begin.elapsed() >= LOADED {
            Ok(())
        } else {
            Err("more is to come".to_string())
        }
    })?;
    // The last thing before the cut: messages are on their way in every direction.
    load(&mut formed.cluster)
}

fn heal(formed: &mut Formed, sent: usize, remarks: &mut Vec<String>) -> Result<(), String> {
    formed.cluster.network.part(&[])?;
    let all = formed.cluster.all();
    let begin = Instant::now();
    formed.wait_under_load("one view of all", |cluster| cluster.common_view(&all))?;
    remarks.push(format!(
        "whole {} ms after the network; {} messages were taken meanwhile",
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
