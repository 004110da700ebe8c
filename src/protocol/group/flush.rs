// SPDX-License-Identifier: GPL-2.0

//! Flush: which entries of a group's log count when the cluster view changes.
//!
//! An entry is delivered only when every node with members has accepted it. So every survivor holds whatever any
//! node has delivered, whether that node is alive or not. When the cluster view changes, every survivor first stops
//! accepting and then reports how far it has accepted. Everything that *any* survivor has accepted counts: it is
//! handed over to those that lack it, and all survivors deliver it before the next group view. That is at least what
//! any node has delivered, and the same at all of them. What no survivor has accepted, no node has delivered; its
//! sender sends it again in the next view.
//!
//! The next epoch begins with a *start* entry, which carries the last position of the log before that counts. It
//! takes effect only when all participants hold it, and nothing else is ordered before that. Until then it is a
//! *pending start*. If the cluster view changes once more, there are three cases: a survivor knows that the start took
//! effect (then all survivors hold it); all survivors hold it (then it may have taken effect); one of them does not
//! (then it has not). The first two count the start, the third drops it.

use super::entry::ViewEntry;
use crate::platform::{breaks, Shared};
use crate::protocol::identity::{NodeId, ViewKey, ViewNumber};
use crate::protocol::rules::Rule;
use crate::protocol::view::ClusterView;

/// The start of an epoch that this node has accepted and not carried out.
pub(super) struct PendingStart {
    pub(super) epoch: ViewNumber,
    pub(super) cluster_view: ViewKey,
    /// The coordinator that made it.
    pub(super) orderer: Option<NodeId>,
    /// The epoch before, and the last position of its log that counts.
    pub(super) previous: ViewNumber,
    pub(super) last: u64,
    pub(super) view: Shared<ViewEntry>,
    /// All participants are known to hold it.
    pub(super) in_effect: bool,
}

/// What a node holds of one log.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) epoch: ViewNumber,
    pub(super) accepted: u64,
    pub(super) view: Shared<ViewEntry>,
}

/// What one node has reported.
#[derive(Clone, Debug)]
pub(super) struct NodeReport {
    pub(super) node: NodeId,
    pub(super) log: Option<Held>,
    pub(super) pending_start: Option<Held>,
    /// It has announced another report.
    pub(super) expects_log: bool,
    pub(super) expects_pending_start: bool,
    /// It holds nothing and has no members. Members that other nodes have in their last view have left.
    pub(super) is_without_members: bool,
}

impl NodeReport {
    /// An empty report.
    pub(super) fn of(node: NodeId) -> Self {
        Self {
            node,
            log: None,
            pending_start: None,
            expects_log: false,
            expects_pending_start: false,
            is_without_members: false,
        }
    }

    /// Whether all announced reports of the node have arrived.
    pub(super) fn is_complete(&self) -> bool {
        (self.log.is_some() || !self.expects_log)
            && (self.pending_start.is_some() || !self.expects_pending_start)
    }

    /// Whether the node holds a log or a pending start.
    pub(super) fn holds_something(&self) -> bool {
        self.log.is_some() || self.pending_start.is_some()
    }

    /// Add another report of the same node.
    pub(super) fn merge(&mut self, other: NodeReport) {
        if other.log.is_some() {
            self.log = other.log;
        }
        if other.pending_start.is_some() {
            self.pending_start = other.pending_start;
        }
        self.expects_log |= other.expects_log;
        self.expects_pending_start |= other.expects_pending_start;
        self.is_without_members = other.is_without_members;
    }

    /// What the node holds of the log of `epoch`, as a log or a pending start.
    pub(super) fn accepted(&self, epoch: ViewNumber) -> Option<&Held> {
        [&self.log, &self.pending_start]
            .into_iter()
            .flatten()
            .find(|held| held.epoch == epoch)
    }
}

/// Which entries of the epoch before count.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// The epoch. Zero: there is no log.
    pub(super) previous: ViewNumber,
    /// The position of its last entry that counts.
    pub(super) last: u64,
    /// The view that is in force after that entry.
    pub(super) view: Option<Shared<ViewEntry>>,
}

/// Decide from the reports of all survivors.
pub(super) fn decide(reports: &[NodeReport], cluster: &ClusterView) -> Decision {
    let in_effect = reports
        .iter()
        .filter_map(|report| report.log.as_ref())
        .map(|held| held.epoch)
        .max()
        .unwrap_or_default();
    let start = reports
        .iter()
        .filter_map(|report| report.pending_start.as_ref())
        .filter(|held| held.epoch > in_effect)
        .max_by_key(|held| held.epoch);
    let counted = start.filter(|start| {
        start
            .view
            .members
            .iter()
            .filter(|member| {
                cluster
                    .member(member.id.node)
                    .is_some_and(|known| known.identity.incarnation == member.id.incarnation)
            })
            .all(|member| {
                reports.iter().any(|report| {
                    report.node == member.id.node && report.accepted(start.epoch).is_some()
                })
            })
    });
    let previous = counted.map_or(in_effect, |held| held.epoch);
    let furthest = reports
        .iter()
        .filter_map(|report| report.accepted(previous))
        .max_by_key(|held| match breaks(Rule::FurthestAcceptedCounts) {
            true => u64::MAX.saturating_sub(held.accepted),
            false => held.accepted,
        });
    Decision {
        previous: furthest.map_or_else(ViewNumber::default, |_| previous),
        last: furthest.map_or(0, |held| held.accepted),
        view: furthest.map(|held| held.view.clone()),
    }
}

/// The nodes that lack entries that count, each with the last position that it holds. A node that has no members in
/// the last view that it has accepted needs no more entries, and all others may have dropped them.
pub(super) fn lacking<'a>(
    reports: &'a [NodeReport],
    decision: &'a Decision,
) -> impl Iterator<Item = (NodeId, u64)> + 'a {
    reports.iter().filter_map(move |report| {
        let held = report.accepted(decision.previous)?;
        let is_in = held.view.has_node(report.node);
        (is_in && held.accepted < decision.last).then_some((report.node, held.accepted))
    })
}

/// A node that holds all entries that count.
pub(super) fn holder(reports: &[NodeReport], decision: &Decision) -> Option<NodeId> {
    reports
        .iter()
        .find(|report| {
            report
                .accepted(decision.previous)
                .is_some_and(|held| held.accepted >= decision.last)
        })
        .map(|report| report.node)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_group_flush))]
mod tests {
    use super::*;
    use crate::platform::BoundedVec;
    use crate::protocol::group_view::GroupMember;
    use crate::protocol::identity::{EndpointId, MemberId, Slot};
    use crate::protocol::test_support::{identity, node, TestResult, Unexpected};
    use crate::protocol::wire::group::Arrival;

    const EPOCH: ViewNumber = ViewNumber(6);

    /// A view with one member on each of these nodes.
    fn view(nodes: &[u16]) -> Result<Shared<ViewEntry>, Unexpected> {
        let mut members = BoundedVec::with_capacity(nodes.len())?;
        let mut arrivals = BoundedVec::with_capacity(nodes.len())?;
        for number in nodes {
            let id = MemberId {
                node: node(*number),
                endpoint: EndpointId(1),
                incarnation: identity(*number).incarnation,
            };
            let slot = Slot(*number);
            let _ = members.push(GroupMember { id, slot });
            let _ = arrivals.push(Arrival::Along);
        }
        Ok(Shared::try_new(ViewEntry {
            number: ViewNumber(1),
            coordinator: node(1),
            members,
            arrivals,
            left: BoundedVec::empty(),
            sets: BoundedVec::empty(),
        })?)
    }

    fn held(accepted: u64, nodes: &[u16]) -> Result<Option<Held>, Unexpected> {
        Ok(Some(Held {
            epoch: EPOCH,
            accepted,
            view: view(nodes)?,
        }))
    }

    #[test]
    fn only_nodes_that_still_have_members_lack_entries() -> TestResult {
        // The members of node 4 left with the start of the epoch, and it does not know that it took effect. Others
        // have dropped the entries after the start.
        let reports = [
            NodeReport {
                log: held(11, &[1, 2, 3])?,
                ..NodeReport::of(node(1))
            },
            NodeReport {
                log: held(9, &[1, 2, 3])?,
                ..NodeReport::of(node(2))
            },
            NodeReport {
                pending_start: held(1, &[1, 2, 3])?,
                ..NodeReport::of(node(3))
            },
            NodeReport {
                pending_start: held(1, &[1, 2, 3])?,
                ..NodeReport::of(node(4))
            },
            NodeReport::of(node(5)),
        ];
        let decision = Decision {
            previous: EPOCH,
            last: 11,
            view: Some(view(&[1, 2, 3])?),
        };
        assert!(lacking(&reports, &decision).eq([(node(2), 9), (node(3), 1)]));
        assert_eq!(holder(&reports, &decision), Some(node(1)));
        Ok(())
    }
}
