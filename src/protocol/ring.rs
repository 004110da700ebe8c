// SPDX-License-Identifier: GPL-2.0

//! Who watches whom: K rings over a view's members. Pure functions of the list of members.
//!
//! Ring 0 is the order of node ids, the ring of the original paper. The others are orders by a hash
//! of the node id and the ring's number, so that neighbours on one ring are not neighbours on the
//! next, and a member that comes or goes changes few edges. Where two rings would give a node the
//! same successor, the later ring exchanges it for the one after, so that a node has as many
//! watchers as there are rings wherever that can be had cheaply. With at most K+1 members everybody
//! watches everybody.

use super::limits::{NODES_MAX, RINGS_MAX};
use super::random::mix;
use super::view::MemberRecord;
use crate::platform::{BoundedVec, OutOfMemory};

/// The edges of all rings, by positions in the list of members.
pub struct Rings {
    members: usize,
    rings: usize,
    /// For each ring one after the other: the successor of each position.
    successors: BoundedVec<u16>,
    /// The same for predecessors.
    predecessors: BoundedVec<u16>,
    order: BoundedVec<(u64, u16)>,
}

impl Rings {
    /// No edges. Allocates room for the largest view.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            members: 0,
            rings: 0,
            successors: BoundedVec::with_capacity(NODES_MAX * RINGS_MAX)?,
            predecessors: BoundedVec::with_capacity(NODES_MAX * RINGS_MAX)?,
            order: BoundedVec::with_capacity(NODES_MAX)?,
        })
    }

    /// Places `members` on `rings` rings.
    pub fn place(&mut self, members: &[MemberRecord], rings: u32) {
        let count = members.len();
        self.members = count;
        self.successors.clear();
        self.predecessors.clear();
        self.rings = (rings as usize).min(RINGS_MAX).min(count.saturating_sub(1));
        let everybody = count <= (rings as usize).saturating_add(1);
        for ring in 0..self.rings {
            if everybody {
                // Ring `r` has the edges to the member `r + 1` places further on.
                self.place_shifted(ring.saturating_add(1));
            } else {
                self.place_hashed(members, ring);
            }
        }
    }

    fn place_shifted(&mut self, shift: usize) {
        for position in 0..self.members {
            let to = position
                .saturating_add(shift)
                .checked_rem(self.members)
                .unwrap_or(0);
            let from = position
                .saturating_add(self.members)
                .saturating_sub(shift)
                .checked_rem(self.members)
                .unwrap_or(0);
            self.push_edge(to, from);
        }
    }

    fn push_edge(&mut self, successor: usize, predecessor: usize) {
        // Positions are below NODES_MAX and there is room for all rings.
        let _ = self
            .successors
            .push(u16::try_from(successor).unwrap_or(0))
            .and_then(|()| {
                self.predecessors
                    .push(u16::try_from(predecessor).unwrap_or(0))
            });
    }

    fn place_hashed(&mut self, members: &[MemberRecord], ring: usize) {
        self.order.clear();
        for (position, member) in members.iter().enumerate() {
            let node = u64::from(member.identity.node.number());
            let key = if ring == 0 {
                node
            } else {
                mix(node ^ ((ring as u64) << 32))
            };
            let _ = self.order.push((key, u16::try_from(position).unwrap_or(0)));
        }
        self.order.as_mut_slice().sort_unstable();
        self.part_repeated_neighbours();
        for _ in 0..self.members {
            self.push_edge(0, 0);
        }
        let base = ring.saturating_mul(self.members);
        let count = self.order.len();
        for place in 0..count {
            let next = place.saturating_add(1).checked_rem(count).unwrap_or(0);
            let (Some(from), Some(to)) = (self.order.get(place), self.order.get(next)) else {
                continue;
            };
            let (from, to) = (from.1, to.1);
            if let Some(edge) = self
                .successors
                .as_mut_slice()
                .get_mut(base.saturating_add(usize::from(from)))
            {
                *edge = to;
            }
            if let Some(edge) = self
                .predecessors
                .as_mut_slice()
                .get_mut(base.saturating_add(usize::from(to)))
            {
                *edge = from;
            }
        }
    }

    /// Where an earlier ring has the edge from a place to the next already, takes the one after as
    /// the next. One pass: the last edges of the ring may stay doubled.
    fn part_repeated_neighbours(&mut self) {
        let count = self.order.len();
        for place in 0..count.saturating_sub(2) {
            let next = place.saturating_add(1);
            for other in next..count {
                let (Some(from), Some(to)) = (self.order.get(place), self.order.get(other)) else {
                    break;
                };
                if !self.has_edge(from.1, to.1) {
                    self.order.as_mut_slice().swap(next, other);
                    break;
                }
            }
        }
    }

    fn has_edge(&self, from: u16, to: u16) -> bool {
        self.successors
            .chunks_exact(self.members.max(1))
            .any(|ring| ring.get(usize::from(from)) == Some(&to))
    }

    /// The positions that get heartbeats from `position` (and watch it), ring by ring; one may come
    /// twice.
    pub fn successors(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        Self::edges(&self.successors, self.members, position)
    }

    /// The positions that `position` watches, ring by ring; one may come twice.
    pub fn predecessors(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        Self::edges(&self.predecessors, self.members, position)
    }

    fn edges(
        edges: &BoundedVec<u16>,
        members: usize,
        position: usize,
    ) -> impl Iterator<Item = usize> + '_ {
        edges
            .chunks_exact(members.max(1))
            .filter_map(move |ring| ring.get(position))
            .map(|edge| usize::from(*edge))
    }
}
