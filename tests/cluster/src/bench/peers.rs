// SPDX-License-Identifier: GPL-2.0

//! The results of one contender: KCGCS, TIPC or Corosync, all in the same network.

use serde::{Deserialize, Serialize};

use super::Spread;

/// The results of one contender with one number of nodes. [`Self::problem`] says why results are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name and settings.
    pub contender: String,
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Milliseconds from the start of the first node until every node knew every other one.
    pub formed_ms: Option<f64>,
    /// The results of the idle cluster.
    pub idle: Option<PeerIdle>,
    /// The results of silent cuts.
    pub cuts: Option<PeerCuts>,
    /// The results under packet loss.
    pub losses: Option<PeerLosses>,
    /// The reason why the rest was not measured.
    pub problem: Option<String>,
}

impl Peer {
    /// A contender without results, and the reason for that.
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

/// The traffic and the cost of a node of an idle cluster, per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerIdle {
    /// The duration of the measurement, in seconds.
    pub seconds: f64,
    /// Packets that a node's interface sent.
    pub packets: f64,
    /// Bytes that it sent, including Ethernet headers.
    pub bytes: f64,
    /// Instructions that the machine spent for one node, including network and bridge.
    pub instructions: f64,
    /// Reports that a healthy node was gone, while another program kept the processor busy.
    pub told_gone: u64,
}

/// The reports to survivors after nodes had been cut off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerCuts {
    /// The time from a cut until the first survivor knew of it.
    pub first: Spread,
    /// The time until the last survivor knew of it.
    pub last: Spread,
    /// The time between these two.
    pub between: Spread,
    /// The time from the end of a cut until every node knew every other one again.
    pub back: Spread,
    /// The mean number of views or notifications that a survivor got for one cut.
    pub told: f64,
    /// Reports to a survivor that a node other than the victim was gone.
    pub others_told_gone: u64,
}

/// The reports to nodes while packets were lost and no node was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerLosses {
    /// The duration of the measurement.
    pub seconds: f64,
    /// The packets lost on the way to every node, in percent.
    pub percent: u32,
    /// Reports to a node that another one, which was healthy, was gone.
    pub told_gone: u64,
    /// The nodes that were reported to be gone.
    pub nodes_gone: u64,
    /// Whether every node knew every other one at the end.
    pub is_whole: bool,
}
