// SPDX-License-Identifier: GPL-2.0

//! Which nodes monitor which: K rings over the members of a view, as in Rapid (Suresh et al., 2018). The edges follow
//! from the list of members alone.
//!
//! Each node monitors its predecessors on the rings. Ring 0 is the order of node ids, the ring of the original paper.
//! The others are ordered by a hash of the node id and the ring's number, so that neighbours on one ring are not
//! neighbours on the next, and a member that joins or leaves changes few edges. If two rings would give a node the same
//! successor, the later ring exchanges it for the one after, so that a node has as many monitors as there are rings
//! wherever that is cheap. With at most K+1 members every node monitors every other.

use super::limits::{NODES_MAX, RINGS_MAX};
use super::random::mix;
use super::view::MemberRecord;
use crate::platform::{BoundedVec, OutOfMemory};

/// The edges of all rings, by positions in the list of members.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub struct Rings {
    members: usize,
    rings: usize,
    /// The successor of each position, ring after ring.
    successors: BoundedVec<u16>,
    /// The predecessor of each position, ring after ring.
    predecessors: BoundedVec<u16>,
    order: BoundedVec<(u64, u16)>,
}

impl Rings {
    /// Make rings without edges. Allocates room for the largest view.
    pub fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            members: 0,
            rings: 0,
            successors: BoundedVec::with_capacity(NODES_MAX * RINGS_MAX)?,
            predecessors: BoundedVec::with_capacity(NODES_MAX * RINGS_MAX)?,
            order: BoundedVec::with_capacity(NODES_MAX)?,
        })
    }

    /// Place `members` on `rings` rings.
    pub fn place(&mut self, members: &[MemberRecord], rings: u32) {
        let count = members.len();
        self.members = count;
        self.successors.clear();
        self.predecessors.clear();
        self.rings = (rings as usize).min(RINGS_MAX).min(count.saturating_sub(1));
        let is_complete = count <= (rings as usize).saturating_add(1);
        for ring in 0..self.rings {
            if is_complete {
                // On ring `r` the successor is the member `r + 1` positions further on.
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
        self.separate_repeated_neighbours();
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

    /// Exchange nodes on a ring so that it repeats no edge of an earlier ring. If the edge from a place to the next is
    /// a repeated one, take the next place whose edge is not. That leaves the last edges of the ring: for these, take
    /// any exchange after which fewer edges are repeated. With few nodes and many rings some stay.
    fn separate_repeated_neighbours(&mut self) {
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
        for place in 0..count {
            let next = place.saturating_add(1).checked_rem(count).unwrap_or(0);
            for other in 0..count {
                if !self.is_repeated(place) {
                    break;
                }
                let before = self
                    .repeated_at(next)
                    .saturating_add(self.repeated_at(other));
                self.order.as_mut_slice().swap(next, other);
                let after = self
                    .repeated_at(next)
                    .saturating_add(self.repeated_at(other));
                if after >= before {
                    self.order.as_mut_slice().swap(next, other);
                }
            }
        }
    }

    /// How many of the two edges at a place are on an earlier ring.
    fn repeated_at(&self, place: usize) -> usize {
        let count = self.order.len();
        let before = place.checked_sub(1).unwrap_or(count.saturating_sub(1));
        usize::from(self.is_repeated(before)).saturating_add(usize::from(self.is_repeated(place)))
    }

    /// Whether the edge from this place to the next is on an earlier ring.
    fn is_repeated(&self, place: usize) -> bool {
        let next = place.saturating_add(1).checked_rem(self.order.len());
        match (
            self.order.get(place),
            next.and_then(|next| self.order.get(next)),
        ) {
            (Some(from), Some(to)) => self.has_edge(from.1, to.1),
            _ => false,
        }
    }

    fn has_edge(&self, from: u16, to: u16) -> bool {
        self.successors
            .chunks_exact(self.members.max(1))
            .any(|ring| ring.get(usize::from(from)) == Some(&to))
    }

    /// The positions that monitor `position`, and to which it sends heartbeats, ring by ring. One may come twice.
    pub fn successors(&self, position: usize) -> impl Iterator<Item = usize> + '_ {
        Self::edges(&self.successors, self.members, position)
    }

    /// The positions that `position` monitors, ring by ring. One may come twice.
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_ring))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{member, view, TestResult, Unexpected};

    /// The rings of nodes 1 to `nodes`.
    fn rings(nodes: u16, wanted: u32) -> Result<Rings, Unexpected> {
        let mut rings = Rings::new()?;
        rings.place(view(1..=nodes)?.members(), wanted);
        Ok(rings)
    }

    /// The monitors of a position, each as one bit.
    fn monitors(rings: &Rings, position: usize) -> u64 {
        rings
            .successors(position)
            .fold(0, |set, monitor| set | 1 << monitor)
    }

    #[test]
    fn few_nodes_all_monitor_each_other() -> TestResult {
        for wanted in 1..=RINGS_MAX as u32 {
            for nodes in 1..=wanted as u16 + 1 {
                let rings = rings(nodes, wanted)?;
                for position in 0..usize::from(nodes) {
                    let others = ((1 << nodes) - 1) & !(1 << position);
                    assert_eq!(monitors(&rings, position), others);
                    assert_eq!(rings.successors(position).count(), usize::from(nodes) - 1);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_single_ring_is_the_order_of_the_nodes() -> TestResult {
        for nodes in 2..=64 {
            let rings = rings(nodes, 1)?;
            for position in 0..usize::from(nodes) {
                let next = (position + 1) % usize::from(nodes);
                assert!(rings.successors(position).eq([next]));
                assert!(rings.predecessors(next).eq([position]));
            }
        }
        Ok(())
    }

    #[test]
    fn a_node_monitors_the_nodes_that_send_to_it_and_never_itself() -> TestResult {
        for wanted in 1..=RINGS_MAX as u32 {
            for nodes in 1..=64 {
                let rings = rings(nodes, wanted)?;
                for position in 0..usize::from(nodes) {
                    let count = rings.successors(position).count();
                    assert_eq!(rings.predecessors(position).count(), count);
                    for (ring, to) in rings.successors(position).enumerate() {
                        assert!(to != position && to < usize::from(nodes));
                        assert_eq!(rings.predecessors(to).nth(ring), Some(position));
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn each_ring_passes_every_node_once() -> TestResult {
        // Where every node monitors every other the edges need not be rings.
        for nodes in 5..=64 {
            let rings = rings(nodes, 3)?;
            for ring in 0..3 {
                let mut seen = 0_u64;
                let mut position = 0;
                for _ in 0..nodes {
                    seen |= 1 << position;
                    position = rings.successors(position).nth(ring).ok_or(Unexpected)?;
                }
                assert_eq!(position, 0);
                assert_eq!(seen.count_ones(), u32::from(nodes));
            }
        }
        Ok(())
    }

    #[test]
    fn each_node_has_as_many_monitors_as_there_are_rings() -> TestResult {
        for wanted in [1, 2, 3, 5] {
            for nodes in 1..=64 {
                let rings = rings(nodes, wanted)?;
                let expected = wanted.min(u32::from(nodes) - 1);
                for position in 0..usize::from(nodes) {
                    assert_eq!(monitors(&rings, position).count_ones(), expected);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn with_many_rings_a_node_lacks_at_most_one_monitor() -> TestResult {
        for wanted in [4, 6, 7, 8] {
            for nodes in 1..=64 {
                let rings = rings(nodes, wanted)?;
                let expected = wanted.min(u32::from(nodes) - 1);
                for position in 0..usize::from(nodes) {
                    assert!(monitors(&rings, position).count_ones() + 1 >= expected);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn neighbours_that_crash_together_have_other_monitors() -> TestResult {
        // Three in a row on the ring of node ids: on that ring alone, two of them have no monitor but each other.
        for nodes in 7..=64_u32 {
            let rings = rings(nodes as u16, 3)?;
            for first in 0..nodes {
                let dead = (0..3).fold(0_u64, |set, step| set | 1 << ((first + step) % nodes));
                for step in 0..3 {
                    let position = (first + step) % nodes;
                    assert!(monitors(&rings, position as usize) & !dead != 0);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_rings_follow_from_the_list_of_members_alone() -> TestResult {
        let (view, mut used) = (view(1..=50)?, rings(64, 5)?);
        used.place(view.members(), 3);
        let fresh = rings(50, 3)?;
        for position in 0..50 {
            assert!(used.successors(position).eq(fresh.successors(position)));
            assert!(used.predecessors(position).eq(fresh.predecessors(position)));
        }
        Ok(())
    }

    #[test]
    fn a_node_alone_has_no_neighbours() -> TestResult {
        let mut rings = rings(64, 3)?;
        rings.place(&[], 3);
        assert_eq!(rings.successors(0).count(), 0);
        rings.place(&[member(1)], 3);
        assert_eq!(rings.successors(0).count(), 0);
        assert_eq!(rings.predecessors(0).count(), 0);
        assert_eq!(rings.successors(usize::MAX).count(), 0);
        Ok(())
    }

    #[test]
    fn the_largest_view_has_all_its_edges() -> TestResult {
        let rings = rings(NODES_MAX as u16, RINGS_MAX as u32)?;
        for position in 0..NODES_MAX {
            assert_eq!(rings.successors(position).count(), RINGS_MAX);
            assert_eq!(rings.predecessors(position).count(), RINGS_MAX);
        }
        Ok(())
    }
}
