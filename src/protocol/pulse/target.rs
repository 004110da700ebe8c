// SPDX-License-Identifier: GPL-2.0

//! A node that gets our heartbeats, and when.

use super::PulsePeer;
use crate::protocol::time::{Duration, Instant};

/// A node that gets our heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) peer: PulsePeer,
    /// Heartbeats sent to it.
    pub(super) number: u32,
    pub(super) last_sent: Instant,
    pub(super) next_send: Instant,
    /// Its place in the list of targets, which fixes its phase.
    pub(super) place: usize,
}

/// The first moment after `now` that has the phase of the target at `place`: the targets of a node
/// share out the interval evenly, so that the watchers of a node do not all wait equally long.
pub(super) fn aligned_after(
    now: Instant,
    phase: Instant,
    interval: Duration,
    place: usize,
    rings: u64,
) -> Instant {
    let offset = interval
        .times(place as u64)
        .divided_by(rings)
        .as_nanoseconds();
    let origin = phase.as_nanoseconds().wrapping_add(offset);
    let length = interval.as_nanoseconds().max(1);
    let behind = now
        .as_nanoseconds()
        .wrapping_sub(origin)
        .checked_rem(length)
        .unwrap_or(0);
    let wait = length.saturating_sub(behind);
    // Hardly any time after the last one it would be a needless one.
    let wait = if wait < length / 8 { length } else { wait };
    now.after(Duration::from_nanoseconds(wait))
}
