// SPDX-License-Identifier: GPL-2.0

//! M6: primary cluster views form one chain in which consecutive ones share a member; in a partitionable cluster
//! a node, since nodes keep their votes from one incarnation to the next there. That a number stands for one view is M5.

use super::m5_one_issuer::share_a_member;
use crate::index::{Index, CLUSTER};
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M6", "primary chain");

/// Walks the primary views in the order of their numbers.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let chain = primary_views(index);
    let by_node = index.options.partitionable;
    for pair in chain.windows(2) {
        let ((_, one, a), (_, other, b)) = (pair[0], pair[1]);
        if !are_linked(index.members(one), index.members(other), by_node) {
            let text = format!(
                "primary views {:?} and {:?} share no member",
                index.views[one].id, index.views[other].id
            );
            found.add(NAME, &[&index.events[a], &index.events[b]], text);
        }
    }
}

/// Whether two primary views have in common what consecutive ones must have: a member, or a node.
pub(super) fn are_linked(one: &[Member], other: &[Member], by_node: bool) -> bool {
    let has_node = |member: &Member| other.iter().any(|there| there.node == member.node);
    share_a_member(one, other) || by_node && one.iter().any(has_node)
}

/// All primary cluster views as their number, their place in the index, and the event of their first
/// install, in the order of their numbers.
pub(super) fn primary_views(index: &Index<'_>) -> Vec<(u64, usize, usize)> {
    let mut chain: Vec<(u64, usize, usize)> = Vec::new();
    for (number, view) in index.views.iter().enumerate() {
        let (process, place) = view.installs[0];
        let event = index.processes[process].installs[place].event;
        if view.scope == CLUSTER && index.view_event(event).primary {
            chain.push((view.id.number, number, event));
        }
    }
    chain.sort_unstable();
    chain
}
