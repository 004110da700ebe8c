// SPDX-License-Identifier: GPL-2.0

//! Many crashes: neighbours on the ring that die together, all but a quorum at once, one coordinator after
//! another while a view is being agreed upon; and each node restarted by turns. A crash is a port that is
//! taken out of the bridge: silence, and no sign of it at either end.

use std::time::{Duration, Instant};

use super::formed::{some, tests_of_one_cluster, Formed};
use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::kernel_log::KernelLog;
use crate::guest::packet::{datagram_to, PacketSocket};
use crate::guest::recording::{fields, HEADER_BYTES};
use crate::guest::wait::wait_for_every;

/// The numbers of neighbours that crash at once in the large cluster, up to one less than half.
const LARGE: [u16; 7] = [1, 2, 3, 5, 8, 16, 31];
/// As many may crash of 16 nodes.
const MINORITY_OF_SIXTEEN: usize = 7;
/// Nodes that must have proposed and crashed before a view was agreed upon.
const PROPOSERS_MIN: usize = 2;
/// How often accusations and proposals are listened for, and how long.
const LISTEN_EVERY: Duration = Duration::from_millis(1);
const PROPOSAL_LIMIT: Duration = Duration::from_secs(5);
/// The kind of a datagram that asks for promises, as on the wire.
const PREPARE: u8 = 11;

/// The tests of the suite `crashes-8`.
pub(super) fn of_eight(surroundings: Surroundings) -> Vec<Test> {
    tests_of_one_cluster(
        "crashes-8",
        Plan::of(8),
        surroundings,
        &[
            (
                "every_number_of_neighbours_below_half_that_crash_at_once_goes_in_one_view",
                |formed, remarks| neighbours(formed, &[1, 2, 3], remarks),
            ),
            (
                "all_but_a_quorum_that_crash_at_once_go_in_one_view",
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
            "whoever_proposes_a_view_crashes_and_the_others_agree_on_one",
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
                "neighbours_that_crash_at_once_go_in_one_view",
                |formed, remarks| neighbours(formed, &LARGE, remarks),
            ),
            (
                "all_but_a_quorum_that_crash_at_once_go_in_one_view",
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

/// Crashes of each of these numbers of neighbours, each time of others and with all nodes back before.
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

/// Half of the nodes crash. The other half has the lowest one, and is a quorum by that.
fn all_but_a_quorum(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    let victims: Vec<u16> = all.iter().copied().filter(|node| node % 2 == 0).collect();
    crash_at_once(formed, &victims, remarks)
}

/// Nodes crash at once while members multicast: they go in one view, and come back in new lives.
fn crash_at_once(
    formed: &mut Formed,
    victims: &[u16],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let cluster = &mut formed.cluster;
    let survivors = cluster.all_but(victims);
    let before = formed.view_number()?;
    let lives = lives(&mut formed.cluster, victims)?;
    let cluster = &mut formed.cluster;
    cluster.send_all(&some(&survivors), 1)?;
    // The last words of some of those that crash may be lost with them.
    cluster.send_all(&some(victims), 1)?;
    let begin = Instant::now();
    for &victim in victims {
        cluster.network.cut(victim)?;
    }
    let cut_ms = begin.elapsed().as_millis();
    cluster.wait_for_view(&survivors)?;
    remarks.push(format!(
        "{} of {} crash within {cut_ms} ms, gone after {} ms",
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
    remarks.push(format!("all work {} ms later", begin.elapsed().as_millis()));
    are_later(&mut formed.cluster, &lives)
}

/// The lives that nodes are in.
fn lives(cluster: &mut Cluster, nodes: &[u16]) -> Result<Vec<(u16, u64)>, String> {
    nodes
        .iter()
        .map(|&node| Ok((node, cluster.status(node)?.incarnation)))
        .collect()
}

/// Nodes are in later lives than these.
fn are_later(cluster: &mut Cluster, lives: &[(u16, u64)]) -> Result<(), String> {
    for &(node, old) in lives {
        let new = cluster.status(node)?.incarnation;
        if new <= old {
            return Err(format!("node {node} had life {old} and has {new}"));
        }
    }
    Ok(())
}

/// Whoever is heard to propose crashes, until the others have agreed on a view all the same.
fn proposers(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = &mut formed.cluster;
    let all = cluster.all();
    let view = cluster.common_view(&all)?;
    let mut others: Vec<u16> = view
        .members
        .iter()
        .filter(|member| !member.is_coordinator)
        .map(|member| member.node)
        .collect();
    others.sort_unstable();
    let &[first, second, .., listener] = others.as_slice() else {
        return Err(format!("only {others:?} do not coordinate"));
    };
    let ear = cluster.network.namespace(listener)?;
    let ear = ear.run(PacketSocket::open)?;
    let mut log = KernelLog::from_now()?;
    let mut victims = vec![first, second];
    cluster.send_all(&some(&all), 1)?;
    let begin = Instant::now();
    cluster.network.cut(first)?;
    let accused = format!(": accuses node {first},");
    wait_for_every(LISTEN_EVERY, "an accusation", PROPOSAL_LIMIT, || {
        let lines = log.read_new()?;
        let is_accused = lines.iter().any(|line| line.text.contains(&accused));
        is_accused.then_some(()).ok_or(format!("nobody{accused}"))
    })?;
    // The proposal is about to be made, and will wait for this one, whom nobody misses yet.
    cluster.network.cut(second)?;
    while victims.len() < MINORITY_OF_SIXTEEN {
        let next = wait_for_every(LISTEN_EVERY, "a proposal", PROPOSAL_LIMIT, || {
            if cluster.status(listener)?.view.map(|(number, _)| number) != Some(view.number) {
                return Ok(None);
            }
            next_proposer(&ear, listener, view.number, &victims)?
                .map(Some)
                .ok_or_else(|| format!("after {victims:?} nobody proposes"))
        })?;
        let Some(proposer) = next else { break };
        cluster.network.cut(proposer)?;
        remarks.push(format!(
            "node {proposer} proposes and crashes after {} ms",
            begin.elapsed().as_millis()
        ));
        victims.push(proposer);
    }
    if victims.len() < 2 + PROPOSERS_MIN {
        return Err(format!(
            "only {victims:?} have crashed before a view was agreed upon"
        ));
    }
    let survivors = cluster.all_but(&victims);
    let after = cluster.wait_for_view(&survivors)?.number;
    remarks.push(format!(
        "view {} became view {after} of the other {} nodes after {} ms",
        view.number,
        survivors.len(),
        begin.elapsed().as_millis()
    ));
    // Whoever crashes when the others no longer wait for anybody may need a view of its own.
    if after > view.number + 2 {
        return Err(format!("view {} became view {after}", view.number));
    }
    formed.work(&survivors)?;
    for &victim in &victims {
        formed.cluster.network.heal(victim)?;
    }
    formed.all_work_again()
}

/// Who asks for promises in this view, according to what has come to `listener`, and has not crashed yet.
fn next_proposer(
    ear: &PacketSocket,
    listener: u16,
    view: u64,
    crashed: &[u16],
) -> Result<Option<u16>, String> {
    while let Some(frame) = ear.receive()? {
        let Some((_, payload)) = datagram_to(listener, &frame) else {
            continue;
        };
        if payload.len() < HEADER_BYTES || payload[fields::KIND] != PREPARE {
            continue;
        }
        let number = |place: usize, bytes: usize| {
            let bytes = payload.iter().skip(place).take(bytes);
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let sender = number(fields::SENDER, 2) as u16;
        if number(fields::VIEW, 8) == view && !crashed.contains(&sender) {
            return Ok(Some(sender));
        }
    }
    Ok(None)
}

/// Each node leaves and starts again, by turns. The others go on, and each step is one view.
fn rolling_restart(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let begin = Instant::now();
    let all = formed.cluster.all();
    let lives = lives(&mut formed.cluster, &all)?;
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
    are_later(&mut formed.cluster, &lives)
}
