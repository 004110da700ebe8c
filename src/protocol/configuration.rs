// SPDX-License-Identifier: GPL-2.0

//! Settings of a node: what each one does, its default, and which values it may have.
//!
//! A [`Configuration`] is what the operator wrote; a [`ValidConfiguration`] has been checked, and all other files take
//! only that. No setting comes from a peer: a cluster refuses a node whose [`SharedSettings`] differ from its own.

mod detector;

pub use detector::{DetectorKind, GossipTiming};

use super::identity::{cluster_number, PeerAddress};
use super::limits::{COORDINATORS_MAX, NODES_MAX, PEERS_MAX, RINGS_MAX};
use super::time::Duration;
use crate::platform::{BoundedVec, OutOfMemory};

/// [`ValidConfiguration::roll_call_pause`] in heartbeat intervals.
const CHECK_INTERVALS: u64 = 8;

/// The settings as the operator wrote them, one field for each parameter of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Milliseconds between two heartbeats to the same monitor. Each node sends one to each of its `rings` successors
    /// in that time. A shorter interval finds crashes sooner and costs packets. 10 to 10000, default 160.
    pub heartbeat_interval_ms: u32,
    /// Milliseconds that a heartbeat may be late before it counts as missed. It must cover the jitter of the network
    /// and of timers. 1 to 10000, default 15.
    pub heartbeat_slack_ms: u32,
    /// Heartbeats in the window over which misses are counted. 1 to 32, default 1.
    pub window_heartbeats: u32,
    /// Misses within the window that start direct probes; the latest heartbeat must be one of them.
    /// 1 to `window_heartbeats`, default 1.
    pub window_misses: u32,
    /// Direct probes that a monitor sends to a silent node before it accuses it. 0 to 10 (0: it accuses at once),
    /// default 4.
    pub probe_count: u32,
    /// Milliseconds between two probes, and from the last one to the accusation.
    /// 1 to 10000, default 25.
    pub probe_interval_ms: u32,
    /// Rings: how many nodes monitor each node. 1 is the ring of the original paper. 1 to 8, default 3.
    pub rings: u32,
    /// Monitors of a node that must accuse it before the cluster excludes it; all of them if it has fewer (`rings`) or
    /// fewer are alive. 1 to 8, default 2.
    pub confirmations: u32,
    /// Milliseconds after an accusation, after which monitors that merely suspect the node count as accusing it.
    /// 1 to 60000, default 500.
    pub confirmation_timeout_ms: u32,
    /// Coordinators in a view, each for an arc of the ring. 1 to 9, default 5.
    pub coordinators: u32,
    /// Milliseconds for which a coordinator collects changes before it proposes them together. 0 to 10000, default 10.
    pub batching_ms: u32,
    /// Milliseconds before a node sends an unanswered message of the membership protocol or of a group again; doubled
    /// with each attempt up to eight times. 1 to 10000, default 30.
    pub retransmit_ms: u32,
    /// Milliseconds that the next coordinator waits for the one before it to act. 1 to 60000, default 100.
    pub takeover_ms: u32,
    /// Milliseconds that a starting node waits for others before it forms a first view, and between two rounds of
    /// looking for a cluster. 1 to 60000, default 250.
    pub formation_ms: u32,
    /// Milliseconds without a quorum after which a node gives up its view and looks for a cluster under a new
    /// incarnation, if it hears that members have restarted or if the cluster is `partitionable`. 100 to 3600000,
    /// default 5000.
    pub blocked_timeout_ms: u32,
    /// Nodes of which a majority must be present to form the first view; 0 means this node and its peers.
    /// 0 to 1024, default 0.
    pub expected_nodes: u32,
    /// Whether the first view waits for all expected nodes instead of a majority of them. Then a majority that restarts
    /// cannot miss a cluster that lives on in the rest. 0 or 1, default 0.
    pub wait_for_all: u32,
    /// Whether, of two equal halves of a view, the one with the view's lowest node goes on; otherwise neither does.
    /// 0 or 1, default 1.
    pub even_split: u32,
    /// Whether a component without a quorum goes on with views of its own, which are not primary, and merges with the
    /// others later; otherwise it waits for them. 0 or 1, default 0.
    pub partitionable: u32,
    /// How nodes find out that others are silent. Default: on rings.
    pub detector: DetectorKind,
}

impl Configuration {
    /// The defaults. In a local network they find a crash within 300 ms, and each node sends at most 20 packets a
    /// second.
    pub const DEFAULT: Configuration = Configuration {
        heartbeat_interval_ms: 160,
        heartbeat_slack_ms: 15,
        window_heartbeats: 1,
        window_misses: 1,
        probe_count: 4,
        probe_interval_ms: 25,
        rings: 3,
        confirmations: 2,
        confirmation_timeout_ms: 500,
        coordinators: 5,
        batching_ms: 10,
        retransmit_ms: 30,
        takeover_ms: 100,
        formation_ms: 250,
        blocked_timeout_ms: 5000,
        expected_nodes: 0,
        wait_for_all: 0,
        even_split: 1,
        partitionable: 0,
        detector: DetectorKind::Ring,
    };

    /// For virtual machines that share few processors and run late by 100 ms and more.
    pub const RELAXED: Configuration = Configuration {
        heartbeat_interval_ms: 500,
        heartbeat_slack_ms: 250,
        probe_interval_ms: 250,
        confirmation_timeout_ms: 2000,
        batching_ms: 50,
        retransmit_ms: 150,
        takeover_ms: 800,
        formation_ms: 1000,
        blocked_timeout_ms: 10_000,
        ..Configuration::DEFAULT
    };
}

impl Default for Configuration {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A setting whose value is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The name of the module's parameter.
    pub parameter: &'static str,
    /// The value that the operator gave.
    pub value: u64,
    /// The smallest value allowed.
    pub min: u64,
    /// The largest value allowed.
    pub max: u64,
}

/// Why a configuration was not accepted. No node was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// A value is outside its range.
    Setting(InvalidSetting),
    /// Memory could not be allocated.
    OutOfMemory,
}

impl From<OutOfMemory> for ConfigurationError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The settings that all nodes of a cluster must have in common; a join request carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedSettings {
    /// See [`Configuration::heartbeat_interval_ms`].
    pub heartbeat_interval_ms: u32,
    /// See [`Configuration::rings`].
    pub rings: u32,
    /// See [`Configuration::confirmations`].
    pub confirmations: u32,
    /// See [`Configuration::coordinators`].
    pub coordinators: u32,
    /// See [`Configuration::even_split`].
    pub even_split: u32,
    /// See [`Configuration::partitionable`].
    pub partitionable: u32,
    /// See [`Configuration::detector`].
    pub detector: DetectorKind,
}

/// A configuration that has been checked.
///
/// # Invariants
///
/// Every value is within the range that the documentation of its field in [`Configuration`] gives.
#[derive(Debug)]
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub struct ValidConfiguration {
    settings: Configuration,
    cluster: u32,
    peers: BoundedVec<PeerAddress>,
}

impl ValidConfiguration {
    /// Check `settings` and copy `peers`, which may contain this node's own address. Allocates memory, so that it may
    /// sleep in the kernel.
    ///
    /// # Errors
    ///
    /// [`ConfigurationError::Setting`] for the first parameter that is out of its range;
    /// [`ConfigurationError::OutOfMemory`] if memory could not be allocated.
    pub fn new(
        settings: Configuration,
        cluster_name: &[u8],
        own_address: PeerAddress,
        peers: &[PeerAddress],
    ) -> Result<Self, ConfigurationError> {
        let in_range = |parameter, value: u32, min: u32, max: u32| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(ConfigurationError::Setting(InvalidSetting {
                    parameter,
                    value: u64::from(value),
                    min: u64::from(min),
                    max: u64::from(max),
                }))
            }
        };
        let s = &settings;
        in_range("heartbeat_interval_ms", s.heartbeat_interval_ms, 10, 10_000)?;
        in_range("heartbeat_slack_ms", s.heartbeat_slack_ms, 1, 10_000)?;
        in_range("window_heartbeats", s.window_heartbeats, 1, 32)?;
        in_range("window_misses", s.window_misses, 1, s.window_heartbeats)?;
        in_range("probe_count", s.probe_count, 0, 10)?;
        in_range("probe_interval_ms", s.probe_interval_ms, 1, 10_000)?;
        in_range("rings", s.rings, 1, RINGS_MAX as u32)?;
        in_range("confirmations", s.confirmations, 1, RINGS_MAX as u32)?;
        in_range(
            "confirmation_timeout_ms",
            s.confirmation_timeout_ms,
            1,
            60_000,
        )?;
        in_range("coordinators", s.coordinators, 1, COORDINATORS_MAX as u32)?;
        in_range("batching_ms", s.batching_ms, 0, 10_000)?;
        in_range("retransmit_ms", s.retransmit_ms, 1, 10_000)?;
        in_range("takeover_ms", s.takeover_ms, 1, 60_000)?;
        in_range("formation_ms", s.formation_ms, 1, 60_000)?;
        in_range("blocked_timeout_ms", s.blocked_timeout_ms, 100, 3_600_000)?;
        in_range("expected_nodes", s.expected_nodes, 0, NODES_MAX as u32)?;
        in_range("wait_for_all", s.wait_for_all, 0, 1)?;
        in_range("even_split", s.even_split, 0, 1)?;
        in_range("partitionable", s.partitionable, 0, 1)?;
        if peers.len() > PEERS_MAX {
            return Err(ConfigurationError::Setting(InvalidSetting {
                parameter: "peers",
                value: peers.len() as u64,
                min: 0,
                max: PEERS_MAX as u64,
            }));
        }
        let mut others = BoundedVec::with_capacity(peers.len())?;
        for peer in peers {
            if *peer != own_address && !others.contains(peer) {
                others.push(*peer).map_err(|_| OutOfMemory)?;
            }
        }
        // All nodes try the same peers first, in whatever order the operator wrote them.
        others.as_mut_slice().sort_unstable();
        Ok(Self {
            settings,
            cluster: cluster_number(cluster_name),
            peers: others,
        })
    }

    /// The checked settings.
    pub fn settings(&self) -> &Configuration {
        &self.settings
    }

    /// The number that every datagram of this cluster carries.
    pub fn cluster(&self) -> u32 {
        self.cluster
    }

    /// The other nodes' addresses, sorted, without this node's own.
    pub fn peers(&self) -> &[PeerAddress] {
        &self.peers
    }

    /// The number of nodes whose addresses are configured, this one among them.
    pub fn configured_nodes(&self) -> usize {
        self.peers.len().saturating_add(1)
    }

    /// The number of nodes that the first view waits for: for a while or, with `wait_for_all`, for ever.
    pub fn expected_nodes(&self) -> usize {
        match self.settings.expected_nodes {
            0 => self.configured_nodes(),
            given => given as usize,
        }
    }

    /// The number of nodes that must be present to form the first view: a majority of the expected ones, or all.
    pub fn formation_quorum(&self) -> usize {
        if self.settings.wait_for_all == 1 {
            return self.expected_nodes();
        }
        (self.expected_nodes() / 2).saturating_add(1)
    }

    /// The settings that all nodes of the cluster must have in common.
    pub fn shared(&self) -> SharedSettings {
        SharedSettings {
            heartbeat_interval_ms: self.settings.heartbeat_interval_ms,
            rings: self.settings.rings,
            confirmations: self.settings.confirmations,
            coordinators: self.settings.coordinators,
            even_split: self.settings.even_split,
            partitionable: self.settings.partitionable,
            detector: self.settings.detector,
        }
    }

    /// The time between two heartbeats to one monitor.
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.heartbeat_interval_ms))
    }

    /// How late a heartbeat may be.
    pub fn heartbeat_slack(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.heartbeat_slack_ms))
    }

    /// The timing of gossip. A node sends as many datagrams in a heartbeat interval as it would on rings.
    pub fn gossip_timing(&self) -> GossipTiming {
        GossipTiming {
            round: self
                .heartbeat_interval()
                .divided_by(u64::from(self.settings.rings)),
            slack: self.heartbeat_slack(),
        }
    }

    /// The longest time from a crash to the accusation by a monitor: the missed heartbeats and the slack, or the rounds
    /// of gossip among the expected nodes, and then the probes. The rounds count twice: the last news of a node may be
    /// on its way for as long as its counter may stand still.
    pub fn detection(&self) -> Duration {
        let settings = &self.settings;
        let silence = match settings.detector {
            DetectorKind::Ring => self
                .heartbeat_interval()
                .times(u64::from(settings.window_misses))
                .plus(self.heartbeat_slack()),
            DetectorKind::Gossip => self.gossip_timing().silence(self.expected_nodes()).times(2),
        };
        let probe_interval = Duration::from_milliseconds(u64::from(settings.probe_interval_ms));
        silence.plus(probe_interval.times(u64::from(settings.probe_count)))
    }

    /// How long a node may hear no other node before it stops sending heartbeats. By then a view change would have
    /// reached it, even if all nodes that it monitors and all coordinators had crashed.
    pub fn deafness(&self) -> Duration {
        let settings = &self.settings;
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        let takeovers = u64::from(settings.coordinators).saturating_add(2);
        self.detection()
            .plus(milliseconds(settings.confirmation_timeout_ms))
            .plus(milliseconds(settings.takeover_ms).times(takeovers))
    }

    /// The time between two roll calls that follow a suspicion. In a network that loses datagrams some node is
    /// suspected all the time.
    pub fn roll_call_pause(&self) -> Duration {
        self.heartbeat_interval().times(CHECK_INTERVALS)
    }

    /// The time between two rounds of looking for a cluster.
    pub fn formation_round(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.formation_ms))
    }

    /// The time before a node sends an unanswered message again.
    pub fn retransmit(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.retransmit_ms))
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_configuration))]
mod tests {
    use super::*;
    use crate::protocol::identity::fnv1a_64;
    use crate::protocol::test_support::{address, TestResult, Unexpected};

    /// Values other than the defaults, with the widest range for the setting whose maximum is another setting.
    const WIDE: Configuration = Configuration {
        window_heartbeats: 32,
        rings: 8,
        ..Configuration::DEFAULT
    };

    type Set = fn(&mut Configuration, u32);

    /// Name, smallest and largest value, how to set it.
    const LIMITS: [(&str, u32, u32, Set); 19] = [
        ("heartbeat_interval_ms", 10, 10_000, |c, v| {
            c.heartbeat_interval_ms = v
        }),
        ("heartbeat_slack_ms", 1, 10_000, |c, v| {
            c.heartbeat_slack_ms = v
        }),
        ("window_heartbeats", 1, 32, |c, v| c.window_heartbeats = v),
        ("window_misses", 1, 32, |c, v| c.window_misses = v),
        ("probe_count", 0, 10, |c, v| c.probe_count = v),
        ("probe_interval_ms", 1, 10_000, |c, v| {
            c.probe_interval_ms = v
        }),
        ("rings", 1, 8, |c, v| c.rings = v),
        ("confirmations", 1, 8, |c, v| c.confirmations = v),
        ("confirmation_timeout_ms", 1, 60_000, |c, v| {
            c.confirmation_timeout_ms = v
        }),
        ("coordinators", 1, 9, |c, v| c.coordinators = v),
        ("batching_ms", 0, 10_000, |c, v| c.batching_ms = v),
        ("retransmit_ms", 1, 10_000, |c, v| c.retransmit_ms = v),
        ("takeover_ms", 1, 60_000, |c, v| c.takeover_ms = v),
        ("formation_ms", 1, 60_000, |c, v| c.formation_ms = v),
        ("blocked_timeout_ms", 100, 3_600_000, |c, v| {
            c.blocked_timeout_ms = v
        }),
        ("expected_nodes", 0, 1024, |c, v| c.expected_nodes = v),
        ("wait_for_all", 0, 1, |c, v| c.wait_for_all = v),
        ("even_split", 0, 1, |c, v| c.even_split = v),
        ("partitionable", 0, 1, |c, v| c.partitionable = v),
    ];

    fn check(settings: Configuration) -> Result<(), ConfigurationError> {
        ValidConfiguration::new(settings, b"test", address(1), &[]).map(|_| ())
    }

    #[test]
    fn both_presets_are_valid() {
        assert_eq!(check(Configuration::DEFAULT), Ok(()));
        assert_eq!(check(Configuration::RELAXED), Ok(()));
        assert_eq!(check(Configuration::default()), Ok(()));
    }

    #[test]
    fn a_setting_is_refused_just_outside_its_limits() {
        for (parameter, min, max, set) in LIMITS {
            for value in [
                min,
                max,
                min.wrapping_sub(1),
                max.saturating_add(1),
                u32::MAX,
            ] {
                let mut settings = WIDE;
                // Let the setting that bounds another one be judged by its own value only.
                settings.window_misses = 1;
                set(&mut settings, value);
                let expected = if (min..=max).contains(&value) {
                    Ok(())
                } else {
                    Err(ConfigurationError::Setting(InvalidSetting {
                        parameter,
                        value: u64::from(value),
                        min: u64::from(min),
                        max: u64::from(max),
                    }))
                };
                assert_eq!(check(settings), expected);
            }
        }
    }

    #[test]
    fn more_misses_than_the_window_has_heartbeats_are_refused() {
        for (bound, value, expected) in [(1, 1, true), (1, 2, false), (3, 3, true), (3, 4, false)] {
            let window = Configuration {
                window_heartbeats: bound,
                window_misses: value,
                ..Configuration::DEFAULT
            };
            assert_eq!(check(window).is_ok(), expected);
        }
    }

    #[test]
    fn peers_are_sorted_without_duplicates_and_without_the_node_itself() -> TestResult {
        let given = [3, 1, 2, 3, 1, 5].map(address);
        let valid = ValidConfiguration::new(WIDE, b"test", address(2), &given)?;
        assert!(valid.peers() == [1, 3, 5].map(address));
        Ok(())
    }

    #[test]
    fn more_than_1024_peers_are_refused() -> TestResult {
        let mut peers = BoundedVec::with_capacity(PEERS_MAX + 1)?;
        for number in 1..=PEERS_MAX as u16 {
            peers.push(address(number)).map_err(|_| Unexpected)?;
        }
        let own = address(5000);
        assert!(ValidConfiguration::new(WIDE, b"test", own, &peers).is_ok());
        peers.push(address(6000)).map_err(|_| Unexpected)?;
        let refused = ValidConfiguration::new(WIDE, b"test", own, &peers).err();
        let expected = InvalidSetting {
            parameter: "peers",
            value: 1025,
            min: 0,
            max: 1024,
        };
        assert_eq!(refused, Some(ConfigurationError::Setting(expected)));
        Ok(())
    }

    #[test]
    fn a_first_view_needs_a_majority_of_the_expected_nodes_or_all_of_them() -> TestResult {
        let peers = [1, 2, 3, 4].map(address);
        // Expected nodes (0: the node and its peers, five here), nodes needed.
        for (expected_nodes, needed) in
            [(0, 3), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (1024, 513)]
        {
            let settings = Configuration {
                expected_nodes,
                ..Configuration::DEFAULT
            };
            let valid = ValidConfiguration::new(settings, b"test", address(9), &peers)?;
            assert_eq!(valid.formation_quorum(), needed);
            let settings = Configuration {
                wait_for_all: 1,
                ..settings
            };
            let valid = ValidConfiguration::new(settings, b"test", address(9), &peers)?;
            let all = if expected_nodes == 0 {
                5
            } else {
                expected_nodes as usize
            };
            assert_eq!(valid.formation_quorum(), all);
        }
        Ok(())
    }

    #[test]
    fn the_shared_settings_are_those_of_the_configuration() -> TestResult {
        let valid = ValidConfiguration::new(WIDE, b"test", address(1), &[])?;
        let shared = valid.shared();
        assert_eq!(shared.heartbeat_interval_ms, WIDE.heartbeat_interval_ms);
        assert_eq!(shared.rings, 8);
        assert_eq!(shared.confirmations, WIDE.confirmations);
        assert_eq!(shared.coordinators, WIDE.coordinators);
        assert_eq!(shared.even_split, WIDE.even_split);
        assert_eq!(shared.detector, WIDE.detector);
        assert_eq!(valid.settings(), &WIDE);
        let hash = fnv1a_64(b"test");
        assert_eq!(valid.cluster(), (hash >> 32) as u32 ^ hash as u32);
        assert_eq!(valid.heartbeat_interval().as_milliseconds(), 160);
        assert_eq!(valid.retransmit().as_milliseconds(), 30);
        Ok(())
    }

    #[test]
    fn the_detection_time_follows_from_the_detector_and_its_settings() -> TestResult {
        let peers = [1, 2, 3, 4, 5, 6, 7].map(address);
        // Rings, window_misses, probe_count, milliseconds.
        for (detector, rings, window_misses, probe_count, expected_ms) in [
            (DetectorKind::Ring, 3, 1, 4, 275),
            (DetectorKind::Ring, 1, 2, 0, 335),
            // Eight nodes: three doublings and twelve more rounds, each as long as a ring's share of the interval.
            (DetectorKind::Gossip, 4, 1, 4, 2 * (15 * 40 + 15) + 100),
            (DetectorKind::Gossip, 1, 2, 0, 2 * (15 * 160 + 15)),
        ] {
            let settings = Configuration {
                window_heartbeats: 2,
                detector,
                rings,
                window_misses,
                probe_count,
                ..Configuration::DEFAULT
            };
            let valid = ValidConfiguration::new(settings, b"test", address(9), &peers)?;
            assert_eq!(valid.detection().as_milliseconds(), expected_ms);
        }
        Ok(())
    }
}
