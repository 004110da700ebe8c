// SPDX-License-Identifier: GPL-2.0

//! Whole views: sending one in parts to nodes that join or have missed some, and putting the parts
//! together.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::{
    DEPARTURES_IN_PART_MAX, DEPARTURES_MAX, HEADER_BYTES, NODES_MAX, PART_ENTRIES_MAX,
    TRANSMIT_BYTES_MAX,
};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::{write_view_part, ViewPart, ViewPartHead};
use crate::protocol::wire::Kind;

/// Room that a transfer leaves to others in the transmit queue.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 2;

/// Who went lately and why: told to those who missed it.
pub(super) struct Departures(BoundedVec<(Identity, ChangeReason)>);

impl Departures {
    /// Nobody yet.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(DEPARTURES_MAX)?))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Remembers one; the oldest is forgotten.
    pub(super) fn add(&mut self, subject: Identity, reason: ChangeReason) {
        if self.0.iter().any(|(known, _)| *known == subject) {
            return;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        let _ = self.0.push((subject, reason));
    }

    /// Why `subject` went; failed if that is not known.
    pub(super) fn reason(&self, subject: Identity) -> ChangeReason {
        self.0
            .iter()
            .find(|(known, _)| *known == subject)
            .map_or(ChangeReason::Failed, |(_, reason)| *reason)
    }

    /// All of them.
    pub(super) fn all(&self) -> &[(Identity, ChangeReason)] {
        &self.0
    }

    fn latest(&self) -> &[(Identity, ChangeReason)] {
        let start = self.0.len().saturating_sub(DEPARTURES_IN_PART_MAX);
        self.0.get(start..).unwrap_or_default()
    }
}

/// Nodes that the present view is being sent to, and how far.
pub(super) struct Transfers(BoundedVec<(PeerAddress, u16)>);

impl Transfers {
    /// Nobody.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// Nobody any more: the view has changed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Begins to send the view to `to`, unless that is under way.
    pub(super) fn begin(&mut self, to: PeerAddress) {
        if !self.0.iter().any(|(address, _)| *address == to) {
            let _ = self.0.push((to, 0));
        }
    }

    /// Sends as many parts as there is room for.
    pub(super) fn pump(
        &mut self,
        view: &ClusterView,
        departures: &Departures,
        outbox: &mut Outbox,
    ) {
        let parts = view.count().div_ceil(PART_ENTRIES_MAX).max(1);
        while outbox.transmit_room() > ROOM_KEPT_BYTES {
            let Some((to, part)) = self.0.as_mut_slice().last_mut() else {
                return;
            };
            let start = usize::from(*part).saturating_mul(PART_ENTRIES_MAX);
            let head = ViewPartHead {
                number: view.number,
                issuer: view.issuer,
                part: *part,
                parts: u16::try_from(parts).unwrap_or(u16::MAX),
                members_total: u16::try_from(view.count()).unwrap_or(u16::MAX),
                departures: if *part == 0 { departures.latest() } else { &[] },
            };
            let members = view
                .members()
                .iter()
                .skip(start)
                .take(PART_ENTRIES_MAX)
                .map(|member| (*member, view.is_reporter(member.identity.node)));
            outbox.send([&*to], Kind::ViewPart, |writer| {
                write_view_part(writer, &head, members)
            });
            *part = part.saturating_add(1);
            if usize::from(*part) >= parts {
                self.0.pop();
            }
        }
    }
}

/// A view that comes in parts.
pub(super) struct Assembly {
    view: ClusterView,
    parts: u16,
    members_total: u16,
    present: u64,
}

/// Room needed for the head of a part; compile-time proof that `limits.rs` was thought through.
const _: () = assert!(HEADER_BYTES + 17 < PART_ENTRIES_MAX * 31);

impl Assembly {
    /// Nothing yet; `issuer` is any node.
    pub(super) fn empty(issuer: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            view: ClusterView::empty(issuer)?,
            parts: 0,
            members_total: 0,
            present: 0,
        })
    }

    /// Forgets all parts.
    pub(super) fn clear(&mut self) {
        self.view.clear();
        self.view.number = Default::default();
        self.parts = 0;
        self.present = 0;
    }

    /// Adds a part. The whole view once all are there; parts of an older view are left out, those
    /// of a newer one start anew.
    pub(super) fn add(&mut self, part: &ViewPart<'_>) -> Option<&ClusterView> {
        if part.number < self.view.number {
            return None;
        }
        if part.number != self.view.number
            || part.issuer != self.view.issuer
            || part.parts != self.parts
            || part.members_total != self.members_total
        {
            self.clear();
            self.view.number = part.number;
            self.view.issuer = part.issuer;
            self.parts = part.parts;
            self.members_total = part.members_total;
        }
        let bit = 1_u64.checked_shl(u32::from(part.part)).unwrap_or(0);
        if self.present & bit == 0 {
            for (member, reporter) in part.members {
                if self.view.insert(member, reporter).is_err() {
                    // Two parts with the same node: not one view.
                    self.clear();
                    return None;
                }
            }
            self.present |= bit;
        }
        let complete = self.view.count() == usize::from(self.members_total);
        (complete && self.present.count_ones() == u32::from(self.parts)).then_some(&self.view)
    }
}
