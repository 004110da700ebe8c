// SPDX-License-Identifier: GPL-2.0

//! Joins, leaves and evictions that wait for the next view. Every member collects them, coordinators most of all, so that
//! any of them can take over.

use super::proposal::Proposal;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, PeerAddress, Slot, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::Change;

/// A node that asks to join.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Joiner {
    identity: Identity,
    address: PeerAddress,
    /// When it last asked. It asks again and again.
    heard_at: Instant,
}

/// Changes that wait for the next view. Failures are not among them: [`crate::protocol::membership::suspicion`] has
/// those.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct PendingChanges {
    joins: BoundedVec<Joiner>,
    /// The latest view that any of these nodes knows of.
    joiners_view: ViewNumber,
    /// Members that leave or are evicted, and why.
    leavers: BoundedVec<(Identity, ChangeReason)>,
    /// When the oldest of the present changes came, failures included.
    since: Option<Instant>,
    batching: Duration,
    settling: Duration,
    /// A node that has not asked to join for so long does not want to any more, or is dead.
    freshness: Duration,
}

impl PendingChanges {
    /// No change. Changes are collected for `batching`, and for `settling` at most while some member is suspected and
    /// neither confirmed nor cleared. A node that wants to join asks more often than once in `freshness`.
    pub(super) fn new(
        batching: Duration,
        settling: Duration,
        freshness: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            joins: BoundedVec::with_capacity(NODES_MAX)?,
            joiners_view: ViewNumber::default(),
            leavers: BoundedVec::with_capacity(NODES_MAX)?,
            since: None,
            batching,
            settling,
            freshness,
        })
    }

    /// Forget all changes.
    pub(super) fn clear(&mut self) {
        self.joins.clear();
        self.joiners_view = ViewNumber::default();
        self.leavers.clear();
        self.since = None;
    }

    /// A view was installed: forget the changes that it carried out, and the joins of nodes that `has_departed` meanwhile.
    pub(super) fn install(
        &mut self,
        now: Instant,
        view: &ClusterView,
        has_departed: impl Fn(Identity) -> bool,
    ) {
        self.leavers.retain(|(subject, _)| view.has(*subject));
        self.joins.retain(|joiner| {
            let joiner = joiner.identity;
            !has_departed(joiner)
                && view
                    .member(joiner.node)
                    .is_none_or(|member| member.identity.incarnation < joiner.incarnation)
        });
        self.since = self.is_any(false).then_some(now);
    }

    /// Drop joins that nobody repeats, and note since when there is something to change. `has_failure` tells whether any
    /// failure is confirmed. To be called when that may have changed, and before anything is proposed.
    pub(super) fn update(&mut self, now: Instant, has_failure: bool) {
        let freshness = self.freshness;
        self.joins
            .retain(|joiner| now < joiner.heard_at.after(freshness));
        if !self.is_any(has_failure) {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    fn is_any(&self, has_failure: bool) -> bool {
        !self.joins.is_empty() || !self.leavers.is_empty() || has_failure
    }

    /// Take in that a node asks to join.
    pub(super) fn add_join(
        &mut self,
        now: Instant,
        joiner: Identity,
        address: PeerAddress,
        last_view: ViewNumber,
    ) {
        self.joiners_view = self.joiners_view.max(last_view);
        let mut joins = self.joins.as_mut_slice().iter_mut();
        let known = joins.find(|known| known.identity.node == joiner.node);
        let new = Joiner {
            identity: joiner,
            address,
            heard_at: now,
        };
        match known {
            Some(known) if known.identity.incarnation <= joiner.incarnation => *known = new,
            Some(_) => {}
            None => {
                let _ = self.joins.push(new);
            }
        }
    }

    /// Note that a node still asks to join, whether or not it may now.
    pub(super) fn renew_join(&mut self, now: Instant, joiner: Identity) {
        let mut joins = self.joins.as_mut_slice().iter_mut();
        if let Some(known) = joins.find(|known| known.identity == joiner) {
            known.heard_at = now;
        }
    }

    /// Take in that a member leaves or is evicted. Returns whether that is news.
    pub(super) fn add_leaver(&mut self, subject: Identity, reason: ChangeReason) -> bool {
        let news = !self.is_leaving(subject);
        if news {
            let _ = self.leavers.push((subject, reason));
        }
        news
    }

    /// Whether the member leaves or is evicted.
    pub(super) fn is_leaving(&self, subject: Identity) -> bool {
        self.leaver_reason(subject).is_some()
    }

    /// Whether the member is evicted.
    pub(super) fn is_evicted(&self, subject: Identity) -> bool {
        self.leaver_reason(subject) == Some(ChangeReason::Evicted)
    }

    fn leaver_reason(&self, subject: Identity) -> Option<ChangeReason> {
        let mut leavers = self.leavers.iter();
        let found = leavers.find(|(known, _)| *known == subject);
        found.map(|(_, reason)| *reason)
    }

    /// The latest view that any joining node knows of. In a partitionable cluster it may be later than the present one.
    pub(super) fn joiners_view(&self) -> ViewNumber {
        self.joiners_view
    }

    /// When the first in line proposes the collected changes. `is_unsettled` tells whether some member is suspected and
    /// neither confirmed nor cleared.
    pub(super) fn due_at(&self, is_unsettled: bool) -> Option<Instant> {
        let wait = if is_unsettled {
            self.settling.max(self.batching)
        } else {
            self.batching
        };
        self.since.map(|since| since.after(wait))
    }

    /// Write the differences between `view` and the next one into a proposal. Members that `has_failed` are left out.
    pub(super) fn fill(
        &self,
        view: &ClusterView,
        proposal: &mut Proposal,
        has_failed: impl Fn(Identity) -> bool,
    ) {
        let gone = |subject: Identity| {
            let failed = || has_failed(subject).then_some(ChangeReason::Failed);
            self.leaver_reason(subject).or_else(failed)
        };
        let mut free_slots = FreeSlots::new();
        let mut count = view.count();
        for member in view.members() {
            let subject = member.identity;
            let successor = self.successor(view, member);
            let reason = gone(subject).or(successor.map(|_| ChangeReason::Failed));
            if let Some(reason) = reason {
                if proposal.add(Change::Remove { subject, reason }) {
                    count = count.saturating_sub(1);
                }
            }
        }
        for Joiner {
            identity: joiner,
            address,
            ..
        } in self.joins.iter()
        {
            let comes = match view.member(joiner.node) {
                None => true,
                Some(member) => {
                    member.identity.incarnation < joiner.incarnation
                        && (gone(member.identity).is_some()
                            || self.successor(view, member).is_some())
                }
            };
            if comes && count < NODES_MAX {
                let Some(slot) = free_slots.next(view) else {
                    return;
                };
                let record = MemberRecord {
                    identity: *joiner,
                    address: *address,
                    slot,
                };
                if proposal.add(Change::Add(record)) {
                    count = count.saturating_add(1);
                }
            }
        }
    }

    /// A later incarnation of the member, at the same address, that asks to join.
    fn successor(&self, view: &ClusterView, member: &MemberRecord) -> Option<Identity> {
        debug_assert!(view.has(member.identity));
        self.joins
            .iter()
            .find(|joiner| {
                joiner.identity.node == member.identity.node
                    && joiner.identity.incarnation > member.identity.incarnation
                    && joiner.address == member.address
            })
            .map(|joiner| joiner.identity)
    }
}

/// Hands out the smallest slots that no member of a view has, each once.
struct FreeSlots(u16);

impl FreeSlots {
    /// From slot 1 on.
    const fn new() -> Self {
        Self(0)
    }

    /// The next free slot.
    fn next(&mut self, view: &ClusterView) -> Option<Slot> {
        for number in self.0.saturating_add(1)..=(NODES_MAX as u16) {
            if !view
                .members()
                .iter()
                .any(|member| member.slot == Slot(number))
            {
                self.0 = number;
                return Some(Slot(number));
            }
        }
        None
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_pending_changes))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, member, node, span, view, TestResult, Unexpected,
    };
    use crate::protocol::wire::membership::{Ballot, ProposalKind};

    const BATCHING_MS: u64 = 10;
    const NO_VIEW: ViewNumber = ViewNumber(0);
    const SETTLING_MS: u64 = 200;
    const FRESHNESS_MS: u64 = 2000;

    fn changes() -> Result<PendingChanges, Unexpected> {
        let (batching, settling) = (span(BATCHING_MS), span(SETTLING_MS));
        let changes = PendingChanges::new(batching, settling, span(FRESHNESS_MS))?;
        Ok(changes)
    }

    /// What is proposed to follow `view` if these members have failed.
    fn filled(
        changes: &PendingChanges,
        view: &ClusterView,
        failed: &[Identity],
    ) -> Result<Proposal, Unexpected> {
        let mut proposal = Proposal::empty(node(1))?;
        let ballot = Ballot {
            round: 1,
            coordinator: node(1),
        };
        let number = view.number.next();
        proposal.begin(ballot, node(1), number, ProposalKind::Successor);
        changes.fill(view, &mut proposal, |subject| failed.contains(&subject));
        proposal.close();
        Ok(proposal)
    }

    fn join(changes: &mut PendingChanges, now_ms: u64, joiner: Identity, at_address: u16) {
        changes.add_join(at(now_ms), joiner, address(at_address), NO_VIEW);
        changes.update(at(now_ms), false);
    }

    /// Whether the leave is news.
    fn leave(changes: &mut PendingChanges, now_ms: u64, number: u16) -> bool {
        let is_news = changes.add_leaver(identity(number), ChangeReason::Leave);
        changes.update(at(now_ms), false);
        is_news
    }

    fn removed(number: u16, reason: ChangeReason) -> Change {
        Change::Remove {
            subject: identity(number),
            reason,
        }
    }

    fn added(joiner: Identity, at_address: u16, slot: u16) -> Change {
        Change::Add(MemberRecord {
            identity: joiner,
            address: address(at_address),
            slot: Slot(slot),
        })
    }

    #[test]
    fn without_changes_nothing_is_proposed() -> TestResult {
        let changes = changes()?;
        assert_eq!(changes.due_at(false), None);
        assert!(filled(&changes, &view(1..=3)?, &[])?.changes().is_empty());
        Ok(())
    }

    #[test]
    fn changes_that_come_together_are_proposed_together() -> TestResult {
        let mut changes = changes()?;
        join(&mut changes, 100, identity(9), 9);
        join(&mut changes, 105, identity(4), 4);
        assert!(leave(&mut changes, 106, 2));
        assert!(!leave(&mut changes, 107, 2));
        assert!(changes.is_leaving(identity(2)) && !changes.is_leaving(identity(3)));
        // The first of them began the wait.
        assert_eq!(changes.due_at(false), Some(at(100 + BATCHING_MS)));
        let proposal = filled(&changes, &view(1..=3)?, &[identity(3)])?;
        assert!(
            proposal.changes()
                == [
                    removed(2, ChangeReason::Leave),
                    removed(3, ChangeReason::Failed),
                    added(identity(9), 9, 4),
                    added(identity(4), 4, 5),
                ]
        );
        Ok(())
    }

    #[test]
    fn changes_wait_longer_while_a_member_is_suspected() -> TestResult {
        let mut changes = changes()?;
        leave(&mut changes, 100, 2);
        assert_eq!(changes.due_at(true), Some(at(100 + SETTLING_MS)));
        assert_eq!(changes.due_at(false), Some(at(100 + BATCHING_MS)));
        Ok(())
    }

    #[test]
    fn the_later_of_two_incarnations_that_ask_joins() -> TestResult {
        for order in [[1, 2], [2, 1]] {
            let mut changes = changes()?;
            for incarnation in order {
                join(&mut changes, 100, identity_in(9, incarnation), 9);
            }
            let proposal = filled(&changes, &view(1..=2)?, &[])?;
            assert!(proposal.changes() == [added(identity_in(9, 2), 9, 3)]);
        }
        Ok(())
    }

    #[test]
    fn a_later_incarnation_at_the_same_address_replaces_the_earlier() -> TestResult {
        let mut changes = changes()?;
        join(&mut changes, 100, identity_in(2, 2), 2);
        let proposal = filled(&changes, &view(1..=3)?, &[])?;
        let expected = [
            removed(2, ChangeReason::Failed),
            added(identity_in(2, 2), 2, 4),
        ];
        assert!(proposal.changes() == expected);
        Ok(())
    }

    #[test]
    fn a_later_incarnation_at_another_address_waits_until_the_member_is_gone() -> TestResult {
        let mut changes = changes()?;
        join(&mut changes, 100, identity_in(2, 2), 9);
        assert!(filled(&changes, &view(1..=3)?, &[])?.changes().is_empty());
        let proposal = filled(&changes, &view(1..=3)?, &[identity(2)])?;
        let expected = [
            removed(2, ChangeReason::Failed),
            added(identity_in(2, 2), 9, 4),
        ];
        assert!(proposal.changes() == expected);
        Ok(())
    }

    #[test]
    fn a_member_and_its_earlier_incarnations_do_not_join_again() -> TestResult {
        let mut changes = changes()?;
        let mut view = view([1, 3])?;
        let again = MemberRecord {
            identity: identity_in(2, 5),
            ..member(2)
        };
        view.insert(again, false).map_err(|_| Unexpected)?;
        join(&mut changes, 100, identity_in(2, 5), 2);
        assert!(filled(&changes, &view, &[])?.changes().is_empty());
        changes.clear();
        join(&mut changes, 100, identity_in(2, 4), 2);
        assert!(filled(&changes, &view, &[])?.changes().is_empty());
        Ok(())
    }

    #[test]
    fn a_full_view_admits_as_many_as_leave_and_gives_no_slot_twice() -> TestResult {
        let most = NODES_MAX as u16;
        let mut changes = changes()?;
        let mut full = view(1..=most)?;
        join(&mut changes, 100, identity(most + 1), 1);
        assert!(filled(&changes, &full, &[])?.changes().is_empty());
        join(&mut changes, 100, identity(most + 2), 1);
        full.remove(identity(7));
        let proposal = filled(&changes, &full, &[])?;
        assert!(proposal.changes() == [added(identity(most + 1), 1, 7)]);
        Ok(())
    }

    #[test]
    fn an_installed_view_forgets_the_changes_that_it_carried_out() -> TestResult {
        let mut changes = changes()?;
        join(&mut changes, 100, identity(4), 4);
        join(&mut changes, 100, identity(5), 5);
        leave(&mut changes, 100, 2);
        changes.update(at(101), true);
        // The view had everything but node 5.
        changes.install(at(150), &view([1, 4])?, |_| false);
        assert_eq!(changes.due_at(false), Some(at(150 + BATCHING_MS)));
        let proposal = filled(&changes, &view([1, 4])?, &[])?;
        assert!(proposal.changes() == [added(identity(5), 5, 2)]);
        changes.install(at(160), &view([1, 4, 5])?, |_| false);
        assert_eq!(changes.due_at(false), None);
        Ok(())
    }

    #[test]
    fn a_join_of_a_node_that_has_departed_meanwhile_is_forgotten() -> TestResult {
        let mut changes = changes()?;
        join(&mut changes, 100, identity_in(4, 1), 4);
        join(&mut changes, 100, identity_in(5, 2), 5);
        changes.install(at(150), &view(1..=3)?, |joiner| joiner == identity_in(4, 1));
        let proposal = filled(&changes, &view(1..=3)?, &[])?;
        assert!(proposal.changes() == [added(identity_in(5, 2), 5, 4)]);
        Ok(())
    }

    #[test]
    fn free_slots_are_handed_out_from_the_smallest_and_once() -> TestResult {
        let view = view([1, 2, 4])?;
        let mut slots = FreeSlots::new();
        for expected in [3, 5, 6, 7] {
            assert_eq!(slots.next(&view), Some(Slot(expected)));
        }
        let mut last = FreeSlots(NODES_MAX as u16 - 1);
        assert_eq!(last.next(&view), Some(Slot(NODES_MAX as u16)));
        assert_eq!(last.next(&view), None);
        Ok(())
    }

    #[test]
    fn a_node_that_has_not_asked_for_long_is_not_admitted() -> TestResult {
        let (mut changes, view) = (changes()?, view(1..=3)?);
        join(&mut changes, 100, identity(4), 4);
        join(&mut changes, 100, identity(5), 5);
        join(&mut changes, 1500, identity(5), 5);
        changes.update(at(100 + FRESHNESS_MS), false);
        assert_eq!(
            filled(&changes, &view, &[])?.changes(),
            [added(identity(5), 5, 4)]
        );
        changes.update(at(1500 + FRESHNESS_MS), false);
        assert_eq!(changes.due_at(false), None);
        Ok(())
    }
}
