// SPDX-License-Identifier: GPL-2.0

//! The results of the bench. The program inside the machine writes a [`Line`] to the console for each measurement, and
//! the one outside collects them into a [`report::Report`].

pub mod peers;
pub mod report;

use serde::{Deserialize, Serialize};

/// The beginning of a console line that has a [`Line`] as JSON.
pub const LINE_MARK: &str = "KCGCS-BENCH ";
/// The beginning of a console line that reports progress.
pub const PROGRESS_MARK: &str = "KCGCS-PROGRESS ";

/// A summary of several times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The number of times.
    pub count: usize,
    /// The median.
    pub median_ms: f64,
    /// The 99th percentile: the smallest time that 99 of 100 do not exceed.
    pub p99_ms: f64,
    /// The largest time.
    pub max_ms: f64,
}

impl Spread {
    /// Summarise times in nanoseconds. `None` if there are none.
    pub fn of(mut times_ns: Vec<u64>) -> Option<Self> {
        times_ns.sort_unstable();
        let nearest_rank = |percent: usize| {
            let rank = (times_ns.len() * percent).div_ceil(100).max(1);
            times_ns.get(rank - 1).map(|&ns| milliseconds(ns))
        };
        Some(Self {
            count: times_ns.len(),
            median_ms: nearest_rank(50)?,
            p99_ms: nearest_rank(99)?,
            max_ms: nearest_rank(100)?,
        })
    }
}

/// Nanoseconds as milliseconds.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The machine and the settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The release of the machine's kernel.
    pub kernel: String,
    /// The seed of the random times of crashes.
    pub seed: u64,
    /// The settings of the nodes, except in measurements that say otherwise.
    pub parameters: Vec<(String, u64)>,
}

/// The traffic of an idle cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// Nodes of the cluster.
    pub nodes: u16,
    /// The duration of the measurement, in seconds of the machine's clock.
    pub seconds: f64,
    /// The mean packets per second that a node's interface sent.
    pub packets_mean: f64,
    /// The same for the node that sent most.
    pub packets_max: f64,
    /// The mean bytes per second that a node's interface sent, including Ethernet headers.
    pub bytes_mean: f64,
    /// The mean datagrams per second that a node itself counted as sent.
    pub datagrams_mean: f64,
    /// The heartbeats of these.
    pub heartbeats_mean: f64,
    /// The mean bytes of UDP payload per second that a node itself counted as sent.
    pub payload_bytes_mean: f64,
}

/// The time from a silent crash to the view without the node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Crashes of nodes that were coordinators.
    pub coordinator_crashes: usize,
    /// The time until the first survivor had the new view.
    pub first: Spread,
    /// The time until the last survivor had it.
    pub last: Spread,
    /// The crashes after which a survivor installed more than one view, or lost another node.
    pub more_than_one_view: usize,
}

/// The instructions of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatagramCost {
    /// All that one datagram takes from a program that keeps the processor busy: interrupts, sending, the bridge,
    /// receiving.
    pub whole: f64,
    /// Of these, the timer's soft interrupt that sends, until the packet is at the bridge's end of the veth pair.
    pub send: f64,
    /// Of these, from the receiver's IP layer to the end of the receive hook.
    pub receive: f64,
    /// Of `receive`, the receive hook itself.
    pub hook: f64,
    /// The number of datagrams from which `whole` was computed.
    pub datagrams: u64,
}

/// A heartbeat next to a bare datagram of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatCost {
    /// Nodes of the cluster whose heartbeats were measured.
    pub nodes: u16,
    /// Bytes of UDP payload of both.
    pub payload_bytes: u64,
    /// A heartbeat.
    pub heartbeat: DatagramCost,
    /// A bare datagram.
    pub bare: DatagramCost,
}

/// Messages through a full window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Members, each on its own node.
    pub members: u16,
    /// The members that send.
    pub senders: u16,
    /// Bytes of a message.
    pub bytes: u32,
    /// Messages that were sent.
    pub messages: u64,
    /// Messages per second, each delivered at every member.
    pub messages_per_second: f64,
    /// The nanoseconds of the whole machine for one message at one member.
    pub ns_per_delivery: f64,
    /// The share of that time in which the processor was idle, in percent.
    pub idle_percent: f64,
    /// The datagrams that all nodes sent for one message, without heartbeats.
    pub datagrams_per_message: f64,
}

/// Messages one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Members, each on its own node, which send by turns.
    pub members: u16,
    /// Bytes of a message.
    pub bytes: u32,
    /// The time until the sender itself delivered the message.
    pub at_sender: Spread,
    /// The time until the last member delivered it.
    pub at_last: Spread,
}

/// A line of results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Line {
    /// The machine and the settings. This is the first line.
    Setting(Setting),
    /// See [`Idle`].
    Idle(Idle),
    /// See [`Detection`].
    Detection(Detection),
    /// See [`HeartbeatCost`].
    Heartbeat(HeartbeatCost),
    /// See [`Throughput`].
    Throughput(Throughput),
    /// See [`Latency`].
    Latency(Latency),
    /// See [`peers::Peer`].
    Peer(Box<peers::Peer>),
    /// The last line.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        assert_eq!(Spread::of(Vec::new()), None);
        // The number of times, which are 1 ms, 2 ms, ...; their median and 99th percentile.
        for (count, median, p99) in [
            (1, 1, 1),
            (2, 1, 2),
            (20, 10, 20),
            (100, 50, 99),
            (200, 100, 198),
        ] {
            let spread = Spread::of((1..=count).rev().map(|ms| ms * 1_000_000).collect());
            let spread = spread.expect("times");
            assert_eq!(spread.count as u64, count);
            assert_eq!(spread.median_ms, f64::from(median));
            assert_eq!(spread.p99_ms, f64::from(p99));
            assert_eq!(spread.max_ms, count as f64);
        }
    }

    #[test]
    fn lines_are_read_as_they_were_written() {
        let line = Line::Idle(Idle {
            nodes: 4,
            seconds: 20.0,
            packets_mean: 18.75,
            packets_max: 18.8,
            bytes_mean: 1987.5,
            datagrams_mean: 18.75,
            heartbeats_mean: 18.75,
            payload_bytes_mean: 1200.0,
        });
        let text = serde_json::to_string(&line).expect("text");
        assert!(text.starts_with(r#"{"part":"idle","nodes":4,"#));
        assert_eq!(serde_json::from_str::<Line>(&text).expect("a line"), line);
    }
}
