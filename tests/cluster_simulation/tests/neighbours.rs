// SPDX-License-Identifier: GPL-2.0

//! Neighbours that crash at once, up to as many as leave a quorum, are excluded in one view, although most of their
//! monitors have crashed too, and that takes hardly longer than for one node. All in virtual time.

use cluster_simulation::neighbours::crash;
use cluster_simulation::timing::MS;

/// By how much longer several crashes may take than one.
const MORE_PER_CENT: u64 = 10;

#[test]
fn neighbours_that_crash_at_once_are_excluded_in_one_view() {
    for (nodes, seeds) in [(8, 4), (16, 4), (32, 1)] {
        for crashes in 1..nodes / 2 {
            for seed in 1..=seeds {
                let views = crash(nodes, crashes, seed).views;
                assert_eq!(views, 1, "{crashes} of {nodes}, seed {seed}");
            }
        }
    }
}

#[test]
fn excluding_several_nodes_takes_hardly_longer_than_excluding_one() {
    let median_ns = |nodes, crashes, seeds| {
        let mut times: Vec<u64> = (1..=seeds)
            .map(|seed| crash(nodes, crashes, seed).took_ns)
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    for (nodes, seeds) in [(8, 100), (16, 60), (32, 20)] {
        let of_one = median_ns(nodes, 1, seeds);
        for crashes in 2..nodes / 2 {
            let took = median_ns(nodes, crashes, seeds);
            assert!(
                took * 100 <= of_one * (100 + MORE_PER_CENT),
                "{crashes} of {nodes}: {} ms, but {} ms for one (seeds 1 to {seeds})",
                took / MS,
                of_one / MS
            );
        }
    }
}

#[test]
fn half_of_a_large_cluster_is_excluded_in_300_ms_although_the_monitors_crash_too() {
    for seed in 1..=5 {
        let outcome = crash(64, 31, seed);
        assert!(
            outcome.views == 1 && outcome.took_ns < 300 * MS,
            "{outcome:?}, seed {seed}"
        );
    }
}
