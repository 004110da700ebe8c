// SPDX-License-Identifier: GPL-2.0

//! When heartbeats are sent: at fixed phases of the interval, so that the sends of a node are spread evenly over it.

use crate::protocol::time::{Duration, Instant};

/// The first moment after `now` that has the phase of the target at `place`. The targets of a node share out the
/// interval evenly, so the monitors of a node that crashes do not all wait equally long.
pub(super) fn next_in_phase(
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
    // A heartbeat so soon after the last one would be a waste: skip to the next interval.
    let wait = if wait < length / 8 { length } else { wait };
    now.after(Duration::from_nanoseconds(wait))
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_phase))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, span};

    const INTERVAL: Duration = span(160);

    #[test]
    fn heartbeats_keep_the_phase_of_their_target_or_come_shortly_before() {
        let phase = at(1007);
        for rings in 1..=8 {
            for place in 0..rings as usize {
                let origin = phase.after(INTERVAL.times(place as u64).divided_by(rings));
                let mut now = at(5000);
                for step in 0..10 {
                    let next = next_in_phase(now, phase, INTERVAL, place, rings);
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
    fn the_next_heartbeat_is_between_an_eighth_of_an_interval_and_an_interval_away() {
        for now_ms in 1000..1400 {
            let wait = next_in_phase(at(now_ms), at(1000), INTERVAL, 0, 3).since(at(now_ms));
            assert!(wait >= INTERVAL.divided_by(8) && wait <= INTERVAL);
        }
    }

    #[test]
    fn extreme_values_never_give_an_earlier_moment() {
        let last = Instant::from_nanoseconds(u64::MAX);
        assert_eq!(next_in_phase(last, at(0), INTERVAL, 7, 8), last);
        let none = Duration::ZERO;
        assert!(next_in_phase(at(1), at(0), none, 0, 0) > at(1));
        assert!(next_in_phase(at(1), at(500), INTERVAL, 0, 3) > at(1));
    }
}
