// SPDX-License-Identifier: GPL-2.0

//! Neighbours that crash at once, as many as leave a quorum: they go in one view, although most of them were
//! watched by nodes that have crashed too.

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::SECOND;

fn view_number(cluster: &Cluster) -> u64 {
    let alive = cluster.hosts.iter().find_map(|host| host.alive.as_ref());
    let view = alive.and_then(|alive| alive.node.view());
    view.map_or(0, |view| view.number.0)
}

/// How many views there are until all others are in one, and for two seconds more.
fn views(seed: u64, nodes: usize, crashes: usize) -> u64 {
    let mut options = ClusterOptions::perfect(seed, nodes);
    options.configuration.expected_nodes = nodes as u32;
    let mut cluster = Cluster::new(options);
    for host in 0..nodes {
        cluster.start(host);
    }
    let what = format!("{crashes} of {nodes}, seed {seed}");
    assert!(cluster.run_until_true(20 * SECOND, is_one_view), "{what}");
    let mut chance = Chance::new(seed, 30);
    cluster.run_for(chance.between(SECOND, 2 * SECOND));
    let first = chance.between(0, nodes as u64 - 1) as usize;
    let before = view_number(&cluster);
    for place in first..first + crashes {
        cluster.crash(place % nodes);
    }
    assert!(cluster.run_until_true(5 * SECOND, is_one_view), "{what}");
    cluster.run_for(2 * SECOND);
    view_number(&cluster) - before
}

#[test]
fn neighbours_that_crash_at_once_go_in_one_view() {
    for (nodes, seeds) in [(8, 4), (16, 4), (32, 1)] {
        for crashes in 1..nodes / 2 {
            for seed in 1..=seeds {
                let views = views(seed, nodes, crashes);
                assert_eq!(views, 1, "{crashes} of {nodes}, seed {seed}");
            }
        }
    }
}
