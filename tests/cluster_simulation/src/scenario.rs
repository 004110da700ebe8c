// SPDX-License-Identifier: GPL-2.0

//! One run: a seed draws a cluster and its faults; they happen; all faults end; the cluster must come
//! together and stay together; some of it crashes and the rest must notice; the trace is checked.

use std::ops::RangeInclusive;
use std::time::Instant as WallTime;

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use trace_checker::trace::TraceEvent;

use crate::chance::Chance;
use crate::cluster::{Cluster, ClusterOptions};
use crate::event_queue::EventQueue;
use crate::faults::{may_lose, FaultKind, Later, Troublemaker, PARTITIONS, USUAL};
use crate::network::NetworkOptions;
use crate::recorder::node_member;
use crate::reference_model::{
    accepted_and_never_sent, are_groups_settled, expect_gone, expect_together, is_one_view,
    leaves_without_end,
};
use crate::statistics::{settings_in_words, spans_to_view, Statistics};
use crate::timing::{
    conclusion_ns, convergence_ns, detection_ns, many_crash_to_view_ns, MS, SECOND,
};
use crate::workload::Workload;

/// How long a settled cluster is watched for doing nothing.
const IDLE_NS: u64 = 2 * SECOND;
/// How long accepted messages may take in a settled cluster.
const DRAIN_NS: u64 = 10 * SECOND;

/// What all runs have in common.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How many nodes a run may have.
    pub nodes: RangeInclusive<usize>,
    /// Whether consumers join groups and send.
    pub groups: bool,
    /// Whether the network may be cut.
    pub partitions: bool,
    /// Whether anything goes wrong before the measured crash.
    pub faults: bool,
    /// How silence is found out.
    pub detector: DetectorKind,
}

/// What came of a run.
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What must not have happened, in words; empty if the seed held.
    pub broken: Vec<String>,
    /// What was measured.
    pub statistics: Statistics,
    /// All that happened.
    pub trace: Vec<TraceEvent>,
}

/// What a seed decides before anything happens.
struct Draw {
    cluster: ClusterOptions,
    kinds: Vec<FaultKind>,
    fault_interval_ns: u64,
    trouble_ns: u64,
    start_spread_ns: u64,
    groups: usize,
    work_interval_ns: u64,
}

/// Runs one seed.
pub fn run(seed: u64, options: &RunOptions) -> Outcome {
    let wall = WallTime::now();
    let mut chance = Chance::new(seed, 10);
    let draw = draw(seed, options, &mut chance);
    let nodes = draw.cluster.nodes;
    let calm = draw.cluster.network;
    let mut run = Run {
        cluster: Cluster::new(draw.cluster.clone()),
        trouble: Troublemaker::new(
            draw.kinds.clone(),
            draw.fault_interval_ns,
            calm,
            Chance::new(seed, 11),
        ),
        workload: Workload::new(draw.groups, draw.work_interval_ns, Chance::new(seed, 12)),
        chance,
        statistics: Statistics {
            nodes,
            settings: settings_in_words(&draw.cluster.configuration),
            ..Statistics::default()
        },
    };
    run.trouble_phase(&draw);
    if run.heal_phase() {
        run.idle_phase();
        run.measured_crash();
    }
    run.finish(seed, wall)
}

fn draw(seed: u64, options: &RunOptions, chance: &mut Chance) -> Draw {
    let (low, high) = (*options.nodes.start() as u64, *options.nodes.end() as u64);
    let nodes = chance.between(low, high) as usize;
    let mut configuration = draw_configuration(chance);
    if options.detector == DetectorKind::Gossip {
        // What its times are computed from; the default is the same.
        configuration.expected_nodes = nodes as u32;
        configuration.detector = options.detector;
        // Nobody shall give up a view before it is found out who is dead.
        let detection_ms = (2 * detection_ns(&configuration) / MS) as u32;
        configuration.blocked_timeout_ms = configuration.blocked_timeout_ms.max(detection_ms);
    }
    let network = if options.faults {
        draw_network(chance)
    } else {
        NetworkOptions::PERFECT
    };
    let mut kinds: Vec<FaultKind> = USUAL.to_vec();
    if options.partitions {
        kinds.extend(PARTITIONS);
    }
    kinds.retain(|_| chance.happens(500));
    if !options.faults {
        kinds.clear();
    }
    Draw {
        cluster: ClusterOptions {
            seed,
            nodes,
            configuration,
            network,
            engine_delay_mean_us: chance.between(5, 500),
            timer_delay_mean_us: chance.between(5, 500),
            peers: Vec::new(),
            incarnation_base: chance.between(1, 1 << 40),
        },
        kinds,
        fault_interval_ns: chance.between(50 * MS, 1_500 * MS),
        trouble_ns: chance.between(3 * SECOND, 12 * SECOND),
        start_spread_ns: *chance.pick(&[0, 50 * MS, SECOND, 3 * SECOND]).unwrap_or(&0),
        groups: if options.groups {
            chance.between(0, 4) as usize
        } else {
            0
        },
        work_interval_ns: chance.between(2 * MS, 60 * MS),
    }
}

fn draw_configuration(chance: &mut Chance) -> Configuration {
    let usual = Configuration::DEFAULT;
    if chance.happens(500) {
        return usual;
    }
    let rings = chance.between(1, 5) as u32;
    let window_heartbeats = chance.between(1, 5) as u32;
    Configuration {
        rings,
        confirmations: chance.between(1, u64::from(rings.min(3))) as u32,
        coordinators: chance.between(1, 9) as u32,
        heartbeat_interval_ms: chance.between(50, 300) as u32,
        window_heartbeats,
        window_misses: chance.between(1, u64::from(window_heartbeats.min(3))) as u32,
        probe_count: chance.between(3, 6) as u32,
        batching_ms: chance.between(0, 50) as u32,
        ..usual
    }
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
        delay_min_us: 20 + up_to(500),
        delay_mean_us: 20 + up_to(1_500),
        delay_more_max_us: 5_000,
    }
}

/// A run that is going on.
struct Run {
    cluster: Cluster,
    trouble: Troublemaker,
    workload: Workload,
    chance: Chance,
    statistics: Statistics,
}

impl Run {
    /// Starts all machines and lets things go wrong for a while.
    fn trouble_phase(&mut self, draw: &Draw) {
        let mut agenda = EventQueue::new();
        for host in 0..draw.cluster.nodes {
            let at = self.chance.between(0, draw.start_spread_ns);
            agenda.push(at, Later::Start(host));
        }
        if !draw.kinds.is_empty() {
            self.trouble.begin(&mut agenda, draw.start_spread_ns);
        }
        let end = draw.start_spread_ns + draw.trouble_ns;
        let mut work_at = self.workload.next_interval();
        loop {
            let agenda_at = agenda.next_time().unwrap_or(u64::MAX);
            let next = agenda_at.min(work_at);
            if next > end {
                break;
            }
            self.cluster.run_until(next);
            if agenda_at <= work_at {
                if let Some((_, what)) = agenda.pop_until(next) {
                    self.trouble.act(&mut self.cluster, what, &mut agenda);
                }
            } else {
                self.workload.act(&mut self.cluster);
                work_at = next.saturating_add(self.workload.next_interval());
            }
        }
        self.cluster.run_until(end);
    }

    /// Ends all faults; says whether the cluster came together in time.
    fn heal_phase(&mut self) -> bool {
        let nodes = self.cluster.hosts.len();
        let since = self.cluster.now();
        self.trouble.heal(&mut self.cluster, nodes / 2 + 1);
        let frozen_until = self
            .cluster
            .hosts
            .iter()
            .map(|host| host.frozen_until)
            .max();
        let since = since.max(frozen_until.unwrap_or(0));
        // What was concluded from the faults shows by then.
        self.cluster
            .run_until(since + conclusion_ns(&self.cluster.options().configuration));
        let bound = convergence_ns(&self.cluster.options().configuration, nodes);
        let settled = self.cluster.run_until_true(2 * bound, |cluster| {
            is_one_view(cluster) && are_groups_settled(cluster)
        });
        self.statistics.convergence_ns = self.cluster.now() - since;
        let leaving = leaves_without_end(&self.cluster);
        self.cluster.faults.extend(leaving);
        let sent = settled && self.accepted_again();
        // They must stay together as well.
        self.cluster.run_for(SECOND);
        expect_together(&mut self.cluster, since, 2 * bound);
        settled && sent
    }

    /// Every handle of a settled cluster may send again, and what it was allowed to send is sent: L8
    /// and L2.
    fn accepted_again(&mut self) -> bool {
        let limit = self.cluster.now() + DRAIN_NS;
        while self.workload.send_from_all(&mut self.cluster) > 0 {
            if self.cluster.now() > limit {
                self.cluster
                    .faults
                    .push("L8 (progress): a settled group still refuses messages".to_owned());
                return false;
            }
            self.cluster.run_for(100 * MS);
        }
        self.cluster.run_until_true(DRAIN_NS, |cluster| {
            accepted_and_never_sent(cluster).is_empty()
        });
        let unsent = accepted_and_never_sent(&self.cluster);
        let is_good = unsent.is_empty();
        self.cluster.faults.extend(unsent);
        is_good
    }

    /// Counts what is sent while nothing happens.
    fn idle_phase(&mut self) {
        let before: Vec<u64> = self.cluster.hosts.iter().map(|host| host.sent).collect();
        self.cluster.run_for(IDLE_NS);
        let seconds = IDLE_NS as f64 / SECOND as f64;
        let rates: Vec<f64> = self
            .cluster
            .hosts
            .iter()
            .zip(before)
            .filter(|(host, _)| host.alive.is_some())
            .map(|(host, before)| (host.sent - before) as f64 / seconds)
            .collect();
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        self.statistics.idle_per_second = (mean, rates.iter().copied().fold(0.0, f64::max));
    }

    /// Crashes one machine, or several at once, and waits for what L5 promises.
    fn measured_crash(&mut self) {
        let victims = self.draw_victims();
        let since = self.cluster.now();
        let mut gone = Vec::new();
        for &host in &victims {
            if let Some(alive) = &self.cluster.hosts[host].alive {
                gone.push(node_member(alive.identity));
            }
            self.cluster.crash(host);
        }
        gone.sort_unstable();
        let options = self.cluster.options();
        let delay_ns = (options.timer_delay_mean_us + options.engine_delay_mean_us) * 1_000 + MS;
        let bound =
            2 * many_crash_to_view_ns(&options.configuration, delay_ns, victims.len() as u64);
        self.cluster.run_until_true(bound, is_one_view);
        let end = since + bound;
        let (spans, _) = spans_to_view(&self.cluster.trace, since, &gone);
        self.cluster.run_until(end + SECOND);
        self.statistics.changes_for_crash = spans_to_view(&self.cluster.trace, since, &gone).1;
        self.statistics.detection_ns = spans;
        self.statistics.victims = gone.len();
        if !gone.is_empty() {
            expect_gone(&mut self.cluster, gone, since, bound, true);
        }
        expect_together(&mut self.cluster, since, bound);
    }

    /// One machine in half of the cases, else up to all that may go, neighbours or anybody.
    fn draw_victims(&mut self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.cluster.hosts.len())
            .filter(|host| self.cluster.hosts[*host].alive.is_some())
            .collect();
        let most = (all.len().saturating_sub(1) / 2) as u64;
        let count = if self.chance.happens(500) {
            1
        } else {
            self.chance.between(1, most.max(1))
        };
        if self.chance.happens(500) {
            self.chance.shuffle(&mut all);
        } else if !all.is_empty() {
            let first = self.chance.between(0, all.len() as u64 - 1) as usize;
            all.rotate_left(first);
        }
        all.truncate(count as usize);
        while !all.is_empty() && !may_lose(&self.cluster, &all) {
            all.pop();
        }
        all
    }

    fn finish(mut self, seed: u64, wall: WallTime) -> Outcome {
        let trace = std::mem::take(&mut self.cluster.trace);
        let mut broken = std::mem::take(&mut self.cluster.faults);
        let violations = trace_checker::check_sorted(&trace, trace_checker::Options::default());
        broken.extend(violations.iter().map(ToString::to_string));
        let mut statistics = self.statistics;
        statistics.virtual_ns = self.cluster.now();
        statistics.happened = self.cluster.happened();
        statistics.datagrams = self.cluster.hosts.iter().map(|host| host.sent).sum();
        statistics.lines = trace.len();
        statistics.exclusions = self.cluster.exclusions;
        statistics.false_exclusions = self.cluster.false_exclusions;
        statistics.faults = self.trouble.counts;
        // The first start of each machine is none.
        statistics.faults.restarts -= self
            .cluster
            .hosts
            .iter()
            .filter(|host| host.lives > 0)
            .count() as u64;
        statistics.accepted = self.workload.accepted;
        statistics.views = self
            .cluster
            .hosts
            .iter()
            .filter_map(|host| host.alive.as_ref())
            .map(|alive| alive.view_number)
            .max()
            .unwrap_or(0);
        statistics.wall_ns = wall.elapsed().as_nanos() as u64;
        Outcome {
            seed,
            broken,
            statistics,
            trace,
        }
    }
}
