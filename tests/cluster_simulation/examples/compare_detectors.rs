// SPDX-License-Identifier: GPL-2.0

//! Compare the two failure detectors in virtual time: their cost in an idle cluster, and the time from a crash to
//! the first accusation and to the view without the dead nodes at all survivors. Prints a table of
//! docs/measurements.md.

#![forbid(unsafe_code)]

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{MS, SECOND};
use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use kcgcs_protocol::protocol::errors::Counter;

/// The clusters of each kind: the number of nodes, and of seeds.
const SIZES: [(usize, u64); 4] = [(8, 40), (32, 40), (64, 20), (256, 5)];
/// The time for which the idle cost is measured.
const IDLE_NS: u64 = 10 * SECOND;
/// The longest time that is waited for a view.
const LIMIT_NS: u64 = 60 * SECOND;

/// The figures of one cluster.
struct Measured {
    packets_per_second: f64,
    bytes_per_second: f64,
    accused_ms: f64,
    view_ms: f64,
}

fn detector_counts(cluster: &Cluster, counter: Counter) -> u64 {
    let alive = cluster.hosts.iter().filter_map(|host| host.alive.as_ref());
    alive
        .map(|alive| alive.failure_detector.counters().value(counter))
        .sum()
}

fn measure(configuration: Configuration, nodes: usize, crashes: usize, seed: u64) -> Measured {
    let mut options = ClusterOptions::perfect(seed, nodes);
    options.configuration = Configuration {
        expected_nodes: nodes as u32,
        ..configuration
    };
    let mut cluster = Cluster::new(options);
    for host in 0..nodes {
        cluster.start(host);
    }
    assert!(
        cluster.run_until_true(LIMIT_NS, is_one_view),
        "seed {seed}: no view of {nodes} nodes"
    );
    let mut chance = Chance::new(seed, 30);
    cluster.run_for(chance.between(SECOND, 2 * SECOND));
    let (packets, bytes) = (
        detector_counts(&cluster, Counter::DatagramsSent),
        detector_counts(&cluster, Counter::BytesSent),
    );
    cluster.run_for(IDLE_NS);
    let per_second = |before: u64, counter| {
        let sent = detector_counts(&cluster, counter) - before;
        sent as f64 / nodes as f64 / (IDLE_NS / SECOND) as f64
    };
    let packets_per_second = per_second(packets, Counter::DatagramsSent);
    let bytes_per_second = per_second(bytes, Counter::BytesSent);

    let mut victims: Vec<usize> = (0..nodes).collect();
    chance.shuffle(&mut victims);
    victims.truncate(crashes);
    let since = cluster.now();
    for host in victims {
        cluster.crash(host);
    }
    let before = detector_counts(&cluster, Counter::Accusations);
    let took_ms = |cluster: &Cluster| (cluster.now() - since) as f64 / MS as f64;
    let is_accused = |cluster: &Cluster| detector_counts(cluster, Counter::Accusations) > before;
    assert!(
        cluster.run_until_true(LIMIT_NS, is_accused),
        "seed {seed}: nobody was accused"
    );
    let accused_ms = took_ms(&cluster);
    assert!(
        cluster.run_until_true(LIMIT_NS, is_one_view),
        "seed {seed}: no view without the dead"
    );
    Measured {
        packets_per_second,
        bytes_per_second,
        accused_ms,
        view_ms: took_ms(&cluster),
    }
}

/// Median and largest value.
fn summary(values: impl Iterator<Item = f64>) -> String {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let most = sorted.last().copied().unwrap_or(0.0);
    format!("{median:.0} ({most:.0})")
}

fn main() {
    let gossip = Configuration {
        detector: DetectorKind::Gossip,
        ..Configuration::DEFAULT
    };
    let kinds = [
        ("ring", Configuration::DEFAULT),
        ("gossip", gossip),
        (
            "gossip, no probes",
            Configuration {
                probe_count: 0,
                ..gossip
            },
        ),
    ];
    println!(
        "| nodes | detector | packets/s | bytes/s | crashes | first accusation, ms | view, ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (nodes, seeds) in SIZES {
        // Only as many crash as leave a quorum.
        for crashes in [1, 10.min((nodes - 1) / 2)] {
            for (name, configuration) in kinds {
                let all: Vec<Measured> = (1..=seeds)
                    .map(|seed| measure(configuration, nodes, crashes, seed))
                    .collect();
                let mean = |value: fn(&Measured) -> f64| {
                    all.iter().map(value).sum::<f64>() / all.len() as f64
                };
                println!(
                    "| {nodes} | {name} | {:.1} | {:.0} | {crashes} | {} | {} |",
                    mean(|one| one.packets_per_second),
                    mean(|one| one.bytes_per_second),
                    summary(all.iter().map(|one| one.accused_ms)),
                    summary(all.iter().map(|one| one.view_ms)),
                );
            }
        }
    }
}
