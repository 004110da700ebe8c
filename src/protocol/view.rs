// SPDX-License-Identifier: GPL-2.0

//! A cluster view: the numbered, agreed list of nodes, and what follows from it alone: who
//! coordinates, and what a quorum is.
//!
//! Coordinators are spread evenly over the ring of node ids. Each has an arc of it, from its own
//! place up to the next coordinator's, and collects what happens to the nodes of its arc.

use super::identity::{Identity, NodeId, PeerAddress, Slot, ViewKey, ViewName, ViewNumber};
use super::limits::NODES_MAX;
use super::random::mix;
use crate::platform::{BoundedVec, OutOfMemory};

/// A node in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct MemberRecord {
    /// Which node, in which incarnation.
    pub identity: Identity,
    /// Where it listens.
    pub address: PeerAddress,
    /// Its small stable number, from 1.
    pub slot: Slot,
}

/// Why a node came into a view or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub enum ChangeReason {
    /// It asked to join.
    Join,
    /// It asked to leave.
    Leave,
    /// Its monitors heard nothing from it.
    Failed,
    /// An administrator evicted it.
    Evicted,
}

/// A numbered, agreed list of nodes.
///
/// # Invariants
///
/// `members` is sorted by node id and has no node twice; `reporters` is as long as `members`.
#[derive(Debug)]
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub struct ClusterView {
    /// Grows with each view; zero while the list is being made.
    pub number: ViewNumber,
    /// The coordinator that issued it: with `number` it names the view.
    pub issuer: NodeId,
    /// Whether it is of the one chain of views of which each was decided by a quorum of the one before it. Always,
    /// but in a partitionable cluster.
    pub is_primary: bool,
    /// The view that nodes without one have formed, and that this one has come of by changes: a node of a part that
    /// finds itself in the view of another one was let in there before it came to its own.
    pub origin: ViewName,
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
            is_primary: true,
            origin: ViewName {
                number: ViewNumber::default(),
                issuer,
            },
            members: BoundedVec::with_capacity(NODES_MAX)?,
            reporters: BoundedVec::with_capacity(NODES_MAX)?,
        })
    }

    /// What it is called.
    pub fn name(&self) -> ViewName {
        ViewName {
            number: self.number,
            issuer: self.issuer,
        }
    }

    /// A sign of what it has come of, for headers: two views that have come of different ones have the same in one
    /// of 65536 cases.
    pub fn lineage(&self) -> u16 {
        let ViewName { number, issuer } = self.origin;
        mix(number.0 ^ mix(u64::from(issuer.number()))) as u16
    }

    /// This very view as a number: its name and its members' incarnations.
    pub fn key(&self) -> ViewKey {
        let name = mix(self.number.0 ^ mix(u64::from(self.issuer.number())));
        let members = self.members.iter().map(|member| member.identity);
        ViewKey(members.fold(name, |key, identity| {
            let incarnation = mix(u64::from(identity.node.number())) ^ identity.incarnation.0;
            mix(key ^ mix(incarnation))
        }))
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

    /// Whether exactly this incarnation of the node is a member.
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
        self.is_primary = other.is_primary;
        self.origin = other.origin;
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_view))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{
        identity, identity_in, member, node, view, TestResult, Unexpected,
    };

    #[test]
    fn members_stand_in_the_order_of_their_nodes_and_none_twice() -> TestResult {
        let mut view = view([5, 1, 9, 3])?;
        let mut last = 0;
        for record in view.members() {
            assert!(record.identity.node.number() > last);
            last = record.identity.node.number();
        }
        let later = MemberRecord {
            identity: identity_in(3, 2),
            ..member(3)
        };
        assert_eq!(view.insert(later, true), Err(later));
        assert_eq!(view.count(), 4);
        assert!(view.has(identity(3)) && !view.has(identity_in(3, 2)));
        assert_eq!(view.member(node(3)), Some(&member(3)));
        assert_eq!(view.member(node(4)), None);
        assert_eq!(view.position(node(9)), Some(3));
        Ok(())
    }

    #[test]
    fn a_full_view_gives_the_next_member_back() -> TestResult {
        let last = NODES_MAX as u16;
        let mut view = view(1..=last)?;
        let extra = member(last + 1);
        assert_eq!(view.insert(extra, false), Err(extra));
        assert_eq!(view.count(), NODES_MAX);
        assert!(view.remove(identity(500)).is_some());
        assert_eq!(view.insert(extra, true), Ok(()));
        assert!(view.is_reporter(node(last + 1)) && !view.is_reporter(node(last)));
        Ok(())
    }

    #[test]
    fn only_the_very_incarnation_is_taken_out() -> TestResult {
        let mut view = view([1, 2, 3])?;
        assert_eq!(view.remove(identity_in(2, 2)), None);
        assert_eq!(view.remove(identity(4)), None);
        assert_eq!(view.count(), 3);
        assert_eq!(view.remove(identity(2)), Some(member(2)));
        assert_eq!(view.remove(identity(2)), None);
        assert_eq!(view.count(), 2);
        Ok(())
    }

    #[test]
    fn who_reports_stays_with_its_member() -> TestResult {
        let mut view = view([])?;
        for number in [8, 2, 6, 4] {
            view.insert(member(number), number == 6 || number == 2)
                .map_err(|_| Unexpected)?;
        }
        view.remove(identity(4));
        view.insert(member(1), false).map_err(|_| Unexpected)?;
        for (number, is_reporter) in [(1, false), (2, true), (4, false), (6, true), (8, false)] {
            assert_eq!(view.is_reporter(node(number)), is_reporter);
        }
        Ok(())
    }

    #[test]
    fn bits_mark_reporters_in_order_and_missing_bits_mark_too() -> TestResult {
        let mut view = view(1..=12)?;
        view.set_reporters(&[0b0000_0101]);
        for number in 1..=12 {
            let is_marked = number == 1 || number == 3 || number > 8;
            assert_eq!(view.is_reporter(node(number)), is_marked);
        }
        view.set_reporters(&[0, 0]);
        assert!((1..=12).all(|number| !view.is_reporter(node(number))));
        Ok(())
    }

    #[test]
    fn a_copy_has_all_that_the_original_has() -> TestResult {
        let mut original = view([1, 2, 3])?;
        original.number = ViewNumber(7);
        original.issuer = node(3);
        original.set_reporters(&[0b010]);
        let mut copy = view([4, 5, 6, 7])?;
        copy.copy_from(&original)?;
        assert_eq!((copy.number, copy.issuer), (ViewNumber(7), node(3)));
        assert!(copy.members() == original.members());
        assert!(copy.is_reporter(node(2)) && !copy.is_reporter(node(1)));
        copy.clear();
        assert_eq!(copy.count(), 0);
        Ok(())
    }

    #[test]
    fn views_of_one_name_with_other_members_have_other_keys() -> TestResult {
        let (one, mut same) = (view([1, 2, 3])?, view([1, 2, 3])?);
        assert_eq!(one.key(), same.key());
        same.remove(identity(3));
        assert!(one.key() != same.key());
        let later = MemberRecord {
            identity: identity_in(3, 9),
            ..member(3)
        };
        same.insert(later, false).map_err(|_| Unexpected)?;
        assert!(one.key() != same.key());
        let mut renumbered = view([1, 2, 3])?;
        renumbered.number = one.number.next();
        assert!(one.key() != renumbered.key());
        renumbered.number = one.number;
        renumbered.issuer = node(3);
        assert!(one.key() != renumbered.key());
        Ok(())
    }

    #[test]
    fn quorum_is_more_than_half_or_half_with_the_lowest() {
        let table = [
            (0, 0, false, false),
            (0, 1, false, false),
            (1, 1, true, true),
            (1, 2, false, false),
            (1, 2, true, true),
            (2, 2, true, true),
            (1, 3, true, false),
            (2, 3, false, true),
            (2, 4, false, false),
            (2, 4, true, true),
            (3, 4, false, true),
            (2, 5, true, false),
            (3, 5, false, true),
            (511, 1024, true, false),
            (512, 1024, false, false),
            (512, 1024, true, true),
            (513, 1024, false, true),
            (usize::MAX, 4, false, true),
        ];
        for (votes, all, with_lowest, expected) in table {
            assert_eq!(is_quorum(votes, all, with_lowest), expected);
        }
    }

    #[test]
    fn two_quorums_of_one_view_share_a_member() {
        // All pairs of sets of members that share none, as bits; the lowest bit is the lowest node.
        for all in 1..=8_u32 {
            for one in 0..1_u32 << all {
                let others = !one & ((1 << all) - 1);
                let counts =
                    |set: u32| is_quorum(set.count_ones() as usize, all as usize, set & 1 == 1);
                assert!(!counts(one) || !counts(others));
                assert!(counts(one) || counts(others));
            }
        }
    }

    #[test]
    fn coordinators_are_placed_evenly_and_begin_with_the_lowest() -> TestResult {
        for members in [1, 2, 3, 4, 5, 6, 9, 10, 64, 1000] {
            let view = view((1..=members).map(|number| number * 3))?;
            for wanted in [1, 2, 3, 5, 9] {
                let expected = usize::from(members).min(wanted as usize);
                assert_eq!(view.coordinators(wanted).count(), expected);
                let arc = usize::from(members) / expected;
                let mut last = None;
                for coordinator in view.coordinators(wanted) {
                    let place = view.position(coordinator.identity.node).ok_or(Unexpected)?;
                    let gap = last.map_or(arc, |last| place - last);
                    assert!(gap == arc || gap == arc + 1);
                    assert!(last.is_some() || place == 0);
                    assert!(view.is_coordinator(coordinator.identity.node, wanted));
                    last = Some(place);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn each_node_lies_in_the_arc_of_one_coordinator_and_may_turn_to_all() -> TestResult {
        for members in [1, 2, 5, 7, 64] {
            let view = view((1..=members).map(|number| number * 2))?;
            for wanted in [1, 3, 5] {
                // Members, and nodes between, below and above them.
                for number in 1..=members * 2 + 1 {
                    let mut asked = view.coordinators_for(node(number), wanted);
                    let first = asked.next().ok_or(Unexpected)?.identity.node;
                    // Who is no member belongs where the next member on the ring belongs.
                    let place = view
                        .members()
                        .iter()
                        .map(|member| member.identity.node)
                        .find(|member| *member >= node(number))
                        .unwrap_or(node(u16::MAX));
                    let nearest = view
                        .coordinators(wanted)
                        .map(|coordinator| coordinator.identity.node)
                        .take_while(|coordinator| *coordinator <= place)
                        .last();
                    assert_eq!(Some(first), nearest);
                    let count = view.coordinators(wanted).count();
                    assert_eq!(asked.count(), count - 1);
                    let everyone = view.coordinators(wanted).all(|coordinator| {
                        view.coordinators_for(node(number), wanted)
                            .any(|asked| asked == coordinator)
                    });
                    assert!(everyone);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_view_without_members_has_no_coordinators() -> TestResult {
        let view = view([])?;
        assert_eq!(view.coordinators(5).count(), 0);
        assert_eq!(view.coordinators_for(node(1), 5).count(), 0);
        assert!(!view.is_quorum(0, false));
        Ok(())
    }
}
