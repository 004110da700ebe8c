// SPDX-License-Identifier: GPL-2.0

//! The target `operations`: everything that can happen to nodes, in any order. That is commands, reports of the failure
//! detector, deadlines before their time, crashes, losses, forged datagrams, and time that passes.

use arbitrary::{Result, Unstructured};
use kcgcs_protocol::platform::BoundedVec;
use kcgcs_protocol::protocol::failure_detector::DetectorReport;
use kcgcs_protocol::protocol::group::LeaveMode;
use kcgcs_protocol::protocol::group_properties::GroupProperties;
use kcgcs_protocol::protocol::identity::{
    EndpointId, GroupName, Identity, Incarnation, NodeId, ViewMark, ViewName, ViewNumber,
};
use kcgcs_protocol::protocol::limits::MESSAGE_BYTES_MAX;
use kcgcs_protocol::protocol::outputs::Order;
use kcgcs_protocol::protocol::time::Duration;

use crate::cluster::{address, Cluster};
use crate::forgery::forge;
use crate::mode::Mode;

/// The most operations of one input.
const ITEMS_MAX: usize = 64;
const NAMES: [&[u8]; 3] = [b"a", b"b", b"another group"];
const ORDERS: [Order; 3] = [Order::Fifo, Order::Causal, Order::Agreed];

/// Run an input of the target `operations`. Returns whether its mode checks the promises and there was a view that is
/// not primary.
pub fn operations(data: &[u8]) -> bool {
    let (data, mode) = Mode::of(data);
    let mut bytes = Unstructured::new(data);
    let mut cluster = match bytes.ratio(1, 8) {
        Ok(true) => Cluster::new(mode),
        _ => Cluster::formed(mode),
    };
    // The run ends where the bytes of the input end.
    let _ = run_items(&mut cluster, &mut bytes, mode);
    cluster.run_for(Duration::from_milliseconds(500));
    if mode.is_honest() {
        cluster.come_together();
    }
    cluster.promises.has_components()
}

fn run_items(cluster: &mut Cluster, bytes: &mut Unstructured<'_>, mode: Mode) -> Result<()> {
    for _ in 0..ITEMS_MAX {
        if bytes.is_empty() {
            break;
        }
        let place = bytes.int_in_range(0..=cluster.last())?;
        let operation = bytes.int_in_range(0..=15)?;
        if !cluster.machines[place].is_up && operation < 10 {
            cluster.restart(place);
        }
        match operation {
            0 | 1 => join(cluster, place, bytes)?,
            2 => leave(cluster, place, bytes)?,
            3..=5 => multicast(cluster, place, bytes)?,
            6 if mode.is_administered && bytes.ratio(7, 8)? => administer(cluster, place, bytes)?,
            6 => {
                let now = cluster.now;
                cluster.machines[place].node.leave_cluster(now);
            }
            7 if mode.is_partitionable => cut(cluster, bytes)?,
            7 | 8 => report(cluster, place, bytes, mode)?,
            9 => {
                let now = cluster.now;
                let machine = &mut cluster.machines[place];
                machine.node.handle_deadline(now);
                machine.failure_detector.handle_timer(now);
            }
            10 => cluster.machines[place].is_up = false,
            11 => cluster.to_lose = bytes.int_in_range(0..=20)?,
            12 if !mode.is_honest() => forge(cluster, bytes)?,
            _ => {
                let span = 1 << bytes.int_in_range(0..=10)?;
                cluster.run_for(Duration::from_milliseconds(span));
            }
        }
        if cluster.machines[place].is_up {
            cluster.drain(place);
        }
    }
    Ok(())
}

fn join(cluster: &mut Cluster, place: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
    let now = cluster.now;
    let name =
        GroupName::new(NAMES[bytes.choose_index(NAMES.len())?]).expect("the names are valid");
    let machine = &mut cluster.machines[place];
    if let Ok(endpoint) = machine.node.join_group(now, name, GroupProperties::DEFAULT) {
        assert!(
            machine.endpoints.insert(endpoint),
            "an endpoint is used again"
        );
    }
    Ok(())
}

/// One of the node's endpoints, or now and then one that may not exist.
fn endpoint(cluster: &Cluster, place: usize, bytes: &mut Unstructured<'_>) -> Result<EndpointId> {
    let endpoints = &cluster.machines[place].endpoints;
    if endpoints.is_empty() || bytes.ratio(1, 8)? {
        return Ok(EndpointId(bytes.int_in_range(0..=4)?));
    }
    let number = bytes.choose_index(endpoints.len())?;
    let chosen = endpoints.iter().nth(number).copied();
    Ok(chosen.unwrap_or(EndpointId(0)))
}

fn leave(cluster: &mut Cluster, place: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
    let now = cluster.now;
    let endpoint = endpoint(cluster, place, bytes)?;
    let _ = cluster.machines[place]
        .node
        .leave_group(now, endpoint, LeaveMode::SendFirst);
    Ok(())
}

fn multicast(cluster: &mut Cluster, place: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
    let now = cluster.now;
    let endpoint = endpoint(cluster, place, bytes)?;
    let order = ORDERS[bytes.choose_index(ORDERS.len())?];
    let length = match bytes.int_in_range(0..=7)? {
        0 => 0,
        1 => MESSAGE_BYTES_MAX + 1 - bytes.int_in_range(0..=2)?,
        2 => bytes.int_in_range(1_000..=5_000)?,
        _ => bytes.int_in_range(1..=100)?,
    };
    let mut payload = BoundedVec::with_capacity(length).expect("there is memory");
    while payload.push(7).is_ok() {}
    let node = &mut cluster.machines[place].node;
    let call_view = ViewName {
        number: ViewNumber(1),
        issuer: node.identity().node,
    };
    let _ = node.multicast(now, endpoint, order, call_view, payload);
    Ok(())
}

/// Carry out a command of an administrator, or an answer of a fence handler.
fn administer(cluster: &mut Cluster, place: usize, bytes: &mut Unstructured<'_>) -> Result<()> {
    let now = cluster.now;
    let other = bytes.int_in_range(0..=cluster.machines.len())?;
    let number = NodeId::new(other as u16 + 1).expect("the number is not zero");
    let subject = match cluster.machines.get(other) {
        Some(machine) => machine.node.identity(),
        None => Identity {
            node: number,
            incarnation: Incarnation(1),
        },
    };
    let span = 1_u32 << bytes.int_in_range(0..=14)?;
    let node = &mut cluster.machines[place].node;
    match bytes.int_in_range(0..=5)? {
        0 => {
            let _ = node.evict(now, number);
        }
        1 => {
            let _ = node.pin(now, span);
        }
        2 => {
            let _ = node.pin(now, 0);
        }
        3 => {
            let timeout = Duration::from_milliseconds(span.into());
            let is_there = bytes.ratio(7, 8)?;
            node.set_fence_timeout(now, is_there.then_some(timeout));
        }
        4 => {
            let is_fenced = node.wants_fence(subject) && bytes.ratio(1, 2)?;
            node.answer_fence(now, subject, is_fenced);
        }
        _ => node.answer_fence(now, subject, bytes.ratio(1, 2)?),
    }
    Ok(())
}

/// Split the network into components, or heal it.
fn cut(cluster: &mut Cluster, bytes: &mut Unstructured<'_>) -> Result<()> {
    cluster.is_cut_one_way = bytes.ratio(1, 8)?;
    let choice: u16 = bytes.arbitrary()?;
    let is_healed = choice % 4 == 0;
    for (place, side) in cluster.sides.iter_mut().enumerate() {
        // There are three components at most, and two more often.
        let bits = choice >> (2 + 2 * place) & 3;
        *side = if is_healed {
            0
        } else {
            [0, 1, 1, 2][usize::from(bits)]
        };
    }
    Ok(())
}

fn report(
    cluster: &mut Cluster,
    place: usize,
    bytes: &mut Unstructured<'_>,
    mode: Mode,
) -> Result<()> {
    let now = cluster.now;
    let other = bytes.int_in_range(0..=cluster.machines.len())?;
    let subject = match cluster.machines.get(other) {
        Some(machine) if mode.is_honest() || bytes.ratio(7, 8)? => machine.node.identity(),
        _ => Identity {
            node: NodeId::new(other as u16 + 1).expect("the number is not zero"),
            incarnation: Incarnation(bytes.int_in_range(0..=3)?),
        },
    };
    if mode.is_honest() && other == place {
        // No node monitors itself.
        return Ok(());
    }
    let silence_ms = bytes.arbitrary::<u16>()?.into();
    let report = match bytes.int_in_range(0..=4)? {
        0 => DetectorReport::Silent {
            subject,
            silence_ms,
        },
        1 | 2 => DetectorReport::Dead {
            subject,
            silence_ms,
        },
        3 => DetectorReport::Heard { subject },
        // No honest node shows a view that it does not have.
        _ if mode.is_honest() => return Ok(()),
        _ => DetectorReport::OtherView {
            sender: subject,
            from: address(other),
            view: ViewMark {
                number: ViewNumber(bytes.int_in_range(0..=5)?),
                lineage: cluster.lineage_of(place),
            },
        },
    };
    let node = &mut cluster.machines[place].node;
    node.handle_detector_report(now, report);
    Ok(())
}
