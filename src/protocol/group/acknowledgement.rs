// SPDX-License-Identifier: GPL-2.0

//! When a node acknowledges the entries that it has accepted, and reports those that it lacks.
//!
//! An acknowledgement is for the coordinator: the entry is stable when all participants have acknowledged it. It waits
//! until it pays, since nobody waits for it: until a quarter of the window is accepted, or for a few milliseconds.
//! Somebody does wait if an entry is a view, if it is to be delivered as safe, or if it is a message of this node,
//! which the others deliver only when they know that this node holds it ([`super::release`]). Then the acknowledgement
//! goes out at once: on the next data if there is more to send, else to all nodes with members.

use crate::protocol::limits::GROUP_FLIGHT_ENTRIES_MAX;
use crate::protocol::time::{Duration, Instant};

/// So many entries are acknowledged at once.
pub(super) const ENTRIES_MAX: u64 = GROUP_FLIGHT_ENTRIES_MAX as u64 / 4;
/// An acknowledgement that nobody waits for is sent after this time.
pub(super) const DELAY: Duration = Duration::from_milliseconds(5);
/// A gap is reported when it lasts for this time: datagrams overtake each other in some networks.
pub(super) const REORDERING: Duration = Duration::from_milliseconds(2);

/// What was acknowledged, and what is due.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Acknowledgement {
    /// Somebody waits for the acknowledgement.
    pub(super) is_due: bool,
    /// What the coordinator was sent last.
    pub(super) acknowledged: u64,
    /// What all nodes with members were sent last.
    pub(super) announced: u64,
    /// When to acknowledge, at the latest.
    pub(super) at: Option<Instant>,
    /// The first gap, and when to report it.
    pub(super) gap: Option<(u64, Instant)>,
}

impl Acknowledgement {
    /// The coordinator was sent, on other data, that everything up to `accepted` is held.
    pub(super) fn sent(&mut self, accepted: u64) {
        self.acknowledged = self.acknowledged.max(accepted);
    }

    /// Whether everything up to `accepted` was acknowledged, and nobody waits for a repetition.
    pub(super) fn is_up_to_date(&self, accepted: u64) -> bool {
        !self.is_due && self.acknowledged >= accepted
    }

    /// When `Group::send_acknowledge` has something to do without another input.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.at.into_iter().chain(self.gap.map(|(_, at)| at)).min()
    }
}
