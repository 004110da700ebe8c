// SPDX-License-Identifier: GPL-2.0

//! Histograms of how late heartbeats are, for each neighbour: how late its heartbeats arrive here, and how late this
//! node sends its own. They show whether `heartbeat_slack_ms` covers the jitter, and whose jitter it is: that of the
//! sender and the network, or that of this machine.
//!
//! A heartbeat is due one interval after the heartbeat before it arrived, so a lost one shows as a delay of an
//! interval or more. A histogram continues over successive views while its neighbour stays in the same incarnation.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::{DELAY_BUCKETS, MONITORED_MAX};
use crate::protocol::time::Duration;

/// Neighbours: the targets of heartbeats and the monitored nodes may all be different nodes.
const NEIGHBOURS_MAX: usize = 2 * MONITORED_MAX;

/// Counts of delays, by powers of two of a microsecond. The first bucket counts delays of less than one microsecond
/// and heartbeats that were early, bucket `k` delays from `2^(k-1)` up to `2^k` microseconds, and the last bucket all
/// longer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayHistogram {
    /// The counts. They saturate.
    pub buckets: [u32; DELAY_BUCKETS],
}

impl DelayHistogram {
    const fn new() -> Self {
        Self {
            buckets: [0; DELAY_BUCKETS],
        }
    }

    fn add(&mut self, delay: Duration) {
        let microseconds = delay.as_nanoseconds() / 1_000;
        let bits = u64::BITS.saturating_sub(microseconds.leading_zeros());
        let place = (bits as usize).min(DELAY_BUCKETS.saturating_sub(1));
        if let Some(count) = self.buckets.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }
}

/// The delays of one neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourDelays {
    /// The neighbour.
    pub identity: Identity,
    /// How late its heartbeats arrived, if it is monitored.
    pub received: Option<DelayHistogram>,
    /// How late this node sent its heartbeats, if the neighbour is a target of them.
    pub sent: Option<DelayHistogram>,
}

/// The histograms of all neighbours.
pub(super) struct Delays {
    neighbours: BoundedVec<NeighbourDelays>,
}

impl Delays {
    /// No neighbours. Allocates room for all that there can be.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self {
            neighbours: BoundedVec::with_capacity(NEIGHBOURS_MAX)?,
        })
    }

    /// Count for the neighbours of another view. One that stays keeps its counts.
    pub(super) fn install(
        &mut self,
        monitored: impl Iterator<Item = Identity> + Clone,
        targets: impl Iterator<Item = Identity> + Clone,
    ) {
        let is_monitored = |identity| monitored.clone().any(|known| known == identity);
        let is_target = |identity| targets.clone().any(|target| target == identity);
        self.neighbours
            .retain(|known| is_monitored(known.identity) || is_target(known.identity));
        for identity in monitored.clone().chain(targets.clone()) {
            if !self
                .neighbours
                .iter()
                .any(|known| known.identity == identity)
            {
                // There is room for all.
                let _ = self.neighbours.push(NeighbourDelays {
                    identity,
                    received: None,
                    sent: None,
                });
            }
        }
        for known in self.neighbours.as_mut_slice() {
            let keep = |histogram: &mut Option<DelayHistogram>, is_counted: bool| {
                *histogram = is_counted.then(|| histogram.unwrap_or(DelayHistogram::new()));
            };
            keep(&mut known.received, is_monitored(known.identity));
            keep(&mut known.sent, is_target(known.identity));
        }
    }

    /// Count a heartbeat of a neighbour that arrived with this delay.
    pub(super) fn received(&mut self, identity: Identity, delay: Duration) {
        if let Some(histogram) = self
            .find(identity)
            .and_then(|known| known.received.as_mut())
        {
            histogram.add(delay);
        }
    }

    /// Count a heartbeat to a neighbour that is sent with this lateness.
    pub(super) fn sent(&mut self, identity: Identity, lateness: Duration) {
        if let Some(histogram) = self.find(identity).and_then(|known| known.sent.as_mut()) {
            histogram.add(lateness);
        }
    }

    fn find(&mut self, identity: Identity) -> Option<&mut NeighbourDelays> {
        self.neighbours
            .as_mut_slice()
            .iter_mut()
            .find(|known| known.identity == identity)
    }

    /// The neighbour in this place. Places change with the view.
    pub(super) fn at(&self, place: usize) -> Option<&NeighbourDelays> {
        self.neighbours.get(place)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_delays))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity, identity_in, span, TestResult, Unexpected};

    fn identities(numbers: &[u16]) -> impl Iterator<Item = Identity> + Clone + '_ {
        numbers.iter().map(|number| identity(*number))
    }

    /// How many delays are counted for a neighbour: received, sent.
    fn counts(delays: &Delays, of: Identity) -> (Option<u32>, Option<u32>) {
        let known = (0..NEIGHBOURS_MAX).find_map(|place| {
            delays
                .at(place)
                .filter(|known| known.identity == of)
                .copied()
        });
        let sum = |histogram: Option<DelayHistogram>| histogram.map(|h| h.buckets.iter().sum());
        known.map_or((None, None), |known| (sum(known.received), sum(known.sent)))
    }

    #[test]
    fn each_bucket_holds_delays_twice_as_long_as_the_one_before() -> TestResult {
        let last = DELAY_BUCKETS as u64 - 1;
        // Nanoseconds, bucket.
        let mut table = [
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_999, 1),
            (2_000, 2),
            (3_999, 2),
            (4_000, 3),
            (15_000_000, 14),
            (16_383_999, 14),
            (16_384_000, 15),
            (u64::MAX, last),
            (0, 0),
        ];
        if let Some(longest) = table.last_mut() {
            *longest = ((1 << (last - 1)) * 1_000 - 1, last - 1);
        }
        for (nanoseconds, bucket) in table {
            let mut histogram = DelayHistogram::new();
            histogram.add(Duration::from_nanoseconds(nanoseconds));
            let place = histogram.buckets.iter().position(|count| *count == 1);
            assert_eq!(place.ok_or(Unexpected)? as u64, bucket);
            assert_eq!(histogram.buckets.iter().sum::<u32>(), 1);
        }
        Ok(())
    }

    #[test]
    fn a_count_saturates() {
        let mut histogram = DelayHistogram {
            buckets: [u32::MAX; DELAY_BUCKETS],
        };
        histogram.add(Duration::ZERO);
        assert_eq!(histogram.buckets, [u32::MAX; DELAY_BUCKETS]);
    }

    #[test]
    fn counts_stay_while_the_neighbour_stays_in_its_incarnation() -> TestResult {
        let mut delays = Delays::new()?;
        delays.install(identities(&[2, 3]), identities(&[2, 4]));
        for number in 2..=5 {
            delays.received(identity(number), span(1));
            delays.sent(identity(number), span(1));
        }
        assert_eq!(counts(&delays, identity(2)), (Some(1), Some(1)));
        assert_eq!(counts(&delays, identity(3)), (Some(1), None));
        assert_eq!(counts(&delays, identity(4)), (None, Some(1)));
        assert_eq!(counts(&delays, identity(5)), (None, None));
        // Node 2 is no target any more, node 3 is gone, and node 4 is in another incarnation.
        let targets = [identity_in(4, 2)];
        delays.install(identities(&[2, 5]), targets.iter().copied());
        assert_eq!(counts(&delays, identity(2)), (Some(1), None));
        assert_eq!(counts(&delays, identity(3)), (None, None));
        assert_eq!(counts(&delays, identity(4)), (None, None));
        assert_eq!(counts(&delays, identity_in(4, 2)), (None, Some(0)));
        assert_eq!(counts(&delays, identity(5)), (Some(0), None));
        delays.install(identities(&[3]), identities(&[2]));
        assert_eq!(counts(&delays, identity(3)), (Some(0), None));
        assert_eq!(counts(&delays, identity(2)), (None, Some(0)));
        Ok(())
    }

    #[test]
    fn there_is_room_for_all_neighbours() -> TestResult {
        let mut delays = Delays::new()?;
        let (monitored, targets) = ([1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(monitored.len(), MONITORED_MAX);
        delays.install(identities(&targets), identities(&monitored));
        delays.install(identities(&monitored), identities(&targets));
        for number in monitored {
            assert_eq!(counts(&delays, identity(number)), (Some(0), None));
        }
        for number in targets {
            assert_eq!(counts(&delays, identity(number)), (None, Some(0)));
        }
        assert_eq!(delays.at(NEIGHBOURS_MAX), None);
        Ok(())
    }
}
