// SPDX-License-Identifier: GPL-2.0

//! Many crashes: neighbours on the ring at once, all but a quorum at once, one proposer after another during an
//! agreement; and each node restarted by turns. A crash is a port that is taken out of the bridge: nothing passes in
//! either direction, and neither end notices.

mod proposers;

use std::time::Instant;

use self::proposers::proposers;
use super::formed::{some, tests_of_one_cluster, Formed};
use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};

/// The numbers of neighbours that crash at once in the large cluster, up to one less than half of its nodes.
const LARGE: [u16; 7] = [1, 2, 3, 5, 8, 16, 31];

/// The tests of the suite `crashes-8`.
pub(super) fn of_eight(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "crashes-8",
        Plan::of(8),
        surroundings,
        &[
            (
                "any_number_of_neighbours_below_half_that_crash_at_once_is_excluded_in_one_view",
                |formed, remarks| neighbours(formed, &[1, 2, 3], remarks),
            ),
            (
                "all_nodes_but_a_quorum_that_crash_at_once_are_excluded_in_one_view",
                all_but_a_quorum,
            ),
            (
                "each_step_of_a_rolling_restart_is_one_view",
                rolling_restart,
            ),
        ],
    )
}

/// The tests of the suite `crashes-16`.
pub(super) fn of_sixteen(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "crashes-16",
        Plan::of(16),
        surroundings,
        &[(
            "the_others_agree_on_a_view_although_one_proposer_after_another_crashes",
            proposers,
        )],
    )
}

/// The tests of the suite `crashes-64`.
pub(super) fn of_sixty_four(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "crashes-64",
        Plan::of(64),
        surroundings,
        &[
            (
                "neighbours_that_crash_at_once_are_excluded_in_one_view",
                |formed, remarks| neighbours(formed, &LARGE, remarks),
            ),
            (
                "all_nodes_but_a_quorum_that_crash_at_once_are_excluded_in_one_view",
                all_but_a_quorum,
            ),
        ],
    )
}

/// The tests of the suite `restarts-64`, which takes long.
pub(super) fn restarts_of_sixty_four(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "restarts-64",
        Plan::of(64),
        surroundings,
        &[(
            "each_step_of_a_rolling_restart_is_one_view",
            rolling_restart,
        )],
    )
}

/// Crash each of these numbers of neighbours, other ones each time, with all nodes back before each crash.
fn neighbours(
    formed: &mut Formed,
    numbers: &[u16],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let count = formed.cluster.all().len() as u16;
    let mut first = 1;
    for &number in numbers {
        // Ring 0 is the order of the nodes' numbers.
        let victims: Vec<u16> = (0..number)
            .map(|place| (first + place - 1) % count + 1)
            .collect();
        crash_at_once(formed, &victims, remarks)?;
        first = (first + number - 1) % count + 1;
    }
    Ok(())
}

/// Crash half of the nodes. The other half has the lowest node and is therefore a quorum.
fn all_but_a_quorum(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    let victims: Vec<u16> = all.iter().copied().filter(|node| node % 2 == 0).collect();
    crash_at_once(formed, &victims, remarks)
}

/// Crash nodes at once while members multicast. One view must exclude them, and they must rejoin as new incarnations.
fn crash_at_once(
    formed: &mut Formed,
    victims: &[u16],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let cluster = &mut formed.cluster;
    let survivors = cluster.all_but(victims);
    let before = formed.view_number()?;
    let incarnations = identities(&mut formed.cluster, victims)?;
    let cluster = &mut formed.cluster;
    cluster.send_all(&some(&survivors), 1)?;
    // The last messages of the victims may be lost.
    cluster.send_all(&some(victims), 1)?;
    let begin = Instant::now();
    for &victim in victims {
        cluster.network.cut(victim)?;
    }
    let cut_ms = begin.elapsed().as_millis();
    cluster.wait_for_view(&survivors)?;
    remarks.push(format!(
        "{} of {} crash within {cut_ms} ms, excluded after {} ms",
        victims.len(),
        cluster.all().len(),
        begin.elapsed().as_millis()
    ));
    formed.go_in_one_view(before, victims)?;
    for &victim in victims {
        formed.cluster.network.heal(victim)?;
    }
    let begin = Instant::now();
    formed.all_work_again()?;
    remarks.push(format!(
        "all multicast again {} ms later",
        begin.elapsed().as_millis()
    ));
    are_later(&mut formed.cluster, &incarnations)
}

/// The nodes' present incarnations.
fn identities(cluster: &mut Cluster, nodes: &[u16]) -> Result<Vec<(u16, u64)>, String> {
    nodes
        .iter()
        .map(|&node| Ok((node, cluster.status(node)?.incarnation)))
        .collect()
}

/// Require that the nodes have later incarnations than these.
fn are_later(cluster: &mut Cluster, incarnations: &[(u16, u64)]) -> Result<(), String> {
    for &(node, old) in incarnations {
        let new = cluster.status(node)?.incarnation;
        if new <= old {
            return Err(format!("node {node} had incarnation {old} and has {new}"));
        }
    }
    Ok(())
}

/// Have each node leave and start again, by turns. The others go on, and each step must be one view.
fn rolling_restart(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let begin = Instant::now();
    let all = formed.cluster.all();
    let incarnations = identities(&mut formed.cluster, &all)?;
    let first = formed.view_number()?;
    for &node in &all {
        let before = formed.view_number()?;
        formed.cluster.stop(node)?;
        formed.go_in_one_view(before, &[node])?;
        formed.cluster.start(node)?;
        formed.cluster.join(node)?;
        formed.all_work_again()?;
        let after = formed.view_number()?;
        if after != before + 2 {
            return Err(format!(
                "with node {node} view {before} became view {after}"
            ));
        }
    }
    remarks.push(format!(
        "{} nodes, views {first} to {}, {} ms",
        all.len(),
        formed.view_number()?,
        begin.elapsed().as_millis()
    ));
    are_later(&mut formed.cluster, &incarnations)
}
