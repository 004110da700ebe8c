// SPDX-License-Identifier: GPL-2.0

//! A node that has members of a group, as the group's coordinator sees it: what it has got, and the
//! part of the log that it needs.

use crate::protocol::identity::NodeId;
use crate::protocol::time::{Duration, Instant};

/// A node that is out of the group is answered for so many intervals: what it was told last may have
/// been lost. One that is silent for longer is put out of the cluster.
const REMEMBERED_INTERVALS: u64 = 20;
/// A node that does not know that it is out, and asks to be let go, is told so many times more. What is
/// between may work one way only, or not at all for a while.
pub(super) const TELLINGS: u8 = 16;

/// A node that has members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Participant {
    pub(super) node: NodeId,
    /// It has acknowledged everything up to here.
    pub(super) acknowledged: u64,
    /// Everything up to here was sent.
    pub(super) sent: u64,
    /// It was told that everything up to here is stable.
    pub(super) told_stable: u64,
    pub(super) resend_at: Option<Instant>,
    pub(super) interval: Duration,
    /// It needs nothing up to here: it was not in the group.
    pub(super) begins_after: u64,
    /// Position of the view that does not have it any more: it still gets everything up to that.
    pub(super) ends_at: Option<u64>,
    /// It is in the group again since the entry behind this one, and has not got `ends_at` yet.
    returns_after: Option<u64>,
    /// It was out before the epoch began: it is told so, and nobody waits for it.
    pub(super) is_out: bool,
    /// It asks to be let go, so it does not know that it is out: how often it is still told so.
    pub(super) tellings: u8,
    /// It has got `ends_at`, and is forgotten at this time.
    pub(super) forgotten_at: Option<Instant>,
}

impl Participant {
    /// A node that gets everything behind `before`.
    pub(super) fn new(node: NodeId, before: u64, interval: Duration) -> Self {
        Self {
            node,
            acknowledged: before,
            sent: before,
            told_stable: before,
            resend_at: None,
            interval,
            begins_after: before,
            ends_at: None,
            returns_after: None,
            is_out: false,
            tellings: 0,
            forgotten_at: None,
        }
    }

    /// A node that gets the first entry of an epoch only to know that it is out.
    pub(super) fn out(node: NodeId, interval: Duration) -> Self {
        Self {
            ends_at: Some(1),
            is_out: true,
            ..Self::new(node, 0, interval)
        }
    }

    /// What everybody has as far as this one is concerned; `None`: it does not matter any more.
    pub(super) fn counts(&self) -> Option<u64> {
        let counts = self.forgotten_at.is_none() && !self.is_out;
        counts.then_some(self.acknowledged)
    }

    /// A view at `position` does not have the node.
    pub(super) fn leave(&mut self, position: u64) {
        self.returns_after = None;
        if self.ends_at.is_none() {
            self.ends_at = Some(position);
        }
    }

    /// A view behind `before` has the node.
    pub(super) fn stay(&mut self, before: u64) {
        if self.forgotten_at.is_some() || self.is_out {
            *self = Self::new(self.node, before, self.interval);
        } else if self.ends_at.is_some() && self.returns_after.is_none() {
            self.returns_after = Some(before);
        }
    }

    /// It has everything up to `position`.
    pub(super) fn advance(&mut self, now: Instant, position: u64) {
        self.acknowledged = position;
        self.sent = self.sent.max(position);
        self.resend_at = None;
        if self.ends_at.is_some_and(|end| position >= end) {
            match self.returns_after {
                Some(before) => *self = Self::new(self.node, before.max(position), self.interval),
                None => {
                    self.forgotten_at = Some(now.after(self.interval.times(REMEMBERED_INTERVALS)));
                }
            }
        }
    }
}
