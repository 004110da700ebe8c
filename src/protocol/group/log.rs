// SPDX-License-Identifier: GPL-2.0

//! The ordered entries of a group in one cluster view (an *epoch*), as far as one node holds them.
//!
//! ```text
//!   1 ... dropped | ... delivered | ... released | ... accepted | ... received |  gaps  ... highest
//!         stable,   in order        the nodes of   acknowledged   no gap before
//!         delivered                 the senders
//!                                   hold it
//! ```
//!
//! `accepted` stops behind a view entry until that is delivered: a node acknowledges a message only when it knows the
//! view that the message belongs to. An entry stays here after its delivery until all participants are known to hold
//! it, since another node may still need it from this one ([`super::flush`]).
//!
//! [`super::release`] says when an entry may be delivered.

use super::entry::{Entry, ViewEntry};
use super::release::{may_overtake, ReleaseRule};
use crate::platform::{breaks, BoundedVec, OutOfMemory, Shared};
use crate::protocol::identity::{MemberId, NodeId, ViewKey, ViewNumber};
use crate::protocol::limits::{GROUP_LOG_BYTES_MAX, GROUP_LOG_ENTRIES_MAX, GROUP_MEMBERS_MAX};
use crate::protocol::outputs::Order;
use crate::protocol::rules::Rule;

/// An entry, and what this node knows of it.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
struct Kept {
    entry: Entry,
    /// The member that sent it, known once it is accepted.
    sender: Option<MemberId>,
    /// It was delivered before its turn.
    is_delivered: bool,
}

/// The entries of one epoch.
///
/// # Invariants
///
/// `dropped <= delivered <= accepted <= received <= highest`, `delivered <= released <= accepted` except while an epoch
/// that is over is delivered; entries lie in `(dropped, dropped + capacity]` and all of `(dropped, received]` are there.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Log {
    /// The number of the cluster view.
    pub(super) epoch: ViewNumber,
    /// The cluster view, which no other component has. (Two components may have views of the same number.)
    pub(super) cluster_view: ViewKey,
    ring: BoundedVec<Option<Kept>>,
    /// Everything up to here was delivered, is held by all participants, and was dropped.
    dropped: u64,
    /// Everything up to here was delivered.
    pub(super) delivered: u64,
    /// All participants are known to hold everything up to here.
    pub(super) stable: u64,
    /// For everything up to here, the node of its sender is known to hold the log up to it.
    pub(super) released: u64,
    /// Everything up to here may be acknowledged.
    pub(super) accepted: u64,
    received: u64,
    highest: u64,
    bytes: usize,
    /// How far other nodes are known to have accepted.
    holders: BoundedVec<(NodeId, u64)>,
    /// The last accepted message of a member of this node.
    pub(super) last_own: u64,
    /// The last accepted view.
    pub(super) last_view: u64,
    /// The last entry that waits until all participants hold it: a message that is to be delivered as safe.
    pub(super) last_safe: u64,
    /// Accepted messages that may be delivered before their turn, and are not delivered.
    overtakers: u64,
    /// The last message that was delivered before its turn and that others may depend on.
    furthest_causal: u64,
    /// The view in force after the last delivered entry.
    pub(super) view: Option<Shared<ViewEntry>>,
}

impl Log {
    /// A log that begins behind position `before`. Allocates.
    pub(super) fn new(
        epoch: ViewNumber,
        cluster_view: ViewKey,
        before: u64,
    ) -> Result<Self, OutOfMemory> {
        let mut ring = BoundedVec::with_capacity(GROUP_LOG_ENTRIES_MAX)?;
        while ring.push(None).is_ok() {}
        Ok(Self {
            epoch,
            cluster_view,
            ring,
            dropped: before,
            delivered: before,
            stable: before,
            released: before,
            accepted: before,
            received: before,
            highest: before,
            bytes: 0,
            holders: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            last_own: before,
            last_view: before,
            last_safe: before,
            overtakers: 0,
            furthest_causal: 0,
            view: None,
        })
    }

    fn place(&self, position: u64) -> usize {
        (position % GROUP_LOG_ENTRIES_MAX as u64) as usize
    }

    fn is_inside(&self, position: u64) -> bool {
        position > self.dropped
            && position <= self.dropped.saturating_add(GROUP_LOG_ENTRIES_MAX as u64)
    }

    fn kept(&self, position: u64) -> Option<&Kept> {
        if !self.is_inside(position) {
            return None;
        }
        self.ring.get(self.place(position))?.as_ref()
    }

    fn kept_mut(&mut self, position: u64) -> Option<&mut Kept> {
        if !self.is_inside(position) {
            return None;
        }
        let place = self.place(position);
        self.ring.as_mut_slice().get_mut(place)?.as_mut()
    }

    /// The entry at a position if it is here.
    pub(super) fn entry(&self, position: u64) -> Option<&Entry> {
        self.kept(position).map(|kept| &kept.entry)
    }

    fn take(&mut self, position: u64) {
        if !self.is_inside(position) {
            return;
        }
        let place = self.place(position);
        let kept = self
            .ring
            .as_mut_slice()
            .get_mut(place)
            .and_then(Option::take);
        if let Some(kept) = kept {
            self.bytes = self.bytes.saturating_sub(kept.entry.bytes());
        }
    }

    /// Whether [`Self::put`] would keep an entry at the position.
    pub(super) fn wants(&self, position: u64) -> bool {
        self.is_inside(position) && self.entry(position).is_none()
    }

    /// Put an entry into its place. Does nothing where an entry is already, or where there is no room.
    pub(super) fn put(&mut self, position: u64, entry: Entry) {
        if !self.wants(position) {
            return;
        }
        self.bytes = self.bytes.saturating_add(entry.bytes());
        let place = self.place(position);
        if let Some(slot) = self.ring.as_mut_slice().get_mut(place) {
            *slot = Some(Kept {
                entry,
                sender: None,
                is_delivered: false,
            });
        }
        self.highest = self.highest.max(position);
        while self.entry(self.received.saturating_add(1)).is_some() {
            self.received = self.received.saturating_add(1);
        }
    }

    /// Drop what was not accepted: the epoch is over. If it counts, another node hands it over.
    pub(super) fn forget_unaccepted(&mut self) {
        for position in self.accepted.saturating_add(1)..=self.highest {
            self.take(position);
        }
        self.received = self.accepted;
        self.highest = self.accepted;
    }

    /// Accept one more entry. Returns its position, or `None` if none may be accepted. With `passes_views` an entry
    /// behind a view that is not delivered yet may be accepted.
    pub(super) fn accept_next(&mut self, own: NodeId, passes_views: bool) -> Option<u64> {
        if self.accepted >= self.received {
            return None;
        }
        let waits = !passes_views
            && self.accepted > self.delivered
            && matches!(self.entry(self.accepted), Some(Entry::View(_)));
        if waits {
            return None;
        }
        let position = self.accepted.saturating_add(1);
        self.accepted = position;
        if passes_views {
            // Which view is in force at the entry is known only when those before it are delivered.
            return Some(position);
        }
        if let Some(Entry::View(_)) = self.entry(position) {
            self.last_view = position;
        }
        if let Some(Entry::Data { slot, part, .. }) = self.entry(position) {
            let (slot, part) = (*slot, *part);
            let sender = self.view.as_ref().and_then(|view| view.member(slot));
            if let Some(kept) = self.kept_mut(position) {
                kept.sender = sender;
            }
            if sender.is_some_and(|sender| sender.node == own) {
                self.last_own = position;
            }
            if part.order == Order::Safe {
                self.last_safe = position;
            }
            if may_overtake(part.order) && part.fragment == 0 {
                self.overtakers = self.overtakers.saturating_add(1);
            }
        }
        Some(position)
    }

    /// The member that sent the accepted entry at a position, in the view that is in force there.
    pub(super) fn sender(&self, position: u64) -> Option<MemberId> {
        let kept = self.kept(position)?;
        if kept.sender.is_some() {
            return kept.sender;
        }
        let Entry::Data { slot, .. } = &kept.entry else {
            return None;
        };
        self.view.as_ref()?.member(*slot)
    }

    // ---- what other nodes hold ----------------------------------------------------------------

    /// A node has accepted everything up to `position`.
    pub(super) fn note_holder(&mut self, node: NodeId, position: u64) {
        let mut holders = self.holders.as_mut_slice().iter_mut();
        match holders.find(|(known, _)| *known == node) {
            Some((_, held)) => *held = (*held).max(position),
            // The list has room for the nodes of all members; others hold nothing that matters.
            None => {
                let view = self.view.as_ref();
                if self.holders.is_full() {
                    self.holders
                        .retain(|(known, _)| view.is_some_and(|view| view.has_node(*known)));
                }
                let _ = self.holders.push((node, position));
            }
        }
    }

    /// Whether a node is known to hold everything up to `position`.
    fn is_held_by(&self, own: NodeId, node: NodeId, position: u64) -> bool {
        node == own && position <= self.accepted
            || position <= self.stable
            || self
                .holders
                .iter()
                .any(|(known, held)| *known == node && *held >= position)
    }

    /// Advance `released` as far as the senders' nodes are known to hold the entries.
    pub(super) fn release(&mut self, own: NodeId, rule: ReleaseRule) {
        self.released = self.released.max(self.stable.min(self.accepted));
        if breaks(Rule::ReleaseWaitsForSender) {
            self.released = self.accepted;
        }
        if rule == ReleaseRule::AllHold {
            return;
        }
        while self.released < self.accepted {
            if self.released > self.delivered
                && matches!(self.entry(self.released), Some(Entry::View(_)))
            {
                // Slots behind a view are known only when it is in force.
                return;
            }
            let position = self.released.saturating_add(1);
            let sender = match self.entry(position) {
                Some(Entry::View(view)) => Some(view.coordinator),
                _ => self.sender(position).map(|sender| sender.node),
            };
            let is_held = sender.is_none_or(|node| self.is_held_by(own, node, position));
            if !is_held {
                return;
            }
            self.released = position;
        }
    }

    /// The coordinator announced that everything up to `position` is released.
    pub(super) fn hear_released(&mut self, position: u64) {
        self.released = self.released.max(position.min(self.accepted));
    }

    // ---- delivering ---------------------------------------------------------------------------

    /// The last position of the message that begins at `first`.
    pub(super) fn last_of(&self, first: u64) -> u64 {
        let fragments = match self.entry(first) {
            Some(Entry::Data { part, .. }) => u64::from(part.fragments),
            _ => 1,
        };
        first.saturating_add(fragments).saturating_sub(1)
    }

    /// Whether the message or view at the first position that is not delivered may be delivered in its turn.
    pub(super) fn is_deliverable(&self, first: u64) -> bool {
        let last = self.last_of(first);
        let is_stable = match self.entry(first) {
            Some(Entry::Data { part, .. }) => {
                part.order != Order::Safe || last <= self.stable || breaks(Rule::SafeWaitsForAll)
            }
            _ => true,
        };
        last <= self.released && is_stable
    }

    /// Whether the entry was delivered before its turn.
    pub(super) fn is_delivered_early(&self, position: u64) -> bool {
        self.kept(position).is_some_and(|kept| kept.is_delivered)
    }

    /// The first message that may be delivered before its turn: one of a weaker order, whose sender's node holds the log
    /// up to it, behind all earlier messages of its sender and all that it depends on.
    pub(super) fn next_overtaker(&self, own: NodeId, rule: ReleaseRule) -> Option<u64> {
        if self.overtakers == 0 || rule == ReleaseRule::AllHold {
            return None;
        }
        let mut first = self.delivered.saturating_add(1);
        while first <= self.accepted {
            let Some(Entry::Data { part, .. }) = self.entry(first) else {
                return None;
            };
            let last = self.last_of(first);
            if last > self.accepted {
                return None;
            }
            if may_overtake(part.order) && !self.is_delivered_early(first) {
                let sender = self.sender(first);
                let is_held = sender.is_some_and(|sender| self.is_held_by(own, sender.node, last));
                let is_next = || {
                    (self.delivered.saturating_add(1)..first).all(|before| {
                        self.is_delivered_early(before) || self.sender(before) != sender
                    })
                };
                let has_past = part.after <= self.delivered || breaks(Rule::CausalWaitsForPast);
                if is_held && has_past && (is_next() || breaks(Rule::FifoOvertakesNotItself)) {
                    return Some(first);
                }
            }
            first = last.saturating_add(1);
        }
        None
    }

    /// The message from `first` to `last` was delivered before its turn.
    pub(super) fn deliver_early(&mut self, first: u64, last: u64) {
        if matches!(self.entry(first), Some(Entry::Data { part, .. }) if part.order == Order::Causal)
        {
            self.furthest_causal = self.furthest_causal.max(last);
        }
        self.overtakers = self.overtakers.saturating_sub(1);
        for position in first..=last {
            if let Some(kept) = self.kept_mut(position) {
                kept.is_delivered = true;
            }
        }
    }

    /// Everything up to `position` was delivered. The entries stay until they are stable.
    pub(super) fn deliver_up_to(&mut self, position: u64) {
        for next in self.delivered.saturating_add(1)..=position {
            let is_overtaker = matches!(
                self.kept(next),
                Some(Kept { entry: Entry::Data { part, .. }, is_delivered: false, .. })
                    if may_overtake(part.order) && part.fragment == 0
            );
            if is_overtaker {
                self.overtakers = self.overtakers.saturating_sub(1);
            }
        }
        self.delivered = self.delivered.max(position);
        self.released = self.released.max(self.delivered);
    }

    /// What a message depends on that is sent now: everything up to this position.
    pub(super) fn causal_past(&self) -> u64 {
        self.delivered.max(self.furthest_causal)
    }

    /// Drop what was delivered and is stable.
    pub(super) fn drop_stable(&mut self) {
        let end = match breaks(Rule::KeepUntilStable) {
            true => self.delivered,
            false => self.delivered.min(self.stable),
        };
        while self.dropped < end {
            let position = self.dropped.saturating_add(1);
            self.take(position);
            self.dropped = position;
        }
    }

    /// The position up to which there is no gap.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The first and last position of the first gap.
    pub(super) fn gap(&self) -> Option<(u64, u64)> {
        if self.received >= self.highest {
            return None;
        }
        let first = self.received.saturating_add(1);
        let mut last = first;
        while last < self.highest && self.entry(last.saturating_add(1)).is_none() {
            last = last.saturating_add(1);
        }
        Some((first, last))
    }

    /// The coordinator announced that there are entries up to here.
    pub(super) fn note_highest(&mut self, position: u64) {
        let limit = self.dropped.saturating_add(GROUP_LOG_ENTRIES_MAX as u64);
        self.highest = self.highest.max(position.min(limit));
    }

    /// The number of entries that are kept.
    pub(super) fn length(&self) -> u64 {
        self.highest.saturating_sub(self.dropped)
    }

    /// Whether a coordinator may add so many entries.
    pub(super) fn has_room(&self, entries: usize) -> bool {
        self.length().saturating_add(entries as u64) <= GROUP_LOG_ENTRIES_MAX as u64
            && self.bytes < GROUP_LOG_BYTES_MAX
    }

    /// The view that is in force after the last accepted entry.
    pub(super) fn accepted_view(&self) -> Option<&Shared<ViewEntry>> {
        let first = self.delivered.saturating_add(1);
        (first..=self.accepted)
            .rev()
            .find_map(|position| match self.entry(position) {
                Some(Entry::View(view)) => Some(view),
                _ => None,
            })
            .or(self.view.as_ref())
    }
}
