// SPDX-License-Identifier: GPL-2.0

//! Whether a quorum is left if some machines go: without one nothing is promised but silence, so that
//! faults that would take it are left out.

use kcgcs_protocol::protocol::limits::DEPARTURES_IN_PART_MAX;
use trace_checker::trace::Member;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::network::Impairment;
use crate::reference_model::is_one_view;

/// Whether the newest views keep a majority of members that are there if `victims` go too, even if
/// the next one has all who asked to come in and are gone again.
///
/// The view before the newest one counts as long as somebody holds it: the change to the newest one
/// is still going on there.
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

/// Whether one more may go and say why: a node that misses a view is told the reasons of the last few that went
/// only, and takes it that the others failed.
pub fn may_say_why(cluster: &Cluster) -> bool {
    let alive = cluster.hosts.iter().filter_map(|host| host.alive.as_ref());
    let newest = alive.max_by_key(|alive| alive.view_number);
    let gone = newest.map_or(0, |newest| {
        let members = newest.members.iter();
        members.filter(|m| !is_there(cluster, m, &[])).count()
    });
    gone < DEPARTURES_IN_PART_MAX
}

/// Whether a quorum is left if this goes wrong in the network as well.
///
/// A part with more than half of all machines must keep a quorum of the newest views. Or no part has so
/// many: then all wait, and go on as they were, as long as nobody forgets anything meanwhile. So all must be
/// up and together, and nothing else may be wrong.
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

/// Whether parts without a quorum go on by themselves.
pub fn is_partitionable(cluster: &Cluster) -> bool {
    cluster.options().configuration.partitionable == 1
}

/// Whether these machines may forget all, in a partitionable cluster: there nothing is lost for ever as long as a
/// majority of the last primary view remembers, wherever it is. So all must be together in one.
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
    // Then a bad link is as good as a crash.
    let needs_good_links = cluster.options().configuration.confirmations == 1;
    let can_be_reached = if needs_good_links {
        !cluster.network.is_hindered(number) && !cluster.network.is_cut_off(number)
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
