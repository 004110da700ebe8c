// SPDX-License-Identifier: GPL-2.0

//! Draw a plan from a seed: first which kinds of faults and of network flaws it has at all, then how much of each. A
//! little of everything in every run would hide the bugs that a lot of one kind finds (swarm testing, Groce et
//! al. 2012).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kcgcs_protocol::protocol::configuration::Configuration;

use super::{Fault, Plan, PlannedFault, Trial, Victim, SETTINGS};
use crate::chance::Chance;
use crate::network::{LinkQuality, NetworkOptions};
use crate::sabotage::Sabotage;

/// The options that all drawn plans have in common.
#[derive(Clone, Debug)]
pub struct DrawOptions {
    /// The number of nodes, from and to.
    pub nodes: RangeInclusive<usize>,
    /// Whether consumers join groups and send.
    pub groups: bool,
    /// Whether every run has cuts of the network.
    pub cuts: bool,
    /// Whether there are faults before the measured crash.
    pub faults: bool,
    /// Whether every run has evictions, pins and a fence handler.
    pub administration: bool,
    /// Whether the failure detector is gossip instead of rings.
    pub gossip: bool,
    /// Whether clusters are partitionable.
    pub partitionable: bool,
    /// A bug injected into all nodes.
    pub sabotage: Option<Sabotage>,
}

impl Default for DrawOptions {
    fn default() -> Self {
        Self {
            nodes: 3..=50,
            groups: true,
            cuts: false,
            faults: true,
            administration: false,
            gossip: false,
            partitionable: false,
            sabotage: None,
        }
    }
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A machine crashes.
    Crash,
    /// Several neighbours crash at once.
    CrashTogether,
    /// A coordinator crashes, in the middle of a view change or at any time.
    CrashCoordinator,
    /// A machine crashes and starts again at once.
    Reboot,
    /// A node leaves the cluster.
    Leave,
    /// A machine is frozen for so short that others need not notice.
    FreezeShort,
    /// A machine is frozen for so long that the others exclude it.
    FreezeLong,
    /// A machine's work items run late while its soft interrupts do not.
    SlowEngine,
    /// The network is much worse for a while.
    Storm,
    /// A direction loses much, or is slow.
    BadLink,
    /// A direction is bad and good by turns.
    FlappingLink,
    /// A minority is cut off from the rest.
    Partition,
    /// The network splits into components of any sizes, perhaps none with a quorum.
    Components,
    /// Some nodes do not receive what some others send.
    OneWay,
}

/// All kinds; the last ones are cuts.
const KINDS: [FaultKind; 14] = [
    FaultKind::Crash,
    FaultKind::CrashTogether,
    FaultKind::CrashCoordinator,
    FaultKind::Reboot,
    FaultKind::Leave,
    FaultKind::FreezeShort,
    FaultKind::FreezeLong,
    FaultKind::SlowEngine,
    FaultKind::Storm,
    FaultKind::BadLink,
    FaultKind::FlappingLink,
    FaultKind::Partition,
    FaultKind::Components,
    FaultKind::OneWay,
];
const CUTS: [FaultKind; 3] = [
    FaultKind::Partition,
    FaultKind::Components,
    FaultKind::OneWay,
];

impl Plan {
    /// Draw the plan of this seed.
    pub fn draw(seed: u64, options: &DrawOptions) -> Self {
        let mut chance = Chance::new(seed, 10);
        let (low, high) = (*options.nodes.start() as u64, *options.nodes.end() as u64);
        let hosts = chance.between(low, high) as usize;
        let settings = draw_settings(&mut chance);
        let network = if options.faults {
            draw_network(&mut chance)
        } else {
            NetworkOptions::PERFECT
        };
        let spread_ms = *chance.pick(&[0, 50, 1_000, 3_000]).unwrap_or(&0);
        let starts_ms = (0..hosts).map(|_| chance.between(0, spread_ms)).collect();
        let healing_at_ms = spread_ms + chance.between(3_000, 12_000);
        let mut plan = Self {
            seed,
            starts_ms,
            settings,
            gossip: options.gossip,
            network,
            engine_delay_mean_us: chance.between(5, 500),
            timer_delay_mean_us: chance.between(5, 500),
            clock_rates_ppm: draw_clocks(&mut chance, hosts),
            incarnation_base: chance.between(1, 1 << 40),
            groups: chance.between(0, 4) as usize,
            work_interval_ms: chance.between(2, 60),
            faults: Vec::new(),
            fence: None,
            healing_at_ms,
            stays_down: (0..hosts).map(|_| chance.happens(300)).collect(),
            trial: draw_trial(&mut chance, hosts as u64),
            victims: draw_victims(&mut chance, hosts),
            sabotage: options.sabotage,
        };
        if !options.groups {
            plan.groups = 0;
        }
        if options.faults {
            let mut draws = FaultDraws {
                chance: Chance::new(seed, 11),
                hosts,
                calm: network,
            };
            let kinds = draws.kinds(options.cuts);
            plan.faults = draws.faults(&kinds, spread_ms, healing_at_ms);
            if options.partitionable {
                draws.give_components_time(&mut plan);
            }
            plan.add_administration(options.administration, spread_ms);
        } else {
            plan.trial = None;
            plan.clock_rates_ppm.clear();
        }
        plan
    }
}

fn draw_settings(chance: &mut Chance) -> BTreeMap<String, u32> {
    if chance.happens(500) {
        return BTreeMap::new();
    }
    let rings = chance.between(1, 5) as u32;
    let window_heartbeats = chance.between(1, 5) as u32;
    let mut drawn = Configuration {
        rings,
        confirmations: chance.between(1, u64::from(rings.min(3))) as u32,
        coordinators: chance.between(1, 9) as u32,
        heartbeat_interval_ms: chance.between(50, 300) as u32,
        window_heartbeats,
        window_misses: chance.between(1, u64::from(window_heartbeats.min(3))) as u32,
        probe_count: chance.between(3, 6) as u32,
        batching_ms: chance.between(0, 50) as u32,
        ..Configuration::DEFAULT
    };
    SETTINGS
        .iter()
        .map(|(name, field)| ((*name).to_owned(), *field(&mut drawn)))
        .collect()
}

fn draw_network(chance: &mut Chance) -> NetworkOptions {
    let mut up_to = |most: u64| {
        if chance.happens(300) {
            0
        } else {
            chance.between(0, most)
        }
    };
    NetworkOptions {
        loss_per_mille: up_to(100),
        duplication_per_mille: up_to(100),
        reordering_per_mille: up_to(100),
        damage_per_mille: up_to(20),
        delay_min_us: 20 + up_to(500),
        delay_mean_us: 20 + up_to(1_500),
        delay_more_max_us: 5_000,
    }
}

/// Draw the errors of the clocks: up to some 200 millionths for quartz, much more for some.
fn draw_clocks(chance: &mut Chance, hosts: usize) -> Vec<i32> {
    let most = *chance.pick(&[0, 200, 10_000]).unwrap_or(&0);
    if most == 0 {
        return Vec::new();
    }
    (0..hosts)
        .map(|_| chance.between(0, 2 * most) as i32 - most as i32)
        .collect()
}

fn draw_trial(chance: &mut Chance, hosts: u64) -> Option<Trial> {
    let one = chance.between(0, hosts - 1);
    let other = (one + chance.between(1, (hosts - 1).max(1))) % hosts;
    let (host, other) = (one as usize, other as usize);
    let for_ms = chance.between(1, 4_000);
    match chance.between(0, 5) {
        0 => Some(Trial::Stall { host, for_ms }),
        1 if host != other => Some(Trial::OneWay {
            from: host,
            to: other,
        }),
        2 if host != other => Some(Trial::Pair { one: host, other }),
        3 => Some(Trial::Deaf { host }),
        4 => Some(Trial::Mute { host }),
        _ => None,
    }
}

/// Draw the machines of the measured crash: one in half of the cases, else up to all that may crash, neighbours or not.
fn draw_victims(chance: &mut Chance, hosts: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..hosts).collect();
    let most = (hosts.saturating_sub(1) / 2) as u64;
    let count = if chance.happens(500) {
        1
    } else {
        chance.between(1, most.max(1))
    };
    if chance.happens(500) {
        chance.shuffle(&mut all);
    } else {
        all.rotate_left(chance.between(0, hosts as u64 - 1) as usize);
    }
    all.truncate(count as usize);
    all
}

/// The streams and bounds from which faults are drawn.
struct FaultDraws {
    chance: Chance,
    hosts: usize,
    calm: NetworkOptions,
}

impl FaultDraws {
    /// Draw the kinds of faults: few in some runs, most in others.
    fn kinds(&mut self, cuts: bool) -> Vec<FaultKind> {
        let share_per_mille = *self.chance.pick(&[150, 500, 850]).unwrap_or(&500);
        let mut kinds = KINDS.to_vec();
        kinds.retain(|_| self.chance.happens(share_per_mille));
        if cuts && !kinds.iter().any(|kind| CUTS.contains(kind)) {
            kinds.extend(self.chance.pick(&CUTS));
        }
        kinds
    }

    /// Let nodes give up soon, and splits last for as long as components need to go on and to merge again.
    fn give_components_time(&mut self, plan: &mut Plan) {
        let mut set = |name: &str, value: u64| plan.settings.insert(name.to_owned(), value as u32);
        set("partitionable", 1);
        set("blocked_timeout_ms", self.chance.between(100, 2_000));
        for planned in &mut plan.faults {
            if let Fault::Components { for_ms, .. } = &mut planned.fault {
                *for_ms = self.chance.between(50, 12_000);
            }
        }
        plan.healing_at_ms += self.chance.between(0, 12_000);
    }

    fn faults(&mut self, kinds: &[FaultKind], from_ms: u64, to_ms: u64) -> Vec<PlannedFault> {
        let mut faults = Vec::new();
        let interval_us = self.chance.between(50_000, 1_500_000);
        let mut at_us = from_ms * 1_000 + self.chance.exponential(interval_us);
        while at_us < to_ms * 1_000 && !kinds.is_empty() {
            if let Some(kind) = self.chance.pick(kinds).copied() {
                let fault = self.fault(kind);
                faults.push(PlannedFault { at_us, fault });
            }
            at_us += self.chance.exponential(interval_us);
        }
        faults
    }

    fn fault(&mut self, kind: FaultKind) -> Fault {
        match kind {
            FaultKind::Crash => Fault::Crash(vec![self.victim()]),
            FaultKind::CrashTogether => self.crash_together(),
            FaultKind::CrashCoordinator => Fault::CrashCoordinator {
                // Most often the first coordinator, which proposes before the others do.
                rank: match self.chance.happens(600) {
                    true => 0,
                    false => self.chance.between(1, 8) as usize,
                },
                in_view_change: self.chance.happens(500),
                back_after_ms: self.return_after_ms(),
            },
            FaultKind::Reboot => Fault::Crash(vec![Victim {
                host: self.host(),
                back_after_ms: Some(self.chance.between(0, 100)),
            }]),
            FaultKind::Leave => Fault::Leave(self.victim()),
            FaultKind::FreezeShort => Fault::Freeze {
                host: self.host(),
                for_ms: self.chance.between(1, 30),
            },
            FaultKind::FreezeLong => Fault::Freeze {
                host: self.host(),
                for_ms: self.chance.between(50, 4_000),
            },
            FaultKind::SlowEngine => Fault::SlowEngine {
                host: self.host(),
                mean_us: self.chance.between(1_000, 40_000),
                for_ms: self.chance.between(100, 3_000),
            },
            FaultKind::Storm => self.storm(),
            FaultKind::BadLink => {
                let (from, to) = self.ends();
                self.between(from, to, false)
            }
            FaultKind::FlappingLink => {
                let (from, to) = self.ends();
                self.between(from, to, true)
            }
            FaultKind::Partition => {
                let away = self.some((self.hosts as u64).saturating_sub(1) / 2);
                let sides = (0..self.hosts)
                    .map(|host| u8::from(away.contains(&host)))
                    .collect();
                Fault::Components {
                    sides,
                    for_ms: self.chance.between(50, 4_000),
                }
            }
            FaultKind::Components => {
                let most = self.chance.between(1, 3);
                Fault::Components {
                    sides: (0..self.hosts)
                        .map(|_| self.chance.between(0, most) as u8)
                        .collect(),
                    for_ms: self.chance.between(50, 4_000),
                }
            }
            FaultKind::OneWay => self.one_way(),
        }
    }

    fn host(&mut self) -> usize {
        self.chance.between(0, self.hosts as u64 - 1) as usize
    }

    /// Draw from 1 to `most` hosts.
    fn some(&mut self, most: u64) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.hosts).collect();
        self.chance.shuffle(&mut all);
        all.truncate(self.chance.between(1, most.max(1)) as usize);
        all
    }

    /// Draw a machine that goes down, and most often starts again after a while.
    fn victim(&mut self) -> Victim {
        Victim {
            host: self.host(),
            back_after_ms: self.return_after_ms(),
        }
    }

    fn return_after_ms(&mut self) -> Option<u64> {
        (self.chance.happens(800)).then(|| self.chance.between(50, 5_000))
    }

    /// Draw neighbours by number that crash at once, up to a third of the machines.
    fn crash_together(&mut self) -> Fault {
        let wanted = self.chance.between(2, (self.hosts as u64 / 3).max(2)) as usize;
        let first = self.host();
        let victims = (0..wanted.min(self.hosts)).map(|step| Victim {
            host: (first + step) % self.hosts,
            back_after_ms: self.return_after_ms(),
        });
        Fault::Crash(victims.collect())
    }

    fn storm(&mut self) -> Fault {
        Fault::Storm {
            network: NetworkOptions {
                loss_per_mille: self.chance.between(50, 100),
                duplication_per_mille: self.chance.between(50, 100),
                reordering_per_mille: self.chance.between(50, 100),
                damage_per_mille: self.chance.between(0, 50),
                delay_mean_us: self.chance.between(100, 2_000),
                ..self.calm
            },
            for_ms: self.chance.between(100, 2_000),
        }
    }

    /// Draw the two ends of a direction, or one node and all directions from it or to it.
    fn ends(&mut self) -> (Vec<usize>, Vec<usize>) {
        let all: Vec<usize> = (0..self.hosts).collect();
        let (one, other) = (self.host(), self.host());
        match self.chance.between(0, 4) {
            0 => (vec![one], all),
            1 => (all, vec![one]),
            _ => (vec![one], vec![other]),
        }
    }

    fn between(&mut self, from: Vec<usize>, to: Vec<usize>, is_flapping: bool) -> Fault {
        let mut up_to = |most: u64| match self.chance.happens(400) {
            true => 0,
            false => self.chance.between(0, most),
        };
        let quality = LinkQuality {
            loss_per_mille: up_to(1_000),
            delay_us: up_to(20_000),
            jitter_mean_us: up_to(5_000),
        };
        Fault::Between {
            from,
            to,
            quality: if is_flapping {
                LinkQuality::BLOCKED
            } else {
                quality
            },
            flapping_ms: is_flapping.then(|| {
                (
                    self.chance.between(10, 1_000),
                    self.chance.between(10, 1_000),
                )
            }),
            for_ms: self.chance.between(100, 3_000),
        }
    }

    /// Draw nodes that do not receive what some others send: one direction, a deaf or a mute node, or any two sets.
    fn one_way(&mut self) -> Fault {
        let (from, to) = match self.chance.happens(600) {
            true => self.ends(),
            false => (self.some(self.hosts as u64), self.some(self.hosts as u64)),
        };
        Fault::Between {
            from,
            to,
            quality: LinkQuality::BLOCKED,
            flapping_ms: None,
            for_ms: self.chance.between(100, 3_000),
        }
    }
}
