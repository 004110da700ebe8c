// SPDX-License-Identifier: GPL-2.0

//! The entries of a group's log: fragments of messages, and the group's views.

use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::GroupMember;
use crate::protocol::identity::{MemberId, NodeId, Slot, ViewNumber};
use crate::protocol::outputs::{ChangeReason, Order, Payload};
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

/// Bytes of a data entry before its payload: its kind, the slot, the part without what a causal message depends on, and
/// the length.
const DATA_HEAD_BYTES: usize = 1 + 2 + 13 + 2;

/// One entry.
#[derive(Debug)]
pub(super) enum Entry {
    /// A fragment of a message of the member with this slot.
    Data {
        slot: Slot,
        part: Part,
        bytes: Payload,
    },
    /// A new view.
    View(Shared<ViewEntry>),
}

impl Entry {
    /// The bytes of its payload.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Data { bytes, .. } => bytes.len(),
            Self::View(_) => 0,
        }
    }

    /// The most bytes that [`Self::write`] writes.
    pub(super) fn written_bytes(&self) -> usize {
        match self {
            Self::Data { bytes, part, .. } => {
                let head = match part.order {
                    Order::Causal => DATA_HEAD_BYTES + 8,
                    _ => DATA_HEAD_BYTES,
                };
                bytes.len().saturating_add(head)
            }
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

/// Copy the bytes of a message, or of a fragment of one.
pub(super) fn copy(bytes: &[u8]) -> Result<Payload, OutOfMemory> {
    let mut copy = BoundedVec::with_capacity(bytes.len())?;
    copy.extend_from_slice(bytes)?;
    Shared::try_new(copy)
}
