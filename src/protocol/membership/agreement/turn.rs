// SPDX-License-Identifier: GPL-2.0

//! Whose turn it is to start a ballot.
//!
//! Coordinators have the right of way in their order, then all other members. Members that are suspected or that leave
//! are skipped. The first in line acts as soon as the changes were collected, each further one a takeover time later, and
//! also where the ballot of another member has fallen silent.

use super::pending_changes::PendingChanges;
use crate::protocol::membership::local::LocalNode;
use crate::protocol::membership::suspicion::Suspicion;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::membership::Ballot;

/// How many members have the right to act before this one.
pub(super) fn rank(local: &LocalNode, suspicion: &Suspicion, changes: &PendingChanges) -> u64 {
    let acts = |member: &&MemberRecord| {
        !suspicion.is_suspected(local, member.identity) && !changes.is_leaving(member.identity)
    };
    let view = local.view_or_empty();
    let wanted = local.coordinators_wanted();
    let own = local.own().node;
    let is_leaving = changes.is_leaving(local.own());
    let is_coordinator = local.is_coordinator(own);
    let before = |member: &&MemberRecord| is_leaving || member.identity.node < own;
    let coordinators = view
        .coordinators(wanted)
        .filter(|member| member.identity.node != own)
        .filter(|member| !is_coordinator || before(member))
        .filter(acts)
        .count();
    let others = if is_coordinator && !is_leaving {
        0
    } else {
        view.members()
            .iter()
            .filter(|member| member.identity.node != own)
            .filter(before)
            .filter(|member| !view.is_coordinator(member.identity.node, wanted))
            .filter(acts)
            .count()
    };
    coordinators.saturating_add(others) as u64
}

/// When this member starts a ballot, if ever. The changes are `due` for the first in line; `promised` is the highest
/// promised ballot and when its coordinator was last heard.
pub(super) fn acts_at(
    local: &LocalNode,
    suspicion: &Suspicion,
    changes: &PendingChanges,
    due: Option<Instant>,
    promised: Option<(Ballot, Instant)>,
) -> Option<Instant> {
    if due.is_none() && promised.is_none() {
        return None;
    }
    let rank = rank(local, suspicion, changes);
    let takeover = local.takeover();
    let due = due.map(|due| due.after(takeover.times(rank)));
    let Some((ballot, heard_at)) = promised else {
        return due;
    };
    let silent = heard_at.after(takeover.times(rank.saturating_add(1)));
    let coordinator = local.view_or_empty().member(ballot.coordinator);
    let is_dead = coordinator.is_none_or(|member| suspicion.is_suspected(local, member.identity));
    Some(match due {
        // A coordinator that was heard just now is not dead yet, whatever others report. Otherwise two members that
        // accuse each other would outbid each other without end.
        Some(due) if is_dead => due.max(heard_at.after(asleep(local))).min(silent),
        _ => silent,
    })
}

/// A coordinator that collects promises is heard more often than this.
fn asleep(local: &LocalNode) -> Duration {
    local.configuration().retransmit().times(4)
}
