// SPDX-License-Identifier: GPL-2.0

//! A proposed view, as the differences from the present one, and its assembly from parts.
//!
//! # Invariants
//!
//! A complete proposal (all parts there) never changes until it is cleared. Parts of proposals with
//! another issuer or other counts are not mixed: they start a new assembly.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::NodeId;
use crate::protocol::limits::{NODES_MAX, PARTS_MAX, PART_ENTRIES_MAX};
use crate::protocol::wire::membership::{
    write_proposal_part, Ballot, Change, ProposalHead, ProposalPart,
};
use crate::protocol::wire::Writer;

/// Bytes of one bit for each node.
const REPORTER_BYTES_MAX: usize = NODES_MAX.div_ceil(8);

/// The differences between a view and the one proposed to follow it.
pub(super) struct Proposal {
    /// Under which ballot it was proposed; `None`: there is none.
    pub(super) ballot: Option<Ballot>,
    issuer: NodeId,
    parts: u16,
    changes_total: u16,
    /// One bit for each part that is there.
    present: u64,
    changes: BoundedVec<Change>,
    reporters: BoundedVec<u8>,
}

impl Proposal {
    /// No proposal; `issuer` is any node.
    pub(super) fn empty(issuer: NodeId) -> Result<Self, OutOfMemory> {
        Ok(Self {
            ballot: None,
            issuer,
            parts: 0,
            changes_total: 0,
            present: 0,
            changes: BoundedVec::with_capacity(PARTS_MAX * PART_ENTRIES_MAX)?,
            reporters: BoundedVec::with_capacity(REPORTER_BYTES_MAX)?,
        })
    }

    /// No proposal any more.
    pub(super) fn clear(&mut self) {
        self.ballot = None;
        self.parts = 0;
        self.changes_total = 0;
        self.present = 0;
        self.changes.clear();
        self.reporters.clear();
    }

    /// Starts a proposal of one's own: changes and reporters are added, then it is closed.
    pub(super) fn begin(&mut self, ballot: Ballot, issuer: NodeId) {
        self.clear();
        self.ballot = Some(ballot);
        self.issuer = issuer;
    }

    /// Adds a change to a proposal that was begun. False: no room, it has to wait for a later view.
    pub(super) fn add(&mut self, change: Change) -> bool {
        self.changes.push(change).is_ok()
    }

    /// Appends the next eight members' bits.
    pub(super) fn add_reporters(&mut self, bits: u8) {
        let _ = self.reporters.push(bits);
    }

    /// Ends what [`Self::begin`] began.
    pub(super) fn close(&mut self) {
        let total = self.changes.len();
        self.changes_total = u16::try_from(total).unwrap_or(u16::MAX);
        self.parts = u16::try_from(total.div_ceil(PART_ENTRIES_MAX).max(1)).unwrap_or(u16::MAX);
        self.present = all_parts(self.parts);
    }

    /// Whether there is a proposal and all its parts are there.
    pub(super) fn is_complete(&self) -> bool {
        self.ballot.is_some() && self.parts > 0 && self.present == all_parts(self.parts)
    }

    /// Who made it.
    pub(super) fn issuer(&self) -> NodeId {
        self.issuer
    }

    /// How many parts it has.
    pub(super) fn parts(&self) -> u16 {
        self.parts
    }

    /// The changes, if it is complete.
    pub(super) fn changes(&self) -> &[Change] {
        if self.is_complete() {
            &self.changes
        } else {
            &[]
        }
    }

    /// One bit for each member of the present view.
    pub(super) fn reporters(&self) -> &[u8] {
        &self.reporters
    }

    /// Puts a part in its place; a part under a higher ballot starts anew, one under a lower ballot
    /// is left out.
    pub(super) fn add_part(&mut self, ballot: Ballot, part: &ProposalPart<'_>) {
        if self.ballot.is_some_and(|present| present > ballot) {
            return;
        }
        if self.ballot != Some(ballot)
            || self.parts != part.parts
            || self.changes_total != part.changes_total
            || self.issuer != part.issuer
        {
            self.clear();
            self.ballot = Some(ballot);
            self.issuer = part.issuer;
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

    /// Takes over another one's content under a new ballot.
    pub(super) fn copy_from(&mut self, other: &Proposal, ballot: Ballot) {
        self.begin(ballot, other.issuer);
        for change in other.changes() {
            let _ = self.changes.push(*change);
        }
        let _ = self.reporters.extend_from_slice(&other.reporters);
        self.close();
    }

    /// Writes part number `part` (behind a ballot).
    pub(super) fn write_part(&self, writer: &mut Writer<'_>, part: u16) -> Option<()> {
        let start = usize::from(part).saturating_mul(PART_ENTRIES_MAX);
        let end = start
            .saturating_add(PART_ENTRIES_MAX)
            .min(self.changes.len());
        let changes = self.changes.get(start..end).unwrap_or_default();
        let head = ProposalHead {
            issuer: self.issuer,
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
