// SPDX-License-Identifier: GPL-2.0

//! A node that has members of a group, as the group's coordinator sees it: what it holds, and which entries of the log
//! it needs.

use crate::protocol::identity::NodeId;
use crate::protocol::limits::GROUP_FLIGHT_ENTRIES_MAX;
use crate::protocol::time::{Duration, Instant};

/// A node that is out of the group is answered for so many intervals, since the last datagram to it may have been lost.
/// A node that is silent for longer is excluded from the cluster.
const REMEMBERED_INTERVALS: u64 = 20;
/// A node that does not know that it is out of the group, and asks to leave, gets the start so many times more. The link
/// to it may work in one direction only, or not at all for a while.
pub(super) const EXCLUSION_REPEATS: u8 = 16;

/// A node that has members of the group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Participant {
    pub(super) node: NodeId,
    /// It has acknowledged everything up to here.
    pub(super) acknowledged: u64,
    /// Everything up to here was sent.
    pub(super) sent: u64,
    /// The stable position that was announced to it last.
    pub(super) announced_stable: u64,
    /// The released position that was announced to it last.
    pub(super) announced_released: u64,
    /// It has acknowledged nothing for an interval: it gets the first entry again that it may lack.
    pub(super) is_probed: bool,
    pub(super) resend_at: Option<Instant>,
    pub(super) interval: Duration,
    /// It needs no entries up to here: it was not in the group.
    pub(super) begins_after: u64,
    /// The position of the view that excludes it. It still gets all entries up to that.
    pub(super) ends_at: Option<u64>,
    /// It is in the group again since the entry behind this one, and has not acknowledged `ends_at` yet.
    rejoins_after: Option<u64>,
    /// It was out before the epoch began. It gets the start, and no entry waits for it.
    pub(super) is_out: bool,
    /// How often the start is sent to it beyond the usual: it asks to leave, so it does not know that it is out.
    pub(super) exclusion_repeats: u8,
    /// It has acknowledged `ends_at`, and is forgotten at this time.
    pub(super) forgotten_at: Option<Instant>,
}

impl Participant {
    /// A node that gets all entries behind `before`.
    pub(super) fn new(node: NodeId, before: u64, interval: Duration) -> Self {
        Self {
            node,
            acknowledged: before,
            sent: before,
            announced_stable: before,
            announced_released: before,
            is_probed: false,
            resend_at: None,
            interval,
            begins_after: before,
            ends_at: None,
            rejoins_after: None,
            is_out: false,
            exclusion_repeats: 0,
            forgotten_at: None,
        }
    }

    /// A node that gets the start of an epoch only to know that it is out.
    pub(super) fn out(node: NodeId, interval: Duration) -> Self {
        Self {
            ends_at: Some(1),
            is_out: true,
            ..Self::new(node, 0, interval)
        }
    }

    /// How far entries may be stable as far as this node is concerned. `None`: no entry waits for it.
    pub(super) fn counts(&self) -> Option<u64> {
        let counts = self.forgotten_at.is_none() && !self.is_out;
        counts.then_some(self.acknowledged)
    }

    /// A view at `position` does not have the node.
    pub(super) fn leave(&mut self, position: u64) {
        self.rejoins_after = None;
        if self.ends_at.is_none() {
            self.ends_at = Some(position);
        }
    }

    /// A view behind `before` has the node.
    pub(super) fn stay(&mut self, before: u64) {
        if self.forgotten_at.is_some() || self.is_out {
            *self = Self::new(self.node, before, self.interval);
        } else if self.ends_at.is_some() && self.rejoins_after.is_none() {
            self.rejoins_after = Some(before);
        }
    }

    /// The last entry that may be sent to it now, if everything up to `stable` is stable and `last` is the last entry.
    pub(super) fn flight_limit(&self, stable: u64, last: u64) -> u64 {
        if self.forgotten_at.is_some() {
            return self.sent;
        }
        // What a new participant acknowledges counts for all entries before it. It could not hand those over, so it
        // gets nothing before the others hold them.
        if self.acknowledged <= self.begins_after && stable < self.begins_after {
            return self.sent;
        }
        self.acknowledged
            .saturating_add(GROUP_FLIGHT_ENTRIES_MAX as u64)
            .min(self.ends_at.unwrap_or(last))
    }

    /// It was sent everything up to `position`, with what is stable and released.
    pub(super) fn sent_up_to(&mut self, now: Instant, position: u64, reached: (u64, u64)) {
        self.sent = position;
        (self.announced_stable, self.announced_released) = reached;
        if self.resend_at.is_none() {
            self.resend_at = Some(now.after(self.interval));
        }
    }

    /// It has acknowledged everything up to `position`.
    pub(super) fn advance(&mut self, now: Instant, position: u64) {
        self.acknowledged = position;
        self.sent = self.sent.max(position);
        self.resend_at = None;
        self.is_probed = false;
        if self.ends_at.is_some_and(|end| position >= end) {
            match self.rejoins_after {
                Some(before) => *self = Self::new(self.node, before.max(position), self.interval),
                None => {
                    self.forgotten_at = Some(now.after(self.interval.times(REMEMBERED_INTERVALS)));
                }
            }
        }
    }
}
