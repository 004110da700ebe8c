// SPDX-License-Identifier: GPL-2.0

//! What becomes of a group's log when the cluster view changes.
//!
//! An entry is delivered only when every node with members has accepted it. So whoever delivered an
//! entry, dead or alive, all survivors hold it. When the cluster view changes, every survivor first
//! stops accepting and then says how far it has accepted; everything that *any* of them has accepted
//! counts, is handed to those who lack it, and is delivered by all of them before the next group
//! view. That is at least what anybody has delivered, and the same everywhere. What nobody of them
//! has accepted was delivered by nobody, and is sent again by its sender in the next view.
//!
//! The next epoch begins with a *start* entry that says how far the log before counts. It takes
//! effect only when all participants hold it, and nothing else is ordered before that. If the
//! cluster view changes once more meanwhile, either somebody knows that it took effect (then all
//! survivors hold it), or all survivors hold it (then it may have), or one does not (then it has
//! not): the first two count it, the third forgets it.

use super::log::ViewEntry;
use crate::platform::Shared;
use crate::protocol::identity::{NodeId, ViewNumber};
use crate::protocol::view::ClusterView;

/// What a node holds of one log.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) epoch: ViewNumber,
    pub(super) accepted: u64,
    pub(super) view: Shared<ViewEntry>,
}

/// What one node has said.
#[derive(Clone, Debug)]
pub(super) struct NodeReport {
    pub(super) node: NodeId,
    pub(super) log: Option<Held>,
    pub(super) candidate: Option<Held>,
    /// It said that another report is to come.
    pub(super) expects_log: bool,
    pub(super) expects_candidate: bool,
    /// It holds nothing and has no members: any that others still have in their last view have left.
    pub(super) is_without_members: bool,
}

impl NodeReport {
    /// Nothing said yet.
    pub(super) fn of(node: NodeId) -> Self {
        Self {
            node,
            log: None,
            candidate: None,
            expects_log: false,
            expects_candidate: false,
            is_without_members: false,
        }
    }

    /// Whether everything that the node wanted to say has come.
    pub(super) fn is_complete(&self) -> bool {
        (self.log.is_some() || !self.expects_log)
            && (self.candidate.is_some() || !self.expects_candidate)
    }

    /// Whether the node holds anything.
    pub(super) fn holds_something(&self) -> bool {
        self.log.is_some() || self.candidate.is_some()
    }

    /// Adds another report of the same node.
    pub(super) fn merge(&mut self, other: NodeReport) {
        if other.log.is_some() {
            self.log = other.log;
        }
        if other.candidate.is_some() {
            self.candidate = other.candidate;
        }
        self.expects_log |= other.expects_log;
        self.expects_candidate |= other.expects_candidate;
        self.is_without_members = other.is_without_members;
    }

    /// How far the node has accepted the log of `epoch`.
    pub(super) fn accepted(&self, epoch: ViewNumber) -> Option<&Held> {
        [&self.log, &self.candidate]
            .into_iter()
            .flatten()
            .find(|held| held.epoch == epoch)
    }
}

/// What counts of the epoch before.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    /// Which epoch it is; zero: there is no log.
    pub(super) previous: ViewNumber,
    /// Its last entry that counts.
    pub(super) last: u64,
    /// The view that is in force there.
    pub(super) view: Option<Shared<ViewEntry>>,
}

/// Decides from all reports.
pub(super) fn decide(reports: &[NodeReport], cluster: &ClusterView) -> Decision {
    let in_effect = reports
        .iter()
        .filter_map(|report| report.log.as_ref())
        .map(|held| held.epoch)
        .max()
        .unwrap_or_default();
    let candidate = reports
        .iter()
        .filter_map(|report| report.candidate.as_ref())
        .filter(|held| held.epoch > in_effect)
        .max_by_key(|held| held.epoch);
    let counted = candidate.filter(|candidate| {
        candidate
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
                    report.node == member.id.node && report.accepted(candidate.epoch).is_some()
                })
            })
    });
    let previous = counted.map_or(in_effect, |held| held.epoch);
    let furthest = reports
        .iter()
        .filter_map(|report| report.accepted(previous))
        .max_by_key(|held| held.accepted);
    Decision {
        previous: furthest.map_or_else(ViewNumber::default, |_| previous),
        last: furthest.map_or(0, |held| held.accepted),
        view: furthest.map(|held| held.view.clone()),
    }
}

/// The nodes that lack entries that count, each with what it has. Who has members no more, as far as it has
/// accepted, needs none: all others may have forgotten what came after that.
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

/// A node that has everything that counts.
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
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_flush))]
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
    fn who_has_members_lacks_what_counts_and_who_has_none_any_more_does_not() -> TestResult {
        // Node 4 has left with the epoch, and has not heard that it began: others have forgotten what came
        // after its start.
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
                candidate: held(1, &[1, 2, 3])?,
                ..NodeReport::of(node(3))
            },
            NodeReport {
                candidate: held(1, &[1, 2, 3])?,
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
