// SPDX-License-Identifier: GPL-2.0

//! The plan of a run: everything that is decided before it starts. It is drawn from a seed ([`Plan::draw`]). It can be
//! written to a file, shrunk step by step ([`crate::shrinking`]), described in words ([`crate::description`]) and
//! carried out again ([`crate::scenario`]).
//!
//! Everything else (each delay, each loss, the actions of consumers) follows from the plan's `seed`.

use std::collections::BTreeMap;

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use serde::{Deserialize, Serialize};

use crate::cluster::{ClusterOptions, FenceHandler};
use crate::network::{LinkQuality, NetworkOptions};
use crate::sabotage::Sabotage;
use crate::timing::{detection_ns, MS};

mod administration;
mod draw;
mod smaller;

pub use draw::{DrawOptions, FaultKind};

/// The plan of a run. Hosts are numbered from 0; host `n` runs node `n + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of everything that is not written here.
    pub seed: u64,
    /// The time at which each host starts. There are as many hosts as entries.
    pub starts_ms: Vec<u64>,
    /// The settings that differ from the default.
    pub settings: BTreeMap<String, u32>,
    /// Whether the failure detector is gossip instead of rings.
    #[serde(default)]
    pub gossip: bool,
    /// The quality of the network while no fault changes it.
    pub network: NetworkOptions,
    /// The mean time from an input to the engine's work item.
    pub engine_delay_mean_us: u64,
    /// The mean time by which timers are late.
    pub timer_delay_mean_us: u64,
    /// By how many millionths each clock is too fast. If empty, all are right.
    pub clock_rates_ppm: Vec<i32>,
    /// The smallest number of a node's first incarnation.
    pub incarnation_base: u64,
    /// The number of groups that consumers join; 0 for no consumers.
    pub groups: usize,
    /// The mean time between two actions of consumers.
    pub work_interval_ms: u64,
    /// The faults, by time.
    pub faults: Vec<PlannedFault>,
    /// The fence handler of every node.
    #[serde(default)]
    pub fence: Option<FenceHandler>,
    /// The time at which all faults end.
    pub healing_at_ms: u64,
    /// Whether each host stays down after that, if it is down then and the others are a quorum.
    pub stays_down: Vec<bool>,
    /// The trial of the settled cluster after that.
    pub trial: Option<Trial>,
    /// The hosts that crash at once at the end, as far as a quorum remains.
    pub victims: Vec<usize>,
    /// A bug injected into all nodes.
    pub sabotage: Option<Sabotage>,
}

/// A fault and its time. It is left out if it would leave no quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// The time.
    pub at_us: u64,
    /// The fault.
    #[serde(flatten)]
    pub fault: Fault,
}

/// A machine that goes down for a while or for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Its number.
    pub host: usize,
    /// The time until it starts again, if it does.
    pub back_after_ms: Option<u64>,
}

/// A fault, or a command of an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Machines crash, all at once.
    Crash(Vec<Victim>),
    /// A coordinator of the newest view crashes.
    CrashCoordinator {
        /// Its rank among the coordinators, from 0.
        rank: usize,
        /// Whether it crashes in the middle of the next view change.
        in_view_change: bool,
        /// When it is switched on again, if it is.
        back_after_ms: Option<u64>,
    },
    /// A node leaves the cluster.
    Leave(Victim),
    /// An administrator evicts a node.
    Evict {
        /// The host where the command is given.
        by: usize,
        /// The host.
        host: usize,
        /// The time until its machine starts again, if it does and the node has stopped by then.
        back_after_ms: Option<u64>,
    },
    /// An administrator pins the view.
    Pin {
        /// The host where the command is given.
        by: usize,
        /// The duration.
        for_ms: u64,
    },
    /// An administrator unpins the view.
    Unpin {
        /// The host where the command is given.
        by: usize,
    },
    /// A machine is frozen for a while.
    Freeze {
        /// The host.
        host: usize,
        /// The duration.
        for_ms: u64,
    },
    /// A machine's work items run late while its soft interrupts do not.
    SlowEngine {
        /// The host.
        host: usize,
        /// Their mean delay.
        mean_us: u64,
        /// The duration.
        for_ms: u64,
    },
    /// The whole network is worse for a while.
    Storm {
        /// The quality of the network meanwhile.
        network: NetworkOptions,
        /// The duration.
        for_ms: u64,
    },
    /// The network splits: only hosts with the same number reach each other.
    Components {
        /// The component of each host.
        sides: Vec<u8>,
        /// The duration.
        for_ms: u64,
    },
    /// Directions from some hosts to some others are worse, or lose everything.
    Between {
        /// The senders.
        from: Vec<usize>,
        /// The receivers.
        to: Vec<usize>,
        /// Their quality meanwhile.
        quality: LinkQuality,
        /// The lengths of the bad and the good times, if they flap.
        flapping_ms: Option<(u64, u64)>,
        /// The duration.
        for_ms: u64,
    },
}

/// A single fault or command in a settled cluster with a perfect network, whose effect is known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// A machine is frozen.
    Stall {
        /// The host.
        host: usize,
        /// The duration.
        for_ms: u64,
    },
    /// A direction between two hosts loses everything.
    OneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// The link between two hosts loses everything.
    Pair {
        /// One host.
        one: usize,
        /// The other host.
        other: usize,
    },
    /// An administrator evicts a node.
    Evict {
        /// The host where the command is given.
        by: usize,
        /// The host.
        host: usize,
    },
    /// An administrator pins the view, and a machine crashes meanwhile.
    Pin {
        /// The host where the command is given.
        by: usize,
        /// The machine that crashes.
        host: usize,
        /// The length of the pin.
        for_ms: u64,
    },
    /// A host receives nothing.
    Deaf {
        /// The host.
        host: usize,
    },
    /// Nothing that a host sends arrives.
    Mute {
        /// The host.
        host: usize,
    },
}

/// The reason why a plan is refused: it names a host or a setting that does not exist, or cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPlan(pub String);

/// The name of a setting, and a function that returns its field.
type Setting = (&'static str, fn(&mut Configuration) -> &mut u32);

/// The settings that plans may change.
const SETTINGS: [Setting; 10] = [
    ("rings", |c| &mut c.rings),
    ("confirmations", |c| &mut c.confirmations),
    ("coordinators", |c| &mut c.coordinators),
    ("heartbeat_interval_ms", |c| &mut c.heartbeat_interval_ms),
    ("window_heartbeats", |c| &mut c.window_heartbeats),
    ("window_misses", |c| &mut c.window_misses),
    ("probe_count", |c| &mut c.probe_count),
    ("batching_ms", |c| &mut c.batching_ms),
    ("partitionable", |c| &mut c.partitionable),
    ("blocked_timeout_ms", |c| &mut c.blocked_timeout_ms),
];

impl Plan {
    /// The number of hosts.
    pub fn hosts(&self) -> usize {
        self.starts_ms.len()
    }

    /// The settings of all nodes.
    pub fn configuration(&self) -> Configuration {
        let mut configuration = Configuration::DEFAULT;
        for (name, field) in SETTINGS {
            if let Some(value) = self.settings.get(name) {
                *field(&mut configuration) = *value;
            }
        }
        if self.gossip {
            // The failure detector computes its times from this number.
            configuration.expected_nodes = self.hosts() as u32;
            configuration.detector = DetectorKind::Gossip;
            // No node must give its view up before dead nodes are detected.
            let detection_ms = (2 * detection_ns(&configuration) / MS) as u32;
            configuration.blocked_timeout_ms = configuration.blocked_timeout_ms.max(detection_ms);
        }
        configuration
    }

    /// The parameters of the plan's cluster.
    pub fn cluster_options(&self) -> ClusterOptions {
        ClusterOptions {
            seed: self.seed,
            nodes: self.hosts(),
            configuration: self.configuration(),
            network: self.network,
            engine_delay_mean_us: self.engine_delay_mean_us,
            timer_delay_mean_us: self.timer_delay_mean_us,
            peers: Vec::new(),
            incarnation_base: self.incarnation_base,
            clock_rates_ppm: self.clock_rates_ppm.clone(),
            fence: self.fence,
            sabotage: self.sabotage,
        }
    }

    /// The plan as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Parse the plan in `text`.
    ///
    /// # Errors
    ///
    /// The reason why `text` is not a plan.
    pub fn from_json(text: &str) -> Result<Self, BadPlan> {
        let plan: Plan = serde_json::from_str(text).map_err(|e| BadPlan(e.to_string()))?;
        let hosts = plan.hosts();
        let named = plan.faults.iter().flat_map(|planned| planned.fault.hosts());
        let trial = plan.trial.iter().flat_map(Trial::hosts);
        if let Some(host) =
            (named.chain(trial).chain(plan.victims.iter().copied())).find(|host| *host >= hosts)
        {
            return Err(BadPlan(format!(
                "there are {hosts} hosts, numbered from 0, so host {host} does not exist"
            )));
        }
        if let Some(name) =
            (plan.settings.keys()).find(|name| !SETTINGS.iter().any(|(known, _)| known == name))
        {
            return Err(BadPlan(format!(
                "{name:?} is not a setting that plans change"
            )));
        }
        Ok(plan)
    }
}

impl Fault {
    /// The hosts that the fault names. Those of a [`Fault::Components`] are named by their places.
    pub fn hosts(&self) -> Vec<usize> {
        match self {
            Fault::Crash(victims) => victims.iter().map(|victim| victim.host).collect(),
            Fault::Leave(victim) => vec![victim.host],
            Fault::Evict { by, host, .. } => vec![*by, *host],
            Fault::Pin { by, .. } | Fault::Unpin { by } => vec![*by],
            Fault::Freeze { host, .. } | Fault::SlowEngine { host, .. } => vec![*host],
            Fault::Between { from, to, .. } => from.iter().chain(to).copied().collect(),
            Fault::CrashCoordinator { .. } | Fault::Storm { .. } => Vec::new(),
            Fault::Components { sides, .. } => (0..sides.len()).collect(),
        }
    }
}

impl Trial {
    /// The hosts that the trial names.
    pub fn hosts(&self) -> Vec<usize> {
        match self {
            Trial::Stall { host, .. } | Trial::Deaf { host } | Trial::Mute { host } => vec![*host],
            Trial::Evict { by, host } | Trial::Pin { by, host, .. } => vec![*by, *host],
            Trial::OneWay { from, to } => vec![*from, *to],
            Trial::Pair { one, other } => vec![*one, *other],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DrawOptions, Plan};

    #[test]
    fn a_plan_that_was_written_is_read_back_unchanged() {
        for seed in 1..=200 {
            let plan = Plan::draw(seed, &DrawOptions::default());
            assert_eq!(Plan::from_json(&plan.to_json()), Ok(plan), "seed {seed}");
        }
    }

    #[test]
    fn a_plan_that_names_unknown_hosts_or_settings_is_refused() {
        let plan = Plan::draw(1, &DrawOptions::default());
        let mut wrong = plan.clone();
        wrong.victims = vec![plan.hosts()];
        assert!(Plan::from_json(&wrong.to_json()).is_err());
        let mut wrong = plan;
        wrong.settings.insert("speed".to_owned(), 1);
        assert!(Plan::from_json(&wrong.to_json()).is_err());
    }
}
