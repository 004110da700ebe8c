// SPDX-License-Identifier: GPL-2.0

//! Flapping links: between two nodes, and of one node to all others, faster and slower than a crash is detected.

use std::thread;
use std::time::{Duration, Instant};

use super::formed::{tests_of_one_cluster, Formed};
use super::{Surroundings, Test};
use crate::guest::cluster::Plan;

/// The time for which links flap.
const LENGTH: Duration = Duration::from_secs(20);
/// The node at the end of the links.
const SUBJECT: u16 = 2;
/// The other end of the link between two nodes. It monitors the subject on the ring in the order of node numbers.
const OTHER: u16 = 3;
/// The time for which the link of two is down, and up.
const OF_TWO: Duration = Duration::from_millis(500);
/// The time for which a node is cut off so that no node accuses it, and the time for which it is back then.
const SHORT: Duration = Duration::from_millis(80);
const BETWEEN: Duration = Duration::from_millis(160);
/// The time for which a node is cut off so that it is excluded, and for which it is back then.
const LONG: Duration = Duration::from_secs(1);
/// The most views that this may cost. They would be 20 if the node rejoined each time, but it waits longer before each
/// rejoin after the first.
const VIEWS_MAX: u64 = 14;

/// The tests of the suite `flapping`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "flapping",
        Plan::of(8),
        surroundings,
        &[
            ("a_flapping_link_of_two_nodes_changes_no_view", of_two),
            ("a_node_that_is_cut_off_shortly_again_and_again_is_not_excluded", shortly),
            (
                "a_node_that_is_cut_off_for_long_again_and_again_is_excluded_alone_and_waits_longer",
                for_long,
            ),
        ],
    )
}

/// Alternate between `leave` and `come` for [`LENGTH`]. Each lasts for a while and is followed by a look at the
/// cluster. These tests are about time, so they sleep.
fn alternate(
    formed: &mut Formed,
    (away, there): (Duration, Duration),
    leave: impl Fn(&mut Formed) -> Result<(), String>,
    come: impl Fn(&mut Formed) -> Result<(), String>,
    mut look: impl FnMut(&mut Formed) -> Result<(), String>,
) -> Result<usize, String> {
    let begin = Instant::now();
    let mut times = 0;
    while begin.elapsed() < LENGTH {
        leave(formed)?;
        thread::sleep(away);
        look(formed)?;
        come(formed)?;
        thread::sleep(there);
        look(formed)?;
        times += 1;
    }
    Ok(times)
}

/// Require that all nodes are in view number `wanted`.
fn is_in_view(formed: &mut Formed, wanted: u64) -> Result<(), String> {
    match formed.view_number()? {
        number if number == wanted => Ok(()),
        number => Err(format!("view {wanted} became view {number}")),
    }
}

fn of_two(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let before = formed.view_number()?;
    let accusations = formed.cluster.counter(OTHER, "accusations")?;
    let times = alternate(
        formed,
        (OF_TWO, OF_TWO),
        |formed| {
            formed.cluster.network.block(SUBJECT, OTHER)?;
            formed.cluster.network.block(OTHER, SUBJECT)
        },
        |formed| {
            formed.cluster.network.unblock(SUBJECT, OTHER)?;
            formed.cluster.network.unblock(OTHER, SUBJECT)
        },
        |formed| is_in_view(formed, before),
    )?;
    let accusations = formed.cluster.counter(OTHER, "accusations")? - accusations;
    remarks.push(format!(
        "the link was down {times} times, node {OTHER} accused {accusations} times"
    ));
    if accusations == 0 {
        return Err(format!("node {OTHER} has not accused the subject"));
    }
    formed.all_work_again()
}

fn shortly(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let before = formed.view_number()?;
    let times = alternate(
        formed,
        (SHORT, BETWEEN),
        |formed| formed.cluster.network.cut(SUBJECT),
        |formed| formed.cluster.network.heal(SUBJECT),
        |formed| is_in_view(formed, before),
    )?;
    remarks.push(format!("the node was cut off {times} times"));
    formed.all_work_again()
}

fn for_long(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let before = formed.view_number()?;
    let others = formed.cluster.all_but(&[SUBJECT]);
    let mut incarnations = Vec::new();
    for &node in &others {
        incarnations.push(formed.cluster.status(node)?.incarnation);
    }
    let times = alternate(
        formed,
        (LONG, LONG),
        |formed| formed.cluster.network.cut(SUBJECT),
        |formed| formed.cluster.network.heal(SUBJECT),
        |formed| formed.cluster.pump(),
    )?;
    formed.all_work_again()?;
    let views = formed.view_number()? - before;
    remarks.push(format!(
        "the node was cut off {times} times, which cost {views} views"
    ));
    if !(2..=VIEWS_MAX).contains(&views) {
        return Err(format!("{views} views, not 2 to {VIEWS_MAX}"));
    }
    for (&node, incarnation) in others.iter().zip(incarnations) {
        if formed.cluster.status(node)?.incarnation != incarnation {
            return Err(format!("node {node} has begun a new incarnation"));
        }
    }
    Ok(())
}
