// SPDX-License-Identifier: GPL-2.0

//! Datagrams that nobody sent, to nodes that have a view or look for each other.

use arbitrary::{Result, Unstructured};
use kcgcs_protocol::protocol::identity::GroupName;
use kcgcs_protocol::protocol::time::Duration;

use crate::cluster::Cluster;
use crate::forgery::forge;
use crate::mode::Mode;

/// Forgeries of one input at most.
const ITEMS_MAX: usize = 48;
/// Datagrams that may come in the second after the last forgery: more are a storm.
const STORM: u64 = 6_000;

/// What the target `datagrams` does.
pub fn datagrams(data: &[u8]) {
    let (data, mode) = Mode::of(data);
    // Where the bytes end is where it ends.
    let _ = run(&mut Unstructured::new(data), mode);
}

fn run(bytes: &mut Unstructured<'_>, mode: Mode) -> Result<()> {
    let mut cluster = match bytes.int_in_range(0..=if mode.is_partitionable { 4 } else { 2 })? {
        0 => Cluster::new(mode),
        1 => Cluster::formed(mode),
        3 => in_parts(mode),
        4 => {
            // They are about to meet.
            let mut cluster = in_parts(mode);
            cluster.sides.fill(0);
            cluster
        }
        _ => {
            let mut cluster = Cluster::formed(mode);
            for place in 0..=cluster.last() {
                let now = cluster.now;
                let machine = &mut cluster.machines[place];
                let name = GroupName::new(b"group").expect("it is a name");
                if let Ok(endpoint) = machine.node.join_group(now, name) {
                    machine.endpoints.insert(endpoint);
                }
                cluster.settle(place);
            }
            cluster.run_for(Duration::from_milliseconds(100));
            cluster
        }
    };
    let result = go_through(&mut cluster, bytes);
    let before = cluster.arrived;
    cluster.run_for(Duration::from_milliseconds(1_000));
    assert!(cluster.arrived - before < STORM, "a storm of datagrams");
    result
}

/// Three nodes in a primary view, and two in a part of their own.
fn in_parts(mode: Mode) -> Cluster {
    let mut cluster = Cluster::formed(mode);
    cluster.sides[3..].fill(1);
    cluster.run_for(Duration::from_milliseconds(3_000));
    cluster
}

fn go_through(cluster: &mut Cluster, bytes: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..ITEMS_MAX {
        if bytes.is_empty() {
            break;
        }
        if bytes.ratio(1, 4)? {
            let span = 1 << bytes.int_in_range(0..=8)?;
            cluster.run_for(Duration::from_milliseconds(span));
        } else {
            forge(cluster, bytes)?;
        }
    }
    Ok(())
}
