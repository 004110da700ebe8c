// SPDX-License-Identifier: GPL-2.0

//! The network between the nodes: delay, loss, duplication, reordering and damage everywhere, and impairments between
//! some nodes only: splits of any shape, worse links or directions, links that flap.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
pub use damage::damaged;
use impairments::Impairments;
pub use impairments::{Flapping, Impairment, LinkQuality};

mod damage;
mod impairments;

/// The damaged datagrams that UDP's checksum does not find, of a thousand.
const UNDETECTED_PER_MILLE: u64 = 100;

/// The quality of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    /// The shortest one-way delay.
    pub delay_min_us: u64,
    /// The mean of the exponentially distributed delay that is added.
    pub delay_mean_us: u64,
    /// The longest delay that is added.
    pub delay_more_max_us: u64,
    /// Datagrams that are lost, of a thousand.
    pub loss_per_mille: u64,
    /// Datagrams that arrive twice, of a thousand.
    pub duplication_per_mille: u64,
    /// Datagrams that may overtake earlier ones, of a thousand; the rest keep their order.
    pub reordering_per_mille: u64,
    /// Datagrams in which bits are flipped, of a thousand. UDP's checksum finds most of them.
    pub damage_per_mille: u64,
}

impl NetworkOptions {
    /// A local network without faults.
    pub const PERFECT: NetworkOptions = NetworkOptions {
        delay_min_us: 50,
        delay_mean_us: 100,
        delay_more_max_us: 1_000,
        loss_per_mille: 0,
        duplication_per_mille: 0,
        reordering_per_mille: 0,
        damage_per_mille: 0,
    };
}

/// The arrival of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its time.
    pub at: u64,
    /// Whether the content was changed on the way.
    pub is_damaged: bool,
}

/// The network.
pub struct Network {
    options: NetworkOptions,
    chance: Chance,
    nodes: usize,
    /// The impairments between some nodes only.
    impairments: Impairments,
    /// The latest arrival on each link, to keep datagrams in order.
    latest: Vec<u64>,
}

impl Network {
    /// A network between `nodes` nodes, numbered from 0.
    pub fn new(nodes: usize, options: NetworkOptions, chance: Chance) -> Self {
        Self {
            options,
            chance,
            nodes,
            impairments: Impairments::new(nodes),
            latest: vec![0; nodes * nodes],
        }
    }

    /// Change the quality of the whole network.
    pub fn set_options(&mut self, options: NetworkOptions) {
        self.options = options;
    }

    /// The quality of the whole network.
    pub fn options(&self) -> NetworkOptions {
        self.options
    }

    // ---- impairments between some nodes -----------------------------------------------------------

    /// Add an impairment, and return a number with which [`Network::mend`] ends it.
    pub fn impair(&mut self, impairment: Impairment) -> u64 {
        self.impairments.add(impairment)
    }

    /// End the impairment with this number.
    pub fn mend(&mut self, number: u64) {
        self.impairments.remove(number);
    }

    /// End all impairments.
    pub fn reconnect(&mut self) {
        self.impairments.clear();
    }

    /// Cut `away` off from the rest. They still reach each other.
    pub fn partition(&mut self, away: &[usize]) {
        self.split(&[away]);
    }

    /// Split the network into these components. The nodes that are in none of them are a component of their own.
    pub fn split(&mut self, components: &[&[usize]]) {
        let mut sides = vec![0; self.nodes];
        for (number, component) in (1..).zip(components) {
            for &node in *component {
                sides[node] = number;
            }
        }
        self.impair(Impairment::Components(sides));
    }

    /// Drop all datagrams from `from` to `to`.
    pub fn block_one_way(&mut self, from: usize, to: usize) {
        self.between(&[from], &[to], LinkQuality::BLOCKED);
    }

    /// Lose so many of a thousand datagrams from `from` to `to`, besides those that the network loses everywhere.
    pub fn degrade_one_way(&mut self, from: usize, to: usize, loss_per_mille: u64) {
        let quality = LinkQuality {
            loss_per_mille,
            ..LinkQuality::NORMAL
        };
        self.between(&[from], &[to], quality);
    }

    /// Drop all datagrams to `node`.
    pub fn deafen(&mut self, node: usize) {
        let all: Vec<usize> = (0..self.nodes).collect();
        self.between(&all, &[node], LinkQuality::BLOCKED);
    }

    /// Drop all datagrams from `node`.
    pub fn mute(&mut self, node: usize) {
        let all: Vec<usize> = (0..self.nodes).collect();
        self.between(&[node], &all, LinkQuality::BLOCKED);
    }

    fn between(&mut self, from: &[usize], to: &[usize], quality: LinkQuality) {
        self.impair(Impairment::Between {
            from: from.to_vec(),
            to: to.to_vec(),
            quality,
            flapping: None,
        });
    }

    /// Whether a node reaches at most half of all nodes, itself among them, in both directions.
    pub fn is_cut_off(&self, node: usize) -> bool {
        self.impairments.is_cut_off(node)
    }

    /// The nodes that would be cut off with one more impairment.
    pub fn cut_off_with(&self, impairment: &Impairment) -> Vec<usize> {
        let cut_off = self.impairments.cut_off_with(Some(impairment));
        (0..self.nodes).filter(|node| cut_off[*node]).collect()
    }

    /// Whether there is any impairment.
    pub fn is_impaired(&self) -> bool {
        !self.impairments.is_empty()
    }

    /// Whether any link of the node is impaired.
    pub fn is_disturbed(&self, node: usize) -> bool {
        self.impairments.concern(node)
    }

    // ---- datagrams --------------------------------------------------------------------------------

    /// The arrivals of a datagram that is sent now: none, one, or two.
    pub fn arrivals(&mut self, now: u64, from: usize, to: usize) -> [Option<Arrival>; 2] {
        let options = self.options;
        // Everything is drawn before anything is decided, so that a cut does not change later draws.
        let is_lost = self.chance.happens(options.loss_per_mille);
        let is_copied = self.chance.happens(options.duplication_per_mille);
        let is_damaged = self.chance.happens(options.damage_per_mille);
        let quality = self.impairments.quality(now, from, to);
        let first = self.arrival(now, from, to, quality);
        let second = is_copied.then(|| self.arrival(now, from, to, quality));
        if is_lost || quality.blocks() {
            return [None, None];
        }
        if quality.loss_per_mille > 0 && self.chance.happens(quality.loss_per_mille) {
            return [None, None];
        }
        let intact = |at: u64| Arrival {
            at,
            is_damaged: false,
        };
        let first = if !is_damaged {
            Some(intact(first))
        } else if self.chance.happens(UNDETECTED_PER_MILLE) {
            Some(Arrival {
                at: first,
                is_damaged,
            })
        } else {
            None
        };
        [first, second.map(intact)]
    }

    /// `bytes` after damage that the checksum does not find.
    pub fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        damaged(&mut self.chance, bytes)
    }

    fn arrival(&mut self, now: u64, from: usize, to: usize, quality: LinkQuality) -> u64 {
        let options = self.options;
        let more = self.chance.exponential(options.delay_mean_us * 1_000);
        let mut delay = options.delay_min_us * 1_000 + more.min(options.delay_more_max_us * 1_000);
        let may_overtake = self.chance.happens(options.reordering_per_mille);
        if quality != LinkQuality::NORMAL {
            let jitter = self.chance.exponential(quality.jitter_mean_us * 1_000);
            delay += quality.delay_us * 1_000 + jitter.min(10 * quality.jitter_mean_us * 1_000);
        }
        let latest = &mut self.latest[from * self.nodes + to];
        let arrival = now + delay;
        if may_overtake {
            return arrival;
        }
        *latest = arrival.max(*latest);
        *latest
    }
}

#[cfg(test)]
mod tests {
    use super::{Flapping, Impairment, LinkQuality, Network, NetworkOptions};
    use crate::chance::Chance;
    use crate::timing::MS;

    const BAD: NetworkOptions = NetworkOptions {
        delay_min_us: 10,
        delay_mean_us: 500,
        delay_more_max_us: 5_000,
        loss_per_mille: 100,
        duplication_per_mille: 100,
        ..NetworkOptions::PERFECT
    };

    fn perfect(nodes: usize) -> Network {
        Network::new(nodes, NetworkOptions::PERFECT, Chance::new(1, 0))
    }

    #[test]
    fn the_network_loses_and_duplicates_datagrams_and_keeps_their_order() {
        let mut network = Network::new(2, BAD, Chance::new(7, 0));
        let (mut lost, mut copied, mut latest) = (0, 0, 0);
        for sent in 0..10_000 {
            match network.arrivals(sent * 1_000, 0, 1) {
                [None, _] => lost += 1,
                [Some(one), None] => {
                    assert!(one.at >= latest && one.at >= sent * 1_000 + 10_000);
                    latest = one.at;
                }
                [Some(one), Some(two)] => {
                    copied += 1;
                    assert!(one.at >= latest && two.at >= one.at);
                    latest = two.at;
                }
            }
        }
        assert!((800..1200).contains(&lost), "{lost} of 10000 were lost");
        assert!(
            (700..1100).contains(&copied),
            "{copied} of 10000 were duplicated"
        );
    }

    #[test]
    fn no_datagram_crosses_a_partition_until_it_ends() {
        let mut network = perfect(3);
        network.partition(&[2]);
        network.block_one_way(0, 1);
        assert_eq!(network.arrivals(0, 0, 2), [None, None]);
        assert_eq!(network.arrivals(0, 2, 1), [None, None]);
        assert_eq!(network.arrivals(0, 0, 1), [None, None]);
        assert!(network.arrivals(0, 1, 0)[0].is_some());
        network.reconnect();
        assert!(network.arrivals(0, 0, 2)[0].is_some());
        assert!(network.arrivals(0, 0, 1)[0].is_some());
    }

    #[test]
    fn a_node_that_reaches_half_of_all_nodes_or_fewer_is_cut_off() {
        let mut network = perfect(5);
        assert!(!network.is_cut_off(0));
        network.partition(&[3, 4]);
        let cut_off: Vec<bool> = (0..5).map(|node| network.is_cut_off(node)).collect();
        assert_eq!(cut_off, [false, false, false, true, true]);
        network.reconnect();
        network.split(&[&[0, 1], &[2, 3]]);
        assert!((0..5).all(|node| network.is_cut_off(node)));
        network.reconnect();
        network.deafen(1);
        assert!(network.is_cut_off(1) && !network.is_cut_off(0));
    }

    #[test]
    fn a_flapping_link_is_bad_and_good_by_turns() {
        let mut network = perfect(2);
        let number = network.impair(Impairment::Between {
            from: vec![0],
            to: vec![1],
            quality: LinkQuality::BLOCKED,
            flapping: Some(Flapping {
                since: 5 * MS,
                bad_ns: 10 * MS,
                good_ns: 20 * MS,
            }),
        });
        let comes = |network: &mut Network, at: u64| network.arrivals(at * MS, 0, 1)[0].is_some();
        for round in [0, 30, 60] {
            assert!(!comes(&mut network, round + 6));
            assert!(!comes(&mut network, round + 14));
            assert!(comes(&mut network, round + 16));
            assert!(comes(&mut network, round + 34));
        }
        network.mend(number);
        assert!(comes(&mut network, 96));
    }

    #[test]
    fn one_direction_of_a_link_can_be_slower_than_the_other() {
        let mut network = perfect(2);
        network.impair(Impairment::Between {
            from: vec![0],
            to: vec![1],
            quality: LinkQuality {
                delay_us: 20_000,
                ..LinkQuality::NORMAL
            },
            flapping: None,
        });
        let at = |arrivals: [Option<super::Arrival>; 2]| arrivals[0].map_or(0, |first| first.at);
        assert!(at(network.arrivals(0, 0, 1)) >= 20 * MS);
        assert!(at(network.arrivals(0, 1, 0)) < 2 * MS);
    }

    #[test]
    fn the_checksum_finds_most_damage_and_the_rest_arrives_changed() {
        let options = NetworkOptions {
            damage_per_mille: 1_000,
            ..NetworkOptions::PERFECT
        };
        let mut network = Network::new(2, options, Chance::new(3, 0));
        let mut damaged = 0;
        for sent in 0..10_000 {
            if let Some(arrival) = network.arrivals(sent * MS, 0, 1)[0] {
                assert!(arrival.is_damaged);
                damaged += 1;
            }
        }
        assert!(
            (900..1100).contains(&damaged),
            "{damaged} of 10000 arrived damaged"
        );
        let sent = [0x4b, 0x47, 1, 1, 0, 0, 0, 9, 0, 1];
        for _ in 0..1_000 {
            assert_ne!(network.damage(&sent), sent);
        }
    }
}
