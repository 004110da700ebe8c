// SPDX-License-Identifier: GPL-2.0

//! Messages of the membership protocol: finding a cluster, reporting changes, agreeing on views.
//!
//! Long lists (a proposed view, a whole view) are cut into numbered parts of at most
//! [`PART_ENTRIES_MAX`](crate::protocol::limits::PART_ENTRIES_MAX) entries, each of which can be used alone.

mod agreement;
mod entries;
mod joining;
mod proposal;
mod reports;
mod views;

pub use agreement::{write_promise, Ballot, Commit, Hold, Prepare, Promise, Propose, Seat};
pub use joining::{JoinAnswer, JoinRequest};
pub use proposal::{write_proposal_part, Change, ProposalHead, ProposalKind, ProposalPart};
pub use reports::{Pin, ReportRecord, Reports};
pub use views::{write_view_part, NotMember, NotMemberReason, ViewPart, ViewPartHead};
