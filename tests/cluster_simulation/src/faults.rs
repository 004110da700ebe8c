// SPDX-License-Identifier: GPL-2.0

//! What goes wrong, and when. A seed draws which kinds of faults it has; within these bounds they come
//! at random, but never so many at once that no quorum of a view is left: from that on nothing is
//! promised but silence.

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::event_queue::EventQueue;
use crate::network::NetworkOptions;
use crate::timing::MS;
use trace_checker::trace::Member;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// One machine stops without a word.
    Crash,
    /// Several neighbours stop at once.
    CrashTogether,
    /// The node that issued the newest view stops, at best in the middle of a view change.
    CrashCoordinator,
    /// A machine stops and is up again at once.
    Reboot,
    /// A node says good-bye.
    Leave,
    /// A machine does nothing for a time that nobody needs to notice.
    FreezeShort,
    /// A machine does nothing for so long that the others go on without it.
    FreezeLong,
    /// A machine's work items run late while its soft interrupts do not.
    SlowEngine,
    /// The network is much worse for a while.
    Storm,
    /// A minority is cut off from the rest.
    Partition,
    /// One direction between two nodes lets nothing through.
    OneWay,
}

/// Faults that every run may draw.
pub const USUAL: [FaultKind; 9] = [
    FaultKind::Crash,
    FaultKind::CrashTogether,
    FaultKind::CrashCoordinator,
    FaultKind::Reboot,
    FaultKind::Leave,
    FaultKind::FreezeShort,
    FaultKind::FreezeLong,
    FaultKind::SlowEngine,
    FaultKind::Storm,
];
/// Faults that are drawn as well if partitions are asked for.
pub const PARTITIONS: [FaultKind; 2] = [FaultKind::Partition, FaultKind::OneWay];

/// What was decided for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// The next fault.
    Fault,
    /// A machine that is down starts again.
    Start(usize),
    /// A machine's work items are in time again.
    FastEngine(usize),
    /// The network is as before.
    CalmNetwork,
    /// All nodes reach each other again.
    Reconnect,
}

/// How often each thing was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultCounts {
    /// Machines that stopped without a word.
    pub crashes: u64,
    /// Machines that started again.
    pub restarts: u64,
    /// Nodes that said good-bye.
    pub leaves: u64,
    /// Machines that stood still.
    pub freezes: u64,
    /// Everything else.
    pub others: u64,
}

/// Draws faults and makes them happen.
pub struct Troublemaker {
    kinds: Vec<FaultKind>,
    chance: Chance,
    interval_mean_ns: u64,
    calm: NetworkOptions,
    /// What was done.
    pub counts: FaultCounts,
}

impl Troublemaker {
    /// Faults of `kinds`, one every `interval_mean_ns` on average.
    pub fn new(
        kinds: Vec<FaultKind>,
        interval_mean_ns: u64,
        calm: NetworkOptions,
        chance: Chance,
    ) -> Self {
        Self {
            kinds,
            chance,
            interval_mean_ns,
            calm,
            counts: FaultCounts::default(),
        }
    }

    /// Plans the first fault.
    pub fn begin(&mut self, agenda: &mut EventQueue<Later>, now: u64) {
        agenda.push(now + self.next_interval(), Later::Fault);
    }

    fn next_interval(&mut self) -> u64 {
        self.chance.exponential(self.interval_mean_ns)
    }

    /// Does what was decided.
    pub fn act(&mut self, cluster: &mut Cluster, what: Later, agenda: &mut EventQueue<Later>) {
        match what {
            Later::Fault => {
                if let Some(kind) = self.chance.pick(&self.kinds).copied() {
                    self.make(cluster, kind, agenda);
                }
                agenda.push(cluster.now() + self.next_interval(), Later::Fault);
            }
            Later::Start(host) => self.restart(cluster, host),
            Later::FastEngine(host) => {
                cluster.hosts[host].engine_delay_mean_us = cluster.options().engine_delay_mean_us;
            }
            Later::CalmNetwork => cluster.network.set_options(self.calm),
            Later::Reconnect => cluster.reconnect(),
        }
    }

    /// Ends all faults: machines that were down for good may stay so if `quorum` others are up.
    pub fn heal(&mut self, cluster: &mut Cluster, quorum: usize) {
        cluster.reconnect();
        cluster.network.set_options(NetworkOptions::PERFECT);
        let usual = cluster.options().engine_delay_mean_us;
        let mut down = Vec::new();
        for (number, host) in cluster.hosts.iter_mut().enumerate() {
            host.engine_delay_mean_us = usual;
            if host.alive.is_none() {
                down.push(number);
            }
        }
        self.chance.shuffle(&mut down);
        for host in down {
            let up = cluster.hosts.iter().filter(|h| h.alive.is_some()).count();
            if up < quorum || self.chance.happens(700) {
                self.restart(cluster, host);
            }
        }
    }

    fn restart(&mut self, cluster: &mut Cluster, host: usize) {
        if cluster.hosts[host].alive.is_none() {
            cluster.start(host);
            self.counts.restarts += 1;
        }
    }

    fn make(&mut self, cluster: &mut Cluster, kind: FaultKind, agenda: &mut EventQueue<Later>) {
        match kind {
            FaultKind::Crash => {
                let victim = self.any_alive(cluster);
                self.crash(cluster, victim.as_slice(), agenda);
            }
            FaultKind::CrashTogether => {
                let victims = self.neighbours(cluster);
                self.crash(cluster, &victims, agenda);
            }
            FaultKind::CrashCoordinator => self.crash_coordinator(cluster, agenda),
            FaultKind::Reboot => {
                let victim = self.any_alive(cluster);
                if let Some(host) = victim.filter(|host| may_lose(cluster, &[*host])) {
                    cluster.crash(host);
                    self.counts.crashes += 1;
                    let pause = self.chance.between(0, 100 * MS);
                    agenda.push(cluster.now() + pause, Later::Start(host));
                }
            }
            FaultKind::Leave => self.leave(cluster, agenda),
            FaultKind::FreezeShort => {
                let span = self.chance.between(MS, 30 * MS);
                let victim = self.any_alive(cluster);
                self.freeze(cluster, victim, span);
            }
            FaultKind::FreezeLong => {
                let span = self.chance.between(50 * MS, 4_000 * MS);
                let victim = self.any_alive(cluster);
                if may_lose(cluster, victim.as_slice()) {
                    self.freeze(cluster, victim, span);
                }
            }
            FaultKind::SlowEngine => {
                if let Some(host) = self.any_alive(cluster) {
                    cluster.hosts[host].engine_delay_mean_us = self.chance.between(1_000, 40_000);
                    self.counts.others += 1;
                    let span = self.chance.between(100 * MS, 3_000 * MS);
                    agenda.push(cluster.now() + span, Later::FastEngine(host));
                }
            }
            FaultKind::Storm => self.storm(cluster, agenda),
            FaultKind::Partition => self.partition(cluster, agenda),
            FaultKind::OneWay => {
                let pair = (self.any_alive(cluster), self.any_alive(cluster));
                if let (Some(from), Some(to)) = pair {
                    cluster.network.block_one_way(from, to);
                    self.counts.others += 1;
                    let span = self.chance.between(100 * MS, 3_000 * MS);
                    agenda.push(cluster.now() + span, Later::Reconnect);
                }
            }
        }
    }

    fn any_alive(&mut self, cluster: &Cluster) -> Option<usize> {
        let alive: Vec<usize> = (0..cluster.hosts.len())
            .filter(|host| cluster.hosts[*host].alive.is_some())
            .collect();
        self.chance.pick(&alive).copied()
    }

    /// Neighbours by number, up to a third of the machines.
    fn neighbours(&mut self, cluster: &Cluster) -> Vec<usize> {
        let count = cluster.hosts.len();
        let wanted = self.chance.between(2, (count as u64 / 3).max(2)) as usize;
        let first = self.chance.between(0, count as u64 - 1) as usize;
        (0..wanted.min(count))
            .map(|step| (first + step) % count)
            .collect()
    }

    fn crash(&mut self, cluster: &mut Cluster, victims: &[usize], agenda: &mut EventQueue<Later>) {
        if !may_lose(cluster, victims) {
            return;
        }
        for &host in victims {
            if cluster.hosts[host].alive.is_none() {
                continue;
            }
            cluster.crash(host);
            self.counts.crashes += 1;
            self.plan_restart(cluster, host, agenda);
        }
    }

    fn crash_coordinator(&mut self, cluster: &mut Cluster, agenda: &mut EventQueue<Later>) {
        let newest = cluster
            .hosts
            .iter()
            .filter_map(|host| host.alive.as_ref()?.node.view())
            .max_by_key(|view| view.number);
        let wanted = cluster.options().configuration.coordinators;
        let coordinators: Vec<usize> = newest.map_or(Vec::new(), |view| {
            view.coordinators(wanted)
                .map(|member| usize::from(member.identity.node.number()) - 1)
                .collect()
        });
        // Most often the first one, who has the right of way.
        let victim = match coordinators.first() {
            Some(first) if self.chance.happens(600) => Some(*first),
            _ => self.chance.pick(&coordinators).copied(),
        };
        self.crash(cluster, victim.as_slice(), agenda);
    }

    /// Most machines that are down come back after a while.
    fn plan_restart(&mut self, cluster: &Cluster, host: usize, agenda: &mut EventQueue<Later>) {
        if self.chance.happens(800) {
            let pause = self.chance.between(50 * MS, 5_000 * MS);
            agenda.push(cluster.now() + pause, Later::Start(host));
        }
    }

    fn leave(&mut self, cluster: &mut Cluster, agenda: &mut EventQueue<Later>) {
        let victim = self.any_alive(cluster);
        if let Some(host) = victim.filter(|host| may_lose(cluster, &[*host])) {
            cluster.leave(host);
            self.counts.leaves += 1;
            self.plan_restart(cluster, host, agenda);
        }
    }

    fn freeze(&mut self, cluster: &mut Cluster, victim: Option<usize>, span: u64) {
        if let Some(host) = victim {
            let until = cluster.now() + span;
            cluster.freeze(host, until.max(cluster.hosts[host].frozen_until));
            self.counts.freezes += 1;
        }
    }

    fn storm(&mut self, cluster: &mut Cluster, agenda: &mut EventQueue<Later>) {
        let storm = NetworkOptions {
            loss_per_mille: self.chance.between(50, 100),
            duplication_per_mille: self.chance.between(50, 100),
            reordering_per_mille: self.chance.between(50, 100),
            delay_mean_us: self.chance.between(100, 2_000),
            ..self.calm
        };
        cluster.network.set_options(storm);
        self.counts.others += 1;
        let span = self.chance.between(100 * MS, 2_000 * MS);
        agenda.push(cluster.now() + span, Later::CalmNetwork);
    }

    fn partition(&mut self, cluster: &mut Cluster, agenda: &mut EventQueue<Later>) {
        let count = cluster.hosts.len();
        let mut away: Vec<usize> = (0..count).collect();
        self.chance.shuffle(&mut away);
        away.truncate(self.chance.between(1, (count as u64 - 1) / 2) as usize);
        if may_lose(cluster, &away) {
            cluster.partition(&away);
            self.counts.others += 1;
            let span = self.chance.between(50 * MS, 4_000 * MS);
            agenda.push(cluster.now() + span, Later::Reconnect);
        }
    }
}

/// Whether the newest views keep a majority of members that are there if `victims` go too, even if
/// the next one has all who asked to come in and are gone again.
///
/// The view before the newest one counts as long as somebody holds it: the change to the newest one
/// is still going on there.
pub fn may_lose(cluster: &Cluster, victims: &[usize]) -> bool {
    let newest = (cluster.hosts.iter())
        .filter_map(|host| host.alive.as_ref())
        .map(|alive| alive.view_number)
        .max()
        .unwrap_or(0);
    if newest == 0 {
        return false;
    }
    let ghosts = ghosts(cluster, victims);
    let mut seen = Vec::new();
    (cluster.hosts.iter())
        .filter_map(|host| host.alive.as_ref())
        .filter(|alive| !alive.members.is_empty() && alive.view_number + 1 >= newest)
        .all(|alive| {
            if seen.contains(&alive.view_number) {
                return true;
            }
            seen.push(alive.view_number);
            let there = (alive.members.iter())
                .filter(|member| is_there(cluster, member, victims))
                .count();
            2 * there > alive.members.len() + ghosts
        })
}

/// Whether this life of the node can vote once `victims` are gone.
fn is_there(cluster: &Cluster, member: &Member, victims: &[usize]) -> bool {
    let number = usize::from(member.node) - 1;
    let host = &cluster.hosts[number];
    host.alive.as_ref().is_some_and(|alive| {
        alive.identity.incarnation.0 == member.incarnation
            && !alive.is_leaving
            && host.frozen_until <= cluster.now()
            && !cluster.network.is_cut_off(number)
            && !victims.contains(&number)
    })
}

/// How many may still be let in although they are gone, or are about to go.
fn ghosts(cluster: &Cluster, victims: &[usize]) -> usize {
    let is_joining = |host: usize| {
        let alive = cluster.hosts[host].alive.as_ref();
        alive.is_some_and(|alive| alive.members.is_empty())
    };
    (0..cluster.hosts.len())
        .filter(|&host| {
            cluster.hosts[host].ghost_until > cluster.now()
                || (victims.contains(&host) && is_joining(host))
        })
        .count()
}
