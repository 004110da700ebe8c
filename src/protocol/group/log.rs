// SPDX-License-Identifier: GPL-2.0

//! The ordered entries of a group in one cluster view (an *epoch*), as far as one node holds them.
//!
//! ```text
//!   1 ... delivered | ... stable | ... accepted | ... received |  gaps  ... highest
//!         dropped     all hold     acknowledged   no gap before
//!                     them
//! ```
//!
//! `accepted` stops behind a view entry until that is delivered: a node acknowledges a message only when it knows the
//! view that the message belongs to.

use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::GroupMember;
use crate::protocol::identity::{MemberId, NodeId, Slot, ViewKey, ViewNumber};
use crate::protocol::limits::{GROUP_LOG_BYTES_MAX, GROUP_LOG_ENTRIES_MAX};
use crate::protocol::outputs::ChangeReason;
use crate::protocol::wire::group::{
    write_data_entry, write_view, write_view_head, Arrival, Part, TransitionalSet, ViewBody,
};
use crate::protocol::wire::Writer;

/// A group view as an entry of the log.
#[derive(Debug)]
pub(super) struct ViewEntry {
    pub(super) number: ViewNumber,
    pub(super) coordinator: NodeId,
    /// Sorted by node and endpoint.
    pub(super) members: BoundedVec<GroupMember>,
    /// For each member how it arrived.
    pub(super) arrivals: BoundedVec<Arrival>,
    /// The slots in the view before of members that are not in this one.
    pub(super) left: BoundedVec<(Slot, ChangeReason)>,
    /// The transitional sets of members that arrive from other components.
    pub(super) sets: BoundedVec<TransitionalSet>,
}

impl ViewEntry {
    /// Copy a view from a datagram.
    pub(super) fn from_body(body: &ViewBody<'_>) -> Result<Shared<Self>, OutOfMemory> {
        let mut members = BoundedVec::with_capacity(body.member_count)?;
        let mut arrivals = BoundedVec::with_capacity(body.member_count)?;
        for (id, slot, arrival) in body.members() {
            members
                .push(GroupMember { id, slot })
                .map_err(|_| OutOfMemory)?;
            arrivals.push(arrival).map_err(|_| OutOfMemory)?;
        }
        let mut left = BoundedVec::with_capacity(body.left_count())?;
        for entry in body.left() {
            left.push(entry).map_err(|_| OutOfMemory)?;
        }
        let mut sets = BoundedVec::with_capacity(body.set_count())?;
        for set in body.sets() {
            sets.push(set).map_err(|_| OutOfMemory)?;
        }
        Shared::try_new(Self {
            number: body.number,
            coordinator: body.coordinator,
            members,
            arrivals,
            left,
            sets,
        })
    }

    /// Whether the member is in the view.
    pub(super) fn has(&self, member: MemberId) -> bool {
        self.members.iter().any(|known| known.id == member)
    }

    /// Whether the node has a member in the view.
    pub(super) fn has_node(&self, node: NodeId) -> bool {
        self.members.iter().any(|known| known.id.node == node)
    }

    /// The member that has the slot.
    pub(super) fn member(&self, slot: Slot) -> Option<MemberId> {
        let found = self.members.iter().find(|known| known.slot == slot);
        found.map(|known| known.id)
    }

    /// The slot of a member.
    pub(super) fn slot(&self, member: MemberId) -> Option<Slot> {
        let found = self.members.iter().find(|known| known.id == member);
        found.map(|known| known.slot)
    }

    /// The members, each with how it arrived.
    pub(super) fn arrivals(&self) -> impl ExactSizeIterator<Item = (&GroupMember, Arrival)> + '_ {
        self.members.iter().zip(self.arrivals.iter().copied())
    }

    /// The index of the transitional set that the member arrived with, if it is from another component.
    pub(super) fn set_of(&self, member: MemberId) -> Option<u8> {
        self.arrivals().find_map(|(known, arrival)| match arrival {
            Arrival::Together(place) if known.id == member => Some(place),
            _ => None,
        })
    }

    /// The nodes that have members, each once, in order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut last = None;
        self.members.iter().filter_map(move |member| {
            let node = member.id.node;
            let is_next = last != Some(node);
            last = Some(node);
            is_next.then_some(node)
        })
    }

    /// Write the view's body.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        let members = self
            .arrivals()
            .map(|(member, arrival)| (member.id, member.slot, arrival));
        write_view(
            writer,
            self.number,
            self.coordinator,
            members,
            &self.left,
            &self.sets,
        )
    }
}

/// One entry.
#[derive(Debug)]
pub(super) enum Entry {
    /// A fragment of a message of the member with this slot.
    Data {
        slot: Slot,
        part: Part,
        bytes: BoundedVec<u8>,
    },
    /// A new view.
    View(Shared<ViewEntry>),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len(),
            Self::View(_) => 0,
        }
    }

    /// The most bytes that [`Self::write`] writes.
    pub(super) fn written_bytes(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len().saturating_add(32),
            Self::View(view) => view
                .members
                .len()
                .saturating_mul(16)
                .saturating_add(view.left.len().saturating_mul(2))
                .saturating_add(view.sets.len().saturating_mul(16))
                .saturating_add(32),
        }
    }

    /// Write the entry.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        match self {
            Self::Data { slot, part, bytes } => write_data_entry(writer, *slot, part, bytes),
            Self::View(view) => {
                write_view_head(writer)?;
                view.write(writer)
            }
        }
    }
}

/// The entries of one epoch.
///
/// # Invariants
///
/// `delivered <= accepted <= received <= highest`; entries lie in `(delivered, delivered + capacity]`
/// and all of `(delivered, received]` are there.
pub(super) struct Log {
    /// The number of the cluster view.
    pub(super) epoch: ViewNumber,
    /// The cluster view, which no other component has. (Two components may have views of the same number.)
    pub(super) cluster_view: ViewKey,
    ring: BoundedVec<Option<Entry>>,
    /// Everything up to here was delivered and dropped.
    pub(super) delivered: u64,
    /// All participants are known to hold everything up to here.
    pub(super) stable: u64,
    /// Everything up to here may be acknowledged.
    pub(super) accepted: u64,
    received: u64,
    highest: u64,
    bytes: usize,
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
            delivered: before,
            stable: before,
            accepted: before,
            received: before,
            highest: before,
            bytes: 0,
            view: None,
        })
    }

    fn place(&self, position: u64) -> usize {
        (position % GROUP_LOG_ENTRIES_MAX as u64) as usize
    }

    fn is_inside(&self, position: u64) -> bool {
        position > self.delivered
            && position <= self.delivered.saturating_add(GROUP_LOG_ENTRIES_MAX as u64)
    }

    /// The entry at a position if it is here and not delivered yet.
    pub(super) fn entry(&self, position: u64) -> Option<&Entry> {
        if !self.is_inside(position) {
            return None;
        }
        self.ring.get(self.place(position))?.as_ref()
    }

    /// Take out an entry to deliver it.
    pub(super) fn take(&mut self, position: u64) -> Option<Entry> {
        if !self.is_inside(position) {
            return None;
        }
        let place = self.place(position);
        let entry = self.ring.as_mut_slice().get_mut(place)?.take()?;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
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
            *slot = Some(entry);
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
    pub(super) fn accept_next(&mut self, passes_views: bool) -> Option<u64> {
        if self.accepted >= self.received {
            return None;
        }
        let waits = !passes_views
            && self.accepted > self.delivered
            && matches!(self.entry(self.accepted), Some(Entry::View(_)));
        if waits {
            return None;
        }
        self.accepted = self.accepted.saturating_add(1);
        Some(self.accepted)
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
        let limit = self.delivered.saturating_add(GROUP_LOG_ENTRIES_MAX as u64);
        self.highest = self.highest.max(position.min(limit));
    }

    /// The number of entries that are kept.
    pub(super) fn length(&self) -> u64 {
        self.highest.saturating_sub(self.delivered)
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
