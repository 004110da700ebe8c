// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster whose network falls apart: each part goes on in a view of its own and multicasts in it,
//! one at most is primary, and all come together again when the network is whole.

use std::time::Instant;

use kcgcsctl::netlink::ViewStatus;

use super::formed::{load, tests_of_one_cluster, Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};

/// A part without a majority goes on after this time without one.
const BLOCKED_TIMEOUT_MS: u64 = 500;

/// The tests of the suite `parts`: name, whether it runs on the debug kernel too, what finds out.
const TESTS: [(&str, bool, Check); 3] = [
    (
        "a_minority_goes_on_beside_the_majority_and_comes_back",
        true,
        |formed, remarks| {
            let incarnations = identities(formed, &[2, 4, 5, 6, 8])?;
            let out = times_out(formed, &[1, 3, 7])?;
            part(
                formed,
                &[(&[2, 4, 5, 6, 8], true), (&[1, 3, 7], false)],
                remarks,
            )?;
            came_together(formed, &[1, 3, 7], false)?;
            heal(formed, remarks)?;
            came_together(formed, &[1, 3, 7], true)?;
            if times_out(formed, &[1, 3, 7])? != out {
                return Err("a member was told that it was out on its way".to_string());
            }
            // The majority was not disturbed.
            match self::identities(formed, &[2, 4, 5, 6, 8])? == incarnations {
                true => Ok(()),
                false => Err("a node of the majority has begun a new incarnation".to_string()),
            }
        },
    ),
    (
        "three_parts_of_which_two_become_primary_when_they_meet",
        false,
        |formed, remarks| {
            part(
                formed,
                &[(&[1, 2, 3], false), (&[4, 5, 6], false), (&[7, 8], false)],
                remarks,
            )?;
            part(
                formed,
                &[(&[1, 2, 3], false), (&[4, 5, 6, 7, 8], true)],
                remarks,
            )?;
            heal(formed, remarks)
        },
    ),
    (
        "each_node_alone_goes_on_and_all_find_each_other_again",
        false,
        |formed, remarks| {
            let alone: Vec<Vec<u16>> = formed.cluster.all().into_iter().map(|n| vec![n]).collect();
            let parts: Vec<(&[u16], bool)> = alone.iter().map(|part| (&part[..], false)).collect();
            part(formed, &parts, remarks)?;
            heal(formed, remarks)
        },
    ),
];

/// The tests of the suite `parts`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    let mut plan = Plan::of(8);
    if surroundings.debug_kernel {
        plan.settings = relaxed();
    }
    plan.settings
        .retain(|(name, _)| name != "blocked_timeout_ms");
    let blocked = surroundings.pick((BLOCKED_TIMEOUT_MS, 4 * BLOCKED_TIMEOUT_MS));
    for (name, value) in [("partitionable", 1), ("blocked_timeout_ms", blocked)] {
        plan.settings.push((name.to_string(), value));
    }
    let checks: Vec<(&str, Check)> = TESTS
        .into_iter()
        .filter(|(_, is_for_debug, _)| *is_for_debug || !surroundings.debug_kernel)
        .map(|(name, _, check)| (name, check))
        .collect();
    tests_of_one_cluster("parts", plan, surroundings, &checks)
}

/// The incarnations of some nodes.
fn identities(formed: &mut Formed, nodes: &[u16]) -> Result<Vec<u64>, String> {
    let mut incarnations = Vec::new();
    for &node in nodes {
        incarnations.push(formed.cluster.status(node)?.incarnation);
    }
    Ok(incarnations)
}

/// How often these nodes' members were told that they are out.
fn times_out(formed: &Formed, nodes: &[u16]) -> Result<Vec<usize>, String> {
    let times = |node: &u16| formed.cluster.member(*node).map(|member| member.times_out);
    nodes.iter().map(times).collect()
}

/// These nodes' members went from one part to another in one view, primary or not, and know that they did.
fn came_together(formed: &mut Formed, nodes: &[u16], primary: bool) -> Result<(), String> {
    let all = Vec::from(nodes);
    formed.wait_under_load("their members in one view", |cluster| {
        for &node in &all {
            let first = cluster.member(node)?.first_view_of_this_incarnation();
            let Some(first) = first.filter(|view| view.primary == primary) else {
                return Err(format!("node {node} has not come yet"));
            };
            let along = first.transitional.iter().map(|member| member.node);
            let mut along: Vec<u16> = along.collect();
            along.sort_unstable();
            if along != all {
                return Err(format!("node {node} came with {along:?}"));
            }
        }
        Ok(())
    })
}

/// The view that all of these nodes have, if it is primary or not, as it should be.
fn view_of(cluster: &mut Cluster, nodes: &[u16], primary: bool) -> Result<ViewStatus, String> {
    let view = cluster.common_view(nodes)?;
    if view.primary != primary {
        let is = if view.primary { "is" } else { "is not" };
        return Err(format!("view {} {is} primary", view.number));
    }
    Ok(view)
}

/// The network falls into these parts under load; all of them go on, the primary one and the others.
fn part(
    formed: &mut Formed,
    parts: &[(&[u16], bool)],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let sides: Vec<&[u16]> = parts.iter().map(|(nodes, _)| *nodes).collect();
    load(&mut formed.cluster)?;
    formed.cluster.network.part(&sides)?;
    let begin = Instant::now();
    formed.wait_under_load("a view of each part", |cluster| {
        for &(nodes, primary) in parts {
            view_of(cluster, nodes, primary)?;
        }
        Ok(())
    })?;
    remarks.push(format!(
        "{} parts after {} ms",
        parts.len(),
        begin.elapsed().as_millis()
    ));
    for nodes in sides {
        formed.work(nodes)?;
    }
    Ok(())
}

fn heal(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    formed.cluster.network.part(&[])?;
    let all = formed.cluster.all();
    let begin = Instant::now();
    formed.wait_under_load("one primary view of all", |cluster| {
        view_of(cluster, &all, true)
    })?;
    remarks.push(format!(
        "whole {} ms after the network",
        begin.elapsed().as_millis()
    ));
    formed.work(&all)
}
