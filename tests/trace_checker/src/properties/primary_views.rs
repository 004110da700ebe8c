// SPDX-License-Identifier: GPL-2.0

//! The primary views of a trace, which M6 and M6rt look at.

use crate::index::{Index, CLUSTER};
use crate::sorted::has;
use crate::trace::Member;

/// A primary view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PrimaryView {
    /// The view's number.
    pub(super) number: u64,
    /// The view, in [`Index::views`].
    pub(super) view: usize,
    /// The event of its first install.
    pub(super) event: usize,
}

/// All primary cluster views, in the order of their numbers.
pub(super) fn primary_views(index: &Index<'_>) -> Vec<PrimaryView> {
    primary_views_of(index, CLUSTER)
}

/// All primary views of the cluster or of a group, in the order of their numbers.
pub(super) fn primary_views_of(index: &Index<'_>, scope: usize) -> Vec<PrimaryView> {
    let mut chain = Vec::new();
    for (view, record) in index.views.iter().enumerate() {
        let event = index.first_install(view);
        if record.scope == scope && index.view_event(event).primary {
            let number = record.id.number;
            chain.push(PrimaryView {
                number,
                view,
                event,
            });
        }
    }
    chain.sort_unstable();
    chain
}

/// What consecutive primary views must share, in a word.
pub(super) fn link(index: &Index<'_>) -> &'static str {
    if index.options.partitionable {
        "node"
    } else {
        "member"
    }
}

/// Whether two primary views share what consecutive ones must share: a member, or in a partitionable cluster a node.
pub(super) fn are_linked(index: &Index<'_>, one: usize, other: usize) -> bool {
    let (one, other) = (index.members(one), index.members(other));
    let has_node = |member: &Member| other.iter().any(|there| there.node == member.node);
    share_a_member(one, other) || index.options.partitionable && one.iter().any(has_node)
}

/// Whether two sorted lists share a member.
fn share_a_member(a: &[Member], b: &[Member]) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.iter().any(|member| has(long, member))
}
