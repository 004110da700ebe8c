// SPDX-License-Identifier: GPL-2.0

//! The lines of the kernel log that tell of cluster views, and why nodes are refused.

#![forbid(unsafe_code)]

use super::{
    event_log::{
        log_line,
        EventLog, //
    },
    text_buffer::TextBuffer, //
};
use crate::protocol::{
    identity::Identity,
    outputs::{
        ChangeReason,
        RefusalReason, //
    },
    time::Instant,
    view::ClusterView, //
};
use core::fmt::Write;

/// Changes of a view that get a line of their own.
const CHANGE_LINES_MAX: usize = 8;
/// Node numbers of a view that are shown.
const NODES_SHOWN_MAX: usize = 100;
/// Bytes of so many numbers, and of the coordinators.
const NODES_BYTES_MAX: usize = 700;

/// One line for each node that came or went, as far as they are few. Who joined is left out of a
/// node's first view: it would be everybody.
pub(super) fn changes(
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

/// The line of an installed view.
pub(super) fn view(log: &mut EventLog, now: Instant, view: &ClusterView, coordinators: u32) {
    let mut bytes = [0; NODES_BYTES_MAX];
    let mut text = TextBuffer::new(&mut bytes);
    // What does not fit is cut off, which the sizes above prevent.
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

/// Why a node is refused.
pub(super) fn refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::DuplicateNodeId => "node number in use at another address",
        RefusalReason::HeartbeatInterval => "heartbeat interval differs",
        RefusalReason::Rings => "number of rings differs",
        RefusalReason::Confirmations => "number of confirmations differs",
        RefusalReason::Coordinators => "number of coordinators differs",
        RefusalReason::EvenSplit => "rule for equal halves (even_split) differs",
        RefusalReason::Partitionable => "rule for parts without a quorum (partitionable) differs",
        RefusalReason::ViewFull => "view is full",
        RefusalReason::Detector => "detector differs",
    }
}
