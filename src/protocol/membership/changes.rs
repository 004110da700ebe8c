// SPDX-License-Identifier: GPL-2.0

//! What this node has been told that the next view has to change: who is dead, who wants to come,
//! who wants to go. Every member keeps it, coordinators mostly, so that any of them can take over.

use super::doubts::Doubts;
use super::proposal::Proposal;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, PeerAddress};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::Change;

/// Changes that wait for the next view.
pub(super) struct Changes {
    /// Who may be dead.
    pub(super) doubts: Doubts,
    joins: BoundedVec<(Identity, PeerAddress)>,
    leaves: BoundedVec<Identity>,
    /// When the oldest of the present changes came.
    since: Option<Instant>,
    batching: Duration,
    settling: Duration,
}

impl Changes {
    /// No changes. They are collected for `batching`, and for `settling` at most while somebody is
    /// suspected and neither confirmed nor cleared.
    pub(super) fn new(
        doubts: Doubts,
        batching: Duration,
        settling: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            doubts,
            joins: BoundedVec::with_capacity(NODES_MAX)?,
            leaves: BoundedVec::with_capacity(NODES_MAX)?,
            since: None,
            batching,
            settling,
        })
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.doubts.clear();
        self.joins.clear();
        self.leaves.clear();
        self.since = None;
    }

    /// A view was installed: forgets what it has carried out.
    pub(super) fn install(&mut self, now: Instant, view: &ClusterView) {
        // Watchers say again what they still have to say.
        self.doubts.clear();
        self.leaves.retain(|subject| view.has(*subject));
        self.joins.retain(|(joiner, _)| {
            view.member(joiner.node)
                .is_none_or(|member| member.identity.incarnation < joiner.incarnation)
        });
        self.since = self.is_any().then_some(now);
    }

    /// To be called when `doubts` may have got a confirmed subject.
    pub(super) fn update(&mut self, now: Instant) {
        if !self.is_any() && !self.doubts.is_overdue(now) {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// Whether there is anything to be changed.
    fn is_any(&self) -> bool {
        !self.joins.is_empty() || !self.leaves.is_empty() || self.doubts.has_confirmed()
    }

    /// A node wants to come in.
    pub(super) fn add_join(&mut self, now: Instant, joiner: Identity, address: PeerAddress) {
        match self
            .joins
            .as_mut_slice()
            .iter_mut()
            .find(|(known, _)| known.node == joiner.node)
        {
            Some(known) if known.0.incarnation <= joiner.incarnation => *known = (joiner, address),
            Some(_) => {}
            None => {
                let _ = self.joins.push((joiner, address));
            }
        }
        self.update(now);
    }

    /// A member wants to go. Whether that is news.
    pub(super) fn add_leave(&mut self, now: Instant, subject: Identity) -> bool {
        let news = !self.leaves.contains(&subject);
        if news {
            let _ = self.leaves.push(subject);
        }
        self.update(now);
        news
    }

    /// Whether the member wants to go.
    pub(super) fn is_leaving(&self, subject: Identity) -> bool {
        self.leaves.contains(&subject)
    }

    /// When the collected changes are to be proposed, by the first in line.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let wait = if self.doubts.is_unsettled() {
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
            if self.leaves.contains(&subject) {
                Some(ChangeReason::Leave)
            } else if is_dead(subject) {
                Some(ChangeReason::Failed)
            } else {
                None
            }
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
        for (joiner, address) in self.joins.iter() {
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

    /// A later life of the member, at the same address, that wants to come in.
    fn successor(&self, view: &ClusterView, member: &MemberRecord) -> Option<Identity> {
        debug_assert!(view.has(member.identity));
        self.joins
            .iter()
            .find(|(joiner, address)| {
                joiner.node == member.identity.node
                    && joiner.incarnation > member.identity.incarnation
                    && *address == member.address
            })
            .map(|(joiner, _)| *joiner)
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
