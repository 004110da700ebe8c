// SPDX-License-Identifier: GPL-2.0

//! What the bench finds out. The program inside the machine writes a [`Line`] for each thing it has
//! measured to the console; the one outside collects them into a [`Report`].

pub mod peers;
pub mod report;

use serde::{Deserialize, Serialize};

/// What a line of the console begins with that carries a [`Line`].
pub const LINE_MARK: &str = "KCGCS-BENCH ";
/// What a line of the console begins with that says what is being done.
pub const PROGRESS_MARK: &str = "KCGCS-PROGRESS ";

/// Several times of one kind, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The middle one.
    pub median_ms: f64,
    /// The smallest one that 99 of 100 do not exceed.
    pub p99_ms: f64,
    /// The largest one.
    pub max_ms: f64,
}

impl Spread {
    /// Of times in nanoseconds; `None` if there are none.
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

/// The machine and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Release of the machine's kernel.
    pub kernel: String,
    /// Where phases of crashes come from.
    pub seed: u64,
    /// Settings of the nodes, but for parts that say otherwise.
    pub parameters: Vec<(String, u64)>,
}

/// What a cluster sends while nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idle {
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Seconds of the machine's clock that were counted.
    pub seconds: f64,
    /// Packets per second that a node's interface sent, in the mean.
    pub packets_mean: f64,
    /// The same for the node that sent most.
    pub packets_max: f64,
    /// Bytes per second that a node's interface sent, Ethernet headers included, in the mean.
    pub bytes_mean: f64,
    /// Datagrams per second that a node itself counts as sent, in the mean.
    pub datagrams_mean: f64,
    /// Of these, heartbeats.
    pub heartbeats_mean: f64,
    /// Bytes of UDP payload per second that a node itself counts as sent, in the mean.
    pub payload_bytes_mean: f64,
}

/// From a silent crash to the view without the node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Crashes of nodes that were coordinators.
    pub coordinator_crashes: usize,
    /// Until the first survivor had the new view.
    pub first: Spread,
    /// Until the last survivor had it.
    pub last: Spread,
    /// Crashes after which some survivor needed more than one view, or lost another node.
    pub more_than_one_view: usize,
}

/// Instructions of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatagramCost {
    /// All that one datagram takes away from a program that keeps the processor busy: interrupts,
    /// sending, the bridge, receiving.
    pub whole: f64,
    /// Of it, the timer's soft interrupt that sends, until the packet lies with the bridge's end of
    /// the cable.
    pub send: f64,
    /// Of it, from where the receiver's IP layer gets the packet to the end of the receive hook.
    pub receive: f64,
    /// Of that, the receive hook itself.
    pub hook: f64,
    /// Datagrams that `whole` was taken from.
    pub datagrams: u64,
}

/// A heartbeat next to a bare datagram of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatCost {
    /// Nodes whose heartbeats these were.
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
    /// How many of them send.
    pub senders: u16,
    /// Bytes of a message.
    pub bytes: u32,
    /// Messages that were sent.
    pub messages: u64,
    /// Messages per second, each delivered at every member.
    pub messages_per_second: f64,
    /// Nanoseconds of the whole machine for one message at one member.
    pub ns_per_delivery: f64,
    /// Of that time, the share in which the processor had nothing to do, in percent.
    pub idle_percent: f64,
    /// Datagrams that all nodes sent for one message, heartbeats left out.
    pub datagrams_per_message: f64,
}

/// Messages one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Members, each on its own node; they send by turns.
    pub members: u16,
    /// Bytes of a message.
    pub bytes: u32,
    /// Until the sender itself was given the message.
    pub at_sender: Spread,
    /// Until the last member was given it.
    pub at_last: Spread,
}

/// What was measured, one thing a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Line {
    /// The machine and the settings; comes first.
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
    /// Nothing follows.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        assert_eq!(Spread::of(Vec::new()), None);
        // Number of times, which are 1 ms, 2 ms, ...; the median, the 99th percentile.
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
