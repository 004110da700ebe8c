// SPDX-License-Identifier: GPL-2.0

//! Links that do not work, and networks that fall apart, under real kernels: who goes, and in how many
//! views. The table in docs/faults.md says what is expected and why.

use std::time::Duration;

use super::formed::{Check, Formed};
use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::Plan;
use crate::guest::kernel_log::KernelLog;
use crate::guest::wait::holds_for;

/// Nodes of each cluster.
const NODES: u16 = 8;
/// The node at the end of the links that do not work.
const SUBJECT: u16 = 2;
/// How long a link that works one way only must change nothing.
const STEADY: Duration = Duration::from_secs(2);

/// The tests of the suite `links`: name, whether it is one of the few that run on the debug kernel too, where each
/// takes a minute, and what finds out.
const TESTS: [(&str, bool, Check); 6] = [
    (
        "links_that_work_one_way_only_put_out_nobody_and_are_named",
        false,
        one_way,
    ),
    (
        "a_node_that_hears_nobody_goes_in_one_view_and_comes_back",
        true,
        deaf,
    ),
    (
        "a_node_that_nobody_hears_goes_in_one_view_and_comes_back",
        false,
        mute,
    ),
    (
        "of_two_halves_the_one_with_the_lowest_node_goes_on",
        false,
        halves,
    ),
    (
        "a_majority_goes_on_and_takes_the_rest_back",
        false,
        majority,
    ),
    (
        "without_any_majority_all_wait_and_go_on_together",
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

/// One direction of every link of the subject is lost: it goes, and comes back when they work again.
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

/// The network falls into parts; the first one goes on, the others wait and come back.
fn part(formed: &mut Formed, parts: &[&[u16]]) -> Result<(), String> {
    let before = formed.view_number()?;
    formed.cluster.network.part(parts)?;
    let out: Vec<u16> = parts[1..].concat();
    formed.go_in_one_view(before, &out)?;
    formed.see_no_quorum(&out)?;
    formed.cluster.network.part(&[])?;
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
        "{named} of {} nodes watch node {SUBJECT} and named the link",
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
    part(formed, &[&[1, 3, 5, 7], &[2, 4, 6, 8]])
}

fn majority(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    part(formed, &[&[2, 4, 5, 6, 8], &[1, 3, 7]])?;
    part(formed, &[&[1, 2, 3, 5, 6, 7, 8], &[4]])
}

fn thirds(formed: &mut Formed, _: &mut Vec<String>) -> Result<(), String> {
    let all = formed.cluster.all();
    formed
        .cluster
        .network
        .part(&[&[1, 2, 3], &[4, 5, 6], &[7, 8]])?;
    for &node in &all {
        formed.cluster.wait(
            &format!("node {node} sees no quorum"),
            |cluster| match cluster.status(node)?.state {
                kcgcsctl::netlink::NodeState::Blocked => Ok(()),
                state => Err(format!("it is {state}")),
            },
        )?;
    }
    formed.cluster.network.part(&[])?;
    formed.all_work_again()
}
