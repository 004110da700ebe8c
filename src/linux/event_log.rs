// SPDX-License-Identifier: GPL-2.0

//! What an operator reads in dmesg: one line for each thing that one would want to know.
//!
//! A storm of them is cut: a node has a budget of lines that fills up again with time, and says how
//! many it left out.

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

/// Lines that a node may write at once.
const BURST_LINES: u64 = 100;
/// The budget grows by one line in this time.
const LINE_INTERVAL: Duration = Duration::from_milliseconds(50);

/// The lines of one node.
pub(crate) struct EventLog {
    node: NodeId,
    budget: u64,
    filled_at: Instant,
    left_out: u64,
}

impl EventLog {
    /// A full budget.
    pub(crate) fn new(node: NodeId, now: Instant) -> Self {
        Self {
            node,
            budget: BURST_LINES,
            filled_at: now,
            left_out: 0,
        }
    }

    /// Writes a line, if the budget has it.
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

/// Writes one line of the node's log; further arguments as for `format_args!`.
macro_rules! log_line {
    ($log:expr, $now:expr, $($text:tt)*) => {
        $log.line($now, format_args!($($text)*))
    };
}
pub(crate) use log_line;
