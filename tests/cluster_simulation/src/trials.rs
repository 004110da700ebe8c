// SPDX-License-Identifier: GPL-2.0

//! Trials of a settled cluster in a perfect network: one machine is frozen, one link does not work, one node is deaf or
//! mute, one node is evicted, the view is pinned. The effect of each is known exactly (docs/faults.md), so that
//! accuracy and the absence of flapping views can be checked strictly: L6, L7 and L9.

use kcgcs_protocol::protocol::configuration::Configuration;
use trace_checker::trace::{Expectation, Member};

use crate::cluster::Cluster;
use crate::network::{Impairment, LinkQuality};
use crate::plan::Trial;
use crate::quorum::{is_partitionable, may_lose};
use crate::recorder::node_member;
use crate::reference_model::{expect, expect_gone, expect_together, expected_nodes, is_one_view};
use crate::timing::{
    conclusion_ns, convergence_ns, deafness_ns, detection_ns, evict_to_view_ns,
    many_crash_to_view_ns, MS, SECOND,
};

/// The time for which a link fault lasts after all of its effects must have shown.
const STEADY_NS: u64 = 5 * SECOND;
/// The smallest cluster for trials: in a smaller one a fault of one node concerns most of the others.
const NODES_MIN: usize = 4;

/// Carry out a trial, unless its machines are down or it would leave no quorum. Trials of links are left out if one
/// accuser is enough to exclude a node (`confirmations`), since nothing is promised about links then.
pub fn carry_out(cluster: &mut Cluster, trial: Trial) {
    let is_up = |host: &usize| cluster.hosts[*host].alive.is_some();
    let is_about_links = !matches!(
        trial,
        Trial::Stall { .. } | Trial::Evict { .. } | Trial::Pin { .. }
    );
    let confirmations = cluster.options().configuration.confirmations;
    if expected_nodes(cluster).len() < NODES_MIN
        || !trial.hosts().iter().all(is_up)
        || (is_about_links && confirmations < 2)
    {
        return;
    }
    let all: Vec<usize> = (0..cluster.hosts.len()).collect();
    match trial {
        Trial::Stall { host, for_ms } if may_lose(cluster, &[host]) => {
            stall(cluster, host, for_ms * MS);
        }
        Trial::OneWay { from, to } => links(cluster, &[(&[from], &[to])], None),
        Trial::Pair { one, other } => {
            links(cluster, &[(&[one], &[other]), (&[other], &[one])], None);
        }
        Trial::Evict { by, host } if may_lose(cluster, &[host]) => evict(cluster, by, host),
        Trial::Pin { by, host, for_ms } if may_lose(cluster, &[host]) => {
            pin(cluster, by, host, for_ms);
        }
        Trial::Deaf { host } if may_lose(cluster, &[host]) => {
            links(cluster, &[(&all, &[host])], Some(host));
        }
        Trial::Mute { host } if may_lose(cluster, &[host]) => {
            links(cluster, &[(&[host], &all)], Some(host));
        }
        Trial::Stall { .. } | Trial::Deaf { .. } | Trial::Mute { .. } => {}
        Trial::Evict { .. } | Trial::Pin { .. } => {}
    }
}

/// The shortest time after which a frozen machine may be excluded: the slack, and all probes but the last one, whose
/// answer must arrive in time.
fn unnoticed_ns(configuration: &Configuration) -> u64 {
    let probes = u64::from(configuration.probe_count).saturating_sub(1);
    let answers = probes * u64::from(configuration.probe_interval_ms);
    (u64::from(configuration.heartbeat_slack_ms) + answers) * MS
}

fn stall(cluster: &mut Cluster, host: usize, span: u64) {
    let configuration = cluster.options().configuration;
    let since = cluster.now();
    let is_unnoticed = span < unnoticed_ns(&configuration);
    let others = others(cluster, host);
    cluster.freeze(host, since + span);
    cluster.run_until(since + span);
    cluster.run_for(2 * detection_ns(&configuration));
    expect(
        cluster,
        Expectation::Unaccused {
            by: cluster.hosts[host].id,
            members: others.clone(),
            since: since + span,
            bound: detection_ns(&configuration),
        },
    );
    let members = if is_unnoticed {
        expected_nodes(cluster)
    } else {
        others
    };
    cluster.run_for(conclusion_ns(&configuration) + cluster.fence_ns());
    settle(cluster, since + span);
    expect(cluster, Expectation::Kept { members, since });
    let views = if is_unnoticed { 0 } else { 2 };
    expect(cluster, Expectation::Steady { since, views });
}

/// Block directions from some hosts to others for a while. Only `out` may be excluded for that.
fn links(cluster: &mut Cluster, directions: &[(&[usize], &[usize])], out: Option<usize>) {
    let configuration = cluster.options().configuration;
    let since = cluster.now();
    let members = match out {
        Some(host) => others(cluster, host),
        None => expected_nodes(cluster),
    };
    let numbers: Vec<u64> = directions
        .iter()
        .map(|(from, to)| {
            cluster.impair(Impairment::Between {
                from: from.to_vec(),
                to: to.to_vec(),
                quality: LinkQuality::BLOCKED,
                flapping: None,
            })
        })
        .collect();
    let consequences = deafness_ns(&configuration) + detection_ns(&configuration) + SECOND;
    cluster.run_for(consequences + cluster.fence_ns() + STEADY_NS);
    // In a partitionable cluster the excluded node goes on in a view of its own.
    let own_views = u64::from(out.is_some() && is_partitionable(cluster));
    let views = u64::from(out.is_some()) + own_views;
    expect(cluster, Expectation::Steady { since, views });
    let healed = cluster.now();
    for number in numbers {
        cluster.mend(number);
    }
    cluster.run_for(conclusion_ns(&configuration) + cluster.fence_ns());
    settle(cluster, healed);
    expect(cluster, Expectation::Kept { members, since });
    let views = 2 * u64::from(out.is_some()) + own_views;
    expect(cluster, Expectation::Steady { since, views });
}

/// Evict a node. One view must exclude it, and it must learn that and stay out.
fn evict(cluster: &mut Cluster, by: usize, host: usize) {
    let since = cluster.now();
    let members = others(cluster, host);
    let victim: Vec<Member> = identity(cluster, host).into_iter().collect();
    if !cluster.evict(by, host) {
        cluster.fault(by, "an eviction was refused in a settled cluster");
        return;
    }
    let options = cluster.options();
    let delay_ns = (options.timer_delay_mean_us + options.engine_delay_mean_us) * 1_000 + MS;
    let bound = 2 * evict_to_view_ns(&options.configuration, delay_ns);
    cluster.run_for(bound + STEADY_NS);
    let out = Expectation::Out {
        members: victim.clone(),
        since,
        bound,
    };
    expect(cluster, out);
    expect_gone(cluster, victim, since, bound, true);
    expect_together(cluster, since, bound);
    expect(cluster, Expectation::Kept { members, since });
    expect(cluster, Expectation::Steady { since, views: 1 });
}

/// Pin the view and crash a machine. One view must exclude it when the pin is over.
fn pin(cluster: &mut Cluster, by: usize, host: usize, for_ms: u64) {
    let since = cluster.now();
    let members = others(cluster, host);
    let victim: Vec<Member> = identity(cluster, host).into_iter().collect();
    if !cluster.pin(by, for_ms) {
        cluster.fault(by, "a pin was refused in a settled cluster");
        return;
    }
    // All nodes know of the pin by then.
    cluster.run_for(for_ms * MS / 4);
    cluster.crash(host);
    // The fastest clock is 1 % too fast.
    cluster.run_until(since + for_ms * MS * 98 / 100);
    expect(cluster, Expectation::Steady { since, views: 0 });
    let over = since + for_ms * MS * 102 / 100;
    let options = cluster.options();
    let delay_ns = (options.timer_delay_mean_us + options.engine_delay_mean_us) * 1_000 + MS;
    let bound = 2 * many_crash_to_view_ns(&options.configuration, delay_ns, 1) + cluster.fence_ns();
    cluster.run_until(over + bound + SECOND);
    expect_gone(cluster, victim, over, bound, true);
    expect_together(cluster, over, bound);
    expect(cluster, Expectation::Kept { members, since });
    expect(cluster, Expectation::Steady { since, views: 1 });
}

/// Require that all nodes come together again.
fn settle(cluster: &mut Cluster, since: u64) {
    let bound = convergence_ns(&cluster.options().configuration, cluster.hosts.len());
    let bound = bound + 2 * cluster.fence_ns();
    cluster.run_until_true(2 * bound, is_one_view);
    cluster.run_for(SECOND);
    expect_together(cluster, since, 2 * bound);
}

fn identity(cluster: &Cluster, host: usize) -> Option<Member> {
    let alive = cluster.hosts[host].alive.as_ref();
    alive.map(|alive| node_member(alive.identity))
}

fn others(cluster: &Cluster, host: usize) -> Vec<Member> {
    let own = identity(cluster, host);
    let mut members = expected_nodes(cluster);
    members.retain(|member| Some(*member) != own);
    members
}
