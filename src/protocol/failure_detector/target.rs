// SPDX-License-Identifier: GPL-2.0

//! A node that gets our heartbeats, and when.

use super::DetectorPeer;
use crate::protocol::time::{Duration, Instant};

/// A node that gets our heartbeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) peer: DetectorPeer,
    /// Heartbeats sent to it.
    pub(super) number: u32,
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_target))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, span};

    const INTERVAL: Duration = span(160);

    #[test]
    fn heartbeats_keep_to_the_phase_of_their_target_or_shortly_before() {
        let phase = at(1007);
        for rings in 1..=8 {
            for place in 0..rings as usize {
                let origin = phase.after(INTERVAL.times(place as u64).divided_by(rings));
                let mut now = at(5000);
                for step in 0..10 {
                    let next = aligned_after(now, phase, INTERVAL, place, rings);
                    let behind = next.since(origin).as_nanoseconds() % INTERVAL.as_nanoseconds();
                    assert!(behind == 0 || behind > INTERVAL.as_nanoseconds() / 8 * 7);
                    // The first one may come sooner.
                    assert!(step == 0 || next.since(now) == INTERVAL);
                    now = next;
                }
            }
        }
    }

    #[test]
    fn a_heartbeat_never_follows_at_once_and_never_waits_longer_than_an_interval() {
        for now_ms in 1000..1400 {
            let wait = aligned_after(at(now_ms), at(1000), INTERVAL, 0, 3).since(at(now_ms));
            assert!(wait >= INTERVAL.divided_by(8) && wait <= INTERVAL);
        }
    }

    #[test]
    fn odd_values_do_no_harm() {
        let last = Instant::from_nanoseconds(u64::MAX);
        assert_eq!(aligned_after(last, at(0), INTERVAL, 7, 8), last);
        let none = Duration::ZERO;
        assert!(aligned_after(at(1), at(0), none, 0, 0) > at(1));
        assert!(aligned_after(at(1), at(500), INTERVAL, 0, 3) > at(1));
    }
}
