// SPDX-License-Identifier: GPL-2.0

//! What is measured of one contender: KCGCS, TIPC or Corosync, all in the same network.

use serde::{Deserialize, Serialize};

use super::Spread;

/// One contender with so many nodes. What is absent was not measured; [`Self::problem`] says why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name and settings.
    pub contender: String,
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Milliseconds from the start of the first node until every node knew every other one.
    pub formed_ms: Option<f64>,
    /// While nothing happens.
    pub idle: Option<PeerIdle>,
    /// After silent cuts.
    pub cuts: Option<PeerCuts>,
    /// While packets are lost.
    pub losses: Option<PeerLosses>,
    /// What kept the rest from being measured.
    pub problem: Option<String>,
}

impl Peer {
    /// One of which nothing is known yet.
    pub fn unmeasured(contender: &str, nodes: u16, why: &str) -> Self {
        Self {
            contender: contender.to_string(),
            nodes,
            formed_ms: None,
            idle: None,
            cuts: None,
            losses: None,
            problem: Some(why.to_string()),
        }
    }
}

/// What a node sends and costs while nothing happens, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerIdle {
    /// Seconds that packets were counted.
    pub seconds: f64,
    /// Packets that a node's interface sent.
    pub packets: f64,
    /// Bytes that it sent, Ethernet headers included.
    pub bytes: f64,
    /// Instructions that the machine spent for one node, network and bridge included.
    pub instructions: f64,
    /// Healthy nodes that someone was told to be gone, while another program kept the processor busy.
    pub told_gone: u64,
}

/// What survivors were told after nodes had been cut off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerCuts {
    /// From a cut until the first survivor knew.
    pub first: Spread,
    /// Until the last survivor knew.
    pub last: Spread,
    /// Between these two.
    pub between: Spread,
    /// From the end of a cut until every node knew every other one again.
    pub back: Spread,
    /// Views or notifications that a survivor was given for one cut, in the mean.
    pub told: f64,
    /// How often a survivor was told that a node other than the victim is gone.
    pub others_told_gone: u64,
}

/// What nodes were told while packets were lost and nobody was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerLosses {
    /// How long.
    pub seconds: f64,
    /// Percent of the packets to every node.
    pub percent: u32,
    /// How often a node was told that another one, which was healthy, is gone.
    pub told_gone: u64,
    /// Nodes that somebody was told to be gone.
    pub nodes_gone: u64,
    /// Whether at the end every node knew every other one.
    pub is_whole: bool,
}
