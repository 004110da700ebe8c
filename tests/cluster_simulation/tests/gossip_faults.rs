// SPDX-License-Identifier: GPL-2.0

//! Faults under the gossip failure detector: the lines of the table in docs/faults.md that depend on the detector. The
//! same nodes are excluded as on rings; it takes longer.

mod experiment;

use cluster_simulation::cluster::ClusterOptions;
use cluster_simulation::network::NetworkOptions;
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{deafness_ns, detection_ns, many_crash_to_view_ns, MS, SECOND};
use experiment::{Experiment, NODES};
use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use trace_checker::trace::EventKind;

/// The time for which a fault lasts, unless a test says otherwise.
const LONG: u64 = 20 * SECOND;
const GOSSIP: Configuration = Configuration {
    detector: DetectorKind::Gossip,
    expected_nodes: NODES as u32,
    ..Configuration::DEFAULT
};

/// A settled cluster with these settings.
fn begin(name: &str, configuration: Configuration, seed: u64) -> Experiment {
    let options = ClusterOptions {
        configuration,
        ..ClusterOptions::perfect(seed, NODES)
    };
    Experiment::begin(name, options, SECOND + seed * 37 * MS, LONG)
}

#[test]
fn nodes_that_crash_together_are_excluded_in_one_view() {
    for seed in 1..=5 {
        for count in 1..=4 {
            for first in 0..NODES {
                let mut experiment = begin(&format!("{count} from {first} on"), GOSSIP, seed);
                for step in 0..count {
                    experiment.cluster.crash((first + step) % NODES);
                }
                let bound = 2 * many_crash_to_view_ns(&GOSSIP, MS, count as u64);
                let is_in_time = experiment.cluster.run_until_true(bound, is_one_view);
                assert!(is_in_time, "{}: {} ms", experiment.name, bound / MS);
                experiment.cluster.run_for(3 * SECOND);
                experiment.expect(1..=1, &[]);
                experiment.finish();
            }
        }
    }
}

#[test]
fn a_link_that_works_in_one_direction_only_raises_no_suspicion() {
    for from in 0..NODES {
        for to in (0..NODES).filter(|to| *to != from) {
            let name = format!("no way from {from} to {to}");
            let mut experiment = begin(&name, GOSSIP, 1);
            experiment.cluster.network.block_one_way(from, to);
            experiment.cluster.run_for(LONG);
            let events = experiment.cluster.trace.iter();
            let suspicions = events.filter(|event| matches!(event.kind, EventKind::Suspect { .. }));
            assert_eq!(suspicions.count(), 0, "{name}");
            experiment.expect_no_effect(0);
        }
    }
}

#[test]
fn a_deaf_node_is_excluded_once_and_readmitted_when_it_hears_again() {
    let bound = deafness_ns(&GOSSIP) + detection_ns(&GOSSIP) + SECOND / 4;
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} is deaf"), GOSSIP, 1);
        experiment.cluster.network.deafen(node);
        experiment.expect_one_excluded(node, bound);
    }
}

#[test]
fn a_mute_node_is_excluded_once_and_readmitted_when_it_is_heard_again() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} is mute"), GOSSIP, 1);
        experiment.cluster.network.mute(node);
        experiment.expect_one_excluded(node, detection_ns(&GOSSIP) + SECOND / 2);
    }
}

#[test]
fn minutes_of_ten_percent_loss_exclude_no_node() {
    for seed in 1..=2 {
        let mut experiment = begin("10 % loss everywhere", GOSSIP, seed);
        let lossy = NetworkOptions {
            loss_per_mille: 100,
            ..NetworkOptions::PERFECT
        };
        experiment.cluster.network.set_options(lossy);
        experiment.expect_no_effect(300 * SECOND);
    }
}

#[test]
fn minutes_without_faults_exclude_no_node_even_without_probes() {
    let pure = Configuration {
        probe_count: 0,
        ..GOSSIP
    };
    for seed in 1..=2 {
        begin("no probes", pure, seed).expect_no_effect(300 * SECOND);
    }
}

#[test]
fn a_machine_that_is_frozen_for_less_than_the_gossip_timeout_is_not_excluded() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} is frozen"), GOSSIP, 1);
        for _ in 0..10 {
            let until = experiment.cluster.now() + 400 * MS;
            experiment.cluster.freeze(node, until);
            experiment.cluster.run_for(2 * SECOND);
        }
        experiment.expect_no_effect(0);
    }
}

#[test]
fn a_machine_that_was_frozen_for_long_accuses_no_node_and_rejoins() {
    for node in 0..NODES {
        let mut experiment = begin(&format!("{node} is frozen for long"), GOSSIP, 1);
        let until = experiment.cluster.now() + LONG;
        experiment.cluster.freeze(node, until);
        experiment.cluster.run_until(until);
        let awake = experiment.cluster.trace.len();
        experiment.expect_reunion(2 * SECOND);
        let later = experiment.cluster.trace.iter().skip(awake);
        let accusations = later.filter(|event| {
            usize::from(event.node) == node + 1 && matches!(event.kind, EventKind::Accuse { .. })
        });
        assert_eq!(accusations.count(), 0, "{}", experiment.name);
        experiment.cluster.run_for(LONG);
        experiment.expect(2..=2, &[node]);
        experiment.finish();
    }
}

#[test]
fn nodes_wait_while_no_component_has_a_majority_and_go_on_in_the_same_view() {
    for seed in 1..=3 {
        let mut experiment = begin("three components", GOSSIP, seed);
        let components: [&[usize]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
        experiment.cluster.network.split(&components);
        experiment.cluster.run_for(LONG);
        experiment.expect(0..=0, &[]);
        experiment.cluster.reconnect();
        experiment.cluster.run_for(5 * SECOND);
        experiment.expect_quorum_everywhere();
        experiment.finish();
    }
}
