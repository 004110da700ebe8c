// SPDX-License-Identifier: GPL-2.0

//! A cluster view: the numbered, agreed list of nodes, and what follows from it alone: who
//! coordinates, and what a quorum is.
//!
//! Coordinators are spread evenly over the ring of node ids. Each has an arc of it, from its own
//! place up to the next coordinator's, and collects what happens to the nodes of its arc.

use super::identity::{Identity, NodeId, PeerAddress, Slot, ViewNumber};
use super::limits::NODES_MAX;
use crate::platform::{BoundedVec, OutOfMemory};

/// A node in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Which node, in which life.
    pub identity: Identity,
    /// Where it listens.
    pub address: PeerAddress,
    /// Its small stable number, from 1.
    pub slot: Slot,
}

/// A numbered, agreed list of nodes.
///
/// # Invariants
///
/// `members` is sorted by node id and has no node twice; `reporters` is as long as `members`.
#[derive(Debug)]
pub struct ClusterView {
    /// Grows with each view; zero while the list is being made.
    pub number: ViewNumber,
    /// The coordinator that issued it: with `number` it names the view.
    pub issuer: NodeId,
    members: BoundedVec<MemberRecord>,
    reporters: BoundedVec<bool>,
}

impl ClusterView {
    /// A view without members, with room for as many as a view may have.
    pub fn empty(issuer: NodeId) -> Result<Self, OutOfMemory> {
        // INVARIANT: both lists are empty.
        Ok(Self {
            number: ViewNumber::default(),
            issuer,
            members: BoundedVec::with_capacity(NODES_MAX)?,
            reporters: BoundedVec::with_capacity(NODES_MAX)?,
        })
    }

    /// The members, sorted by node id.
    pub fn members(&self) -> &[MemberRecord] {
        &self.members
    }

    /// Number of members.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// The member that is `node`, whatever its incarnation.
    pub fn member(&self, node: NodeId) -> Option<&MemberRecord> {
        self.members.get(self.position(node)?)
    }

    /// The place of `node` in the sorted list.
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.members
            .binary_search_by_key(&node, |record| record.identity.node)
            .ok()
    }

    /// Whether exactly this life of the node is a member.
    pub fn has(&self, identity: Identity) -> bool {
        self.member(identity.node)
            .is_some_and(|record| record.identity == identity)
    }

    /// Whether the node was in the view before this one and may hold messages of groups that
    /// others lack.
    pub fn is_reporter(&self, node: NodeId) -> bool {
        self.position(node)
            .and_then(|position| self.reporters.get(position))
            .copied()
            .unwrap_or(false)
    }

    /// Empties the list.
    pub fn clear(&mut self) {
        self.members.clear();
        self.reporters.clear();
    }

    /// Puts a member in its place, or gives it back if the node is there already or the list full.
    pub fn insert(&mut self, member: MemberRecord, reporter: bool) -> Result<(), MemberRecord> {
        let node = member.identity.node;
        let Err(place) = self
            .members
            .binary_search_by_key(&node, |record| record.identity.node)
        else {
            return Err(member);
        };
        self.members.insert(place, member)?;
        // INVARIANT: the same place in the other list, which is as long and has the same room.
        self.reporters.insert(place, reporter).map_err(|_| member)
    }

    /// Takes a member out.
    pub fn remove(&mut self, identity: Identity) -> Option<MemberRecord> {
        let place = self.position(identity.node)?;
        if !self.has(identity) {
            return None;
        }
        // INVARIANT: the same place in both lists.
        self.reporters.remove(place);
        self.members.remove(place)
    }

    /// Makes this list a copy of another one's.
    pub fn copy_from(&mut self, other: &ClusterView) -> Result<(), OutOfMemory> {
        self.clear();
        self.number = other.number;
        self.issuer = other.issuer;
        self.members.extend_from_slice(&other.members)?;
        self.reporters.extend_from_slice(&other.reporters)
    }

    /// Marks who reports: one bit for each member in order; members beyond the bits are marked.
    pub fn set_reporters(&mut self, bits: &[u8]) {
        for (position, reporter) in self.reporters.as_mut_slice().iter_mut().enumerate() {
            *reporter = bits
                .get(position / 8)
                .is_none_or(|byte| byte & (1_u8 << (position % 8)) != 0);
        }
    }

    /// The smallest slot that no member has.
    pub fn free_slot(&self) -> Slot {
        let mut slot: u16 = 1;
        // Members are few and this is done once for each node that joins.
        while self.members.iter().any(|member| member.slot.0 == slot) {
            slot = slot.saturating_add(1);
        }
        Slot(slot)
    }

    /// How many coordinators a view of this size has.
    fn coordinator_count(&self, wanted: u32) -> usize {
        (wanted as usize).min(self.members.len()).max(1)
    }

    /// The coordinators, in their order, which is also the order in which they may act.
    pub fn coordinators(&self, wanted: u32) -> impl Iterator<Item = &MemberRecord> + '_ {
        let count = self.coordinator_count(wanted);
        (0..count)
            .filter_map(move |index| self.members.get(self.coordinator_position(index, count)))
    }

    /// Whether `node` is a coordinator.
    pub fn is_coordinator(&self, node: NodeId, wanted: u32) -> bool {
        self.coordinators(wanted)
            .any(|member| member.identity.node == node)
    }

    fn coordinator_position(&self, index: usize, count: usize) -> usize {
        index
            .saturating_mul(self.members.len())
            .checked_div(count)
            .unwrap_or(0)
    }

    /// The coordinators in the order in which one would ask them about `node`: the one whose arc
    /// holds the node's place on the ring first, then on along the ring.
    pub fn coordinators_for(
        &self,
        node: NodeId,
        wanted: u32,
    ) -> impl Iterator<Item = &MemberRecord> + '_ {
        let count = self.coordinator_count(wanted);
        let place = self
            .members
            .binary_search_by_key(&node, |record| record.identity.node)
            .unwrap_or_else(|place| place);
        let mut first = 0;
        for index in 0..count {
            if self.coordinator_position(index, count) <= place {
                first = index;
            }
        }
        (0..count).filter_map(move |step| {
            let index = first.saturating_add(step).checked_rem(count)?;
            self.members.get(self.coordinator_position(index, count))
        })
    }

    /// Whether `votes` of this view's members, among them its lowest node or not, are a quorum:
    /// more than half, or exactly half with the lowest node. Any two quorums share a member.
    pub fn is_quorum(&self, votes: usize, with_lowest: bool) -> bool {
        is_quorum(votes, self.members.len(), with_lowest)
    }
}

/// Whether `votes` of `all` are more than half, or exactly half with the lowest node.
pub fn is_quorum(votes: usize, all: usize, with_lowest: bool) -> bool {
    let doubled = votes.saturating_mul(2);
    doubled > all || (doubled == all && with_lowest)
}
