// SPDX-License-Identifier: GPL-2.0

//! K5: what cannot be ours changes nothing. A cluster is watched once, and once more while damaged copies of
//! all that it sends, and bytes of somebody else's, come to its nodes: both times it does exactly the same.

use std::rc::Rc;
use std::sync::Arc;

use cluster_simulation::chance::Chance;
use cluster_simulation::cluster::{Cluster, ClusterOptions, OnWire};
use cluster_simulation::network::damaged;
use cluster_simulation::timing::{MS, SECOND};
use kcgcs_protocol::protocol::outputs::Order;
use trace_checker::trace::TraceEvent;

const NODES: usize = 5;

/// A cluster that forms, has a group that sends, loses a node and gets it back, with `more` on its wires.
fn story(seed: u64, more: Vec<OnWire>) -> (Vec<TraceEvent>, Vec<OnWire>) {
    let mut cluster = Cluster::new(ClusterOptions {
        // Else datagrams that mean nothing would still make the next one wait.
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
        // Whether it was accepted stands in the trace.
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
        let (trace, seen) = story(seed, Vec::new());
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
        let (again, _) = story(seed, more);
        assert_eq!(trace.len(), again.len(), "seed {seed}");
        for (one, other) in trace.iter().zip(&again) {
            assert_eq!(one, other, "seed {seed}");
        }
    }
}

#[test]
fn a_copy_with_a_changed_body_does_change_it() {
    // So the comparison does see a difference; see network/damage.rs for why such copies are not promised to
    // be harmless.
    let seed = 1;
    let (trace, seen) = story(seed, Vec::new());
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
    let (again, _) = story(seed, more.collect());
    assert_ne!(trace, again, "seed {seed}");
}
