// SPDX-License-Identifier: GPL-2.0

//! Recorded datagrams of nodes, and the places of the fields in their header.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 56;
/// The number of samples kept of each kind and sender: the first ones and the last one.
const KEPT_OF_A_KIND: usize = 24;

/// Places of the header's fields.
pub mod fields {
    /// Two bytes.
    pub const MAGIC: usize = 0;
    /// One byte.
    pub const VERSION: usize = 2;
    /// One byte.
    pub const KIND: usize = 3;
    /// Four bytes.
    pub const CLUSTER: usize = 4;
    /// Two bytes.
    pub const SENDER: usize = 8;
    /// Two bytes.
    pub const KEY: usize = 10;
    /// Two bytes, the length of the body.
    pub const LENGTH: usize = 12;
    /// Eight bytes.
    pub const INCARNATION: usize = 16;
    /// Eight bytes.
    pub const VIEW: usize = 24;
    /// Eight bytes.
    pub const COUNTER: usize = 32;
}

/// A recorded datagram.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The node that sent it.
    pub from: u16,
    /// The datagram.
    pub payload: Vec<u8>,
}

impl Sample {
    fn number(&self, place: usize) -> u64 {
        let bytes = self.payload.get(place..place + 8);
        bytes.map_or(0, |bytes| {
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        })
    }

    /// Its kind.
    pub fn kind(&self) -> u8 {
        self.payload.get(fields::KIND).copied().unwrap_or(0)
    }

    /// The sender's incarnation.
    pub fn incarnation(&self) -> u64 {
        self.number(fields::INCARNATION)
    }

    /// Its number.
    pub fn counter(&self) -> u64 {
        self.number(fields::COUNTER)
    }
}

/// The recorded datagrams.
#[derive(Debug, Default)]
pub struct Recording {
    samples: BTreeMap<(u8, u16), Vec<Sample>>,
    count: usize,
    /// The last incarnation of each node, and its highest number of a datagram that is no heartbeat or probe.
    counters: BTreeMap<u16, (u64, u64)>,
}

impl Recording {
    /// Add a datagram.
    pub fn add(&mut self, from: u16, payload: &[u8]) {
        if payload.len() < HEADER_BYTES {
            return;
        }
        let sample = Sample {
            from,
            payload: payload.to_vec(),
        };
        self.count += 1;
        if sample.kind() > 3 {
            let highest = self.counters.entry(from).or_default();
            *highest = (*highest).max((sample.incarnation(), sample.counter()));
        }
        let kept = self.samples.entry((sample.kind(), from)).or_default();
        kept.truncate(KEPT_OF_A_KIND);
        kept.push(sample);
    }

    /// The number of datagrams that were recorded.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The kinds that were recorded.
    pub fn kinds(&self) -> BTreeSet<u8> {
        self.samples.keys().map(|(kind, _)| *kind).collect()
    }

    /// All samples of the wanted kinds.
    pub fn all(&self, wanted: impl Fn(u8) -> bool) -> Vec<Sample> {
        self.samples
            .iter()
            .filter(|((kind, _), _)| wanted(*kind))
            .flat_map(|(_, samples)| samples)
            .cloned()
            .collect()
    }

    /// The last sample of a node's last incarnation and a wanted kind.
    pub fn latest(&self, from: u16, wanted: impl Fn(u8) -> bool) -> Option<Sample> {
        let samples = self.samples.iter();
        samples
            .filter(|((kind, sender), _)| wanted(*kind) && *sender == from)
            .filter_map(|(_, samples)| samples.last())
            .max_by_key(|sample| {
                (
                    sample.incarnation(),
                    sample.number(fields::VIEW),
                    sample.counter(),
                )
            })
            .cloned()
    }

    /// The shortest sample of each kind that has a body.
    pub fn shortest_of_each_kind(&self) -> Vec<Sample> {
        let mut shortest: BTreeMap<u8, &Sample> = BTreeMap::new();
        for sample in self.samples.values().flatten() {
            let known = shortest.entry(sample.kind()).or_insert(sample);
            let has_body = known.payload.len() > HEADER_BYTES;
            if !has_body || (HEADER_BYTES + 1..known.payload.len()).contains(&sample.payload.len())
            {
                *known = sample;
            }
        }
        shortest.into_values().cloned().collect()
    }

    /// The highest number that a node has used in its last incarnation.
    pub fn highest_counter(&self, from: u16) -> u64 {
        self.counters.get(&from).map_or(0, |(_, counter)| *counter)
    }

    /// A node's last incarnation.
    pub fn incarnation(&self, from: u16) -> u64 {
        self.counters
            .get(&from)
            .map_or(0, |(incarnation, _)| *incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(kind: u8, incarnation: u8, counter: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + body];
        bytes[fields::KIND] = kind;
        bytes[fields::INCARNATION + 7] = incarnation;
        bytes[fields::COUNTER + 7] = counter;
        bytes
    }

    #[test]
    fn the_latest_sample_is_of_the_last_incarnation() {
        let mut recording = Recording::default();
        recording.add(2, &datagram(34, 1, 9, 4));
        recording.add(2, &datagram(34, 2, 3, 4));
        recording.add(2, &datagram(10, 2, 2, 4));
        let latest = recording.latest(2, |_| true).expect("one");
        assert_eq!((latest.incarnation(), latest.counter()), (2, 3));
        assert_eq!(recording.highest_counter(2), 3);
        assert_eq!(recording.kinds(), BTreeSet::from([10, 34]));
    }

    #[test]
    fn the_shortest_sample_has_a_body() {
        let mut recording = Recording::default();
        for body in [0, 7, 3, 5] {
            recording.add(2, &datagram(34, 1, 1, body));
        }
        let shortest = recording.shortest_of_each_kind();
        assert_eq!(shortest[0].payload.len(), HEADER_BYTES + 3);
    }
}
