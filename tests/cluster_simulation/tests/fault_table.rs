// SPDX-License-Identifier: GPL-2.0

//! What comes of faults of links and machines that are no clean crash: for each one who leaves, how many
//! views it costs while it lasts, and that everybody is together again after it. The table in
//! docs/faults.md has a line for each test.

use std::collections::BTreeSet;

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::network::NetworkOptions;
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{deafness_ns, detection_ns, MS, SECOND};
use trace_checker::trace::EventKind;

/// Machines of every cluster here.
const NODES: usize = 9;
/// How long a fault lasts unless it is said otherwise.
const LONG: u64 = 60 * SECOND;

/// A cluster that has formed, and what has come of the fault since.
struct Story {
    cluster: Cluster,
    since: u64,
    name: String,
}

/// All nodes in their first view.
fn formed(options: ClusterOptions) -> Cluster {
    let (seed, nodes) = (options.seed, options.nodes);
    let mut cluster = Cluster::new(options);
    for host in 0..nodes {
        cluster.start(host);
    }
    assert!(
        cluster.run_until_true(10 * SECOND, is_one_view),
        "seed {seed}: no view"
    );
    cluster
}

impl Story {
    /// A settled cluster; the fault is about to begin.
    fn begin(name: &str, seed: u64) -> Self {
        let mut cluster = formed(ClusterOptions::perfect(seed, NODES));
        let more = Chance::new(seed, 20).between(SECOND, 2 * SECOND);
        cluster.run_for(more);
        let since = cluster.now();
        Self {
            cluster,
            since,
            name: format!("{name}, seed {seed}"),
        }
    }

    /// Numbers of the views that were installed since the fault began.
    fn views(&self) -> usize {
        let numbers: BTreeSet<u64> = self
            .events()
            .filter_map(|event| match &event.kind {
                EventKind::View(view) if view.scope.is_none() => Some(view.view.number),
                _ => None,
            })
            .collect();
        numbers.len()
    }

    /// Hosts that were put out since the fault began, or gave up.
    fn put_out(&self) -> Vec<usize> {
        let nodes: BTreeSet<usize> = self
            .events()
            .filter(|event| matches!(event.kind, EventKind::Stop))
            .map(|event| usize::from(event.node) - 1)
            .collect();
        nodes.into_iter().collect()
    }

    fn events(&self) -> impl Iterator<Item = &trace_checker::trace::TraceEvent> {
        self.cluster
            .trace
            .iter()
            .filter(|event| event.t > self.since)
    }

    /// Whether all but `out` hold one view of just themselves.
    fn is_one_view_without(&self, out: &[usize]) -> bool {
        let hosts = (0..NODES).filter(|host| !out.contains(host));
        let views: BTreeSet<(u64, usize)> = hosts
            .filter_map(|host| self.cluster.hosts[host].alive.as_ref())
            .map(|alive| (alive.view_number, alive.members.len()))
            .collect();
        views.len() == 1
            && views
                .first()
                .is_some_and(|(_, members)| *members == NODES - out.len())
    }

    /// The fault has no effect on the membership for as long as it lasts, nor when it ends.
    fn expect_nothing(mut self) {
        self.cluster.run_for(LONG);
        self.expect(0, 0, &[]);
        self.cluster.reconnect();
        self.cluster.run_for(LONG);
        self.expect(0, 0, &[]);
        self.finish();
    }

    /// The fault puts out one node, in one view within `bound`, which comes back when it ends.
    fn expect_one_out(mut self, out: usize, bound: u64) {
        let bound_ms = bound / MS;
        let is_out = |cluster: &Cluster| {
            cluster.hosts.iter().enumerate().all(|(host, machine)| {
                host == out
                    || machine
                        .alive
                        .as_ref()
                        .is_some_and(|alive| alive.members.len() == NODES - 1)
            })
        };
        assert!(
            self.cluster.run_until_true(bound, is_out),
            "{}: still in after {bound_ms} ms",
            self.name
        );
        self.cluster.run_for(LONG);
        self.expect(1, 1, &[out]);
        assert!(
            self.is_one_view_without(&[out]),
            "{}: the others are not together",
            self.name
        );
        self.cluster.reconnect();
        assert!(
            self.cluster.run_until_true(LONG, is_one_view),
            "{}: not together again",
            self.name
        );
        self.cluster.run_for(LONG);
        self.expect(2, 2, &[out]);
        self.finish();
    }

    /// So many views since the fault began, and only these put out.
    fn expect(&self, least: usize, most: usize, out: &[usize]) {
        let (views, put_out) = (self.views(), self.put_out());
        assert!(
            (least..=most).contains(&views),
            "{}: {views} views, not {least} to {most}",
            self.name
        );
        assert!(
            put_out.iter().all(|host| out.contains(host)),
            "{}: {put_out:?} were put out",
            self.name
        );
    }

    /// Nothing else may have gone wrong either.
    fn finish(self) {
        assert!(
            self.cluster.faults.is_empty(),
            "{}: {:?}",
            self.name,
            self.cluster.faults
        );
        let violations =
            trace_checker::check_sorted(&self.cluster.trace, trace_checker::Options::default());
        assert!(violations.is_empty(), "{}: {violations:?}", self.name);
    }
}

#[test]
fn a_link_that_works_one_way_only_puts_out_nobody_and_makes_no_view() {
    for from in 0..NODES {
        for to in (0..NODES).filter(|to| *to != from) {
            let mut story = Story::begin(&format!("no way from {from} to {to}"), 1);
            story.cluster.network.block_one_way(from, to);
            story.expect_nothing();
        }
    }
}

#[test]
fn a_pair_that_does_not_reach_each_other_puts_out_nobody_and_makes_no_view() {
    for one in 0..NODES {
        for other in one + 1..NODES {
            let mut story = Story::begin(&format!("no way between {one} and {other}"), 2);
            story.cluster.network.block_one_way(one, other);
            story.cluster.network.block_one_way(other, one);
            story.expect_nothing();
        }
    }
}

#[test]
fn a_node_that_hears_nobody_goes_once_and_comes_back_when_it_hears_again() {
    let configuration = ClusterOptions::perfect(0, NODES).configuration;
    let bound = deafness_ns(&configuration) + detection_ns(&configuration) + SECOND / 4;
    for node in 0..NODES {
        for seed in 1..=3 {
            let mut story = Story::begin(&format!("{node} is deaf"), seed);
            story.cluster.network.deafen(node);
            story.expect_one_out(node, bound);
        }
    }
}

/// What it has said of those it does not hear must not count when the other watcher is asked for its word.
#[test]
fn a_deaf_node_takes_nobody_with_it_where_two_watch_each() {
    for (nodes, seed) in (4..=6).flat_map(|nodes| (1..=5).map(move |seed| (nodes, seed))) {
        for deaf in 0..nodes {
            let name = format!("{deaf} of {nodes} is deaf, seed {seed}");
            let mut options = ClusterOptions::perfect(seed, nodes);
            options.configuration.rings = 2;
            let mut cluster = formed(options);
            let since = cluster.now();
            cluster.network.deafen(deaf);
            cluster.run_for(5 * SECOND);
            let stopped: BTreeSet<u16> = (cluster.trace.iter())
                .filter(|event| event.t > since && event.kind == EventKind::Stop)
                .map(|event| event.node)
                .collect();
            let own: BTreeSet<u16> = BTreeSet::from([cluster.hosts[deaf].id]);
            assert!(stopped.is_subset(&own), "{name}: {stopped:?} were put out");
            for (host, machine) in cluster.hosts.iter().enumerate() {
                let members = machine.alive.as_ref().map_or(0, |a| a.members.len());
                assert!(
                    host == deaf || members == nodes - 1,
                    "{name}: {host} is in a view of {members}"
                );
            }
        }
    }
}

#[test]
fn a_node_that_nobody_hears_goes_once_and_comes_back_when_it_is_heard_again() {
    for node in 0..NODES {
        for seed in 1..=3 {
            let mut story = Story::begin(&format!("{node} is mute"), seed);
            story.cluster.network.mute(node);
            story.expect_one_out(node, SECOND / 2);
        }
    }
}

#[test]
fn a_node_that_loses_most_datagrams_is_the_only_one_put_out_and_not_again_and_again() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} loses 80 %"), 1);
        for other in 0..NODES {
            story.cluster.network.spoil_one_way(other, node, 800);
            story.cluster.network.spoil_one_way(node, other, 800);
        }
        // It waits longer each time: in the second minute hardly anything happens any more.
        story.cluster.run_for(LONG);
        story.expect(1, 26, &[node]);
        story.since = story.cluster.now();
        story.cluster.run_for(LONG);
        story.expect(0, 12, &[node]);
        story.cluster.reconnect();
        assert!(
            story.cluster.run_until_true(LONG, is_one_view),
            "{}: not together again",
            story.name
        );
        story.finish();
    }
}

#[test]
fn a_link_that_comes_and_goes_every_20_seconds_costs_two_views_each_time() {
    for node in [0, 4, NODES - 1] {
        let mut story = Story::begin(&format!("{node} is deaf every 20 seconds"), 1);
        for round in 1..=5 {
            story.cluster.network.deafen(node);
            story.cluster.run_for(20 * SECOND);
            story.cluster.reconnect();
            story.cluster.run_for(20 * SECOND);
            story.expect(0, 2 * round, &[node]);
        }
        assert!(
            story.cluster.run_until_true(LONG, is_one_view),
            "{}: not together again",
            story.name
        );
        story.finish();
    }
}

#[test]
fn a_node_that_is_mute_every_other_second_comes_back_later_each_time() {
    for node in [0, 4, NODES - 1] {
        let mut story = Story::begin(&format!("{node} is mute every other second"), 1);
        for _ in 0..60 {
            story.cluster.network.mute(node);
            story.cluster.run_for(SECOND);
            story.cluster.reconnect();
            story.cluster.run_for(SECOND);
        }
        // Without that it would be two views every other second: 120.
        story.expect(2, 30, &[node]);
        assert!(
            story.cluster.run_until_true(LONG, is_one_view),
            "{}: not together again",
            story.name
        );
        story.finish();
    }
}

#[test]
fn ten_minutes_of_ten_percent_loss_put_out_nobody() {
    for seed in 1..=2 {
        let mut story = Story::begin("10 % loss everywhere", seed);
        let lossy = NetworkOptions {
            loss_per_mille: 100,
            ..NetworkOptions::PERFECT
        };
        story.cluster.network.set_options(lossy);
        story.cluster.run_for(10 * LONG);
        story.expect(0, 0, &[]);
        story.finish();
    }
}

#[test]
fn a_machine_that_stands_still_for_less_than_the_detection_is_not_missed() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} stands still for 90 ms"), 1);
        for _ in 0..20 {
            let until = story.cluster.now() + 90 * MS;
            story.cluster.freeze(node, until);
            story.cluster.run_for(SECOND);
        }
        story.expect_nothing();
    }
}

#[test]
fn a_machine_that_stood_still_for_long_finds_out_and_comes_back() {
    for node in 0..NODES {
        for span in [SECOND, 30 * SECOND] {
            let mut story =
                Story::begin(&format!("{node} stands still for {} s", span / SECOND), 1);
            let until = story.cluster.now() + span;
            story.cluster.freeze(node, until);
            story.cluster.run_until(until);
            assert!(
                story.is_one_view_without(&[node]),
                "{}: the others did not go on",
                story.name
            );
            assert!(
                story.cluster.run_until_true(SECOND, is_one_view),
                "{}: not back after a second",
                story.name
            );
            story.cluster.run_for(LONG);
            story.expect(2, 2, &[node]);
            story.finish();
        }
    }
}

#[test]
fn without_any_majority_all_wait_and_go_on_as_they_were() {
    for seed in 1..=5 {
        for span in [100 * MS, SECOND, 30 * SECOND] {
            let mut story = Story::begin(&format!("three parts for {} ms", span / MS), seed);
            let parts: [&[usize]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
            story.cluster.network.part(&parts);
            story.cluster.run_for(span);
            story.expect(0, 0, &[]);
            story.cluster.reconnect();
            story.cluster.run_for(3 * SECOND);
            story.expect(0, 3, &[]);
            assert!(is_one_view(&story.cluster), "{}: not together", story.name);
            let quorums = story
                .cluster
                .hosts
                .iter()
                .filter_map(|host| host.alive.as_ref());
            let blocked = quorums.filter(|alive| !alive.node.has_quorum()).count();
            assert_eq!(blocked, 0, "{}: nodes are still blocked", story.name);
            story.finish();
        }
    }
}

/// The part with the lowest node is a quorum together with the one that leaves, decides the view without it,
/// and is none in that view; the others have not heard of it, and are none in the view that they have.
#[test]
fn parts_of_which_none_is_a_quorum_after_a_farewell_come_together_again() {
    let (leaver, parts): (usize, [&[usize]; 2]) = (4, [&[0, 1, 4], &[2, 3, 5]]);
    for seed in 1..=3 {
        for cut_ms in 1..=40 {
            let mut cluster = formed(ClusterOptions::perfect(seed, 6));
            let slow = NetworkOptions {
                delay_min_us: 3_000,
                ..NetworkOptions::PERFECT
            };
            cluster.network.set_options(slow);
            cluster.leave(leaver);
            cluster.run_for(cut_ms * MS);
            cluster.network.part(&parts);
            cluster.run_for(SECOND);
            cluster.reconnect();
            assert!(
                cluster.run_until_true(3 * SECOND, is_one_view),
                "seed {seed}: cut {cut_ms} ms after the farewell, not together 3 s after the end"
            );
            assert!(cluster.faults.is_empty(), "{:?}", cluster.faults);
        }
    }
}

#[test]
fn a_node_whose_work_items_are_late_stays() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("the engine of {node} is slow"), 1);
        story.cluster.hosts[node].engine_delay_mean_us = 40_000;
        story.expect_nothing();
    }
}
