// SPDX-License-Identifier: GPL-2.0

//! Who should be together, by the simplest account there is: the machines that are up and were not
//! told to leave, and the handles on them that were not told to.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use kcgcs_protocol::protocol::identity::{Identity, ViewNumber};
use trace_checker::trace::{EventKind, Expectation, Member, TraceEvent};

use crate::cluster::Cluster;
use crate::recorder::node_member;

/// The nodes that should be in the cluster view.
pub fn expected_nodes(cluster: &Cluster) -> Vec<Member> {
    let mut members: Vec<Member> = cluster
        .hosts
        .iter()
        .filter_map(|host| host.alive.as_ref())
        .filter(|alive| !alive.is_leaving)
        .map(|alive| node_member(alive.identity))
        .collect();
    members.sort_unstable();
    members
}

/// The handles that should be in each group's view.
pub fn expected_groups(cluster: &Cluster) -> BTreeMap<Arc<str>, Vec<Member>> {
    let mut groups: BTreeMap<Arc<str>, Vec<Member>> = BTreeMap::new();
    for alive in cluster.hosts.iter().filter_map(|host| host.alive.as_ref()) {
        for (endpoint, state) in &alive.endpoints {
            if !state.is_leaving && !alive.is_leaving {
                groups
                    .entry(Arc::clone(&state.group))
                    .or_default()
                    .push(Member {
                        endpoint: endpoint.0,
                        ..node_member(alive.identity)
                    });
            }
        }
    }
    for members in groups.values_mut() {
        members.sort_unstable();
    }
    groups
}

/// Whether all machines that are up hold one cluster view with exactly them.
pub fn is_one_view(cluster: &Cluster) -> bool {
    let expected: Vec<u16> = cluster
        .hosts
        .iter()
        .filter(|host| host.alive.as_ref().is_some_and(|alive| !alive.is_leaving))
        .map(|host| host.id)
        .collect();
    let mut first: Option<(&[Identity], ViewNumber)> = None;
    for host in &cluster.hosts {
        let Some(alive) = host.alive.as_ref().filter(|alive| !alive.is_leaving) else {
            continue;
        };
        let Some(view) = alive.node.view() else {
            return false;
        };
        let own = (alive.members.as_slice(), view.number);
        if *first.get_or_insert(own) != own {
            return false;
        }
    }
    first.is_none_or(|(members, _)| {
        members.len() == expected.len()
            && members.iter().zip(&expected).all(|(a, b)| a.node.number() == *b)
    })
}

/// Whether every handle holds its group's view with exactly the expected members, by count.
pub fn are_groups_settled(cluster: &Cluster) -> bool {
    let mut views: BTreeMap<&str, BTreeSet<Option<(u64, u16)>>> = BTreeMap::new();
    for alive in cluster.hosts.iter().filter_map(|host| host.alive.as_ref()) {
        for state in alive.endpoints.values() {
            if state.is_leaving {
                return false;
            }
            let id = state.view.map(|view| (view.number, view.coordinator));
            views.entry(state.group.as_ref()).or_default().insert(id);
        }
    }
    views
        .values()
        .all(|ids| ids.len() == 1 && ids.iter().all(Option::is_some))
}

/// Appends to the trace what must hold now: L1 for the cluster and each group.
pub fn expect_together(cluster: &mut Cluster, since: u64, bound: u64) {
    let mut expectations = vec![(None, expected_nodes(cluster))];
    for (group, members) in expected_groups(cluster) {
        expectations.push((Some(group), members));
    }
    for (group, members) in expectations {
        let expectation = Expectation::Together {
            group,
            members,
            since,
            bound,
        };
        push(cluster, expectation);
    }
}

/// Appends to the trace that `members`, who crashed at `since`, must be gone in time: L5.
pub fn expect_gone(
    cluster: &mut Cluster,
    members: Vec<Member>,
    since: u64,
    bound: u64,
    at_once: bool,
) {
    let mut members = members;
    members.sort_unstable();
    let expectation = Expectation::Gone {
        members,
        since,
        bound,
        at_once,
    };
    push(cluster, expectation);
}

fn push(cluster: &mut Cluster, expectation: Expectation) {
    let t = cluster.now();
    cluster.trace.push(TraceEvent {
        t,
        node: 0,
        incarnation: 0,
        kind: EventKind::Expect(expectation),
    });
}

/// What was accepted and never sent by members that are still there, in words.
pub fn accepted_and_never_sent(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let Some(alive) = &host.alive else { continue };
        for (endpoint, state) in &alive.endpoints {
            if state.accepted != state.sent && !state.is_leaving && !alive.is_leaving {
                found.push(format!(
                    "L2 (self delivery): of {} messages that member {}.{endpoint:?} of {} was allowed to send, {} were sent",
                    state.accepted, host.id, state.group, state.sent
                ));
            }
        }
    }
    found
}
