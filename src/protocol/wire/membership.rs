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

pub use agreement::{
    parse_ballot, parse_commit, parse_hold, parse_prepare, parse_promise, write_ballot,
    write_commit, write_hold, write_prepare, write_promise, Ballot, Prepare, Promise, Seat,
};
pub use joining::{
    parse_join, parse_join_answer, write_join, write_join_answer, JoinAnswer, JoinRequest,
};
pub use proposal::{
    parse_propose, write_proposal_part, Change, Changes, ProposalHead, ProposalKind, ProposalPart,
};
pub use reports::{parse_identity, parse_reports, write_report, Pin, ReportRecord, Reports};
pub use views::{
    parse_not_member, parse_number, parse_view_part, write_not_member, write_number,
    write_view_part, Departures, Members, NotMember, NotMemberReason, ViewPart, ViewPartHead,
};
