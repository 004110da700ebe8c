// SPDX-License-Identifier: GPL-2.0

//! The lines of a node in the kernel log, one for each event that an operator wants to know about.
//!
//! The rate of lines is limited: a node has a budget of lines that grows with time, and logs how many it left out.

#![forbid(unsafe_code)]

use crate::protocol::{
    identity::NodeId,
    time::{
        Duration,
        Instant, //
    }, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// Number of lines that a node may write at once.
const BURST_LINES: u64 = 100;
/// The budget grows by one line in this time.
const LINE_INTERVAL: Duration = Duration::from_milliseconds(50);

/// The log of one node.
pub(crate) struct EventLog {
    node: NodeId,
    budget: u64,
    filled_at: Instant,
    left_out: u64,
}

impl EventLog {
    /// Make a log with a full budget.
    pub(crate) fn new(node: NodeId, now: Instant) -> Self {
        Self {
            node,
            budget: BURST_LINES,
            filled_at: now,
            left_out: 0,
        }
    }

    /// Write a line, if the budget allows it.
    pub(crate) fn line(&mut self, now: Instant, text: fmt::Arguments<'_>) {
        let interval = LINE_INTERVAL.as_nanoseconds();
        let grown = now.since(self.filled_at).as_nanoseconds() / interval;
        if grown > 0 {
            self.budget = self.budget.saturating_add(grown).min(BURST_LINES);
            self.filled_at = now;
        }
        if self.budget == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.budget = self.budget.saturating_sub(1);
        let node = self.node.number();
        if self.left_out > 0 {
            pr_info!("node {}: {} lines left out\n", node, self.left_out);
            self.left_out = 0;
        }
        pr_info!("node {}: {}\n", node, text);
    }
}

/// Write one line of a node's log. The further arguments are those of `format_args!`.
macro_rules! log_line {
    ($log:expr, $now:expr, $($text:tt)*) => {
        $log.line($now, format_args!($($text)*))
    };
}
pub(crate) use log_line;
