// SPDX-License-Identifier: GPL-2.0

//! What this node has been told that the next view has to change: who is dead, who wants to come,
//! who wants to go or is to. Every member keeps it, coordinators mostly, so that any of them can take over.

use super::proposal::Proposal;
use super::suspicions::Suspicions;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::Change;

/// A node that wants to come in.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Joiner {
    identity: Identity,
    address: PeerAddress,
    /// When it was last heard of: it asks again and again.
    heard_at: Instant,
}

/// Changes that wait for the next view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Changes {
    /// Who may be dead.
    pub(super) suspicions: Suspicions,
    joins: BoundedVec<Joiner>,
    /// The latest view that any of those knows of who want to come in.
    joiners_view: ViewNumber,
    /// Who goes without being dead: by its own wish, or since an administrator wants it out.
    leavers: BoundedVec<(Identity, ChangeReason)>,
    /// When the oldest of the present changes came.
    since: Option<Instant>,
    batching: Duration,
    settling: Duration,
    /// Who has not asked to come in for so long does not want to any more, or is dead.
    freshness: Duration,
}

impl Changes {
    /// No changes. They are collected for `batching`, and for `settling` at most while somebody is
    /// suspected and neither confirmed nor cleared. Whoever wants to come in asks more often than `freshness`.
    pub(super) fn new(
        suspicions: Suspicions,
        batching: Duration,
        settling: Duration,
        freshness: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            suspicions,
            joins: BoundedVec::with_capacity(NODES_MAX)?,
            joiners_view: ViewNumber::default(),
            leavers: BoundedVec::with_capacity(NODES_MAX)?,
            since: None,
            batching,
            settling,
            freshness,
        })
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.suspicions.clear();
        self.joins.clear();
        self.joiners_view = ViewNumber::default();
        self.leavers.clear();
        self.since = None;
    }

    /// A view was installed: forgets what it has carried out, and who was in and has gone meanwhile.
    pub(super) fn install(
        &mut self,
        now: Instant,
        view: &ClusterView,
        has_gone: impl Fn(Identity) -> bool,
    ) {
        // Watchers say again what they still have to say.
        self.suspicions.clear();
        self.leavers.retain(|(subject, _)| view.has(*subject));
        self.joins.retain(|joiner| {
            let joiner = joiner.identity;
            !has_gone(joiner)
                && view
                    .member(joiner.node)
                    .is_none_or(|member| member.identity.incarnation < joiner.incarnation)
        });
        self.since = self.is_any().then_some(now);
    }

    /// To be called when `suspicions` may have got a confirmed subject, and before anything is proposed.
    pub(super) fn update(&mut self, now: Instant) {
        let freshness = self.freshness;
        self.joins
            .retain(|joiner| now < joiner.heard_at.after(freshness));
        if !self.is_any() {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Whether there is anything to be changed.
    fn is_any(&self) -> bool {
        !self.joins.is_empty() || !self.leavers.is_empty() || self.suspicions.has_confirmed()
    }

    /// A node wants to come in.
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
        self.update(now);
    }

    /// A node still wants to come in, whether or not it may now.
    pub(super) fn renew_join(&mut self, now: Instant, joiner: Identity) {
        let mut joins = self.joins.as_mut_slice().iter_mut();
        if let Some(known) = joins.find(|known| known.identity == joiner) {
            known.heard_at = now;
        }
    }

    /// A member wants to go, or is to. Whether that is news.
    pub(super) fn add_leaver(
        &mut self,
        now: Instant,
        subject: Identity,
        reason: ChangeReason,
    ) -> bool {
        let news = !self.is_leaving(subject);
        if news {
            let _ = self.leavers.push((subject, reason));
        }
        self.update(now);
        news
    }

    /// Whether the member wants to go, or is to.
    pub(super) fn is_leaving(&self, subject: Identity) -> bool {
        self.leaver_reason(subject).is_some()
    }

    /// Whether an administrator wants the member out.
    pub(super) fn is_evicted(&self, subject: Identity) -> bool {
        self.leaver_reason(subject) == Some(ChangeReason::Evicted)
    }

    fn leaver_reason(&self, subject: Identity) -> Option<ChangeReason> {
        let mut leavers = self.leavers.iter();
        let found = leavers.find(|(known, _)| *known == subject);
        found.map(|(_, reason)| *reason)
    }

    /// The latest view that any of those knows of who want to come in: in a partitionable cluster it may be
    /// later than the present one.
    pub(super) fn joiners_view(&self) -> ViewNumber {
        self.joiners_view
    }

    /// When the collected changes are to be proposed, by the first in line.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let wait = if self.suspicions.is_unsettled() {
            self.settling.max(self.batching)
        } else {
            self.batching
        };
        self.since.map(|since| since.after(wait))
    }

    /// Writes the differences between `view` and the next one into a proposal. Subjects for which
    /// `is_dead` is true are taken out.
    pub(super) fn fill(
        &self,
        view: &ClusterView,
        proposal: &mut Proposal,
        is_dead: impl Fn(Identity) -> bool,
    ) {
        let gone = |subject: Identity| {
            let failed = || is_dead(subject).then_some(ChangeReason::Failed);
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

    /// A later incarnation of the member, at the same address, that wants to come in.
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
pub(super) struct FreeSlots(u16);

impl FreeSlots {
    /// From slot 1 on.
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// The next free slot.
    pub(super) fn next(&mut self, view: &ClusterView) -> Option<crate::protocol::identity::Slot> {
        use crate::protocol::identity::Slot;
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
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_changes))]
mod tests {
    use super::*;
    use crate::protocol::identity::Slot;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, member, node, span, view, TestResult, Unexpected,
    };
    use crate::protocol::wire::membership::{Ballot, ProposalKind};

    const BATCHING_MS: u64 = 10;
    const NO_VIEW: ViewNumber = ViewNumber(0);
    const SETTLING_MS: u64 = 200;
    const FRESHNESS_MS: u64 = 2000;

    fn changes() -> Result<Changes, Unexpected> {
        let suspicions = Suspicions::new(span(500), span(300), span(30))?;
        let (batching, settling) = (span(BATCHING_MS), span(SETTLING_MS));
        Ok(Changes::new(
            suspicions,
            batching,
            settling,
            span(FRESHNESS_MS),
        )?)
    }

    /// What is proposed to follow `view`; the subjects of confirmed suspicions are dead.
    fn filled(changes: &Changes, view: &ClusterView) -> Result<Proposal, Unexpected> {
        let mut proposal = Proposal::empty(node(1))?;
        let ballot = Ballot {
            round: 1,
            coordinator: node(1),
        };
        let number = view.number.next();
        proposal.begin(ballot, node(1), number, ProposalKind::Successor);
        changes.fill(view, &mut proposal, |subject| {
            changes.suspicions.is_confirmed(subject)
        });
        proposal.close();
        Ok(proposal)
    }

    fn confirm(changes: &mut Changes, subject: Identity) {
        changes.suspicions.accuse(at(1), subject, node(1));
        let _ = changes.suspicions.next_confirmed(at(1), |_, _| 1);
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
        assert_eq!(changes.due_at(), None);
        assert!(filled(&changes, &view(1..=3)?)?.changes().is_empty());
        Ok(())
    }

    #[test]
    fn changes_that_come_together_are_proposed_together() -> TestResult {
        let mut changes = changes()?;
        changes.add_join(at(100), identity(9), address(9), NO_VIEW);
        changes.add_join(at(105), identity(4), address(4), NO_VIEW);
        assert!(changes.add_leaver(at(106), identity(2), ChangeReason::Leave));
        assert!(!changes.add_leaver(at(107), identity(2), ChangeReason::Leave));
        assert!(changes.is_leaving(identity(2)) && !changes.is_leaving(identity(3)));
        confirm(&mut changes, identity(3));
        // The first of them began the wait.
        assert_eq!(changes.due_at(), Some(at(100 + BATCHING_MS)));
        let proposal = filled(&changes, &view(1..=3)?)?;
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
    fn while_somebody_is_suspected_the_others_wait_a_little() -> TestResult {
        let mut changes = changes()?;
        changes.add_leaver(at(100), identity(2), ChangeReason::Leave);
        changes.suspicions.suspect(at(101), identity(3), node(1));
        assert_eq!(changes.due_at(), Some(at(100 + SETTLING_MS)));
        changes.suspicions.take_back(identity(3), node(1));
        assert_eq!(changes.due_at(), Some(at(100 + BATCHING_MS)));
        Ok(())
    }

    #[test]
    fn of_two_incarnations_that_want_to_come_the_later_one_does() -> TestResult {
        for order in [[1, 2], [2, 1]] {
            let mut changes = changes()?;
            for incarnation in order {
                changes.add_join(at(100), identity_in(9, incarnation), address(9), NO_VIEW);
            }
            let proposal = filled(&changes, &view(1..=2)?)?;
            assert!(proposal.changes() == [added(identity_in(9, 2), 9, 3)]);
        }
        Ok(())
    }

    #[test]
    fn a_later_incarnation_at_the_same_address_replaces_the_earlier() -> TestResult {
        let mut changes = changes()?;
        changes.add_join(at(100), identity_in(2, 2), address(2), NO_VIEW);
        let proposal = filled(&changes, &view(1..=3)?)?;
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
        changes.add_join(at(100), identity_in(2, 2), address(9), NO_VIEW);
        assert!(filled(&changes, &view(1..=3)?)?.changes().is_empty());
        confirm(&mut changes, identity(2));
        let proposal = filled(&changes, &view(1..=3)?)?;
        let expected = [
            removed(2, ChangeReason::Failed),
            added(identity_in(2, 2), 9, 4),
        ];
        assert!(proposal.changes() == expected);
        Ok(())
    }

    #[test]
    fn members_and_their_earlier_incarnations_do_not_come_again() -> TestResult {
        let mut changes = changes()?;
        let mut view = view([1, 3])?;
        let again = MemberRecord {
            identity: identity_in(2, 5),
            ..member(2)
        };
        view.insert(again, false).map_err(|_| Unexpected)?;
        changes.add_join(at(100), identity_in(2, 5), address(2), NO_VIEW);
        assert!(filled(&changes, &view)?.changes().is_empty());
        changes.clear();
        changes.add_join(at(100), identity_in(2, 4), address(2), NO_VIEW);
        assert!(filled(&changes, &view)?.changes().is_empty());
        Ok(())
    }

    #[test]
    fn a_full_view_takes_as_many_as_go_and_no_slot_twice() -> TestResult {
        let most = NODES_MAX as u16;
        let mut changes = changes()?;
        let mut full = view(1..=most)?;
        changes.add_join(at(100), identity(most + 1), address(1), NO_VIEW);
        assert!(filled(&changes, &full)?.changes().is_empty());
        changes.add_join(at(100), identity(most + 2), address(1), NO_VIEW);
        full.remove(identity(7));
        let proposal = filled(&changes, &full)?;
        assert!(proposal.changes() == [added(identity(most + 1), 1, 7)]);
        Ok(())
    }

    #[test]
    fn a_new_view_forgets_what_it_has_carried_out() -> TestResult {
        let mut changes = changes()?;
        changes.add_join(at(100), identity(4), address(4), NO_VIEW);
        changes.add_join(at(100), identity(5), address(5), NO_VIEW);
        changes.add_leaver(at(100), identity(2), ChangeReason::Leave);
        confirm(&mut changes, identity(3));
        // The view had everything but node 5.
        changes.install(at(150), &view([1, 4])?, |_| false);
        assert_eq!(changes.due_at(), Some(at(150 + BATCHING_MS)));
        let proposal = filled(&changes, &view([1, 4])?)?;
        assert!(proposal.changes() == [added(identity(5), 5, 2)]);
        changes.install(at(160), &view([1, 4, 5])?, |_| false);
        assert_eq!(changes.due_at(), None);
        Ok(())
    }

    #[test]
    fn who_came_and_went_again_while_views_were_missed_does_not_wait_any_more() -> TestResult {
        let mut changes = changes()?;
        changes.add_join(at(100), identity_in(4, 1), address(4), NO_VIEW);
        changes.add_join(at(100), identity_in(5, 2), address(5), NO_VIEW);
        changes.install(at(150), &view(1..=3)?, |joiner| joiner == identity_in(4, 1));
        let proposal = filled(&changes, &view(1..=3)?)?;
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
    fn who_has_not_asked_again_for_long_is_not_let_in() -> TestResult {
        let (mut changes, view) = (changes()?, view(1..=3)?);
        changes.add_join(at(100), identity(4), address(4), NO_VIEW);
        changes.add_join(at(100), identity(5), address(5), NO_VIEW);
        changes.add_join(at(1500), identity(5), address(5), NO_VIEW);
        changes.update(at(100 + FRESHNESS_MS));
        assert_eq!(
            filled(&changes, &view)?.changes(),
            [added(identity(5), 5, 4)]
        );
        changes.update(at(1500 + FRESHNESS_MS));
        assert_eq!(changes.due_at(), None);
        Ok(())
    }
}
