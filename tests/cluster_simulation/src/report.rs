// SPDX-License-Identifier: GPL-2.0

//! A report on large clusters with default settings, with datagrams and bytes per node: how they form, exclude nodes
//! that crash at once in one view, and exclude and admit a rack that is cut off for a while. Each must keep the
//! promises.

use std::collections::BTreeSet;

use trace_checker::trace::{EventKind, Member};

use crate::cluster::{Cluster, ClusterOptions};
use crate::network::Impairment;
use crate::recorder::node_member;
use crate::reference_model::{expect_gone, expect_together, is_one_view};
use crate::timing::{
    conclusion_ns, convergence_ns, crash_to_view_ns, many_crash_to_view_ns, MS, SECOND,
};

/// The numbers of nodes that start at once.
const SIZES: [usize; 9] = [1, 2, 3, 5, 8, 16, 64, 256, 1000];
/// The size of the clusters with faults.
const LARGE: usize = 1000;
/// The time for which an idle cluster is observed.
const IDLE_NS: u64 = 10 * SECOND;
/// The number of machines that crash at once.
const VICTIMS: usize = 10;
/// The nodes that a view admits at least, on average, when a rack is back.
const RETURNS_PER_VIEW_MIN: usize = 10;
/// The bytes of UDP, IPv4 and Ethernet headers of each datagram.
const HEADERS_BYTES: f64 = 8.0 + 20.0 + 14.0;

/// One line of the report.
pub struct Line {
    /// The measurement and its results.
    pub text: String,
    /// The promises that were broken.
    pub wrong: Vec<String>,
}

/// Make all measurements, and pass each line to `tell` when it is complete.
pub fn report(seed: u64, mut tell: impl FnMut(Line)) {
    for nodes in SIZES {
        tell(bootstrap(seed, nodes));
    }
    tell(crashes(seed, false));
    tell(crashes(seed, true));
    tell(rack(seed));
}

/// A cluster under measurement.
struct Measurement {
    cluster: Cluster,
    since: u64,
    sent: u64,
    sent_bytes: u64,
    wrong: Vec<String>,
}

impl Measurement {
    /// Start all machines at once.
    fn begin(seed: u64, nodes: usize) -> Self {
        let mut cluster = Cluster::new(ClusterOptions::perfect(seed, nodes));
        for host in 0..nodes {
            cluster.start(host);
        }
        Self {
            cluster,
            since: 0,
            sent: 0,
            sent_bytes: 0,
            wrong: Vec::new(),
        }
    }

    /// Start all machines at once, wait for the first view of all, and measure from then on.
    fn formed(seed: u64, nodes: usize) -> Self {
        let mut measurement = Self::begin(seed, nodes);
        measurement.await_one_view(20 * SECOND, "the first view of all");
        measurement.cluster.run_for(2 * SECOND);
        measurement.measure_from_now();
        measurement
    }

    fn measure_from_now(&mut self) {
        self.since = self.cluster.now();
        self.sent = self.cluster.hosts.iter().map(|host| host.sent).sum();
        self.sent_bytes = self.cluster.hosts.iter().map(|host| host.sent_bytes).sum();
    }

    /// Run until all nodes that are up are in one view, and return the milliseconds that it took.
    fn await_one_view(&mut self, bound: u64, what: &str) -> f64 {
        let begin = self.cluster.now();
        if !self.cluster.run_until_true(bound, is_one_view) {
            self.wrong
                .push(format!("{what}: not after {} ms", bound / MS));
        }
        (self.cluster.now() - begin) as f64 / MS as f64
    }

    /// The number of different cluster views installed since the measurement began.
    fn views(&self) -> usize {
        let events = self.cluster.trace.iter().rev();
        let numbers: BTreeSet<u64> = events
            .take_while(|event| event.t >= self.since)
            .filter_map(|event| match &event.kind {
                EventKind::View(view) if view.scope.is_none() => Some(view.view.number),
                _ => None,
            })
            .collect();
        numbers.len()
    }

    fn require(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.wrong.push(what.into());
        }
    }

    /// The mean datagrams and bytes that a node has sent since the measurement began.
    fn traffic(&self) -> (f64, f64) {
        let nodes = self.cluster.hosts.len() as f64;
        let hosts = &self.cluster.hosts;
        let sent = hosts.iter().map(|host| host.sent).sum::<u64>() - self.sent;
        let bytes = hosts.iter().map(|host| host.sent_bytes).sum::<u64>() - self.sent_bytes;
        (sent as f64 / nodes, bytes as f64 / nodes)
    }

    /// Crash hosts at once, and return their identities.
    fn crash(&mut self, victims: &[usize]) -> Vec<Member> {
        let mut gone = Vec::new();
        for &host in victims {
            let alive = self.cluster.hosts[host].alive.as_ref();
            gone.extend(alive.map(|alive| node_member(alive.identity)));
            self.cluster.crash(host);
        }
        gone
    }

    fn finish(mut self, text: String) -> Line {
        let faults = self.cluster.faults.drain(..).map(|one| one.to_string());
        self.wrong.extend(faults);
        let options = trace_checker::Options::default();
        let violations = trace_checker::check_sorted(&self.cluster.trace, options);
        self.wrong
            .extend(violations.iter().map(ToString::to_string));
        Line {
            text,
            wrong: self.wrong,
        }
    }
}

/// The binary logarithm, rounded up.
fn log2(number: usize) -> usize {
    number.next_power_of_two().trailing_zeros() as usize
}

fn bootstrap(seed: u64, nodes: usize) -> Line {
    let mut measurement = Measurement::begin(seed, nodes);
    let formed_ms = measurement.await_one_view(20 * SECOND, "one view of all");
    let (views, most) = (measurement.views(), log2(nodes) + 2);
    measurement.require(views <= most, format!("{views} views, not at most {most}"));
    let (packets, bytes) = measurement.traffic();
    measurement.cluster.run_for(2 * SECOND);
    measurement.measure_from_now();
    measurement.cluster.run_for(IDLE_NS);
    let idle_views = measurement.views();
    measurement.require(idle_views == 0, format!("{idle_views} views while idle"));
    let seconds = IDLE_NS as f64 / SECOND as f64;
    let (idle_packets, idle_bytes) = measurement.traffic();
    let (idle_packets, idle_bytes) = (idle_packets / seconds, idle_bytes / seconds);
    measurement.require(
        idle_packets <= 20.0,
        format!("{idle_packets:.1} datagrams a second while idle"),
    );
    let on_wire = idle_bytes + idle_packets * HEADERS_BYTES;
    measurement.finish(format!(
        "{nodes} nodes start at once: {views} views (at most {most}), one of all after {formed_ms:.0} ms, {packets:.0} datagrams and \
         {bytes:.0} bytes per node; idle: {idle_packets:.2} datagrams, {idle_bytes:.0} bytes ({on_wire:.0} with headers) per node and second"
    ))
}

/// Measure the crash of several machines at once: anywhere, or with all coordinators among them.
fn crashes(seed: u64, with_coordinators: bool) -> Line {
    let mut measurement = Measurement::formed(seed, LARGE);
    let configuration = measurement.cluster.options().configuration;
    let mut victims = Vec::new();
    if with_coordinators {
        let first = measurement.cluster.hosts.first();
        let view = first.and_then(|host| host.alive.as_ref()?.node.view());
        let coordinators = view
            .iter()
            .flat_map(|view| view.coordinators(configuration.coordinators));
        victims.extend(coordinators.map(|member| usize::from(member.identity.node.number()) - 1));
    }
    let coordinators = victims.len();
    let anywhere = (0..LARGE)
        .skip(LARGE / VICTIMS / 2)
        .step_by(LARGE / VICTIMS);
    victims.extend(anywhere.take(VICTIMS - coordinators));
    let gone = measurement.crash(&victims);
    let since = measurement.since;
    let bound = if with_coordinators {
        many_crash_to_view_ns(&configuration, 5 * MS, VICTIMS as u64)
    } else {
        crash_to_view_ns(&configuration, 5 * MS)
            + u64::from(configuration.confirmation_timeout_ms) * MS
    };
    let after_ms = measurement.await_one_view(2 * bound, "a view without the crashed");
    let (packets, bytes) = measurement.traffic();
    measurement.cluster.run_for(2 * SECOND);
    let views = measurement.views();
    measurement.require(views == 1, format!("{views} views"));
    expect_gone(&mut measurement.cluster, gone, since, 2 * bound, true);
    expect_together(&mut measurement.cluster, since, 2 * bound);
    measurement.finish(format!(
        "{VICTIMS} of {LARGE} nodes crash at once, {}: {views} view, at all after {after_ms:.0} ms, {packets:.1} datagrams and {bytes:.0} \
         bytes per node till then",
        if with_coordinators {
            "all coordinators among them"
        } else {
            "anywhere"
        }
    ))
}

/// Measure a fifth of the machines that is cut off for ten seconds, as by a failed switch.
fn rack(seed: u64) -> Line {
    let mut measurement = Measurement::formed(seed, LARGE);
    let configuration = measurement.cluster.options().configuration;
    let rack = LARGE / 5;
    let sides = (0..LARGE).map(|host| u8::from(host >= LARGE - rack));
    let cut = measurement
        .cluster
        .impair(Impairment::Components(sides.collect()));
    let rest = |cluster: &Cluster| {
        let mut views = cluster.hosts[..LARGE - rack]
            .iter()
            .map(|host| host.alive.as_ref().map_or(0, |alive| alive.members.len()));
        views.all(|members| members == LARGE - rack)
    };
    let bound = 2 * many_crash_to_view_ns(&configuration, 5 * MS, 1);
    let is_out = measurement.cluster.run_until_true(bound, rest);
    measurement.require(is_out, format!("still in after {} ms", bound / MS));
    let out_ms = (measurement.cluster.now() - measurement.since) as f64 / MS as f64;
    measurement
        .cluster
        .run_until(measurement.since + 10 * SECOND);
    let views = measurement.views();
    measurement.require(
        views == 1,
        format!("{views} views when the rack is cut off"),
    );
    let (packets, bytes) = measurement.traffic();
    measurement.cluster.mend(cut);
    measurement.measure_from_now();
    let since = measurement.since;
    let bound = convergence_ns(&configuration, LARGE);
    measurement
        .cluster
        .run_for(conclusion_ns(&configuration).min(SECOND / 10));
    measurement.await_one_view(bound, "one view of all again");
    let back_ms = (measurement.cluster.now() - measurement.since) as f64 / MS as f64;
    let views_back = measurement.views();
    let most = rack / RETURNS_PER_VIEW_MIN;
    measurement.require(
        views_back <= most,
        format!("{views_back} views when it comes back, not at most {most}"),
    );
    let (packets_back, bytes_back) = measurement.traffic();
    measurement.cluster.run_for(2 * SECOND);
    expect_together(&mut measurement.cluster, since, bound);
    measurement.finish(format!(
        "{rack} of {LARGE} nodes are cut off for 10 s: {views} view, at the others after {out_ms:.0} ms, {packets:.1} datagrams and \
         {bytes:.0} bytes per node in the 10 s; all together again {back_ms:.0} ms after the end, {views_back} views, {packets_back:.1} \
         datagrams and {bytes_back:.0} bytes per node till then"
    ))
}

#[cfg(test)]
mod tests {
    use super::{bootstrap, log2};

    #[test]
    fn the_logarithm_is_rounded_up() {
        let logarithms = [1, 2, 3, 5, 8, 16, 1000].map(log2);
        assert_eq!(logarithms, [0, 1, 2, 3, 3, 4, 10]);
    }

    #[test]
    fn small_clusters_of_any_size_form_in_few_views() {
        for nodes in 1..=12 {
            for seed in 1..=3 {
                let line = bootstrap(seed, nodes);
                let text = line.text;
                assert!(
                    line.wrong.is_empty(),
                    "seed {seed}, {text}: {:?}",
                    line.wrong
                );
            }
        }
    }
}
