// SPDX-License-Identifier: GPL-2.0

//! Faults of links and machines other than clean crashes: which nodes each one excludes, how many views that costs
//! while it lasts, and that all nodes are in one view again after it. The table in docs/faults.md has a line for each
//! test.

mod experiment;

use std::collections::BTreeSet;

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::ClusterOptions;
use cluster_simulation::network::NetworkOptions;
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{deafness_ns, detection_ns, MS, SECOND};
use experiment::{formed, Experiment, NODES};
use trace_checker::trace::EventKind;

/// The time for which a fault lasts, unless a test says otherwise.
const LONG: u64 = 60 * SECOND;

/// A settled cluster with default settings.
fn begin(name: &str, seed: u64) -> Experiment {
    let settling_ns = Chance::new(seed, 20).between(SECOND, 2 * SECOND);
    let options = ClusterOptions::perfect(seed, NODES);
    Experiment::begin(name, options, settling_ns, LONG)
}

#[test]
fn a_link_that_works_in_one_direction_only_changes_no_view() {
    for from in 0..NODES {
        for to in (0..NODES).filter(|to| *to != from) {
            let mut experiment = begin(&format!("no way from {from} to {to}"), 1);
            experiment.cluster.network.block_one_way(from, to);
            experiment.expect_no_effect(LONG);
        }
    }
}

#[test]
fn two_nodes_that_cannot_reach_each_other_change_no_view() {
    for one in 0..NODES {
        for other in one + 1..NODES {
            let mut experiment = begin(&format!("no way between {one} and {other}"), 2);
            experiment.cluster.network.block_one_way(one, other);
            experiment.cluster.network.block_one_way(other, one);
            experiment.expect_no_effect(LONG);
        }
    }
}

#[test]
fn a_deaf_node_is_excluded_once_and_readmitted_when_it_hears_again() {
    let configuration = ClusterOptions::perfect(0, NODES).configuration;
    let bound = deafness_ns(&configuration) + detection_ns(&configuration) + SECOND / 4;
    for node in 0..NODES {
        for seed in 1..=3 {
            let mut experiment = begin(&format!("{node} is deaf"), seed);
            experiment.cluster.network.deafen(node);
            experiment.expect_one_excluded(node, bound);
        }
    }
}

/// The accusations of a deaf node must not count when the other monitor of an accused node is asked to confirm.
#[test]
fn a_deaf_node_is_excluded_alone_where_each_node_has_two_monitors() {
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
            assert!(stopped.is_subset(&own), "{name}: {stopped:?} were excluded");
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
fn a_mute_node_is_excluded_once_and_readmitted_when_it_is_heard_again() {
    for node in 0..NODES {
        for seed in 1..=3 {
            let mut experiment = begin(&format!("{node} is mute"), seed);
            experiment.cluster.network.mute(node);
            experiment.expect_one_excluded(node, SECOND / 2);
        }
    }
}

#[test]
fn a_node_that_loses_most_datagrams_is_excluded_alone_and_less_and_less_often() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} loses 80 %"), 1);
        for other in 0..NODES {
            experiment.cluster.network.degrade_one_way(other, node, 800);
            experiment.cluster.network.degrade_one_way(node, other, 800);
        }
        // The node waits longer before each rejoin, so that it causes few views in the second minute.
        experiment.cluster.run_for(LONG);
        experiment.expect(1..=26, &[node]);
        experiment.since = experiment.cluster.now();
        experiment.cluster.run_for(LONG);
        experiment.expect(0..=12, &[node]);
        experiment.cluster.reconnect();
        experiment.expect_reunion(LONG);
        experiment.finish();
    }
}

#[test]
fn a_node_that_is_deaf_every_20_seconds_costs_two_views_each_time() {
    for node in [0, 4, NODES - 1] {
        let mut experiment = begin(&format!("{node} is deaf every 20 seconds"), 1);
        for round in 1..=5 {
            experiment.cluster.network.deafen(node);
            experiment.cluster.run_for(20 * SECOND);
            experiment.cluster.reconnect();
            experiment.cluster.run_for(20 * SECOND);
            experiment.expect(0..=2 * round, &[node]);
        }
        experiment.expect_reunion(LONG);
        experiment.finish();
    }
}

#[test]
fn a_node_that_is_mute_every_other_second_waits_longer_before_each_rejoin() {
    for node in [0, 4, NODES - 1] {
        let mut experiment = begin(&format!("{node} is mute every other second"), 1);
        for _ in 0..60 {
            experiment.cluster.network.mute(node);
            experiment.cluster.run_for(SECOND);
            experiment.cluster.reconnect();
            experiment.cluster.run_for(SECOND);
        }
        // Without the growing delay of its rejoins there would be two views every two seconds, 120 in all.
        experiment.expect(2..=30, &[node]);
        experiment.expect_reunion(LONG);
        experiment.finish();
    }
}

#[test]
fn ten_minutes_of_ten_percent_loss_exclude_no_node() {
    for seed in 1..=2 {
        let mut experiment = begin("10 % loss everywhere", seed);
        let lossy = NetworkOptions {
            loss_per_mille: 100,
            ..NetworkOptions::PERFECT
        };
        experiment.cluster.network.set_options(lossy);
        experiment.cluster.run_for(10 * LONG);
        experiment.expect(0..=0, &[]);
        experiment.finish();
    }
}

#[test]
fn a_machine_that_is_frozen_for_less_than_a_detection_is_not_excluded() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} is frozen for 90 ms"), 1);
        for _ in 0..20 {
            let until = experiment.cluster.now() + 90 * MS;
            experiment.cluster.freeze(node, until);
            experiment.cluster.run_for(SECOND);
        }
        experiment.expect_no_effect(LONG);
    }
}

#[test]
fn a_machine_that_was_frozen_for_long_learns_of_its_exclusion_and_rejoins() {
    for node in 0..NODES {
        for span in [SECOND, 30 * SECOND] {
            let mut experiment = begin(&format!("{node} is frozen for {} s", span / SECOND), 1);
            let until = experiment.cluster.now() + span;
            experiment.cluster.freeze(node, until);
            experiment.cluster.run_until(until);
            assert!(
                experiment.is_one_view_without(&[node]),
                "{}: the others have no view without it",
                experiment.name
            );
            experiment.expect_reunion(SECOND);
            experiment.cluster.run_for(LONG);
            experiment.expect(2..=2, &[node]);
            experiment.finish();
        }
    }
}

#[test]
fn nodes_wait_while_no_component_has_a_majority_and_go_on_in_the_same_view() {
    for seed in 1..=5 {
        for span in [100 * MS, SECOND, 30 * SECOND] {
            let mut experiment = begin(&format!("three components for {} ms", span / MS), seed);
            let components: [&[usize]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
            experiment.cluster.network.split(&components);
            experiment.cluster.run_for(span);
            experiment.expect(0..=0, &[]);
            experiment.cluster.reconnect();
            experiment.cluster.run_for(3 * SECOND);
            experiment.expect(0..=3, &[]);
            experiment.expect_quorum_everywhere();
            experiment.finish();
        }
    }
}

/// The component with the lowest node is a quorum together with the leaving node. It decides the view without that
/// node, in which it is no quorum. The other component does not know of that view, and is no quorum of the earlier one.
#[test]
fn components_that_are_no_quorum_after_a_leave_come_together_again() {
    let (leaver, components): (usize, [&[usize]; 2]) = (4, [&[0, 1, 4], &[2, 3, 5]]);
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
            cluster.network.split(&components);
            cluster.run_for(SECOND);
            cluster.reconnect();
            assert!(
                cluster.run_until_true(3 * SECOND, is_one_view),
                "seed {seed}: split {cut_ms} ms after the leave request, not in one view 3 s after its end"
            );
            assert!(cluster.faults.is_empty(), "{:?}", cluster.faults);
        }
    }
}

#[test]
fn a_node_whose_work_items_are_late_is_not_excluded() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("the engine of {node} is slow"), 1);
        experiment.cluster.hosts[node].engine_delay_mean_us = 40_000;
        experiment.expect_no_effect(LONG);
    }
}
