// SPDX-License-Identifier: GPL-2.0

//! The target `datagrams`: forged datagrams to nodes that have a view or look for each other.

use arbitrary::{Result, Unstructured};
use kcgcs_protocol::protocol::group_properties::GroupProperties;
use kcgcs_protocol::protocol::identity::GroupName;
use kcgcs_protocol::protocol::time::Duration;

use crate::cluster::Cluster;
use crate::forgery::forge;
use crate::mode::Mode;

/// The most forgeries of one input.
const ITEMS_MAX: usize = 48;
/// The most datagrams in the second after the last forgery. More are a storm.
const STORM: u64 = 6_000;

/// Run an input of the target `datagrams`.
pub fn datagrams(data: &[u8]) {
    let (data, mode) = Mode::of(data);
    // The run ends where the bytes of the input end.
    let _ = run(&mut Unstructured::new(data), mode);
}

fn run(bytes: &mut Unstructured<'_>, mode: Mode) -> Result<()> {
    let mut cluster = match bytes.int_in_range(0..=if mode.is_partitionable { 4 } else { 2 })? {
        0 => Cluster::new(mode),
        1 => Cluster::formed(mode),
        3 => split(mode),
        4 => {
            // The components are about to merge.
            let mut cluster = split(mode);
            cluster.sides.fill(0);
            cluster
        }
        _ => {
            let mut cluster = Cluster::formed(mode);
            for place in 0..=cluster.last() {
                let now = cluster.now;
                let machine = &mut cluster.machines[place];
                let name = GroupName::new(b"group").expect("the name is valid");
                if let Ok(endpoint) = machine.node.join_group(now, name, GroupProperties::DEFAULT) {
                    machine.endpoints.insert(endpoint);
                }
                cluster.drain(place);
            }
            cluster.run_for(Duration::from_milliseconds(100));
            cluster
        }
    };
    let result = run_items(&mut cluster, bytes);
    let before = cluster.arrived;
    cluster.run_for(Duration::from_milliseconds(1_000));
    assert!(cluster.arrived - before < STORM, "a storm of datagrams");
    result
}

/// Three nodes in a primary view, and two in a component of their own.
fn split(mode: Mode) -> Cluster {
    let mut cluster = Cluster::formed(mode);
    cluster.sides[3..].fill(1);
    cluster.run_for(Duration::from_milliseconds(3_000));
    cluster
}

fn run_items(cluster: &mut Cluster, bytes: &mut Unstructured<'_>) -> Result<()> {
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
