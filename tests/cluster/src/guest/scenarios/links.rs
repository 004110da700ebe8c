// SPDX-License-Identifier: GPL-2.0

//! Broken links and split networks with real kernels: which nodes are excluded, and in how many views. The table in
//! docs/faults.md says what is expected and why.

use std::time::Duration;

use super::formed::{Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::Plan;
use crate::guest::kernel_log::KernelLog;
use crate::guest::wait::holds_for;

/// Nodes of each cluster.
const NODES: u16 = 8;
/// The node at the end of the broken links.
const SUBJECT: u16 = 2;
/// The time for which a link that works in one direction only must change nothing.
const STEADY: Duration = Duration::from_secs(2);

/// The tests of the suite `links`: name, whether it runs on the debug kernel too, where each takes a minute, check.
const TESTS: [(&str, bool, Check); 6] = [
    (
        "links_that_work_in_one_direction_only_exclude_no_node_and_are_named",
        false,
        one_way,
    ),
    (
        "a_deaf_node_is_excluded_in_one_view_and_rejoins",
        true,
        deaf,
    ),
    (
        "a_mute_node_is_excluded_in_one_view_and_rejoins",
        false,
        mute,
    ),
    (
        "of_two_halves_the_one_with_the_lowest_node_goes_on",
        false,
        halves,
    ),
    (
        "a_majority_goes_on_and_admits_the_others_again",
        false,
        majority,
    ),
    (
        "all_nodes_wait_while_no_component_has_a_majority_and_go_on_together",
        true,
        thirds,
    ),
];

/// The tests of the suite `links`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    TESTS
        .into_iter()
        .filter(|(_, is_for_debug, _)| *is_for_debug || !surroundings.debug_kernel)
        .map(|(name, _, check)| {
            Test::new(name, move |remarks| {
                let mut plan = Plan::of(NODES);
                if surroundings.debug_kernel {
                    plan.settings = relaxed();
                }
                let mut formed = Formed::begin(plan, surroundings)?;
                check(&mut formed, remarks)?;
                formed.end(remarks)
            })
        })
        .collect()
}

/// Block one direction of every link of the subject, which must be excluded and rejoin when the links work again.
fn lose_links(formed: &mut Formed, link: impl Fn(u16) -> (u16, u16)) -> Result<(), String> {
    let before = formed.view_number()?;
    let links: Vec<_> = formed
        .cluster
        .all_but(&[SUBJECT])
        .into_iter()
        .map(link)
        .collect();
    for &(from, to) in &links {
        formed.cluster.network.block(from, to)?;
    }
    formed.go_in_one_view(before, &[SUBJECT])?;
    for &(from, to) in &links {
        formed.cluster.network.unblock(from, to)?;
    }
    formed.all_work_again()
}

/// Split the network. The first component must go on, and the others must wait and rejoin.
fn split(formed: &mut Formed, components: &[&[u16]]) -> Result<(), String> {
    let before = formed.view_number()?;
    formed.cluster.network.split(components)?;
    let out: Vec<u16> = components[1..].concat();
    formed.go_in_one_view(before, &out)?;
    formed.see_no_quorum(&out)?;
    formed.cluster.network.split(&[])?;
    formed.all_work_again()
}

fn one_way(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    let before = formed.view_number()?;
    let mut named = 0;
    for to in formed.cluster.all_but(&[SUBJECT]) {
        let mut log = KernelLog::from_now()?;
        formed.cluster.network.block(SUBJECT, to)?;
        holds_for("the view", STEADY, || {
            match formed.cluster.common_view(&all)?.number {
                number if number == before => Ok(()),
                number => Err(format!("view {before} became view {number}")),
            }
        })?;
        let heard = format!("node {to}: does not hear node {SUBJECT}, but node");
        let lines = log.read_new()?;
        named += u32::from(lines.iter().any(|line| line.text.contains(&heard)));
        formed.cluster.network.unblock(SUBJECT, to)?;
    }
    remarks.push(format!(
        "{named} of {} nodes monitor node {SUBJECT} and named the link",
        NODES - 1
    ));
    if named != 3 {
        return Err(format!("{named} nodes named the link, not 3"));
    }
    formed.work(&all)
}

fn deaf(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    lose_links(formed, |other| (other, SUBJECT))
}

fn mute(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    lose_links(formed, |other| (SUBJECT, other))
}

fn halves(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    split(formed, &[&[1, 3, 5, 7], &[2, 4, 6, 8]])
}

fn majority(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    split(formed, &[&[2, 4, 5, 6, 8], &[1, 3, 7]])?;
    split(formed, &[&[1, 2, 3, 5, 6, 7, 8], &[4]])
}

fn thirds(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    formed
        .cluster
        .network
        .split(&[&[1, 2, 3], &[4, 5, 6], &[7, 8]])?;
    for &node in &all {
        formed.cluster.wait(
            &format!("node {node} sees no quorum"),
            |cluster| match cluster.status(node)?.state {
                kcgcsctl::netlink::NodeState::Blocked => Ok(()),
                state => Err(format!("it is {state}")),
            },
        )?;
    }
    formed.cluster.network.split(&[])?;
    formed.all_work_again()
}
