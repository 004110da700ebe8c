// SPDX-License-Identifier: GPL-2.0

//! The traffic of an idle cluster, counted by the nodes' interfaces, which see everything, and by the nodes themselves.

use std::time::{Duration, Instant};

use super::{emit, tell_progress};
use crate::bench::{Idle, Line};
use crate::guest::cluster::Cluster;
use crate::guest::network::Network;

/// The time after which the traffic of forming a cluster has ended: some 5 to 45 s later the kernel still checks
/// whether the neighbours with which nodes exchanged packets are reachable.
pub(super) const NEIGHBOURS_FORGOTTEN: Duration = Duration::from_secs(100);

/// The traffic that a node has sent so far.
struct Count {
    at: Instant,
    packets: u64,
    bytes: u64,
    datagrams: u64,
    heartbeats: u64,
    payload_bytes: u64,
}

/// The traffic of a node per second.
struct Rate {
    packets: f64,
    bytes: f64,
    datagrams: f64,
    heartbeats: f64,
    payload_bytes: f64,
}

impl Rate {
    fn between(before: &Count, after: &Count) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        let rate = |before: u64, after: u64| (after - before) as f64 / seconds;
        Self {
            packets: rate(before.packets, after.packets),
            bytes: rate(before.bytes, after.bytes),
            datagrams: rate(before.datagrams, after.datagrams),
            heartbeats: rate(before.heartbeats, after.heartbeats),
            payload_bytes: rate(before.payload_bytes, after.payload_bytes),
        }
    }
}

/// Measure an idle cluster for `length`.
pub(super) fn measure(cluster: &mut Cluster, length: Duration) -> Result<(), String> {
    let nodes = cluster.all();
    tell_progress(&format!(
        "{} nodes: idle for {} s",
        nodes.len(),
        length.as_secs()
    ));
    std::thread::sleep(NEIGHBOURS_FORGOTTEN);
    let before = count_all(cluster, &nodes)?;
    std::thread::sleep(length);
    let after = count_all(cluster, &nodes)?;
    let rates: Vec<Rate> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| Rate::between(before, after))
        .collect();
    let mean = |value: fn(&Rate) -> f64| rates.iter().map(value).sum::<f64>() / rates.len() as f64;
    emit(&Line::Idle(Idle {
        nodes: nodes.len() as u16,
        seconds: length.as_secs_f64(),
        packets_mean: mean(|rate| rate.packets),
        packets_max: rates.iter().map(|rate| rate.packets).fold(0.0, f64::max),
        bytes_mean: mean(|rate| rate.bytes),
        datagrams_mean: mean(|rate| rate.datagrams),
        heartbeats_mean: mean(|rate| rate.heartbeats),
        payload_bytes_mean: mean(|rate| rate.payload_bytes),
    }))
}

fn count_all(cluster: &mut Cluster, nodes: &[u16]) -> Result<Vec<Count>, String> {
    nodes.iter().map(|&node| count(cluster, node)).collect()
}

fn count(cluster: &mut Cluster, node: u16) -> Result<Count, String> {
    let (packets, bytes) = sent(&cluster.network, node)?;
    Ok(Count {
        at: Instant::now(),
        packets,
        bytes,
        datagrams: cluster.counter(node, "datagrams_sent")?,
        heartbeats: cluster.counter(node, "heartbeats_sent")?,
        payload_bytes: cluster.counter(node, "bytes_sent")?,
    })
}

/// Packets and bytes that a node's interface has sent.
pub(super) fn sent(network: &Network, node: u16) -> Result<(u64, u64), String> {
    const PATH: &str = "/proc/thread-self/net/dev";
    let table = network
        .namespace(node)?
        .run(|| std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}")))?;
    sent_by("eth0", &table).ok_or_else(|| "there is no eth0".to_string())
}

/// Packets and bytes that an interface has sent. In its line eight numbers about receiving come first, then the bytes
/// and the packets sent.
fn sent_by(interface: &str, table: &str) -> Option<(u64, u64)> {
    let numbers = table.lines().find_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        (name.trim() == interface).then_some(numbers)
    })?;
    let mut numbers = numbers.split_whitespace().skip(8);
    let bytes = numbers.next()?.parse().ok()?;
    let packets = numbers.next()?.parse().ok()?;
    Some((packets, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_interfaces_is_parsed() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 1 2 3 4 5 6 7 8 9 10\n  eth0:   90 91 0 0 0 0 0 0   5300 50 0 0 0 0 0 0\n";
        assert_eq!(sent_by("eth0", table), Some((50, 5300)));
        assert_eq!(sent_by("lo", table), Some((10, 9)));
        assert_eq!(sent_by("eth1", table), None);
    }
}
