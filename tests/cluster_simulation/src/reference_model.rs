// SPDX-License-Identifier: GPL-2.0

//! A reference model: the nodes and members that should be in views. These are the machines that are up and were
//! neither asked to leave nor evicted, and the handles on them that were not asked to leave.

use std::collections::BTreeMap;
use std::sync::Arc;

use trace_checker::trace::{EventKind, Expectation, Member, TraceEvent, ViewId};

use crate::broken::{Broken, SOUND_NODES};
use crate::cluster::Cluster;
use crate::host::Alive;
use crate::recorder::node_member;

/// Whether the node must leave because an administrator has evicted it by a command on a node that has neither ended
/// nor been evicted itself since.
pub fn must_leave(cluster: &Cluster, alive: &Alive) -> bool {
    alive.evicted_by.iter().any(|(by, incarnation)| {
        let by = cluster.hosts[*by].alive.as_ref();
        by.is_some_and(|by| {
            by.identity.incarnation.0 == *incarnation && !by.is_leaving && by.evicted_by.is_empty()
        })
    })
}

/// The nodes that should be in the cluster view.
pub fn expected_nodes(cluster: &Cluster) -> Vec<Member> {
    let mut members: Vec<Member> = cluster
        .hosts
        .iter()
        .filter_map(|host| host.alive.as_ref())
        .filter(|alive| !alive.is_leaving && !must_leave(cluster, alive))
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
            if !state.is_leaving && !alive.is_leaving && !must_leave(cluster, alive) {
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

/// Whether no node is leaving or evicted, and all nodes that are up hold one cluster view with exactly themselves.
pub fn is_one_view(cluster: &Cluster) -> bool {
    let mut first: Option<(u64, &Arc<[Member]>)> = None;
    let mut expected = 0;
    for alive in cluster.hosts.iter().filter_map(|host| host.alive.as_ref()) {
        if alive.is_leaving || must_leave(cluster, alive) {
            return false;
        }
        if alive.members.is_empty() {
            return false;
        }
        expected += 1;
        let (number, members) = *first.get_or_insert((alive.view_number, &alive.members));
        if number != alive.view_number || !Arc::ptr_eq(members, &alive.members) {
            return false;
        }
    }
    // A node is a member of the view it holds (M1), so comparing the counts is enough.
    first.is_none_or(|(_, members)| members.len() == expected)
}

/// Whether all handles of each group hold one view, with as many members as there are handles.
pub fn are_groups_settled(cluster: &Cluster) -> bool {
    let mut groups: BTreeMap<&str, (Option<ViewId>, usize, usize)> = BTreeMap::new();
    for alive in cluster.hosts.iter().filter_map(|host| host.alive.as_ref()) {
        for state in alive.endpoints.values() {
            let (view, members, handles) =
                groups
                    .entry(state.group.as_ref())
                    .or_insert((state.view, state.member_count, 0));
            if state.is_leaving || state.view.is_none() || *view != state.view {
                return false;
            }
            *handles += 1;
            if *members != state.member_count {
                return false;
            }
        }
    }
    groups
        .values()
        .all(|(_, members, handles)| members == handles)
}

/// Append to the trace that L1 must hold now, for the cluster and each group.
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
        expect(cluster, expectation);
    }
}

/// Append to the trace that `members`, which crashed at `since`, must be excluded in time: L5.
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
    expect(cluster, expectation);
}

/// Append to the trace that each handle must have been allowed to send since then: L8.
pub fn expect_sending(cluster: &mut Cluster, since: u64, bound: u64) {
    for (group, members) in expected_groups(cluster) {
        let expectation = Expectation::Sending {
            group,
            members,
            since,
            bound,
        };
        expect(cluster, expectation);
    }
}

/// Append an expectation to the trace.
pub fn expect(cluster: &mut Cluster, expectation: Expectation) {
    let t = cluster.now();
    cluster.trace.push(TraceEvent {
        t,
        node: 0,
        incarnation: 0,
        kind: EventKind::Expect(expectation),
    });
}

/// The messages that live members were allowed to send and that were never sent.
pub fn accepted_and_never_sent(cluster: &Cluster) -> Vec<Broken> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let Some(alive) = &host.alive else { continue };
        for (endpoint, state) in &alive.endpoints {
            if state.accepted != state.sent && !state.is_leaving && !alive.is_leaving {
                let text = format!(
                    "of the {} messages that member {}.{endpoint:?} of {} was allowed to send, {} were sent",
                    state.accepted, host.id, state.group, state.sent
                );
                found.push(Broken::new("L2", text));
            }
        }
    }
    found
}

/// The nodes that are in a view that is not primary, although all can reach each other now.
pub fn not_primary(cluster: &Cluster) -> Vec<Broken> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let view = host.alive.as_ref().and_then(|alive| alive.node.view());
        if let Some(view) = view.filter(|view| !view.is_primary) {
            let text = format!(
                "node {} is still in view {:?}, which is not primary",
                host.id, view.number
            );
            found.push(Broken::new("L1", text));
        }
    }
    found
}

/// The handles that were asked to leave, on nodes that stay, and never reported that they have left.
pub fn unfinished_leaves(cluster: &Cluster) -> Vec<Broken> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let alive = host.alive.iter().filter(|alive| !alive.is_leaving);
        for (endpoint, state) in alive.flat_map(|alive| &alive.endpoints) {
            if state.is_leaving {
                let text = format!(
                    "member {}.{endpoint:?} of {} was asked to leave and never reported that it has",
                    host.id, state.group
                );
                found.push(Broken::new(SOUND_NODES, text));
            }
        }
    }
    found
}
