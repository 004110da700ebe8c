// SPDX-License-Identifier: GPL-2.0

//! Whether a fault leaves a quorum. Without a quorum a cluster promises nothing but to stay blocked, so the simulator
//! leaves out faults that would take it.

use kcgcs_protocol::protocol::limits::DEPARTURES_IN_PART_MAX;
use trace_checker::trace::Member;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::network::Impairment;
use crate::reference_model::is_one_view;

/// Whether the newest views keep a majority of live members without `victims`, even if the next view admits all nodes
/// that have asked to join and are gone again.
///
/// The view before the newest one counts as long as a node holds it, since the change to the newest one is still going
/// on there.
pub fn may_lose(cluster: &Cluster, victims: &[usize]) -> bool {
    if is_partitionable(cluster) {
        return may_forget(cluster, victims);
    }
    let newest = (cluster.hosts.iter())
        .filter_map(|host| host.alive.as_ref())
        .map(|alive| alive.view_number)
        .max()
        .unwrap_or(0);
    if newest == 0 {
        return false;
    }
    let stale_joins = stale_joins(cluster, victims);
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
            2 * there > alive.members.len() + stale_joins
        })
}

/// Whether one more node may leave for a reason that all others must learn. A node that misses a view is told the
/// reasons of the last few departures only, and takes all others for failures.
pub fn may_report_reason(cluster: &Cluster) -> bool {
    let alive = cluster.hosts.iter().filter_map(|host| host.alive.as_ref());
    let newest = alive.max_by_key(|alive| alive.view_number);
    let gone = newest.map_or(0, |newest| {
        let members = newest.members.iter();
        members.filter(|m| !is_there(cluster, m, &[])).count()
    });
    gone < DEPARTURES_IN_PART_MAX
}

/// Whether one more impairment of the network leaves a quorum.
///
/// A component with more than half of all machines must keep a quorum of the newest views. If no component has that
/// many, all nodes wait and go on as they were afterwards, provided that none loses its memory meanwhile. For that all
/// must be up and in one view, and there must be no other fault.
pub fn may_impair(cluster: &Cluster, impairment: &Impairment) -> bool {
    if is_partitionable(cluster) {
        return true;
    }
    let away = cluster.network.cut_off_with(impairment);
    if away.len() == cluster.hosts.len() {
        let is_undisturbed = |host: &Host| {
            let alive = host.alive.as_ref();
            alive.is_some_and(|alive| !alive.is_leaving && alive.evicted_by.is_empty())
                && host.frozen_until <= cluster.now()
                && host.fenced_until <= cluster.now()
        };
        return !cluster.network.is_impaired()
            && cluster.hosts.iter().all(is_undisturbed)
            && is_one_view(cluster);
    }
    away.is_empty() || may_lose(cluster, &away)
}

/// Whether the cluster is partitionable: components without a quorum go on in views of their own.
pub fn is_partitionable(cluster: &Cluster) -> bool {
    cluster.options().configuration.partitionable == 1
}

/// Whether these machines may lose their memory in a partitionable cluster. There a majority of the last primary view
/// that remembers it is enough, wherever its members are. So all nodes must be in one primary view now.
fn may_forget(cluster: &Cluster, victims: &[usize]) -> bool {
    let all = cluster.hosts.len();
    let is_well = |host: &Host| {
        let view = host.alive.as_ref().and_then(|alive| alive.node.view());
        view.is_some_and(|view| view.is_primary && view.count() == all)
    };
    !cluster.network.is_impaired()
        && cluster.hosts.iter().all(is_well)
        && is_one_view(cluster)
        && 2 * victims.len() < all
}

/// Whether this incarnation of the node can vote once `victims` are gone.
fn is_there(cluster: &Cluster, member: &Member, victims: &[usize]) -> bool {
    let number = usize::from(member.node) - 1;
    let host = &cluster.hosts[number];
    // With one confirmation a bad link is enough to exclude a node.
    let needs_good_links = cluster.options().configuration.confirmations == 1;
    let can_be_reached = if needs_good_links {
        !cluster.network.is_disturbed(number) && !cluster.network.is_cut_off(number)
    } else {
        !cluster.network.is_cut_off(number)
    };
    host.alive.as_ref().is_some_and(|alive| {
        alive.identity.incarnation.0 == member.incarnation
            && !alive.is_leaving
            && alive.evicted_by.is_empty()
            && host.frozen_until <= cluster.now()
            && host.fenced_until <= cluster.now()
            && can_be_reached
            && !victims.contains(&number)
    })
}

/// The number of nodes that may still be admitted although they are gone, or are about to go.
fn stale_joins(cluster: &Cluster, victims: &[usize]) -> usize {
    let is_joining = |host: usize| {
        let alive = cluster.hosts[host].alive.as_ref();
        alive.is_some_and(|alive| alive.members.is_empty())
    };
    (0..cluster.hosts.len())
        .filter(|&host| {
            cluster.hosts[host].stale_join_until > cluster.now()
                || (victims.contains(&host) && is_joining(host))
        })
        .count()
}
