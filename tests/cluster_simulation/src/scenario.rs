// SPDX-License-Identifier: GPL-2.0

//! A run of a plan. The faults are injected, and all of them end. The cluster must come together in one view and stay
//! there. It goes through a trial whose effect is known exactly. Some nodes crash, and the others must exclude them in
//! time. At last the trace is checked.

use std::cell::RefCell;
use std::time::Instant as WallTime;

use trace_checker::trace::{Expectation, TraceEvent};

use crate::broken::{Broken, PANIC};
use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::event_queue::EventQueue;
use crate::faults::FaultInjector;
use crate::plan::Plan;
use crate::quorum::{is_partitionable, may_lose};
use crate::recorder::node_member;
use crate::reference_model::{
    accepted_and_never_sent, are_groups_settled, expect, expect_gone, expect_sending,
    expect_together, expected_nodes, is_one_view, not_primary, unfinished_leaves,
};
use crate::sabotage::Sabotage;
use crate::statistics::{settings_in_words, spans_to_view, Statistics};
use crate::timing::{conclusion_ns, convergence_ns, many_crash_to_view_ns, MS, SECOND};
use crate::trials;
use crate::workload::Workload;

/// The time for which a settled cluster is observed while idle.
const IDLE_NS: u64 = 2 * SECOND;
/// The longest time that accepted messages may take in a settled cluster.
const DRAIN_NS: u64 = 10 * SECOND;

/// The result of a run.
pub struct Outcome {
    /// The broken promises; none if the plan held.
    pub broken: Vec<Broken>,
    /// The figures of the run.
    pub statistics: Statistics,
    /// The trace.
    pub trace: Vec<TraceEvent>,
}

thread_local! {
    /// The message and the place of this thread's last panic.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on, report panics as broken promises instead of printing them when they happen.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|what| {
        LAST_PANIC.set(what.to_string());
    }));
}

/// Carry out a plan. A panic in the protocol is a broken promise like any other.
pub fn run(plan: &Plan) -> Outcome {
    std::panic::catch_unwind(|| run_unguarded(plan)).unwrap_or_else(|_| Outcome {
        broken: vec![Broken::new(PANIC, LAST_PANIC.take())],
        statistics: Statistics::default(),
        trace: Vec::new(),
    })
}

fn run_unguarded(plan: &Plan) -> Outcome {
    kcgcs_protocol::platform::break_rule(plan.sabotage.and_then(Sabotage::rule));
    let wall = WallTime::now();
    let groups = Chance::new(plan.seed, 12);
    let mut run = Run {
        plan,
        cluster: Cluster::new(plan.cluster_options()),
        injector: FaultInjector::new(plan.clone()),
        workload: Workload::new(plan.groups, plan.work_interval_ms * MS, groups),
        statistics: Statistics {
            nodes: plan.hosts(),
            settings: settings_in_words(&plan.configuration()),
            ..Statistics::default()
        },
    };
    run.fault_phase();
    if run.heal_phase() {
        run.idle_phase();
        if let Some(trial) = plan.trial {
            trials::carry_out(&mut run.cluster, trial);
        }
        run.measured_crash();
    }
    run.finish(wall)
}

/// A run in progress.
struct Run<'p> {
    plan: &'p Plan,
    cluster: Cluster,
    injector: FaultInjector,
    workload: Workload,
    statistics: Statistics,
}

impl Run<'_> {
    /// Start all machines and inject the faults.
    fn fault_phase(&mut self) {
        let mut agenda = EventQueue::new();
        self.injector.begin(&mut agenda);
        let end = self.plan.healing_at_ms * MS;
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
                    self.injector.act(&mut self.cluster, what, &mut agenda);
                }
            } else {
                self.workload.act(&mut self.cluster);
                work_at = next.saturating_add(self.workload.next_interval());
            }
        }
        self.cluster.run_until(end);
    }

    /// End all faults, and return whether the cluster came together in time.
    fn heal_phase(&mut self) -> bool {
        let nodes = self.cluster.hosts.len();
        let since = self.cluster.now();
        self.injector.heal(&mut self.cluster, nodes / 2 + 1);
        let frozen_until = self
            .cluster
            .hosts
            .iter()
            .map(|host| host.frozen_until)
            .max();
        let since = since.max(frozen_until.unwrap_or(0));
        let since = since.max(self.cluster.pins_end());
        let configuration = self.cluster.options().configuration;
        let fence = self.cluster.fence_ns();
        let bound = convergence_ns(&configuration, nodes) + 2 * fence;
        // An eviction may or may not take effect if the node that was asked for it is gone.
        let is_open = |cluster: &Cluster| {
            let mut alive = cluster.hosts.iter().filter_map(|host| host.alive.as_ref());
            alive.any(|alive| !alive.evicted_by.is_empty())
        };
        let since = match is_open(&self.cluster) {
            true => since + bound,
            false => since,
        };
        // All consequences of the faults show by then.
        self.cluster
            .run_until(since + conclusion_ns(&configuration) + fence);
        let settled = self.cluster.run_until_true(2 * bound, |cluster| {
            is_one_view(cluster) && are_groups_settled(cluster)
        });
        self.statistics.convergence_ns = self.cluster.now() - since;
        let leaving = unfinished_leaves(&self.cluster);
        self.cluster.faults.extend(leaving);
        let sent = settled && self.accepted_again();
        // The nodes must stay together as well.
        self.cluster.run_for(SECOND);
        let not_primary = not_primary(&self.cluster);
        self.cluster.faults.extend(not_primary);
        expect_together(&mut self.cluster, since, 2 * bound);
        settled && sent
    }

    /// Check that every handle of a settled cluster may send again (L8), and that all accepted messages are sent (L2).
    fn accepted_again(&mut self) -> bool {
        let since = self.cluster.now();
        while self.workload.send_from_all(&mut self.cluster) > 0
            && self.cluster.now() < since + DRAIN_NS
        {
            self.cluster.run_for(100 * MS);
        }
        expect_sending(&mut self.cluster, since, DRAIN_NS);
        self.cluster.run_until_true(DRAIN_NS, |cluster| {
            accepted_and_never_sent(cluster).is_empty()
        });
        let unsent = accepted_and_never_sent(&self.cluster);
        let is_good = unsent.is_empty();
        self.cluster.faults.extend(unsent);
        is_good
    }

    /// Count the datagrams of an idle cluster.
    fn idle_phase(&mut self) {
        let since = self.cluster.now();
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
        let members = expected_nodes(&self.cluster);
        expect(&mut self.cluster, Expectation::Kept { members, since });
        expect(&mut self.cluster, Expectation::Steady { since, views: 0 });
        let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
        self.statistics.idle_per_second = (mean, rates.iter().copied().fold(0.0, f64::max));
    }

    /// Crash the plan's victims at once, and wait for the view that L5 promises.
    fn measured_crash(&mut self) {
        let victims = self.victims();
        if victims.is_empty() {
            return;
        }
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
            2 * many_crash_to_view_ns(&options.configuration, delay_ns, victims.len() as u64)
                + self.cluster.fence_ns();
        self.cluster.run_until_true(bound, is_one_view);
        let end = since + bound;
        let (spans, _) = spans_to_view(&self.cluster.trace, since, &gone);
        self.cluster.run_until(end + SECOND);
        self.statistics.changes_for_crash = spans_to_view(&self.cluster.trace, since, &gone).1;
        if self.plan.fence.is_none() {
            self.statistics.detection_ns = spans;
        }
        self.statistics.victims = gone.len();
        expect_gone(&mut self.cluster, gone, since, bound, true);
        expect_together(&mut self.cluster, since, bound);
        let members = expected_nodes(&self.cluster);
        expect(&mut self.cluster, Expectation::Kept { members, since });
    }

    /// The plan's victims that are up, as far as a quorum remains.
    fn victims(&self) -> Vec<usize> {
        let is_up = |host: &usize| self.cluster.hosts[*host].alive.is_some();
        let mut victims: Vec<usize> = self.plan.victims.iter().copied().filter(is_up).collect();
        while !victims.is_empty() && !may_lose(&self.cluster, &victims) {
            victims.pop();
        }
        victims
    }

    fn finish(mut self, wall: WallTime) -> Outcome {
        let trace = std::mem::take(&mut self.cluster.trace);
        let mut broken = std::mem::take(&mut self.cluster.faults);
        let options = trace_checker::Options {
            partitionable: is_partitionable(&self.cluster),
            ..trace_checker::Options::default()
        };
        let violations = trace_checker::check_sorted(&trace, options);
        broken.extend(violations.into_iter().map(Broken::from));
        let mut statistics = self.statistics;
        statistics.virtual_ns = self.cluster.now();
        statistics.happened = self.cluster.happened();
        statistics.datagrams = self.cluster.hosts.iter().map(|host| host.sent).sum();
        statistics.lines = trace.len();
        statistics.exclusions = self.cluster.exclusions;
        statistics.false_exclusions = self.cluster.false_exclusions;
        statistics.moved = self.cluster.moved;
        statistics.moved_together = self.cluster.moved_together;
        statistics.faults = self.injector.counts;
        statistics.fence_calls = self.cluster.fence_calls;
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
            broken,
            statistics,
            trace,
        }
    }
}
