// SPDX-License-Identifier: GPL-2.0

//! Neighbours that crash at once, as many as leave a quorum: how long it takes until all survivors have a view
//! without them, and how many views that takes, in virtual time. Prints the table of docs/measurements.md.

#![forbid(unsafe_code)]

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{MS, SECOND};

/// Clusters of each size: how many seeds.
const SIZES: [(usize, u64); 4] = [(8, 200), (16, 200), (32, 100), (64, 60)];
/// How long a crash may take until the view.
const LIMIT_NS: u64 = 60 * SECOND;

/// How many crash at once, of so many.
fn numbers_of_crashes(nodes: usize) -> Vec<usize> {
    let most = (nodes - 1) / 2;
    let mut numbers: Vec<usize> = [1, 2, 3, 5, 8, 12, 16, 24]
        .into_iter()
        .filter(|crashes| *crashes < most)
        .collect();
    numbers.push(most);
    numbers
}

/// Milliseconds until the last survivor's view without them, and views until then.
fn measure(nodes: usize, crashes: usize, seed: u64) -> (f64, u64) {
    let mut options = ClusterOptions::perfect(seed, nodes);
    options.configuration.expected_nodes = nodes as u32;
    let mut cluster = Cluster::new(options);
    for host in 0..nodes {
        cluster.start(host);
    }
    let what = format!("{crashes} of {nodes}, seed {seed}");
    assert!(cluster.run_until_true(LIMIT_NS, is_one_view), "{what}");
    let mut chance = Chance::new(seed, 30);
    cluster.run_for(chance.between(SECOND, 2 * SECOND));
    let before = view_number(&cluster);
    let first = chance.between(0, nodes as u64 - 1) as usize;
    let since = cluster.now();
    for place in first..first + crashes {
        cluster.crash(place % nodes);
    }
    assert!(cluster.run_until_true(LIMIT_NS, is_one_view), "{what}");
    let took_ms = (cluster.now() - since) as f64 / MS as f64;
    (took_ms, view_number(&cluster) - before)
}

fn view_number(cluster: &Cluster) -> u64 {
    let alive = cluster.hosts.iter().find_map(|host| host.alive.as_ref());
    let view = alive.and_then(|alive| alive.node.view());
    view.map_or(0, |view| view.number.0)
}

fn main() {
    println!(
        "| nodes | crash | median | p90 | largest | median, to that of one | more than one view |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (nodes, seeds) in SIZES {
        let mut of_one = None;
        for crashes in numbers_of_crashes(nodes) {
            let all: Vec<(f64, u64)> = (1..=seeds)
                .map(|seed| measure(nodes, crashes, seed))
                .collect();
            let mut times: Vec<f64> = all.iter().map(|(ms, _)| *ms).collect();
            times.sort_unstable_by(f64::total_cmp);
            let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100];
            let median = at(50);
            let one = *of_one.get_or_insert(median);
            let several = all.iter().filter(|(_, views)| *views > 1).count();
            println!(
                "| {nodes} | {crashes} | {median:.0} | {:.0} | {:.0} | {:+.0} % | {several} of {seeds} |",
                at(90),
                at(100),
                (median / one - 1.0) * 100.0,
            );
        }
    }
}
