// SPDX-License-Identifier: GPL-2.0

//! Measurement of neighbours that crash at once: the time until all survivors have a view without them, and the
//! number of views that this takes.

use crate::chance::Chance;
use crate::cluster::{Cluster, ClusterOptions};
use crate::reference_model::is_one_view;
use crate::timing::SECOND;

/// The longest time to form, and to agree on a view without the dead nodes.
const LIMIT_NS: u64 = 60 * SECOND;
/// Views within this time after the first one without the dead nodes count as needed for them as well.
const AFTERMATH_NS: u64 = 2 * SECOND;

/// The result of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The time until the last survivor had a view without the dead nodes.
    pub took_ns: u64,
    /// The number of views until then and shortly after.
    pub views: u64,
}

/// Form a cluster in a perfect network, crash so many nodes with consecutive numbers, and let it agree. Panics if it
/// does not.
pub fn crash(nodes: usize, crashes: usize, seed: u64) -> Outcome {
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
    let first = chance.between(0, nodes as u64 - 1) as usize;
    let (before, since) = (view_number(&cluster), cluster.now());
    for place in first..first + crashes {
        cluster.crash(place % nodes);
    }
    assert!(cluster.run_until_true(LIMIT_NS, is_one_view), "{what}");
    let took_ns = cluster.now() - since;
    cluster.run_for(AFTERMATH_NS);
    Outcome {
        took_ns,
        views: view_number(&cluster) - before,
    }
}

fn view_number(cluster: &Cluster) -> u64 {
    let alive = cluster.hosts.iter().find_map(|host| host.alive.as_ref());
    let view = alive.and_then(|alive| alive.node.view());
    view.map_or(0, |view| view.number.0)
}
