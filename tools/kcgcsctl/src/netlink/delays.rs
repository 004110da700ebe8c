// SPDX-License-Identifier: GPL-2.0

//! How late heartbeats are, as the kernel counts it for each neighbour of a node.

use super::attributes::{kind, needed, Attributes};
use crate::failure::Failure;

/// Counts of delays by powers of two of a microsecond: the first bucket has those of less than one
/// microsecond, bucket `k` those from `2^(k-1)` up to `2^k`, and the last one all that are longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The counts.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// How many heartbeats were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| u64::from(*count)).sum()
    }

    /// The bucket that the delay is in which `percent` of a hundred are not longer than; 0 is the shortest
    /// delay. `None` if nothing was counted.
    pub fn percentile(&self, percent: u64) -> Option<usize> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut sum = 0;
        self.buckets.iter().position(|count| {
            sum += u64::from(*count);
            sum >= wanted
        })
    }

    /// The microseconds that all delays of a bucket are below; `None` for the last one.
    pub fn below_us(&self, bucket: usize) -> Option<u64> {
        let is_last = bucket + 1 >= self.buckets.len();
        (!is_last).then(|| 1_u64 << bucket.min(63))
    }
}

/// A neighbour of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourDelays {
    /// Its number.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// How late its heartbeats came, if the node watches it.
    pub received: Option<Histogram>,
    /// How late the node sent its own to it, if it sends any.
    pub sent: Option<Histogram>,
}

pub(super) fn neighbour(bytes: &[u8]) -> Result<NeighbourDelays, Failure> {
    let read = Attributes::parse(bytes)?;
    let histogram = |kind| -> Result<Option<Histogram>, Failure> {
        Ok(read.numbers(kind)?.map(|buckets| Histogram { buckets }))
    };
    Ok(NeighbourDelays {
        node: needed(read.u16(kind::NODE_ID)?, "neighbour's number")?,
        incarnation: needed(read.u64(kind::INCARNATION)?, "neighbour's incarnation")?,
        received: histogram(kind::RECEIVED_DELAYS)?,
        sent: histogram(kind::SENT_DELAYS)?,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Emitable};

    use super::super::attributes::u16_attribute;
    use super::*;

    fn bytes_of(attributes: &[DefaultNla]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }

    fn numbers(kind: u16, numbers: &[u32]) -> DefaultNla {
        DefaultNla::new(kind, numbers.iter().flat_map(|n| n.to_ne_bytes()).collect())
    }

    fn histogram(buckets: &[u32]) -> Histogram {
        Histogram {
            buckets: buckets.to_vec(),
        }
    }

    #[test]
    fn a_neighbour_is_read_with_what_is_known_of_it() {
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
    fn percentiles_are_the_buckets_that_they_fall_in() {
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
