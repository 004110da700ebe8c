// SPDX-License-Identifier: GPL-2.0

//! A partitionable cluster whose network splits. Each component goes on in a view of its own, in which its members
//! multicast. At most one of these views is primary, and all nodes merge into one view when the network is whole again.

use std::time::Instant;

use kcgcsctl::netlink::ViewStatus;

use super::formed::{load, tests_of_one_cluster, Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};

/// The time after which a component without a majority goes on.
const BLOCKED_TIMEOUT_MS: u64 = 500;

/// The tests of the suite `partitionable`: name, whether it runs on the debug kernel too, check.
const TESTS: [(&str, bool, Check); 3] = [
    (
        "a_minority_goes_on_beside_the_majority_and_merges_with_it",
        true,
        |formed, remarks| {
            let incarnations = identities(formed, &[2, 4, 5, 6, 8])?;
            let out = times_out(formed, &[1, 3, 7])?;
            split(
                formed,
                &[(&[2, 4, 5, 6, 8], true), (&[1, 3, 7], false)],
                remarks,
            )?;
            moved_together(formed, &[1, 3, 7], false)?;
            heal(formed, remarks)?;
            moved_together(formed, &[1, 3, 7], true)?;
            if times_out(formed, &[1, 3, 7])? != out {
                return Err("a member was reported to be out on its way".to_string());
            }
            // The majority was not disturbed.
            match self::identities(formed, &[2, 4, 5, 6, 8])? == incarnations {
                true => Ok(()),
                false => Err("a node of the majority has begun a new incarnation".to_string()),
            }
        },
    ),
    (
        "two_of_three_components_become_primary_when_they_merge",
        false,
        |formed, remarks| {
            split(
                formed,
                &[(&[1, 2, 3], false), (&[4, 5, 6], false), (&[7, 8], false)],
                remarks,
            )?;
            split(
                formed,
                &[(&[1, 2, 3], false), (&[4, 5, 6, 7, 8], true)],
                remarks,
            )?;
            heal(formed, remarks)
        },
    ),
    (
        "single_nodes_go_on_alone_and_find_each_other_again",
        false,
        |formed, remarks| {
            let alone: Vec<Vec<u16>> = formed.cluster.all().into_iter().map(|n| vec![n]).collect();
            let components: Vec<_> = alone.iter().map(|node| (&node[..], false)).collect();
            split(formed, &components, remarks)?;
            heal(formed, remarks)
        },
    ),
];

/// The tests of the suite `components`.
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
    tests_of_one_cluster("partitionable", plan, surroundings, &checks)
}

/// The incarnations of some nodes.
fn identities(formed: &mut Formed, nodes: &[u16]) -> Result<Vec<u64>, String> {
    let mut incarnations = Vec::new();
    for &node in nodes {
        incarnations.push(formed.cluster.status(node)?.incarnation);
    }
    Ok(incarnations)
}

/// The number of views without members that the members on these nodes were given, which say that they are out.
fn times_out(formed: &Formed, nodes: &[u16]) -> Result<Vec<usize>, String> {
    let times = |node: &u16| formed.cluster.member(*node).map(|member| member.times_out);
    nodes.iter().map(times).collect()
}

/// Require that the members on these nodes moved from one component to another in one view, primary or not, and that
/// its transitional set names them.
fn moved_together(formed: &mut Formed, nodes: &[u16], primary: bool) -> Result<(), String> {
    let all = Vec::from(nodes);
    formed.wait_under_load("their members in one view", |cluster| {
        for &node in &all {
            let first = cluster.member(node)?.first_view_of_this_incarnation();
            let Some(first) = first.filter(|view| view.primary == primary) else {
                return Err(format!("node {node} is not in such a view yet"));
            };
            let transitional = first.transitional.iter().map(|member| member.node);
            let mut transitional: Vec<u16> = transitional.collect();
            transitional.sort_unstable();
            if transitional != all {
                return Err(format!(
                    "node {node} moved with {transitional:?}, not {all:?}"
                ));
            }
        }
        Ok(())
    })
}

/// The view that all of these nodes have, which must be primary or not, as `primary` says.
fn view_of(cluster: &mut Cluster, nodes: &[u16], primary: bool) -> Result<ViewStatus, String> {
    let view = cluster.common_view(nodes)?;
    if view.primary != primary {
        let is = if view.primary { "is" } else { "is not" };
        return Err(format!("view {} {is} primary", view.number));
    }
    Ok(view)
}

/// Split the network into these components under load. All of them must go on, each primary or not, as its flag says.
fn split(
    formed: &mut Formed,
    components: &[(&[u16], bool)],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let sides: Vec<&[u16]> = components.iter().map(|(nodes, _)| *nodes).collect();
    load(&mut formed.cluster)?;
    formed.cluster.network.split(&sides)?;
    let begin = Instant::now();
    formed.wait_under_load("a view of each component", |cluster| {
        for &(nodes, primary) in components {
            view_of(cluster, nodes, primary)?;
        }
        Ok(())
    })?;
    remarks.push(format!(
        "{} components after {} ms",
        components.len(),
        begin.elapsed().as_millis()
    ));
    for nodes in sides {
        formed.work(nodes)?;
    }
    Ok(())
}

fn heal(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    formed.cluster.network.split(&[])?;
    let all = formed.cluster.all();
    let begin = Instant::now();
    formed.wait_under_load("one primary view of all", |cluster| {
        view_of(cluster, &all, true)
    })?;
    remarks.push(format!(
        "one view of all {} ms after the network is whole",
        begin.elapsed().as_millis()
    ));
    formed.work(&all)
}
