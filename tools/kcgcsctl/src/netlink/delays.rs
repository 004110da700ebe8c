// SPDX-License-Identifier: GPL-2.0

//! How late heartbeats are: the histograms that the kernel keeps for each neighbour of a node.

use super::attributes::{kind, needed, Attributes};
use crate::failure::Failure;

/// Counts of delays in buckets that grow by powers of two: bucket 0 has delays below one microsecond, bucket `k` those
/// from `2^(k-1)` to below `2^k` microseconds, and the last bucket all longer ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The count of each bucket.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// The number of heartbeats counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// The bucket that has the given percentile; percentile 0 is the shortest delay. `None` if nothing was counted.
    pub fn percentile(&self, percent: u64) -> Option<usize> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut sum = 0;
        self.buckets.iter().position(|count| {
            sum += u64::from(*count);
            sum >= wanted
        })
    }

    /// The upper end of a bucket in microseconds: all its delays are below it. `None` for the last bucket.
    pub fn below_us(&self, bucket: usize) -> Option<u64> {
        let is_last = bucket + 1 >= self.buckets.len();
        (!is_last).then(|| 1_u64 << bucket.min(63))
    }
}

/// A neighbour of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourDelays {
    /// The number of the neighbour.
    pub node: u16,
    /// The incarnation of the neighbour.
    pub incarnation: u64,
    /// How late its heartbeats came, if the node monitors it.
    pub received: Option<Histogram>,
    /// How late the node sent heartbeats to it, if it sends any.
    pub sent: Option<Histogram>,
}

/// Decode the answer about one neighbour.
///
/// # Errors
///
/// The answer lacks an attribute, or cannot be decoded.
pub(super) fn neighbour(bytes: &[u8]) -> Result<NeighbourDelays, Failure> {
    let read = Attributes::parse(bytes)?;
    let histogram = |kind| -> Result<Option<Histogram>, Failure> {
        Ok(read.numbers(kind)?.map(|buckets| Histogram { buckets }))
    };
    Ok(NeighbourDelays {
        node: needed(read.u16(kind::NODE_ID)?, "number of a neighbour")?,
        incarnation: needed(read.u64(kind::INCARNATION)?, "incarnation of a neighbour")?,
        received: histogram(kind::RECEIVED_DELAYS)?,
        sent: histogram(kind::SENT_DELAYS)?,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::super::attributes::{bytes_of, u16_attribute};
    use super::*;

    fn numbers(kind: u16, numbers: &[u32]) -> DefaultNla {
        DefaultNla::new(kind, numbers.iter().flat_map(|n| n.to_ne_bytes()).collect())
    }

    fn histogram(buckets: &[u32]) -> Histogram {
        Histogram {
            buckets: buckets.to_vec(),
        }
    }

    #[test]
    fn a_neighbour_has_the_histograms_of_its_answer() {
        let head = [
            u16_attribute(kind::NODE_ID, 7),
            DefaultNla::new(kind::INCARNATION, 77_u64.to_ne_bytes().to_vec()),
        ];
        let mut attributes = head.to_vec();
        attributes.push(numbers(kind::RECEIVED_DELAYS, &[1, 0, u32::MAX]));
        let read = neighbour(&bytes_of(&attributes)).unwrap();
        assert_eq!((read.node, read.incarnation), (7, 77));
        assert_eq!(read.received, Some(histogram(&[1, 0, u32::MAX])));
        assert_eq!(read.sent, None);
        attributes.push(numbers(kind::SENT_DELAYS, &[5]));
        let read = neighbour(&bytes_of(&attributes)).unwrap();
        assert_eq!(read.sent, Some(histogram(&[5])));
        assert!(neighbour(&bytes_of(&head[..1])).is_err());
        let mut torn = head.to_vec();
        torn.push(DefaultNla::new(kind::SENT_DELAYS, vec![1, 2, 3]));
        assert!(neighbour(&bytes_of(&torn)).is_err());
    }

    #[test]
    fn a_percentile_is_the_bucket_that_it_falls_in() {
        let empty = histogram(&[0, 0, 0]);
        assert_eq!((empty.count(), empty.percentile(50)), (0, None));
        // 99 in bucket 1, one in bucket 3.
        let most = histogram(&[0, 99, 0, 1, 0]);
        let of = [0, 50, 99, 100].map(|percent| most.percentile(percent));
        assert_eq!(of, [Some(1), Some(1), Some(1), Some(3)]);
        let more = histogram(&[0, 98, 0, 2, 0]);
        assert_eq!(more.percentile(99), Some(3));
        assert_eq!(histogram(&[0, 0, 1]).percentile(0), Some(2));
        assert_eq!(histogram(&[1, 1]).percentile(50), Some(0));
    }

    #[test]
    fn the_last_bucket_has_no_end() {
        let counts = histogram(&[0; 24]);
        let below = [0, 1, 10, 22, 23, 99].map(|bucket| counts.below_us(bucket));
        let wanted = [Some(1), Some(2), Some(1024), Some(4_194_304), None, None];
        assert_eq!(below, wanted);
    }
}
