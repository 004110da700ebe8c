// SPDX-License-Identifier: GPL-2.0

//! Figures of one run, and of many.

use std::fmt;

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use trace_checker::trace::{EventKind, Member, TraceEvent};

use crate::faults::FaultCounts;
use crate::timing::MS;

/// The name of the default settings.
const DEFAULT_SETTINGS: &str = "default settings";

/// The drawn settings of a run, as text.
pub fn settings_in_words(settings: &Configuration) -> String {
    let default = Configuration {
        detector: settings.detector,
        expected_nodes: settings.expected_nodes,
        blocked_timeout_ms: settings.blocked_timeout_ms,
        partitionable: settings.partitionable,
        ..Configuration::DEFAULT
    };
    let detector = match settings.detector {
        DetectorKind::Ring => "",
        DetectorKind::Gossip => ", gossip",
    };
    let partitionable = match settings.partitionable {
        0 => "",
        _ => ", partitionable",
    };
    if *settings == default {
        return format!("{DEFAULT_SETTINGS}{detector}{partitionable}");
    }
    format!(
        "rings={} confirmations={} coordinators={} heartbeat_interval_ms={} window={}/{} probe_count={} batching_ms={}{detector}{partitionable}",
        settings.rings,
        settings.confirmations,
        settings.coordinators,
        settings.heartbeat_interval_ms,
        settings.window_misses,
        settings.window_heartbeats,
        settings.probe_count,
        settings.batching_ms
    )
}

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Machines.
    pub nodes: usize,
    /// The settings, as text.
    pub settings: String,
    /// The virtual time of the whole run.
    pub virtual_ns: u64,
    /// The events that the simulator processed.
    pub happened: u64,
    /// The real time of the run, including the check.
    pub wall_ns: u64,
    /// Datagrams of all nodes.
    pub datagrams: u64,
    /// Lines of the trace.
    pub lines: usize,
    /// The largest number of a cluster view.
    pub views: u64,
    /// How often a node was excluded although it was alive.
    pub exclusions: u64,
    /// Of these, how often the node had been neither frozen nor cut off shortly before.
    pub false_exclusions: u64,
    /// How often a group member moved to the view of another component.
    pub moved: u64,
    /// Of these, how often others moved with it.
    pub moved_together: u64,
    /// The faults injected.
    pub faults: FaultCounts,
    /// How often a fence handler was called.
    pub fence_calls: u64,
    /// Messages that consumers were allowed to send.
    pub accepted: u64,
    /// The time from the end of all faults to one view of all and settled groups.
    pub convergence_ns: u64,
    /// Datagrams per node and second of the idle cluster: the mean and the largest.
    pub idle_per_second: (f64, f64),
    /// The machines of the measured crash.
    pub victims: usize,
    /// The time from the measured crash to the new view, at each survivor.
    pub detection_ns: Vec<u64>,
    /// The view changes after the measured crash.
    pub changes_for_crash: u64,
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (
            self.detection_ns.iter().min().copied().unwrap_or(0),
            self.detection_ns.iter().max().copied().unwrap_or(0),
        );
        write!(
            f,
            "{} nodes, {}, {} s, {} views, {} crashes, {} restarts, {} leaves, {} freezes, {} network faults, {} evictions, {} pins, {} calls of fence handlers, {} faults left out, {} live nodes excluded ({} undisturbed), {} group members moved to another component ({} together), \
             {} messages, {} datagrams; settled in {} ms; idle {:.1} (at most {:.1}) packets/node/s; \
             {} crashed: view after {}..{} ms, {} changes; {} lines, {} ms",
            self.nodes,
            self.settings,
            self.virtual_ns / (1_000 * MS),
            self.views,
            self.faults.crashes,
            self.faults.restarts,
            self.faults.leaves,
            self.faults.freezes,
            self.faults.network,
            self.faults.evictions,
            self.faults.pins,
            self.fence_calls,
            self.faults.left_out,
            self.exclusions,
            self.false_exclusions,
            self.moved,
            self.moved_together,
            self.accepted,
            self.datagrams,
            self.convergence_ns / MS,
            self.idle_per_second.0,
            self.idle_per_second.1,
            self.victims,
            first / MS,
            last / MS,
            self.changes_for_crash,
            self.lines,
            self.wall_ns / MS,
        )
    }
}

/// The time after `since` at which each node installed its first cluster view without any of `gone` (sorted), and the
/// number of views installed since then.
pub fn spans_to_view(trace: &[TraceEvent], since: u64, gone: &[Member]) -> (Vec<u64>, u64) {
    let mut first: std::collections::BTreeMap<u16, u64> = std::collections::BTreeMap::new();
    let mut numbers = std::collections::BTreeSet::new();
    for event in trace.iter().rev().take_while(|event| event.t >= since) {
        let EventKind::View(view) = &event.kind else {
            continue;
        };
        if view.scope.is_some() {
            continue;
        }
        numbers.insert(view.view);
        if !gone.iter().any(|m| view.members.binary_search(m).is_ok()) {
            first.insert(event.node, event.t - since);
        }
    }
    (first.into_values().collect(), numbers.len() as u64)
}

/// The quantile of a sorted list: the value that so many of a thousand entries do not exceed.
pub fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let place = (sorted.len() * per_mille).div_ceil(1_000).max(1) - 1;
    sorted.get(place).copied().unwrap_or(0)
}

/// The figures of many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    detection_single_ns: Vec<u64>,
    detection_many_ns: Vec<u64>,
    convergence_ns: Vec<u64>,
    idle_max: f64,
    exclusions: u64,
    false_exclusions: u64,
    moved: [u64; 2],
    administration: [u64; 3],
    happened: u64,
    changes: [u64; 2],
}

impl Summary {
    /// Add a run.
    pub fn add(&mut self, one: &Statistics) {
        if one.victims == 1 {
            self.detection_single_ns.extend(&one.detection_ns);
        } else {
            self.detection_many_ns.extend(&one.detection_ns);
        }
        self.convergence_ns.push(one.convergence_ns);
        // A pin is announced again and again for a while, so a cluster with pins is not idle.
        if one.settings.starts_with(DEFAULT_SETTINGS) && one.faults.pins == 0 {
            self.idle_max = self.idle_max.max(one.idle_per_second.1);
        }
        self.exclusions += one.exclusions;
        self.false_exclusions += one.false_exclusions;
        self.moved[0] += one.moved;
        self.moved[1] += one.moved_together;
        let done = [one.faults.evictions, one.faults.pins, one.fence_calls];
        for (sum, one) in self.administration.iter_mut().zip(done) {
            *sum += one;
        }
        self.happened += one.happened;
        self.changes[usize::from(one.changes_for_crash > 1)] += 1;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, values: &[u64]| {
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            writeln!(
                f,
                "{name}: median {} ms, p99 {} ms, max {} ms ({} samples)",
                quantile(&sorted, 500) / MS,
                quantile(&sorted, 990) / MS,
                quantile(&sorted, 1_000) / MS,
                sorted.len()
            )
        };
        line(
            "from the crash of one node to the view, at a survivor",
            &self.detection_single_ns,
        )?;
        line(
            "from the crash of several nodes to the view, at a survivor",
            &self.detection_many_ns,
        )?;
        line(
            "from the end of all faults to one settled view",
            &self.convergence_ns,
        )?;
        write!(
            f,
            "measured crashes that took one view change: {}, more: {}; idle with default settings: at most {:.1} packets per node and second; \
             live nodes excluded: {}, of these undisturbed: {}; group members that moved to another component: {}, together with others: {}; evictions: {}, pins: {}, calls of fence handlers: {}; {} events",
            self.changes[0],
            self.changes[1],
            self.idle_max,
            self.exclusions,
            self.false_exclusions,
            self.moved[0],
            self.moved[1],
            self.administration[0],
            self.administration[1],
            self.administration[2],
            self.happened
        )
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn the_quantiles_of_a_known_list_are_right() {
        let list: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&list, 500), 50);
        assert_eq!(quantile(&list, 990), 99);
        assert_eq!(quantile(&list, 1_000), 100);
        assert_eq!(quantile(&[7], 500), 7);
        assert_eq!(quantile(&[], 500), 0);
    }
}
