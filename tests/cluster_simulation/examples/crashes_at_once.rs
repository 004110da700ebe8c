// SPDX-License-Identifier: GPL-2.0

//! Measure, in virtual time, how long it takes until all survivors have a view without neighbours that crashed at
//! once, up to as many as leave a quorum, and how many views that takes. Prints a table of docs/measurements.md.

#![forbid(unsafe_code)]

use cluster_simulation::neighbours::{crash, Outcome};
use cluster_simulation::timing::MS;

/// The clusters of each size: the number of nodes, and of seeds.
const SIZES: [(usize, u64); 4] = [(8, 200), (16, 200), (32, 100), (64, 60)];

/// The numbers of nodes that crash at once, in a cluster of `nodes`.
fn numbers_of_crashes(nodes: usize) -> Vec<usize> {
    let most = (nodes - 1) / 2;
    let mut numbers: Vec<usize> = [1, 2, 3, 5, 8, 12, 16, 24]
        .into_iter()
        .filter(|crashes| *crashes < most)
        .collect();
    numbers.push(most);
    numbers
}

fn main() {
    println!(
        "| nodes | crash | median | p90 | largest | median, to that of one | more than one view |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (nodes, seeds) in SIZES {
        let mut of_one = None;
        for crashes in numbers_of_crashes(nodes) {
            let all: Vec<Outcome> = (1..=seeds)
                .map(|seed| crash(nodes, crashes, seed))
                .collect();
            let in_ms = |outcome: &Outcome| outcome.took_ns as f64 / MS as f64;
            let mut times: Vec<f64> = all.iter().map(in_ms).collect();
            times.sort_unstable_by(f64::total_cmp);
            let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100];
            let median = at(50);
            let one = *of_one.get_or_insert(median);
            let several = all.iter().filter(|outcome| outcome.views > 1).count();
            println!(
                "| {nodes} | {crashes} | {median:.0} | {:.0} | {:.0} | {:+.0} % | {several} of {seeds} |",
                at(90),
                at(100),
                (median / one - 1.0) * 100.0,
            );
        }
    }
}
