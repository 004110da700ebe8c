// SPDX-License-Identifier: GPL-2.0

//! Numbers about one run, and about many.

use std::fmt;

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use trace_checker::trace::{EventKind, Member, TraceEvent};

use crate::faults::FaultCounts;
use crate::timing::MS;

/// How the default settings are called.
const DEFAULT_SETTINGS: &str = "default settings";

/// The settings that runs draw, in words.
pub fn settings_in_words(settings: &Configuration) -> String {
    let usual = Configuration {
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
    let parts = match settings.partitionable {
        0 => "",
        _ => ", partitionable",
    };
    if *settings == usual {
        return format!("{DEFAULT_SETTINGS}{detector}{parts}");
    }
    format!(
        "rings={} confirmations={} coordinators={} heartbeat_interval_ms={} window={}/{} probe_count={} batching_ms={}{detector}{parts}",
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

/// What was measured in one run.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// Machines.
    pub nodes: usize,
    /// Settings that are not the default, in words.
    pub settings: String,
    /// Virtual time of the whole run.
    pub virtual_ns: u64,
    /// Events that the simulator went through.
    pub happened: u64,
    /// Real time of the run, the check included.
    pub wall_ns: u64,
    /// Datagrams of all nodes.
    pub datagrams: u64,
    /// Lines of the trace.
    pub lines: usize,
    /// The largest number of a cluster view.
    pub views: u64,
    /// Times that a node was put out although it was alive.
    pub exclusions: u64,
    /// Of these, nodes that had been neither frozen nor cut off shortly before.
    pub false_exclusions: u64,
    /// Members that came from one part of the cluster to another, and of these those that came with others.
    pub comers_back: u64,
    /// See there.
    pub comers_together: u64,
    /// What went wrong.
    pub faults: FaultCounts,
    /// Times that a fence handler was called.
    pub fence_calls: u64,
    /// Messages that consumers were allowed to send.
    pub accepted: u64,
    /// From the end of all faults to one view of all, and settled groups.
    pub convergence_ns: u64,
    /// Datagrams per node and second while nothing happens: the mean and the largest.
    pub idle_per_second: (f64, f64),
    /// Machines that crashed at once in the measured crash.
    pub victims: usize,
    /// From the measured crash to the new view at each survivor.
    pub detection_ns: Vec<u64>,
    /// View changes that the measured crash led to.
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
            "{} nodes, {}, {} s, {} views, {} crashes, {} restarts, {} leaves, {} freezes, {} of the network, {} evictions, {} pins, {} calls to fence, {} left out, {} put out ({} for no reason), {} members changed parts ({} together), \
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
            self.comers_back,
            self.comers_together,
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

/// For each node that installed a cluster view after `since` without any of `gone` (sorted): how long
/// after. Also the number of views that were installed in that time.
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

/// The value below which `per_mille` of the sorted list lie.
pub fn quantile(sorted: &[u64], per_mille: usize) -> u64 {
    let place = (sorted.len() * per_mille).div_ceil(1_000).max(1) - 1;
    sorted.get(place).copied().unwrap_or(0)
}

/// Numbers about many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    detection_single_ns: Vec<u64>,
    detection_many_ns: Vec<u64>,
    convergence_ns: Vec<u64>,
    idle_max: f64,
    exclusions: u64,
    false_exclusions: u64,
    comers: [u64; 2],
    administration: [u64; 3],
    happened: u64,
    changes: [u64; 2],
}

impl Summary {
    /// Counts one run in.
    pub fn add(&mut self, one: &Statistics) {
        if one.victims == 1 {
            self.detection_single_ns.extend(&one.detection_ns);
        } else {
            self.detection_many_ns.extend(&one.detection_ns);
        }
        self.convergence_ns.push(one.convergence_ns);
        // A pin is told for a while after it was asked for.
        if one.settings.starts_with(DEFAULT_SETTINGS) && one.faults.pins == 0 {
            self.idle_max = self.idle_max.max(one.idle_per_second.1);
        }
        self.exclusions += one.exclusions;
        self.false_exclusions += one.false_exclusions;
        self.comers[0] += one.comers_back;
        self.comers[1] += one.comers_together;
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
            "crash of one to the view at a survivor",
            &self.detection_single_ns,
        )?;
        line(
            "crash of several at once to the view",
            &self.detection_many_ns,
        )?;
        line(
            "end of all faults to one settled view",
            &self.convergence_ns,
        )?;
        write!(
            f,
            "measured crashes that took one view change: {}, more: {}; idle with default settings: at most {:.1} packets per node and second; \
             alive and put out: {}, of these for no reason: {}; members that changed parts: {}, together with others: {}; evictions: {}, pins: {}, calls to fence: {}; {} events",
            self.changes[0],
            self.changes[1],
            self.idle_max,
            self.exclusions,
            self.false_exclusions,
            self.comers[0],
            self.comers[1],
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
    fn quantiles_of_a_known_list() {
        let list: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&list, 500), 50);
        assert_eq!(quantile(&list, 990), 99);
        assert_eq!(quantile(&list, 1_000), 100);
        assert_eq!(quantile(&[7], 500), 7);
        assert_eq!(quantile(&[], 500), 0);
    }
}
