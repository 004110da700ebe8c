// SPDX-License-Identifier: GPL-2.0

//! The plan of one run: all that is decided before anything happens. A seed draws one ([`Plan::draw`]); it
//! can be written down, made smaller piece by piece ([`crate::shrinking`]), told in words
//! ([`crate::story`]) and carried out again ([`crate::scenario`]).
//!
//! What a plan does not say (each delay, each loss, what consumers do) follows from its `seed`.

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

/// One run. Hosts are numbered from 0; host `n` carries node `n + 1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides what is not written here.
    pub seed: u64,
    /// When each host is switched on; as many hosts as there are entries.
    pub starts_ms: Vec<u64>,
    /// Settings that are not the default ones.
    pub settings: BTreeMap<String, u32>,
    /// Silence is found out by gossip, not on rings.
    #[serde(default)]
    pub gossip: bool,
    /// The network while nothing special is wrong with it.
    pub network: NetworkOptions,
    /// The mean time from an input to the engine's work item.
    pub engine_delay_mean_us: u64,
    /// The mean time by which timers are late.
    pub timer_delay_mean_us: u64,
    /// How wrong the clocks are; empty: not at all.
    pub clock_rates_ppm: Vec<i32>,
    /// The incarnation that a node's first incarnation has at least.
    pub incarnation_base: u64,
    /// How many groups consumers join; 0: no consumers.
    pub groups: usize,
    /// The mean time between two actions of consumers.
    pub work_interval_ms: u64,
    /// What goes wrong, by time.
    pub faults: Vec<PlannedFault>,
    /// The handler of every node's fence gate.
    #[serde(default)]
    pub fence: Option<FenceHandler>,
    /// When all of it ends.
    pub healing_at_ms: u64,
    /// Whether each host stays down after that if it is down then and others are a quorum.
    pub stays_down: Vec<bool>,
    /// What the settled cluster is put to after that.
    pub trial: Option<Trial>,
    /// Who crashes at once at the end, as far as a quorum remains.
    pub victims: Vec<usize>,
    /// A bug that all nodes have.
    pub sabotage: Option<Sabotage>,
}

/// A fault and when it comes. It is left out if no quorum would be left with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFault {
    /// When.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// A machine that goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Which.
    pub host: usize,
    /// When it is switched on again, if it is.
    pub back_after_ms: Option<u64>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Machines stop without a word, all at once.
    Crash(Vec<Victim>),
    /// A coordinator of the newest view stops: the one with this number, from 0.
    CrashCoordinator {
        /// Which, in the order of the right of way.
        rank: usize,
        /// Whether it waits until a view change begins, and stops in the middle of it.
        in_view_change: bool,
        /// When it is switched on again, if it is.
        back_after_ms: Option<u64>,
    },
    /// A node says good-bye.
    Leave(Victim),
    /// An administrator puts a node out.
    Evict {
        /// Where that is said.
        by: usize,
        /// Which.
        host: usize,
        /// When it is switched on again, if it is and knows by then that it is out.
        back_after_ms: Option<u64>,
    },
    /// An administrator wants no views for a while.
    Pin {
        /// Where that is said.
        by: usize,
        /// How long.
        for_ms: u64,
    },
    /// An administrator wants views again.
    Unpin {
        /// Where that is said.
        by: usize,
    },
    /// A machine does nothing at all for a while.
    Freeze {
        /// Which.
        host: usize,
        /// How long.
        for_ms: u64,
    },
    /// A machine's work items run late while its soft interrupts do not.
    SlowEngine {
        /// Which.
        host: usize,
        /// How late on average.
        mean_us: u64,
        /// How long.
        for_ms: u64,
    },
    /// The whole network is worse for a while.
    Storm {
        /// How bad.
        network: NetworkOptions,
        /// How long.
        for_ms: u64,
    },
    /// The network falls into parts: hosts with the same number reach each other.
    Parts {
        /// The part of each host.
        sides: Vec<u8>,
        /// How long.
        for_ms: u64,
    },
    /// Directions from some hosts to some others are worse, or let nothing through.
    Between {
        /// The senders.
        from: Vec<usize>,
        /// The receivers.
        to: Vec<usize>,
        /// How bad.
        quality: LinkQuality,
        /// Bad for so long and good for so long, in turns; `None`: always bad.
        flapping_ms: Option<(u64, u64)>,
        /// How long.
        for_ms: u64,
    },
}

/// What a settled cluster is put to, one thing at a time in a network without flaws, so that it is known
/// exactly what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// A machine stands still.
    Stall {
        /// Which.
        host: usize,
        /// How long.
        for_ms: u64,
    },
    /// A direction between two hosts lets nothing through.
    OneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// Two hosts do not reach each other.
    Pair {
        /// One.
        one: usize,
        /// The other.
        other: usize,
    },
    /// An administrator puts a node out.
    Evict {
        /// Where that is said.
        by: usize,
        /// Which.
        host: usize,
    },
    /// An administrator wants no views for a while, in which a machine crashes.
    Pin {
        /// Where that is said.
        by: usize,
        /// Which machine crashes.
        host: usize,
        /// How long there are to be no views.
        for_ms: u64,
    },
    /// A host hears nobody.
    Deaf {
        /// Which.
        host: usize,
    },
    /// Nobody hears a host.
    Mute {
        /// Which.
        host: usize,
    },
}

/// A run must be a whole: every host that it names is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPlan(pub String);

/// A setting: its name, and where it stands.
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
    /// How many hosts there are.
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
            // What its times are computed from; the default is the same.
            configuration.expected_nodes = self.hosts() as u32;
            configuration.detector = DetectorKind::Gossip;
            // Nobody shall give up a view before it is found out who is dead.
            let detection_ms = (2 * detection_ns(&configuration) / MS) as u32;
            configuration.blocked_timeout_ms = configuration.blocked_timeout_ms.max(detection_ms);
        }
        configuration
    }

    /// The cluster that the plan is about.
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

    /// The plan that was written as `text`.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn from_json(text: &str) -> Result<Self, BadPlan> {
        let plan: Plan = serde_json::from_str(text).map_err(|e| BadPlan(e.to_string()))?;
        let hosts = plan.hosts();
        let named = plan.faults.iter().flat_map(|planned| planned.fault.hosts());
        let trial = plan.trial.iter().flat_map(Trial::hosts);
        if let Some(host) =
            (named.chain(trial).chain(plan.victims.iter().copied())).find(|host| *host >= hosts)
        {
            return Err(BadPlan(format!("there are {hosts} hosts, and no {host}")));
        }
        if let Some(name) =
            (plan.settings.keys()).find(|name| !SETTINGS.iter().any(|(known, _)| known == name))
        {
            return Err(BadPlan(format!("{name:?} is no setting that plans change")));
        }
        Ok(plan)
    }
}

impl Fault {
    /// The hosts that it names. Those of a [`Fault::Parts`] are named by their places.
    pub fn hosts(&self) -> Vec<usize> {
        match self {
            Fault::Crash(victims) => victims.iter().map(|victim| victim.host).collect(),
            Fault::Leave(victim) => vec![victim.host],
            Fault::Evict { by, host, .. } => vec![*by, *host],
            Fault::Pin { by, .. } | Fault::Unpin { by } => vec![*by],
            Fault::Freeze { host, .. } | Fault::SlowEngine { host, .. } => vec![*host],
            Fault::Between { from, to, .. } => from.iter().chain(to).copied().collect(),
            Fault::CrashCoordinator { .. } | Fault::Storm { .. } => Vec::new(),
            Fault::Parts { sides, .. } => (0..sides.len()).collect(),
        }
    }
}

impl Trial {
    /// The hosts that it names.
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
    fn what_is_written_is_read_back() {
        for seed in 1..=200 {
            let plan = Plan::draw(seed, &DrawOptions::default());
            assert_eq!(Plan::from_json(&plan.to_json()), Ok(plan), "seed {seed}");
        }
    }

    #[test]
    fn a_plan_that_names_hosts_or_settings_that_are_not_there_is_refused() {
        let plan = Plan::draw(1, &DrawOptions::default());
        let mut wrong = plan.clone();
        wrong.victims = vec![plan.hosts()];
        assert!(Plan::from_json(&wrong.to_json()).is_err());
        let mut wrong = plan;
        wrong.settings.insert("speed".to_owned(), 1);
        assert!(Plan::from_json(&wrong.to_json()).is_err());
    }
}
