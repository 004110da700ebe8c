// SPDX-License-Identifier: GPL-2.0

//! Links that do not work, and networks that fall apart, under real kernels: who goes, and in how many
//! views. The table in docs/faults.md says what is expected and why.

use std::time::Duration;

use super::{relaxed, Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::kernel_log::KernelLog;
use crate::guest::modules;
use crate::guest::wait::holds_for;

/// How long a test may wait for what must happen.
const LIMIT_MS: u64 = 60_000;
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
                modules::load_both()?;
                let mut story = Story::begin(surroundings)?;
                check(&mut story, remarks)?;
                story.cluster.end()?.check()?;
                modules::unload_both()
            })
        })
        .collect()
}

type Check = fn(&mut Story, &mut Vec<String>) -> Result<(), String>;

/// A cluster that has formed, with a member on each node.
struct Story {
    cluster: Cluster,
}

impl Story {
    fn begin(surroundings: Surroundings) -> Result<Self, String> {
        let mut plan = Plan::of(NODES);
        if surroundings.debug_kernel {
            plan.settings = relaxed();
        }
        let mut cluster = Cluster::new(plan, surroundings.limit(LIMIT_MS))?;
        let all = cluster.all();
        for &node in &all {
            cluster.start(node)?;
            cluster.join(node)?;
        }
        cluster.wait_for_view(&all)?;
        cluster.wait_for_group(&all)?;
        Ok(Self { cluster })
    }

    /// `out` go, in the view that follows number `before`.
    fn go_in_one_view(&mut self, before: u64, out: &[u16]) -> Result<(), String> {
        let rest = self.cluster.all_but(out);
        let after = self.cluster.wait_for_view(&rest)?.number;
        if after != before + 1 {
            return Err(format!("view {before} became view {after}"));
        }
        self.work(&rest)
    }

    /// Members on `nodes` are together in the group and get each other's messages.
    fn work(&mut self, nodes: &[u16]) -> Result<(), String> {
        self.cluster.wait_for_group(nodes)?;
        self.cluster.send_all(nodes, 1)?;
        self.cluster.wait_for_delivery(nodes)
    }

    fn all_work_again(&mut self) -> Result<(), String> {
        let all = self.cluster.all();
        self.cluster.wait_for_view(&all)?;
        self.work(&all)
    }

    fn view_number(&mut self) -> Result<u64, String> {
        let all = self.cluster.all();
        Ok(self.cluster.common_view(&all)?.number)
    }

    /// One direction of every link of the subject is lost: it goes, and comes back when they work again.
    fn lose_links(&mut self, link: impl Fn(u16) -> (u16, u16)) -> Result<(), String> {
        let before = self.view_number()?;
        let links: Vec<_> = self
            .cluster
            .all_but(&[SUBJECT])
            .into_iter()
            .map(link)
            .collect();
        for &(from, to) in &links {
            self.cluster.network.block(from, to)?;
        }
        self.go_in_one_view(before, &[SUBJECT])?;
        for &(from, to) in &links {
            self.cluster.network.unblock(from, to)?;
        }
        self.all_work_again()
    }

    /// The network falls into parts; the first one goes on, the others wait and come back.
    fn part(&mut self, parts: &[&[u16]]) -> Result<(), String> {
        let before = self.view_number()?;
        self.cluster.network.part(parts)?;
        let out: Vec<u16> = parts[1..].concat();
        self.go_in_one_view(before, &out)?;
        for &node in &out {
            self.cluster.wait(
                &format!("node {node} sees no quorum"),
                |cluster| match cluster.status(node)?.state {
                    kcgcsctl::netlink::NodeState::Member => Err("it is a member".to_string()),
                    _ => Ok(()),
                },
            )?;
        }
        self.cluster.network.part(&[])?;
        self.all_work_again()
    }
}

fn one_way(story: &mut Story, remarks: &mut Vec<String>) -> Result<(), String> {
    let all = story.cluster.all();
    let before = story.view_number()?;
    let mut named = 0;
    for to in story.cluster.all_but(&[SUBJECT]) {
        let mut log = KernelLog::from_now()?;
        story.cluster.network.block(SUBJECT, to)?;
        holds_for("the view", STEADY, || {
            match story.cluster.common_view(&all)?.number {
                number if number == before => Ok(()),
                number => Err(format!("view {before} became view {number}")),
            }
        })?;
        let heard = format!("node {to}: does not hear node {SUBJECT}, but node");
        let lines = log.read_new()?;
        named += u32::from(lines.iter().any(|line| line.text.contains(&heard)));
        story.cluster.network.unblock(SUBJECT, to)?;
    }
    remarks.push(format!(
        "{named} of {} nodes watch node {SUBJECT} and named the link",
        NODES - 1
    ));
    if named != 3 {
        return Err(format!("{named} nodes named the link, not 3"));
    }
    story.work(&all)
}

fn deaf(story: &mut Story, _: &mut Vec<String>) -> Result<(), String> {
    story.lose_links(|other| (other, SUBJECT))
}

fn mute(story: &mut Story, _: &mut Vec<String>) -> Result<(), String> {
    story.lose_links(|other| (SUBJECT, other))
}

fn halves(story: &mut Story, _: &mut Vec<String>) -> Result<(), String> {
    story.part(&[&[1, 3, 5, 7], &[2, 4, 6, 8]])
}

fn majority(story: &mut Story, _: &mut Vec<String>) -> Result<(), String> {
    story.part(&[&[2, 4, 5, 6, 8], &[1, 3, 7]])?;
    story.part(&[&[1, 2, 3, 5, 6, 7, 8], &[4]])
}

fn thirds(story: &mut Story, _: &mut Vec<String>) -> Result<(), String> {
    let all = story.cluster.all();
    story
        .cluster
        .network
        .part(&[&[1, 2, 3], &[4, 5, 6], &[7, 8]])?;
    for &node in &all {
        story.cluster.wait(
            &format!("node {node} sees no quorum"),
            |cluster| match cluster.status(node)?.state {
                kcgcsctl::netlink::NodeState::Blocked => Ok(()),
                state => Err(format!("it is {state}")),
            },
        )?;
    }
    story.cluster.network.part(&[])?;
    story.all_work_again()
}
