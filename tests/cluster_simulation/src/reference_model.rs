// SPDX-License-Identifier: GPL-2.0

//! Who should be together, by the simplest account there is: the machines that are up and were neither
//! told to leave nor put out, and the handles on them that were not told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use trace_checker::trace::{EventKind, Expectation, Member, TraceEvent, ViewId};

use crate::broken::{Broken, SOUND_NODES};
use crate::cluster::Cluster;
use crate::host::Alive;
use crate::recorder::node_member;

/// Whether the node must go since an administrator has said so on a node that has not ended or been put out
/// itself meanwhile.
pub fn must_go(cluster: &Cluster, alive: &Alive) -> bool {
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
        .filter(|alive| !alive.is_leaving && !must_go(cluster, alive))
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
            if !state.is_leaving && !alive.is_leaving && !must_go(cluster, alive) {
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
    let mut first: Option<(u64, &Arc<[Member]>)> = None;
    let mut expected = 0;
    for alive in cluster.hosts.iter().filter_map(|host| host.alive.as_ref()) {
        if alive.is_leaving || must_go(cluster, alive) {
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
    // Who holds it is in it (M1), so that the count decides.
    first.is_none_or(|(_, members)| members.len() == expected)
}

/// Whether all handles on a group hold one view, with as many members as there are handles.
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
        expect(cluster, expectation);
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
    expect(cluster, expectation);
}

/// Appends to the trace that each handle of a group was allowed to send since then: L8.
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

/// Appends to the trace what must have happened by now.
pub fn expect(cluster: &mut Cluster, expectation: Expectation) {
    let t = cluster.now();
    cluster.trace.push(TraceEvent {
        t,
        node: 0,
        incarnation: 0,
        kind: EventKind::Expect(expectation),
    });
}

/// What was accepted and never sent by members that are still there.
pub fn accepted_and_never_sent(cluster: &Cluster) -> Vec<Broken> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let Some(alive) = &host.alive else { continue };
        for (endpoint, state) in &alive.endpoints {
            if state.accepted != state.sent && !state.is_leaving && !alive.is_leaving {
                let text = format!(
                    "of {} messages that member {}.{endpoint:?} of {} was allowed to send, {} were sent",
                    state.accepted, host.id, state.group, state.sent
                );
                found.push(Broken::new("L2", text));
            }
        }
    }
    found
}

/// Machines in a view that is not primary, now that all can reach each other.
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

/// Handles that were told to leave, on machines that stay, and were never told that they have.
pub fn leaves_without_end(cluster: &Cluster) -> Vec<Broken> {
    let mut found = Vec::new();
    for host in &cluster.hosts {
        let alive = host.alive.iter().filter(|alive| !alive.is_leaving);
        for (endpoint, state) in alive.flat_map(|alive| &alive.endpoints) {
            if state.is_leaving {
                let text = format!(
                    "member {}.{endpoint:?} of {} was told to leave and never told that it has",
                    host.id, state.group
                );
                found.push(Broken::new(SOUND_NODES, text));
            }
        }
    }
    found
}
