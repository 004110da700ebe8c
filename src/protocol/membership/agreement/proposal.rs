// SPDX-License-Identifier: GPL-2.0

//! A proposed view: its differences from the present one, and their assembly from parts.
//!
//! # Invariants
//!
//! A complete proposal (all parts there) never changes until it is cleared. Parts of proposals with
//! another issuer or other counts are not mixed: they start a new assembly.

#[cfg(kcgcs_exploration)]
mod exploration;

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{NodeId, ViewNumber};
use crate::protocol::limits::{NODES_MAX, PARTS_MAX, PART_ENTRIES_MAX};
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::{
    write_proposal_part, Ballot, Change, ProposalHead, ProposalKind, ProposalPart,
};
use crate::protocol::wire::Writer;

/// Bytes of one bit for each node.
const REPORTER_BYTES_MAX: usize = NODES_MAX.div_ceil(8);

/// The differences between a view and the one proposed to follow it.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(crate) struct Proposal {
    /// The ballot under which it was proposed. `None`: there is no proposal.
    pub(crate) ballot: Option<Ballot>,
    issuer: NodeId,
    number: ViewNumber,
    kind: ProposalKind,
    parts: u16,
    changes_total: u16,
    /// One bit for each part that is there.
    present: u64,
    changes: BoundedVec<Change>,
    reporters: BoundedVec<u8>,
}

impl Proposal {
    /// No proposal. `issuer` is any node.
    pub(crate) fn empty(issuer: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            ballot: None,
            issuer,
            number: ViewNumber::default(),
            kind: ProposalKind::Successor,
            parts: 0,
            changes_total: 0,
            present: 0,
            changes: BoundedVec::with_capacity(PARTS_MAX * PART_ENTRIES_MAX)?,
            reporters: BoundedVec::with_capacity(REPORTER_BYTES_MAX)?,
        })
    }

    /// Forget the proposal.
    pub(crate) fn clear(&mut self) {
        self.ballot = None;
        self.parts = 0;
        self.changes_total = 0;
        self.present = 0;
        self.changes.clear();
        self.reporters.clear();
    }

    /// Begin a proposal of this node: changes and reporters are added, then it is closed.
    pub(crate) fn begin(
        &mut self,
        ballot: Ballot,
        issuer: NodeId,
        number: ViewNumber,
        kind: ProposalKind,
    ) {
        self.clear();
        self.ballot = Some(ballot);
        self.issuer = issuer;
        self.number = number;
        self.kind = kind;
    }

    /// Add a change to a proposal that was begun. Returns false if there is no room: the change waits for a later view.
    pub(crate) fn add(&mut self, change: Change) -> bool {
        self.changes.push(change).is_ok()
    }

    /// Append the reporter bits of the next eight members.
    pub(crate) fn add_reporters(&mut self, bits: u8) {
        let _ = self.reporters.push(bits);
    }

    /// End what [`Self::begin`] began.
    pub(crate) fn close(&mut self) {
        let total = self.changes.len();
        self.changes_total = u16::try_from(total).unwrap_or(u16::MAX);
        self.parts = u16::try_from(total.div_ceil(PART_ENTRIES_MAX).max(1)).unwrap_or(u16::MAX);
        self.present = all_parts(self.parts);
    }

    /// Whether there is a proposal and all its parts are there.
    pub(crate) fn is_complete(&self) -> bool {
        self.ballot.is_some() && self.parts > 0 && self.present == all_parts(self.parts)
    }

    /// The node that made it.
    pub(crate) fn issuer(&self) -> NodeId {
        self.issuer
    }

    /// The number of the proposed view.
    pub(crate) fn number(&self) -> ViewNumber {
        self.number
    }

    /// What the proposed view follows.
    pub(crate) fn kind(&self) -> ProposalKind {
        self.kind
    }

    /// How many parts it has.
    pub(crate) fn parts(&self) -> u16 {
        self.parts
    }

    /// The changes, if it is complete.
    pub(crate) fn changes(&self) -> &[Change] {
        if self.is_complete() {
            &self.changes
        } else {
            &[]
        }
    }

    /// Apply the changes to `next`, which has the members of the view that the proposal follows.
    pub(crate) fn apply_to(&self, next: &mut ClusterView) {
        for change in self.changes() {
            match *change {
                Change::Remove { subject, .. } => {
                    next.remove(subject);
                }
                // A node that is there already stays as it is. No proposal adds one.
                Change::Add(member) => {
                    let _ = next.insert(member, false);
                }
            }
        }
    }

    /// One bit for each member of the present view: whether it may hold messages of groups that others lack.
    pub(crate) fn reporters(&self) -> &[u8] {
        &self.reporters
    }

    /// Put a part in its place. A part under a higher ballot starts a new assembly, one under a lower ballot is left out.
    pub(crate) fn add_part(&mut self, ballot: Ballot, part: &ProposalPart<'_>) {
        if self.ballot.is_some_and(|present| present > ballot) {
            return;
        }
        if self.ballot != Some(ballot)
            || self.parts != part.parts
            || self.changes_total != part.changes_total
            || (self.issuer, self.number, self.kind) != (part.issuer, part.number, part.kind)
        {
            self.clear();
            self.ballot = Some(ballot);
            self.issuer = part.issuer;
            self.number = part.number;
            self.kind = part.kind;
            self.parts = part.parts;
            self.changes_total = part.changes_total;
            // Places are filled in any order.
            let filler = Change::Remove {
                subject: crate::protocol::identity::Identity {
                    node: part.issuer,
                    incarnation: Default::default(),
                },
                reason: crate::protocol::outputs::ChangeReason::Failed,
            };
            for _ in 0..part.changes_total {
                let _ = self.changes.push(filler);
            }
            let _ = self.reporters.extend_from_slice(part.reporters);
        }
        let bit = 1_u64.checked_shl(u32::from(part.part)).unwrap_or(0);
        if self.present & bit != 0 {
            return;
        }
        let start = usize::from(part.part).saturating_mul(PART_ENTRIES_MAX);
        if let Some(places) = self.changes.as_mut_slice().get_mut(start..) {
            for (place, change) in places.iter_mut().zip(part.changes) {
                *place = change;
            }
        }
        self.present |= bit;
    }

    /// Copy the content of another proposal under a new ballot.
    pub(crate) fn copy_from(&mut self, other: &Proposal, ballot: Ballot) {
        self.begin(ballot, other.issuer, other.number, other.kind);
        for change in other.changes() {
            let _ = self.changes.push(*change);
        }
        let _ = self.reporters.extend_from_slice(&other.reporters);
        self.close();
    }

    /// Write part number `part` (behind a ballot).
    pub(crate) fn write_part(&self, writer: &mut Writer<'_>, part: u16) -> Option<()> {
        let start = usize::from(part).saturating_mul(PART_ENTRIES_MAX);
        let end = start
            .saturating_add(PART_ENTRIES_MAX)
            .min(self.changes.len());
        let changes = self.changes.get(start..end).unwrap_or_default();
        let head = ProposalHead {
            issuer: self.issuer,
            number: self.number,
            kind: self.kind,
            part,
            parts: self.parts,
            changes_total: self.changes_total,
            reporters: &self.reporters,
        };
        write_proposal_part(writer, &head, changes)
    }
}

fn all_parts(parts: u16) -> u64 {
    u64::MAX
        .checked_shr(64_u32.saturating_sub(u32::from(parts)))
        .unwrap_or(0)
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_proposal))]
mod tests {
    use super::*;
    use crate::protocol::outputs::ChangeReason;
    use crate::protocol::test_support::{identity, member, node, written, TestResult, Unexpected};
    use crate::protocol::wire::membership::{parse_propose, write_ballot};

    const BODY_MAX: usize = 1344;

    const fn ballot(round: u32, number: u16) -> Ballot {
        Ballot {
            round,
            coordinator: node(number),
        }
    }

    fn change(number: u16) -> Change {
        if number % 2 == 0 {
            Change::Add(member(number))
        } else {
            Change::Remove {
                subject: identity(number),
                reason: ChangeReason::Failed,
            }
        }
    }

    /// A proposal of so many changes.
    fn proposal(ballot: Ballot, changes: u16) -> Result<Proposal, Unexpected> {
        let mut proposal = Proposal::empty(node(9))?;
        proposal.begin(ballot, node(7), ViewNumber(3), ProposalKind::Component);
        for number in 1..=changes {
            if !proposal.add(change(number)) {
                return Err(Unexpected);
            }
        }
        proposal.add_reporters(0b1010_0101);
        proposal.close();
        Ok(proposal)
    }

    /// Carries part number `part` of `from` to `to` by way of a datagram, under another ballot.
    fn carry(from: &Proposal, part: u16, ballot: Ballot, to: &mut Proposal) -> TestResult {
        let mut buffer = [0; BODY_MAX];
        let body = written(&mut buffer, |writer| {
            write_ballot(writer, ballot)?;
            from.write_part(writer, part)
        })?;
        let (_, part) = parse_propose(body)?;
        to.add_part(ballot, &part);
        Ok(())
    }

    fn are_equal(one: &Proposal, other: &Proposal) -> bool {
        one.is_complete()
            && other.is_complete()
            && one.changes() == other.changes()
            && one.reporters() == other.reporters()
            && one.issuer() == other.issuer()
            && one.number() == other.number()
            && one.kind() == other.kind()
            && one.parts() == other.parts()
    }

    #[test]
    fn a_new_and_a_cleared_proposal_are_empty() -> TestResult {
        let mut proposal = Proposal::empty(node(1))?;
        assert!(!proposal.is_complete() && proposal.changes().is_empty());
        proposal = self::proposal(ballot(1, 1), 3)?;
        proposal.clear();
        assert!(!proposal.is_complete() && proposal.changes().is_empty());
        assert_eq!(proposal.ballot, None);
        Ok(())
    }

    #[test]
    fn a_proposal_has_as_many_parts_as_its_changes_need() -> TestResult {
        for (changes, parts) in [
            (0, 1),
            (1, 1),
            (32, 1),
            (33, 2),
            (64, 2),
            (65, 3),
            (2048, 64),
        ] {
            let proposal = proposal(ballot(1, 1), changes)?;
            assert_eq!(proposal.parts(), parts);
            assert!(proposal.is_complete());
            assert_eq!(proposal.changes().len(), usize::from(changes));
        }
        Ok(())
    }

    #[test]
    fn a_change_that_does_not_fit_is_refused() -> TestResult {
        let mut proposal = Proposal::empty(node(1))?;
        proposal.begin(
            ballot(1, 1),
            node(1),
            ViewNumber(3),
            ProposalKind::Successor,
        );
        for number in 1..=2048 {
            assert!(proposal.add(change(number)));
        }
        assert!(!proposal.add(change(1)));
        proposal.close();
        assert!(proposal.is_complete());
        Ok(())
    }

    #[test]
    fn parts_may_come_in_any_order_and_more_than_once() -> TestResult {
        let original = proposal(ballot(3, 2), 100)?;
        for order in [
            [0, 1, 2, 3, 3, 3],
            [3, 2, 1, 0, 0, 1],
            [2, 2, 0, 3, 0, 1],
            [1, 3, 1, 3, 2, 0],
        ] {
            let mut copy = Proposal::empty(node(1))?;
            let mut seen = 0_u8;
            for part in order {
                let was_complete = copy.is_complete();
                carry(&original, part, ballot(3, 2), &mut copy)?;
                seen |= 1 << part;
                assert_eq!(copy.is_complete(), seen == 0b1111);
                assert!(copy.is_complete() || copy.changes().is_empty());
                assert!(!was_complete || copy.is_complete());
            }
            assert!(are_equal(&copy, &original));
            assert_eq!(copy.ballot, Some(ballot(3, 2)));
        }
        Ok(())
    }

    #[test]
    fn parts_of_two_ballots_are_never_mixed() -> TestResult {
        let (low, high) = (proposal(ballot(1, 2), 40)?, proposal(ballot(2, 1), 64)?);
        let mut copy = Proposal::empty(node(1))?;
        carry(&low, 0, ballot(1, 2), &mut copy)?;
        carry(&high, 1, ballot(2, 1), &mut copy)?;
        // Too late: the higher ballot goes on.
        carry(&low, 1, ballot(1, 2), &mut copy)?;
        assert!(!copy.is_complete());
        carry(&high, 0, ballot(2, 1), &mut copy)?;
        assert!(are_equal(&copy, &high));
        carry(&low, 0, ballot(1, 2), &mut copy)?;
        carry(&low, 1, ballot(1, 2), &mut copy)?;
        assert!(are_equal(&copy, &high));
        Ok(())
    }

    #[test]
    fn a_proposal_goes_on_under_another_ballot_unchanged() -> TestResult {
        let original = proposal(ballot(1, 3), 70)?;
        let mut carried = Proposal::empty(node(1))?;
        carried.copy_from(&original, ballot(5, 8));
        assert!(are_equal(&carried, &original));
        assert_eq!(carried.ballot, Some(ballot(5, 8)));
        // Issuer and number stay what they were: they are the view's name.
        assert_eq!(
            (carried.issuer(), carried.number()),
            (node(7), ViewNumber(3))
        );
        Ok(())
    }

    #[test]
    fn a_set_of_all_parts_has_a_bit_for_each() {
        assert_eq!(all_parts(1), 1);
        assert_eq!(all_parts(2), 3);
        assert_eq!(all_parts(63), u64::MAX >> 1);
        assert_eq!(all_parts(64), u64::MAX);
    }
}
