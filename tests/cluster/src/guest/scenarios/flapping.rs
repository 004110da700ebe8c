// SPDX-License-Identifier: GPL-2.0

//! Links that come and go: between two nodes, and of one node to all others, faster than a crash is
//! detected and slower.

use std::thread;
use std::time::{Duration, Instant};

use super::formed::{tests_of_one_cluster, Formed};
use super::{Surroundings, Test};
use crate::guest::cluster::Plan;

/// How long links come and go.
const LENGTH: Duration = Duration::from_secs(20);
/// The node at the end of the links.
const SUBJECT: u16 = 2;
/// The other end of the link that only two nodes share; it watches the subject on the ring of the nodes' numbers.
const OTHER: u16 = 3;
/// How long the link of two is away, and there.
const OF_TWO: Duration = Duration::from_millis(500);
/// How long a node is cut off so that it is back before anybody accuses it, and how long it is there then.
const SHORT: Duration = Duration::from_millis(80);
const BETWEEN: Duration = Duration::from_millis(160);
/// How long a node is cut off so that it is found dead, and how long it is there then.
const LONG: Duration = Duration::from_secs(1);
/// Views that this may cost; if it came back each time, it would be 20. It comes at once the first time and waits
/// longer each time after it.
const VIEWS_MAX: u64 = 14;

/// The tests of the suite `flapping`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "flapping",
        Plan::of(8),
        surroundings,
        &[
            ("a_link_of_two_that_comes_and_goes_changes_no_view", of_two),
            ("a_node_that_is_away_shortly_again_and_again_stays", shortly),
            (
                "a_node_that_is_away_for_long_again_and_again_goes_alone_and_waits_longer",
                for_long,
            ),
        ],
    )
}

/// Alternates for as long as the test lasts between `leave` and `come`, each of which lasts for a while and is
/// followed by a look at the cluster. Time is what these tests are about, so they sleep.
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

/// Everybody is in view number `wanted`.
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
        "the link was away {times} times, node {OTHER} accused {accusations} times"
    ));
    if accusations == 0 {
        return Err(format!("node {OTHER} has not noticed"));
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
    remarks.push(format!("it was away {times} times"));
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
        "it was away {times} times, which cost {views} views"
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
