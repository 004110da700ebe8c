// SPDX-License-Identifier: GPL-2.0

//! An experiment: a formed cluster in virtual time, a fault that the test injects, and checks of its effects.

#![allow(dead_code)] // each test file uses some of it

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{MS, SECOND};
use trace_checker::trace::{EventKind, TraceEvent};

/// The number of machines of an experiment.
pub(crate) const NODES: usize = 9;

/// A cluster whose nodes are all in their first view.
pub(crate) fn formed(options: ClusterOptions) -> Cluster {
    let (seed, nodes) = (options.seed, options.nodes);
    let mut cluster = Cluster::new(options);
    for host in 0..nodes {
        cluster.start(host);
    }
    assert!(
        cluster.run_until_true(10 * SECOND, is_one_view),
        "seed {seed}: no view of all nodes"
    );
    cluster
}

/// A settled cluster, and its name and the time at which the fault begins.
pub(crate) struct Experiment {
    pub(crate) cluster: Cluster,
    pub(crate) since: u64,
    pub(crate) name: String,
    long_ns: u64,
}

impl Experiment {
    /// Form a cluster of [`NODES`] nodes and let it settle for `settling_ns`. Faults last for `long_ns` unless a test
    /// says otherwise.
    pub(crate) fn begin(
        name: &str,
        options: ClusterOptions,
        settling_ns: u64,
        long_ns: u64,
    ) -> Self {
        let name = format!("{name}, seed {}", options.seed);
        let mut cluster = formed(options);
        cluster.run_for(settling_ns);
        let since = cluster.now();
        Self {
            cluster,
            since,
            name,
            long_ns,
        }
    }

    fn events(&self) -> impl Iterator<Item = &TraceEvent> {
        let trace = self.cluster.trace.iter();
        trace.filter(|event| event.t > self.since)
    }

    /// The number of cluster views installed since the fault began.
    fn views(&self) -> usize {
        let numbers: BTreeSet<u64> = self
            .events()
            .filter_map(|event| match &event.kind {
                EventKind::View(view) if view.scope.is_none() => Some(view.view.number),
                _ => None,
            })
            .collect();
        numbers.len()
    }

    /// The hosts whose nodes were excluded, or gave their view up, since the fault began.
    fn excluded(&self) -> BTreeSet<usize> {
        self.events()
            .filter(|event| matches!(event.kind, EventKind::Stop))
            .map(|event| usize::from(event.node) - 1)
            .collect()
    }

    /// Require so many views since the fault began, and that only nodes of `out` were excluded.
    pub(crate) fn expect(&self, views: RangeInclusive<usize>, out: &[usize]) {
        let (name, count, excluded) = (&self.name, self.views(), self.excluded());
        assert!(
            views.contains(&count),
            "{name}: {count} views, not {views:?}"
        );
        assert!(
            excluded.iter().all(|host| out.contains(host)),
            "{name}: {excluded:?} were excluded, not only {out:?}"
        );
    }

    /// Whether all nodes but those of `out` are in one view, and it has no other members.
    pub(crate) fn is_one_view_without(&self, out: &[usize]) -> bool {
        let hosts = (0..NODES).filter(|host| !out.contains(host));
        let views: BTreeSet<(u64, usize)> = hosts
            .filter_map(|host| self.cluster.hosts[host].alive.as_ref())
            .map(|alive| (alive.view_number, alive.members.len()))
            .collect();
        let first = views.first();
        views.len() == 1 && first.is_some_and(|(_, members)| *members == NODES - out.len())
    }

    /// Require that all nodes are in one view within `limit_ns`.
    pub(crate) fn expect_reunion(&mut self, limit_ns: u64) {
        assert!(
            self.cluster.run_until_true(limit_ns, is_one_view),
            "{}: not in one view after {} ms",
            self.name,
            limit_ns / MS
        );
    }

    /// Require that all nodes are in one view and have a quorum.
    pub(crate) fn expect_quorum_everywhere(&self) {
        let name = &self.name;
        assert!(is_one_view(&self.cluster), "{name}: not in one view");
        let hosts = self.cluster.hosts.iter();
        let alive = hosts.filter_map(|host| host.alive.as_ref());
        let blocked = alive.filter(|alive| !alive.node.has_quorum()).count();
        assert_eq!(blocked, 0, "{name}: nodes are still blocked");
    }

    /// Require that the fault has no effect on the membership for `span_ns`, nor after its end.
    pub(crate) fn expect_no_effect(mut self, span_ns: u64) {
        self.cluster.run_for(span_ns);
        self.expect(0..=0, &[]);
        self.cluster.reconnect();
        self.cluster.run_for(self.long_ns);
        self.expect(0..=0, &[]);
        self.finish();
    }

    /// Require that the fault excludes one node, in one view within `bound_ns`, and that a second view admits it again
    /// when the fault ends.
    pub(crate) fn expect_one_excluded(mut self, out: usize, bound_ns: u64) {
        let is_out = |cluster: &Cluster| {
            cluster.hosts.iter().enumerate().all(|(host, machine)| {
                let members = machine.alive.as_ref().map_or(0, |one| one.members.len());
                host == out || members == NODES - 1
            })
        };
        let is_in_time = self.cluster.run_until_true(bound_ns, is_out);
        let name = self.name.clone();
        assert!(is_in_time, "{name}: in the view after {} ms", bound_ns / MS);
        self.cluster.run_for(self.long_ns);
        self.expect(1..=1, &[out]);
        assert!(
            self.is_one_view_without(&[out]),
            "{name}: the others are not in one view"
        );
        self.cluster.reconnect();
        self.expect_reunion(self.long_ns);
        self.cluster.run_for(self.long_ns);
        self.expect(2..=2, &[out]);
        self.finish();
    }

    /// Require that no other promise was broken.
    pub(crate) fn finish(self) {
        let (name, faults) = (&self.name, &self.cluster.faults);
        assert!(faults.is_empty(), "{name}: {faults:?}");
        let options = trace_checker::Options::default();
        let violations = trace_checker::check_sorted(&self.cluster.trace, options);
        assert!(violations.is_empty(), "{name}: {violations:?}");
    }
}
