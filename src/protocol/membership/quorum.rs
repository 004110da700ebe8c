// SPDX-License-Identifier: GPL-2.0

//! Whether the present view still has a quorum, as far as this node can tell.
//!
//! ```text
//!              a needed view change does not come about for long
//!  Present ------------------------------------------------------> Lost: sends are refused
//!     ^                                                              |  |
//!     |  a view, or progress of a ballot, or no change is needed     |  | blocked_timeout_ms later, where the
//!     +--------------------------------------------------------------+  | view cannot come back by itself
//!                                                                       v
//!                                                                     the view is given up
//! ```
//!
//! A node whose members are only silent keeps its view: they may be back. It gives the view up where members have begun
//! later incarnations, since the cluster has lost its memory in this component, and in a partitionable cluster, where
//! the component goes on by itself.

use super::local::LocalNode;
use crate::protocol::identity::{Identity, PeerAddress};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::Event;
use crate::protocol::time::{Duration, Instant};

/// What this node knows of the quorum of its view.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct QuorumMonitor {
    /// Since when a view change is needed that does not come about.
    troubled_since: Option<Instant>,
    is_lost: bool,
    /// Whether a member was heard in a later incarnation: its vote in this view is lost for ever.
    has_heard_later_incarnation: bool,
    /// Set when the quorum was lost or is back, until it is taken.
    change: Option<bool>,
}

impl QuorumMonitor {
    /// Whether the quorum counts as lost.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether the quorum was lost (`false`) or is back (`true`) since this was last asked.
    pub(super) fn take_change(&mut self) -> Option<bool> {
        self.change.take()
    }

    /// Note that a datagram of `sender` came from `from`. If it is a later incarnation of a member, that member's own is
    /// over.
    pub(super) fn note_sender(&mut self, local: &LocalNode, sender: Identity, from: PeerAddress) {
        let member = local.view_or_empty().member(sender.node);
        self.has_heard_later_incarnation |= member.is_some_and(|member| {
            member.address == from && member.identity.incarnation < sender.incarnation
        });
    }

    /// Note that the view change goes on: the time until the quorum counts as lost begins anew.
    pub(super) fn note_progress(&mut self, outbox: &mut Outbox) {
        self.troubled_since = None;
        if self.is_lost {
            self.is_lost = false;
            self.change = Some(true);
            outbox.event(Event::QuorumRegained);
        }
    }

    /// A view was installed: it has a quorum.
    pub(super) fn install(&mut self, outbox: &mut Outbox) {
        self.has_heard_later_incarnation = false;
        self.note_progress(outbox);
    }

    /// The view was given up: forget what was known about it.
    pub(super) fn clear(&mut self) {
        self.has_heard_later_incarnation = false;
        self.troubled_since = None;
        self.is_lost = false;
    }

    /// Look at the quorum again. `is_troubled` tells whether a view change is needed. Returns whether the view is to be
    /// given up.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        local: &LocalNode,
        is_troubled: bool,
        outbox: &mut Outbox,
    ) -> bool {
        if !is_troubled {
            self.note_progress(outbox);
            return false;
        }
        let since = *self.troubled_since.get_or_insert(now);
        if now >= since.after(patience(local)) && !self.is_lost {
            self.is_lost = true;
            self.change = Some(false);
            outbox.event(Event::QuorumLost);
        }
        self.is_lost && self.next_deadline(local).is_some_and(|at| now >= at)
    }

    /// When the quorum counts as lost. Once it does: when the view is given up, if it ever is.
    pub(super) fn next_deadline(&self, local: &LocalNode) -> Option<Instant> {
        let lost_at = self.troubled_since?.after(patience(local));
        if !self.is_lost {
            return Some(lost_at);
        }
        (self.has_heard_later_incarnation || local.is_partitionable())
            .then(|| lost_at.after(local.blocked_timeout()))
    }
}

/// How long a needed view change may take before the quorum counts as lost: each coordinator may have to take over.
fn patience(local: &LocalNode) -> Duration {
    let turns = u64::from(local.coordinators_wanted()).saturating_add(2);
    local.takeover().times(turns)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_quorum))]
mod tests {
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::membership::test_support::member_node;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, outbox, TestResult, Unexpected,
    };

    const DEFAULT: Configuration = Configuration::DEFAULT;

    /// Looks at a needed view change at each deadline. Returns whether the view was given up.
    fn wait_for_ever(quorum: &mut QuorumMonitor, local: &LocalNode) -> Result<bool, Unexpected> {
        let mut outbox = outbox()?;
        let mut now = at(0);
        for _ in 0..10 {
            if quorum.advance(now, local, true, &mut outbox) {
                return Ok(true);
            }
            match quorum.next_deadline(local) {
                Some(next) => now = next,
                None => return Ok(false),
            }
        }
        Err(Unexpected)
    }

    #[test]
    fn a_view_change_that_does_not_come_about_loses_the_quorum_once() -> TestResult {
        let (local, mut quorum) = (member_node(DEFAULT, 3)?, QuorumMonitor::default());
        let mut outbox = outbox()?;
        assert!(!quorum.advance(at(0), &local, true, &mut outbox));
        let lost_at = quorum.next_deadline(&local).ok_or(Unexpected)?;
        assert_eq!(lost_at, at(0).after(patience(&local)));
        assert!(!quorum.is_lost() && quorum.take_change().is_none());
        assert!(!quorum.advance(lost_at, &local, true, &mut outbox));
        assert!(quorum.is_lost());
        assert_eq!(quorum.take_change(), Some(false));
        assert!(!quorum.advance(lost_at, &local, true, &mut outbox));
        assert_eq!(quorum.take_change(), None);
        assert!(matches!(outbox.poll_event(), Some(Event::QuorumLost)));
        assert!(outbox.poll_event().is_none());
        Ok(())
    }

    #[test]
    fn progress_of_a_ballot_brings_the_quorum_back() -> TestResult {
        let (local, mut quorum) = (member_node(DEFAULT, 3)?, QuorumMonitor::default());
        let mut outbox = outbox()?;
        quorum.advance(at(0), &local, true, &mut outbox);
        let lost_at = quorum.next_deadline(&local).ok_or(Unexpected)?;
        quorum.advance(lost_at, &local, true, &mut outbox);
        quorum.note_progress(&mut outbox);
        assert!(!quorum.is_lost());
        assert_eq!(quorum.take_change(), Some(true));
        // The time begins anew.
        assert!(!quorum.advance(lost_at, &local, true, &mut outbox) && !quorum.is_lost());
        Ok(())
    }

    #[test]
    fn a_view_whose_members_are_only_silent_is_never_given_up() -> TestResult {
        let (local, mut quorum) = (member_node(DEFAULT, 3)?, QuorumMonitor::default());
        assert!(!wait_for_ever(&mut quorum, &local)?);
        assert!(quorum.is_lost());
        Ok(())
    }

    #[test]
    fn a_view_is_given_up_once_a_member_was_heard_in_a_later_incarnation() -> TestResult {
        let (local, mut quorum) = (member_node(DEFAULT, 3)?, QuorumMonitor::default());
        // Neither the member itself nor a later incarnation at another address counts.
        quorum.note_sender(&local, identity(2), address(2));
        quorum.note_sender(&local, identity_in(2, 2), address(3));
        assert!(!wait_for_ever(&mut quorum, &local)?);
        quorum.clear();
        quorum.note_sender(&local, identity_in(2, 2), address(2));
        assert!(wait_for_ever(&mut quorum, &local)?);
        Ok(())
    }

    #[test]
    fn a_partitionable_cluster_gives_the_view_up() -> TestResult {
        let settings = Configuration {
            partitionable: 1,
            ..DEFAULT
        };
        let (local, mut quorum) = (member_node(settings, 3)?, QuorumMonitor::default());
        assert!(wait_for_ever(&mut quorum, &local)?);
        Ok(())
    }
}
