// SPDX-License-Identifier: GPL-2.0

//! K5: a datagram whose header cannot be right changes nothing. A cluster runs once, and once more while damaged copies
//! of all its datagrams, and datagrams of other senders, arrive at its nodes. Both runs are exactly the same.

use std::rc::Rc;
use std::sync::Arc;

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions, OnWire};
use cluster_simulation::network::damaged;
use cluster_simulation::timing::{MS, SECOND};
use kcgcs_protocol::protocol::outputs::Order;
use trace_checker::trace::TraceEvent;

const NODES: usize = 5;

/// Run a cluster that forms, multicasts in a group, loses a node and admits it again, with `more` datagrams on its
/// wires.
fn run(seed: u64, more: Vec<OnWire>) -> (Vec<TraceEvent>, Vec<OnWire>) {
    let mut cluster = Cluster::new(ClusterOptions {
        // Without delays, so that a datagram that is dropped does not delay the next one.
        engine_delay_mean_us: 0,
        timer_delay_mean_us: 0,
        ..ClusterOptions::perfect(seed, NODES)
    });
    cluster.wiretap = Some(Vec::new());
    for one in more {
        cluster.put_on_wire(one);
    }
    let group: Arc<str> = Arc::from("group");
    for host in 0..NODES {
        cluster.start(host);
    }
    cluster.run_until(2 * SECOND);
    let members: Vec<_> = (0..NODES)
        .filter_map(|host| Some((host, cluster.join_group(host, &group)?)))
        .collect();
    cluster.run_until(3 * SECOND);
    for (host, endpoint) in members {
        // The trace records whether it was accepted.
        let _ = cluster.multicast(host, endpoint, Order::Agreed, 100 * host);
    }
    cluster.run_until(3 * SECOND + 50 * MS);
    cluster.crash(NODES - 1);
    cluster.run_until(4 * SECOND);
    cluster.start(NODES - 1);
    cluster.run_until(6 * SECOND);
    (cluster.trace, cluster.wiretap.unwrap_or_default())
}

#[test]
fn damaged_datagrams_change_no_line_of_the_trace() {
    for seed in 1..=10 {
        let (trace, seen) = run(seed, Vec::new());
        let mut chance = Chance::new(seed, 30);
        let more: Vec<OnWire> = seen
            .iter()
            .map(|sent| OnWire {
                time: sent.time + chance.between(0, 5 * MS),
                bytes: Rc::from(damaged(&mut chance, &sent.bytes)),
                ..sent.clone()
            })
            .collect();
        assert!(more.len() > 500, "seed {seed}: {} copies", more.len());
        let (again, _) = run(seed, more);
        assert_eq!(trace.len(), again.len(), "seed {seed}");
        for (one, other) in trace.iter().zip(&again) {
            assert_eq!(one, other, "seed {seed}");
        }
    }
}

#[test]
fn copies_with_a_changed_body_change_the_trace() {
    // The comparison of the other test can therefore see a difference. See network/damage.rs for why such copies need
    // not be harmless.
    let seed = 1;
    let (trace, seen) = run(seed, Vec::new());
    let more = seen.iter().map(|sent| {
        let mut bytes = sent.bytes.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        OnWire {
            bytes: Rc::from(bytes),
            ..sent.clone()
        }
    });
    let (again, _) = run(seed, more.collect());
    assert_ne!(trace, again, "seed {seed}");
}
