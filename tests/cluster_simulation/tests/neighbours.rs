// SPDX-License-Identifier: GPL-2.0

//! Neighbours that crash at once, as many as leave a quorum: they go in one view, although most of them were
//! watched by nodes that have crashed too.

use cluster_simulation::neighbours::crash;

#[test]
fn neighbours_that_crash_at_once_go_in_one_view() {
    for (nodes, seeds) in [(8, 4), (16, 4), (32, 1)] {
        for crashes in 1..nodes / 2 {
            for seed in 1..=seeds {
                let views = crash(nodes, crashes, seed).views;
                assert_eq!(views, 1, "{crashes} of {nodes}, seed {seed}");
            }
        }
    }
}
