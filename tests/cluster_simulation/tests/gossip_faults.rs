// SPDX-License-Identifier: GPL-2.0

//! What comes of faults if silence is found out by gossip: the lines of the table in docs/faults.md that
//! depend on how that is done. Who leaves is the same as on rings; it takes longer.

use std::collections::BTreeSet;

use cluster_simulation::cluster::{Cluster, ClusterOptions};
use cluster_simulation::network::NetworkOptions;
use cluster_simulation::reference_model::is_one_view;
use cluster_simulation::timing::{deafness_ns, detection_ns, many_crash_to_view_ns, MS, SECOND};
use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use trace_checker::trace::EventKind;

/// Machines of every cluster here.
const NODES: usize = 9;
/// How long a fault lasts unless it is said otherwise.
const LONG: u64 = 20 * SECOND;
const GOSSIP: Configuration = Configuration {
    detector: DetectorKind::Gossip,
    expected_nodes: NODES as u32,
    ..Configuration::DEFAULT
};

/// A cluster that has formed, and what has come of the fault since.
struct Story {
    cluster: Cluster,
    since: u64,
    name: String,
}

impl Story {
    fn begin(name: &str, configuration: Configuration, seed: u64) -> Self {
        let mut options = ClusterOptions::perfect(seed, NODES);
        options.configuration = configuration;
        let mut cluster = Cluster::new(options);
        for host in 0..NODES {
            cluster.start(host);
        }
        let name = format!("{name}, seed {seed}");
        assert!(cluster.run_until_true(10 * SECOND, is_one_view), "{name}");
        cluster.run_for(SECOND + seed * 37 * MS);
        let since = cluster.now();
        Self {
            cluster,
            since,
            name,
        }
    }

    /// So many views since the fault began, and nobody but these put out.
    fn expect(&self, views: usize, out: &[usize]) {
        let events = self.cluster.trace.iter().filter(|e| e.t > self.since);
        let (mut numbers, mut put_out) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            match &event.kind {
                EventKind::View(view) if view.scope.is_none() => {
                    numbers.insert(view.view.number);
                }
                EventKind::Stop => {
                    put_out.insert(usize::from(event.node) - 1);
                }
                _ => {}
            }
        }
        assert_eq!(numbers.len(), views, "{}: views {numbers:?}", self.name);
        let out: BTreeSet<usize> = out.iter().copied().collect();
        assert!(put_out.is_subset(&out), "{}: {put_out:?}", self.name);
    }

    /// Lets time pass until all but one have a view without it.
    fn wait_until_out(&mut self, out: usize, bound: u64) {
        let is_out = |cluster: &Cluster| {
            let others = cluster.hosts.iter().enumerate().filter(|(h, _)| *h != out);
            others
                .filter_map(|(_, host)| host.alive.as_ref())
                .all(|alive| alive.members.len() == NODES - 1)
        };
        let is_in_time = self.cluster.run_until_true(bound, is_out);
        assert!(is_in_time, "{}: in after {} ms", self.name, bound / MS);
    }

    fn expect_nothing(mut self, span: u64) {
        self.cluster.run_for(span);
        self.expect(0, &[]);
        self.cluster.reconnect();
        self.cluster.run_for(LONG);
        self.expect(0, &[]);
        self.finish();
    }

    /// The fault puts out one node, in one view, which comes back when it ends.
    fn expect_one_out(mut self, out: usize, bound: u64) {
        self.wait_until_out(out, bound);
        self.cluster.run_for(LONG);
        self.expect(1, &[out]);
        self.cluster.reconnect();
        let is_back = self.cluster.run_until_true(LONG, is_one_view);
        assert!(is_back, "{}: not together again", self.name);
        self.cluster.run_for(LONG);
        self.expect(2, &[out]);
        self.finish();
    }

    fn finish(self) {
        let faults = &self.cluster.faults;
        assert!(faults.is_empty(), "{}: {faults:?}", self.name);
        let options = trace_checker::Options::default();
        let violations = trace_checker::check_sorted(&self.cluster.trace, options);
        assert!(violations.is_empty(), "{}: {violations:?}", self.name);
    }
}

#[test]
fn those_that_crash_together_go_in_one_view() {
    for seed in 1..=5 {
        for count in 1..=4 {
            for first in 0..NODES {
                let mut story = Story::begin(&format!("{count} from {first} on"), GOSSIP, seed);
                for step in 0..count {
                    story.cluster.crash((first + step) % NODES);
                }
                let bound = 2 * many_crash_to_view_ns(&GOSSIP, MS, count as u64);
                let is_in_time = story.cluster.run_until_true(bound, is_one_view);
                assert!(is_in_time, "{}: {} ms", story.name, bound / MS);
                story.cluster.run_for(3 * SECOND);
                story.expect(1, &[]);
                story.finish();
            }
        }
    }
}

#[test]
fn a_link_that_works_one_way_only_is_not_even_noticed() {
    for from in 0..NODES {
        for to in (0..NODES).filter(|to| *to != from) {
            let name = format!("no way from {from} to {to}");
            let mut story = Story::begin(&name, GOSSIP, 1);
            story.cluster.network.block_one_way(from, to);
            story.cluster.run_for(LONG);
            let told = story.cluster.trace.iter();
            let suspicions = told.filter(|event| matches!(event.kind, EventKind::Suspect { .. }));
            assert_eq!(suspicions.count(), 0, "{name}");
            story.expect_nothing(0);
        }
    }
}

#[test]
fn a_node_that_hears_nobody_goes_once_and_comes_back_when_it_hears_again() {
    let bound = deafness_ns(&GOSSIP) + detection_ns(&GOSSIP) + SECOND / 4;
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} is deaf"), GOSSIP, 1);
        story.cluster.network.deafen(node);
        story.expect_one_out(node, bound);
    }
}

#[test]
fn a_node_that_nobody_hears_goes_once_and_comes_back_when_it_is_heard_again() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} is mute"), GOSSIP, 1);
        story.cluster.network.mute(node);
        story.expect_one_out(node, detection_ns(&GOSSIP) + SECOND / 2);
    }
}

#[test]
fn minutes_of_ten_percent_loss_put_out_nobody() {
    for seed in 1..=2 {
        let mut story = Story::begin("10 % loss everywhere", GOSSIP, seed);
        let lossy = NetworkOptions {
            loss_per_mille: 100,
            ..NetworkOptions::PERFECT
        };
        story.cluster.network.set_options(lossy);
        story.expect_nothing(300 * SECOND);
    }
}

#[test]
fn without_probes_minutes_without_faults_put_out_nobody() {
    let pure = Configuration {
        probe_count: 0,
        ..GOSSIP
    };
    for seed in 1..=2 {
        Story::begin("no probes", pure, seed).expect_nothing(300 * SECOND);
    }
}

#[test]
fn a_machine_that_stands_still_for_less_than_the_silence_is_not_missed() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} stands still"), GOSSIP, 1);
        for _ in 0..10 {
            let until = story.cluster.now() + 400 * MS;
            story.cluster.freeze(node, until);
            story.cluster.run_for(2 * SECOND);
        }
        story.expect_nothing(0);
    }
}

#[test]
fn a_machine_that_stood_still_for_long_accuses_nobody_and_comes_back() {
    for node in 0..NODES {
        let mut story = Story::begin(&format!("{node} stands still for long"), GOSSIP, 1);
        let until = story.cluster.now() + LONG;
        story.cluster.freeze(node, until);
        story.cluster.run_until(until);
        let awake = story.cluster.trace.len();
        let is_back = story.cluster.run_until_true(2 * SECOND, is_one_view);
        assert!(is_back, "{}: not back", story.name);
        let said = story.cluster.trace.iter().skip(awake);
        let accusations = said.filter(|event| {
            usize::from(event.node) == node + 1 && matches!(event.kind, EventKind::Accuse { .. })
        });
        assert_eq!(accusations.count(), 0, "{}", story.name);
        story.cluster.run_for(LONG);
        story.expect(2, &[node]);
        story.finish();
    }
}

#[test]
fn without_any_majority_all_wait_and_go_on_as_they_were() {
    for seed in 1..=3 {
        let mut story = Story::begin("three parts", GOSSIP, seed);
        let parts: [&[usize]; 3] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8]];
        story.cluster.network.part(&parts);
        story.cluster.run_for(LONG);
        story.expect(0, &[]);
        story.cluster.reconnect();
        story.cluster.run_for(5 * SECOND);
        assert!(is_one_view(&story.cluster), "{}: not together", story.name);
        let alive = story
            .cluster
            .hosts
            .iter()
            .filter_map(|host| host.alive.as_ref());
        let blocked = alive.filter(|alive| !alive.node.has_quorum()).count();
        assert_eq!(blocked, 0, "{}: nodes are still blocked", story.name);
        story.finish();
    }
}
