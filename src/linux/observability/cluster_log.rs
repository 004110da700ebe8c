// SPDX-License-Identifier: GPL-2.0

//! Lines of the kernel log about cluster views, and the reasons for which nodes and members of groups are refused.

#![forbid(unsafe_code)]

use super::event_log::{
    log_line,
    EventLog, //
};
use crate::{
    linux::runtime::text_buffer::TextBuffer,
    protocol::{
        group_properties::{
            GroupProperty,
            GroupRefusal, //
        },
        identity::Identity,
        outputs::{
            ChangeReason,
            RefusalReason, //
        },
        time::Instant,
        view::ClusterView, //
    }, //
};
use core::fmt::Write;

/// Number of changes of a view that get a line of their own.
const CHANGE_LINES_MAX: usize = 8;
/// Number of nodes of a view whose numbers are shown.
const NODES_SHOWN_MAX: usize = 100;
/// Bytes that so many numbers and those of the coordinators take at most.
const NODES_BYTES_MAX: usize = 700;

/// Write one line for each of the first [`CHANGE_LINES_MAX`] nodes that joined or left, and one for the rest. For a
/// node's first view the joins are left out: they would be all members.
pub(crate) fn changes(
    log: &mut EventLog,
    now: Instant,
    changes: &[(Identity, ChangeReason)],
    is_first: bool,
) {
    let mut lines: usize = 0;
    let mut joined_more: usize = 0;
    let mut left_more: usize = 0;
    for (subject, reason) in changes {
        if *reason == ChangeReason::Join && is_first {
            continue;
        }
        lines = lines.saturating_add(1);
        let is_shown = lines <= CHANGE_LINES_MAX;
        match (reason, is_shown) {
            (ChangeReason::Join, true) => log_line!(log, now, "joined view: {:?}", subject.node),
            (ChangeReason::Leave, true) => {
                log_line!(log, now, "left view: {:?} (leave)", subject.node);
            }
            (ChangeReason::Failed, true) => {
                log_line!(log, now, "left view: {:?} (failed)", subject.node);
            }
            (ChangeReason::Evicted, true) => {
                log_line!(log, now, "left view: {:?} (evicted)", subject.node);
            }
            (ChangeReason::Join, false) => joined_more = joined_more.saturating_add(1),
            (_, false) => {
                left_more = left_more.saturating_add(1);
            }
        }
    }
    if joined_more > 0 {
        log_line!(log, now, "joined view: {} more", joined_more);
    }
    if left_more > 0 {
        log_line!(log, now, "left view: {} more", left_more);
    }
}

/// Write the line of an installed view.
pub(crate) fn view(log: &mut EventLog, now: Instant, view: &ClusterView, coordinators: u32) {
    let mut bytes = [0; NODES_BYTES_MAX];
    let mut text = TextBuffer::new(&mut bytes);
    // A text that does not fit would be cut off; the sizes above prevent that.
    for member in view.members().iter().take(NODES_SHOWN_MAX) {
        let _ = write!(text, " {}", member.identity.node.number());
    }
    if view.count() > NODES_SHOWN_MAX {
        let _ = write!(text, " ..");
    }
    let _ = write!(text, "; coordinators:");
    for member in view.coordinators(coordinators) {
        let _ = write!(text, " {}", member.identity.node.number());
    }
    log_line!(
        log,
        now,
        "view {:?} of coordinator {:?}, {}{} members:{}",
        view.number,
        view.issuer,
        if view.is_primary { "" } else { "not primary, " },
        view.count(),
        core::str::from_utf8(text.as_bytes()).unwrap_or_default()
    );
}

/// The reason for which a node is refused, for the log.
pub(crate) fn refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::DuplicateNodeId => "node number in use at another address",
        RefusalReason::HeartbeatInterval => "heartbeat interval differs",
        RefusalReason::Rings => "number of rings differs",
        RefusalReason::Confirmations => "number of confirmations differs",
        RefusalReason::Coordinators => "number of coordinators differs",
        RefusalReason::EvenSplit => "rule for equal halves (even_split) differs",
        RefusalReason::Partitionable => "rule for components without a quorum (partitionable) differs",
        RefusalReason::ViewFull => "view is full",
        RefusalReason::Detector => "detector differs",
    }
}

/// The reason for which a group does not admit a member, for the log.
pub(crate) fn group_refusal(reason: GroupRefusal) -> &'static str {
    match reason {
        GroupRefusal::Property(GroupProperty::DefaultOrder) => {
            "it has another property default_order; all members must give the same"
        }
        GroupRefusal::Property(GroupProperty::SendingView) => {
            "it has another property sending_view; all members must give the same"
        }
        GroupRefusal::Property(GroupProperty::SlowPolicy) => {
            "it has another property slow_policy or slow_wait_ms; all members must give the same"
        }
        GroupRefusal::Property(GroupProperty::QuorumMode) => {
            "it has another property quorum_mode; all members must give the same"
        }
        GroupRefusal::TooManyGroups => "the node that would order it orders as many groups as it can",
        GroupRefusal::TooManyMembers => "it has as many members as it can",
        GroupRefusal::NameInUse => "another group's name has the same hash; take another name",
    }
}
