// SPDX-License-Identifier: GPL-2.0

//! Settings of a node: what each one does, its default, and what is allowed.
//!
//! A [`Configuration`] is what the operator wrote; a [`ValidConfiguration`] is one that was checked.
//! Everything behind this file takes only the second kind. Timing never comes from a peer: a peer
//! whose timing differs is refused.

mod detector;

pub use detector::{DetectorKind, GossipTiming};

use super::identity::{cluster_number, PeerAddress};
use super::limits::{COORDINATORS_MAX, NODES_MAX, PEERS_MAX, RINGS_MAX};
use super::time::Duration;
use crate::platform::{BoundedVec, OutOfMemory};

/// [`ValidConfiguration::check_pause`] in heartbeat intervals.
const CHECK_INTERVALS: u64 = 8;

/// What the operator wrote, with one field for each parameter of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Milliseconds between two heartbeats to the same watcher. Every node sends one to each of its
    /// `rings` successors in that time. Shorter finds crashes sooner and costs packets.
    /// 10 to 10000, default 160.
    pub heartbeat_interval_ms: u32,
    /// Milliseconds that a heartbeat may be late before it counts as missed. Must cover the jitter
    /// of the network and of timers. 1 to 10000, default 15.
    pub heartbeat_slack_ms: u32,
    /// Heartbeats in the window that misses are counted over. 1 to 32, default 1.
    pub window_heartbeats: u32,
    /// Misses within the window, the latest heartbeat being one of them, that start direct probes.
    /// 1 to `window_heartbeats`, default 1.
    pub window_misses: u32,
    /// Direct probes to a silent node before it is accused. 0 to 10 (0: accuse at once), default 4.
    pub probe_count: u32,
    /// Milliseconds between two probes, and from the last one to the accusation.
    /// 1 to 10000, default 25.
    pub probe_interval_ms: u32,
    /// Rings: how many nodes watch each node. 1 is the ring of the original paper. 1 to 8,
    /// default 3.
    pub rings: u32,
    /// Watchers of a node that must accuse it before it is excluded; all of them if fewer watch it
    /// (`rings`) or are alive. 1 to 8, default 2.
    pub confirmations: u32,
    /// Milliseconds after an accusation from which on watchers that merely suspect the node count as
    /// accusing it.
    /// 1 to 60000, default 500.
    pub confirmation_timeout_ms: u32,
    /// Coordinators in a view, each for an arc of the ring. 1 to 9, default 5.
    pub coordinators: u32,
    /// Milliseconds that changes are collected before they are proposed together.
    /// 0 to 10000, default 10.
    pub batching_ms: u32,
    /// Milliseconds before an unanswered message of the membership protocol or of a group is sent
    /// again; doubled up to eight times of it. 1 to 10000, default 30.
    pub retransmit_ms: u32,
    /// Milliseconds that the next coordinator waits for the one before it to act.
    /// 1 to 60000, default 100.
    pub takeover_ms: u32,
    /// Milliseconds that a starting node collects others before the first view is formed, and
    /// between two rounds of looking for a cluster. 1 to 60000, default 250.
    pub formation_ms: u32,
    /// Milliseconds without a quorum after which a node gives up its view, if it hears that members have
    /// started anew or if the cluster is `partitionable`, and looks for a cluster under a new incarnation.
    /// 100 to 3600000, default 5000.
    pub blocked_timeout_ms: u32,
    /// Nodes of which a majority must be present to form the first view; 0: this node and its
    /// peers. 0 to 1024, default 0.
    pub expected_nodes: u32,
    /// Whether the first view waits for all expected nodes instead of a majority of them, so that no
    /// majority can start without hearing of a cluster that lives on in the rest. 0 or 1, default 0.
    pub wait_for_all: u32,
    /// Whether of two equal halves of a view the one with its lowest node goes on; otherwise neither does.
    /// 0 or 1, default 1.
    pub even_split: u32,
    /// Whether a part of the cluster without a quorum goes on with views of its own, which are not primary,
    /// and comes back to the others later; otherwise it waits for them. 0 or 1, default 0.
    pub partitionable: u32,
    /// How silence is found out. Default: on rings.
    pub detector: DetectorKind,
}

impl Configuration {
    /// The defaults: a crash is found within 300 ms at no more than 20 packets sent per node and
    /// second, in a local network.
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

    /// For machines that share few processors and run late by 100 ms and more.
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

/// A value that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The parameter's name, as the module has it.
    pub parameter: &'static str,
    /// What was given.
    pub value: u64,
    /// The smallest value that is allowed.
    pub min: u64,
    /// The largest value that is allowed.
    pub max: u64,
}

/// Why a configuration was not accepted. Nothing was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationError {
    /// A value outside of its range.
    Setting(InvalidSetting),
    /// Memory could not be had.
    OutOfMemory,
}

impl From<OutOfMemory> for ConfigurationError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The timing and shape that all nodes of a cluster must agree on, as a join carries it.
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

/// A configuration that was checked.
///
/// # Invariants
///
/// Every value is within the range that its field in [`Configuration`] names.
#[derive(Debug)]
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub struct ValidConfiguration {
    settings: Configuration,
    cluster: u32,
    peers: BoundedVec<PeerAddress>,
}

impl ValidConfiguration {
    /// Checks `settings` and copies `peers` (this node's own address may be among them).
    /// May sleep in the kernel.
    ///
    /// # Errors
    ///
    /// The first parameter that is out of its range, or no memory.
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
        // Everybody tries the same peers first, whatever order the operator wrote them in.
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

    /// Nodes whose addresses are known, this one among them.
    pub fn configured_nodes(&self) -> usize {
        self.peers.len().saturating_add(1)
    }

    /// Nodes that the first view waits for, for a while or, if it waits for all, for ever.
    pub fn expected_nodes(&self) -> usize {
        match self.settings.expected_nodes {
            0 => self.configured_nodes(),
            given => given as usize,
        }
    }

    /// Nodes that must be present before the first view is formed: a majority of the expected ones, or all.
    pub fn formation_quorum(&self) -> usize {
        if self.settings.wait_for_all == 1 {
            return self.expected_nodes();
        }
        (self.expected_nodes() / 2).saturating_add(1)
    }

    /// What all nodes of the cluster must have in common.
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

    /// Time between two heartbeats to one watcher.
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.heartbeat_interval_ms))
    }

    /// What a heartbeat may be late.
    pub fn heartbeat_slack(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.heartbeat_slack_ms))
    }

    /// When a node gossips. It sends as many datagrams in an interval as on rings.
    pub fn gossip_timing(&self) -> GossipTiming {
        GossipTiming {
            round: self
                .heartbeat_interval()
                .divided_by(u64::from(self.settings.rings)),
            slack: self.heartbeat_slack(),
        }
    }

    /// From a crash to the accusation by a watcher at the latest: the heartbeats that are missed and the
    /// slack, or the rounds of gossip among as many nodes as are expected (twice, since the last news of a
    /// node may be on its way for as long as its counter may stand still), and the probes.
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

    /// How long a node may hear nobody before it keeps silent itself: by then a view change would have
    /// come to it, even after the crash of all that it watches and all coordinators.
    pub fn deafness(&self) -> Duration {
        let settings = &self.settings;
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        let takeovers = u64::from(settings.coordinators).saturating_add(2);
        self.detection()
            .plus(milliseconds(settings.confirmation_timeout_ms))
            .plus(milliseconds(settings.takeover_ms).times(takeovers))
    }

    /// Time between two occasions on which all members are asked whether they are there since one of them is
    /// suspected. Where the network loses datagrams somebody is suspected all the time.
    pub fn check_pause(&self) -> Duration {
        self.heartbeat_interval().times(CHECK_INTERVALS)
    }

    /// Time between two rounds of looking for a cluster.
    pub fn formation_round(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.settings.formation_ms))
    }

    /// Time before an unanswered message is sent again.
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

    /// With other values than the defaults, and room for the setting that is bounded by another one.
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
    fn the_presets_are_valid() {
        assert_eq!(check(Configuration::DEFAULT), Ok(()));
        assert_eq!(check(Configuration::RELAXED), Ok(()));
        assert_eq!(check(Configuration::default()), Ok(()));
    }

    #[test]
    fn each_setting_may_have_its_limits_and_nothing_beyond() {
        for (parameter, min, max, set) in LIMITS {
            for value in [
                min,
                max,
                min.wrapping_sub(1),
                max.saturating_add(1),
                u32::MAX,
            ] {
                let mut settings = WIDE;
                // Of the setting that bounds another one, only the value in question is looked at.
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
    fn misses_fit_their_window() {
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
    fn peers_are_sorted_and_without_copies_and_oneself() -> TestResult {
        let given = [3, 1, 2, 3, 1, 5].map(address);
        let valid = ValidConfiguration::new(WIDE, b"test", address(2), &given)?;
        assert!(valid.peers() == [1, 3, 5].map(address));
        Ok(())
    }

    #[test]
    fn there_may_be_1024_peers_and_no_more() -> TestResult {
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
    fn a_first_view_needs_a_majority_of_the_expected() -> TestResult {
        let peers = [1, 2, 3, 4].map(address);
        // Expected (0: own and peers, five here), needed.
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
    fn what_all_must_share_is_what_was_set() -> TestResult {
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
    fn a_crash_is_found_within_what_the_detector_needs() -> TestResult {
        let peers = [1, 2, 3, 4, 5, 6, 7].map(address);
        // Rings, window_misses, probe_count, milliseconds.
        for (detector, rings, window_misses, probe_count, expected_ms) in [
            (DetectorKind::Ring, 3, 1, 4, 275),
            (DetectorKind::Ring, 1, 2, 0, 335),
            // Eight nodes: three doublings and twelve rounds more, each a ring's share of the interval.
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
