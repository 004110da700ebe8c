// SPDX-License-Identifier: GPL-2.0

//! Whole views: sending one in parts to nodes that join or have missed some, and assembling the parts.

use super::departures::Departures;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{NodeId, PeerAddress};
use crate::protocol::limits::{HEADER_BYTES, NODES_MAX, PART_ENTRIES_MAX, TRANSMIT_BYTES_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::{write_view_part, ViewPart, ViewPartHead};
use crate::protocol::wire::Kind;

/// Room that a transfer leaves to others in the transmit queue.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 2;

/// The nodes that the present view is being sent to, and the next part for each.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Transfers(BoundedVec<(PeerAddress, u16)>);

impl Transfers {
    /// No transfer.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// End all transfers: the view has changed.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Begin to send the view to `to`, unless that is under way.
    pub(super) fn begin(&mut self, to: PeerAddress) {
        if !self.0.iter().any(|(address, _)| *address == to) {
            let _ = self.0.push((to, 0));
        }
    }

    /// Send as many parts as there is room for.
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
            let told = departures.told_in(*part, view);
            let head = ViewPartHead {
                number: view.number,
                issuer: view.issuer,
                is_primary: view.is_primary,
                origin: view.origin,
                part: *part,
                parts: u16::try_from(parts).unwrap_or(u16::MAX),
                members_total: u16::try_from(view.count()).unwrap_or(u16::MAX),
                departures: told.all(),
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

/// A view that arrives in parts.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Assembly {
    view: ClusterView,
    parts: u16,
    members_total: u16,
    present: u64,
}

/// The head of a part must leave room for its entries.
const _: () = assert!(HEADER_BYTES + 17 < PART_ENTRIES_MAX * 31);

impl Assembly {
    /// No part. `issuer` is any node.
    pub(super) fn empty(issuer: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            view: ClusterView::empty(issuer)?,
            parts: 0,
            members_total: 0,
            present: 0,
        })
    }

    /// Forget all parts.
    pub(super) fn clear(&mut self) {
        self.view.clear();
        self.view.number = Default::default();
        self.parts = 0;
        self.present = 0;
    }

    /// Add a part. Returns the whole view once all its parts are there. A part of an older view is left out, one of a
    /// newer view starts a new assembly.
    pub(super) fn add(&mut self, part: &ViewPart<'_>) -> Option<&ClusterView> {
        if part.number < self.view.number {
            return None;
        }
        if part.number != self.view.number
            || part.issuer != self.view.issuer
            || (part.is_primary, part.origin) != (self.view.is_primary, self.view.origin)
            || part.parts != self.parts
            || part.members_total != self.members_total
        {
            self.clear();
            self.view.number = part.number;
            self.view.issuer = part.issuer;
            self.view.is_primary = part.is_primary;
            self.view.origin = part.origin;
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_view_transfer))]
mod tests {
    use super::*;
    use crate::protocol::identity::ViewNumber;
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::outputs::ChangeReason;
    use crate::protocol::test_support::{
        address, identity, node, outbox, view, TestResult, Unexpected, CLUSTER,
    };
    use crate::protocol::wire::membership::parse_view_part;
    use crate::protocol::wire::Datagram;

    /// A view of so many nodes, in which every third one reports.
    fn sample(members: u16, number: u64) -> Result<ClusterView, Unexpected> {
        let mut view = view(1..=members)?;
        view.number = ViewNumber(number);
        view.issuer = node(2);
        view.set_reporters(&[
            0b0100_1001,
            0b1001_0010,
            0b0010_0100,
            0b0100_1001,
            0,
            0,
            0,
            0,
            0,
        ]);
        Ok(view)
    }

    /// Datagrams with the parts of a view, in their order.
    struct Parts(BoundedVec<BoundedVec<u8>>);

    impl Parts {
        fn of(view: &ClusterView) -> Result<Self, Unexpected> {
            let mut outbox = outbox()?;
            let mut transfers = Transfers::new()?;
            transfers.begin(address(9));
            transfers.begin(address(9));
            transfers.pump(view, &Departures::new()?, &mut outbox);
            let mut parts = BoundedVec::with_capacity(4)?;
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
                let mut part = BoundedVec::with_capacity(transmit.length)?;
                part.extend_from_slice(buffer.get(..transmit.length).ok_or(Unexpected)?)?;
                parts.push(part).map_err(|_| Unexpected)?;
            }
            Ok(Self(parts))
        }

        fn part(&self, number: usize) -> Result<ViewPart<'_>, Unexpected> {
            let bytes = self.0.get(number).ok_or(Unexpected)?;
            Ok(parse_view_part(Datagram::parse(bytes, CLUSTER)?.body)?)
        }
    }

    fn are_equal(one: &ClusterView, other: &ClusterView) -> bool {
        one.number == other.number
            && one.issuer == other.issuer
            && (one.is_primary, one.origin) == (other.is_primary, other.origin)
            && one.members() == other.members()
            && one.members().iter().all(|member| {
                let node = member.identity.node;
                one.is_reporter(node) == other.is_reporter(node)
            })
    }

    #[test]
    fn a_view_is_whole_in_whatever_order_its_parts_arrive() -> TestResult {
        let view = sample(70, 5)?;
        let parts = Parts::of(&view)?;
        assert_eq!(parts.0.len(), 3);
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut assembly = Assembly::empty(node(1))?;
            for (step, number) in order.into_iter().enumerate() {
                // A copy changes nothing.
                let _ = assembly.add(&parts.part(number)?);
                let whole = assembly.add(&parts.part(number)?);
                assert_eq!(whole.is_some(), step == 2);
                assert!(whole.is_none_or(|whole| are_equal(whole, &view)));
            }
        }
        Ok(())
    }

    #[test]
    fn a_view_that_fits_into_one_part_has_one() -> TestResult {
        for members in [1, 31, 32] {
            let view = sample(members, 1)?;
            let parts = Parts::of(&view)?;
            assert_eq!(parts.0.len(), 1);
            let mut assembly = Assembly::empty(node(1))?;
            let whole = assembly.add(&parts.part(0)?);
            assert!(whole.is_some_and(|whole| are_equal(whole, &view)));
        }
        Ok(())
    }

    #[test]
    fn a_part_of_an_older_view_is_left_out_and_one_of_a_newer_view_starts_anew() -> TestResult {
        let (older, newer) = (Parts::of(&sample(40, 5)?)?, Parts::of(&sample(50, 6)?)?);
        let mut assembly = Assembly::empty(node(1))?;
        assert!(assembly.add(&older.part(0)?).is_none());
        assert!(assembly.add(&newer.part(1)?).is_none());
        assert!(assembly.add(&older.part(1)?).is_none());
        let whole = assembly.add(&newer.part(0)?).ok_or(Unexpected)?;
        assert_eq!((whole.number, whole.count()), (ViewNumber(6), 50));
        Ok(())
    }

    #[test]
    fn parts_of_two_views_with_one_number_are_not_mixed() -> TestResult {
        let mut other = sample(40, 5)?;
        other.issuer = node(3);
        let (one, other) = (Parts::of(&sample(40, 5)?)?, Parts::of(&other)?);
        let mut assembly = Assembly::empty(node(1))?;
        assert!(assembly.add(&one.part(0)?).is_none());
        assert!(assembly.add(&other.part(1)?).is_none());
        assert!(assembly.add(&other.part(0)?).is_some());
        Ok(())
    }

    #[test]
    fn two_parts_with_the_same_node_make_no_view() -> TestResult {
        // The second part of a view of nodes 2 to 41 begins with node 34, of 1 to 40 with 33.
        let mut shifted = view(2..=41)?;
        shifted.number = ViewNumber(5);
        shifted.issuer = node(2);
        let (one, shifted) = (Parts::of(&shifted)?, Parts::of(&sample(40, 5)?)?);
        let mut assembly = Assembly::empty(node(1))?;
        assert!(assembly.add(&one.part(0)?).is_none());
        assert!(assembly.add(&shifted.part(1)?).is_none());
        assert!(assembly.add(&one.part(1)?).is_none());
        // It was forgotten as a whole; the next attempt succeeds.
        assert!(assembly.add(&one.part(0)?).is_some());
        Ok(())
    }

    #[test]
    fn a_transfer_leaves_half_of_the_queue_to_others() -> TestResult {
        let view = sample(64, 5)?;
        let (mut outbox, mut transfers) = (outbox()?, Transfers::new()?);
        for number in 1..=500 {
            transfers.begin(address(number));
        }
        let departures = Departures::new()?;
        transfers.pump(&view, &departures, &mut outbox);
        let room = outbox.transmit_room();
        assert!(room <= ROOM_KEPT_BYTES && room + DATAGRAM_BYTES_MAX + 20 > ROOM_KEPT_BYTES);
        // What had to wait goes on where it stopped: two parts for each in the end.
        let mut sent = 0;
        while outbox.poll_transmit(&mut [0; DATAGRAM_BYTES_MAX]).is_some() {
            sent += 1;
            transfers.pump(&view, &departures, &mut outbox);
        }
        assert_eq!(sent, 2 * 500);
        Ok(())
    }

    #[test]
    fn a_view_part_tells_departures_with_their_reasons() -> TestResult {
        let mut departures = Departures::new()?;
        departures.add(identity(1), ChangeReason::Leave);
        departures.add(identity(1), ChangeReason::Failed);
        departures.add(identity(2), ChangeReason::Failed);
        assert_eq!(departures.reason(identity(1)), ChangeReason::Leave);
        assert_eq!(departures.reason(identity(9)), ChangeReason::Failed);
        let view = sample(33, 5)?;
        let (mut outbox, mut transfers) = (outbox()?, Transfers::new()?);
        transfers.begin(address(9));
        transfers.pump(&view, &departures, &mut outbox);
        for expected in [2, 0] {
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            let length = outbox.poll_transmit(&mut buffer).ok_or(Unexpected)?.length;
            let bytes = buffer.get(..length).ok_or(Unexpected)?;
            let part = parse_view_part(Datagram::parse(bytes, CLUSTER)?.body)?;
            assert_eq!(part.departures.count(), expected);
        }
        Ok(())
    }
}
