// SPDX-License-Identifier: GPL-2.0

//! The network between the nodes: delays, loss, copies, overtaking, damage, and what is wrong between
//! some of the nodes only: cuts of any shape, single links and directions that are worse, links that come
//! and go.

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
pub use damage::damaged;
use impairments::Impairments;
pub use impairments::{Flapping, Impairment, LinkQuality};

mod damage;
mod impairments;

/// Of a thousand damaged datagrams, those that UDP's checksum does not find.
const UNDETECTED_PER_MILLE: u64 = 100;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOptions {
    /// The shortest one-way delay.
    pub delay_min_us: u64,
    /// The mean of the exponentially distributed delay that comes on top.
    pub delay_mean_us: u64,
    /// The longest that is added.
    pub delay_more_max_us: u64,
    /// Datagrams that are lost, of a thousand.
    pub loss_per_mille: u64,
    /// Datagrams that come twice, of a thousand.
    pub duplication_per_mille: u64,
    /// Datagrams that may overtake earlier ones, of a thousand; the rest keep their order.
    pub reordering_per_mille: u64,
    /// Datagrams in which bits are turned over, of a thousand. UDP's checksum finds most of them.
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

/// A datagram that comes to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: u64,
    /// Whether it is not what was sent.
    pub is_damaged: bool,
}

/// The network.
pub struct Network {
    options: NetworkOptions,
    chance: Chance,
    nodes: usize,
    /// What is wrong between some nodes only.
    impairments: Impairments,
    /// The latest arrival on each link, so that datagrams keep their order.
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

    /// Makes it better or worse from now on.
    pub fn set_options(&mut self, options: NetworkOptions) {
        self.options = options;
    }

    /// What it is like now.
    pub fn options(&self) -> NetworkOptions {
        self.options
    }

    // ---- what is wrong between some nodes ---------------------------------------------------------

    /// Something is wrong from now on; [`Network::mend`] ends it.
    pub fn impair(&mut self, impairment: Impairment) -> u64 {
        self.impairments.add(impairment)
    }

    /// Ends what began under this number.
    pub fn mend(&mut self, number: u64) {
        self.impairments.remove(number);
    }

    /// Ends all of it.
    pub fn reconnect(&mut self) {
        self.impairments.clear();
    }

    /// Cuts `away` off from the rest; they reach each other.
    pub fn partition(&mut self, away: &[usize]) {
        self.part(&[away]);
    }

    /// The network falls into these parts; who is in none of them is with the others like it.
    pub fn part(&mut self, parts: &[&[usize]]) {
        let mut sides = vec![0; self.nodes];
        for (number, part) in (1..).zip(parts) {
            for &node in *part {
                sides[node] = number;
            }
        }
        self.impair(Impairment::Parts(sides));
    }

    /// Lets nothing through from `from` to `to`.
    pub fn block_one_way(&mut self, from: usize, to: usize) {
        self.between(&[from], &[to], LinkQuality::NOTHING);
    }

    /// From `from` to `to`, so many of a thousand datagrams are lost on top of what the network loses.
    pub fn spoil_one_way(&mut self, from: usize, to: usize, loss_per_mille: u64) {
        let quality = LinkQuality {
            loss_per_mille,
            ..LinkQuality::AS_USUAL
        };
        self.between(&[from], &[to], quality);
    }

    /// Nothing that others send reaches `node`.
    pub fn deafen(&mut self, node: usize) {
        let all: Vec<usize> = (0..self.nodes).collect();
        self.between(&all, &[node], LinkQuality::NOTHING);
    }

    /// Nothing that `node` sends reaches anybody.
    pub fn mute(&mut self, node: usize) {
        let all: Vec<usize> = (0..self.nodes).collect();
        self.between(&[node], &all, LinkQuality::NOTHING);
    }

    fn between(&mut self, from: &[usize], to: &[usize], quality: LinkQuality) {
        self.impair(Impairment::Between {
            from: from.to_vec(),
            to: to.to_vec(),
            quality,
            flapping: None,
        });
    }

    /// Whether the node does not reach more than half of all nodes, itself among them, both ways.
    pub fn is_cut_off(&self, node: usize) -> bool {
        self.impairments.is_cut_off(node)
    }

    /// Who would be cut off with one thing more.
    pub fn cut_off_with(&self, impairment: &Impairment) -> Vec<usize> {
        let cut_off = self.impairments.cut_off_with(Some(impairment));
        (0..self.nodes).filter(|node| cut_off[*node]).collect()
    }

    /// Whether something is wrong between any nodes.
    pub fn is_impaired(&self) -> bool {
        !self.impairments.is_empty()
    }

    /// Whether something is wrong between the node and others.
    pub fn is_hindered(&self, node: usize) -> bool {
        self.impairments.concern(node)
    }

    // ---- datagrams --------------------------------------------------------------------------------

    /// What comes of a datagram that is sent now: nothing, one, or two.
    pub fn arrivals(&mut self, now: u64, from: usize, to: usize) -> [Option<Arrival>; 2] {
        let options = self.options;
        // All is drawn before anything is decided: a cut does not change what follows it.
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

    /// What is left of `bytes` after the damage.
    pub fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        damaged(&mut self.chance, bytes)
    }

    fn arrival(&mut self, now: u64, from: usize, to: usize, quality: LinkQuality) -> u64 {
        let options = self.options;
        let more = self.chance.exponential(options.delay_mean_us * 1_000);
        let mut delay = options.delay_min_us * 1_000 + more.min(options.delay_more_max_us * 1_000);
        let may_overtake = self.chance.happens(options.reordering_per_mille);
        if quality != LinkQuality::AS_USUAL {
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
    fn loses_copies_and_keeps_the_order() {
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
        assert!((800..1200).contains(&lost), "{lost} of 10000 lost");
        assert!((700..1100).contains(&copied), "{copied} of 10000 copied");
    }

    #[test]
    fn a_partition_lets_nothing_through_until_it_ends() {
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
    fn who_reaches_half_of_all_or_fewer_is_cut_off() {
        let mut network = perfect(5);
        assert!(!network.is_cut_off(0));
        network.partition(&[3, 4]);
        let cut_off: Vec<bool> = (0..5).map(|node| network.is_cut_off(node)).collect();
        assert_eq!(cut_off, [false, false, false, true, true]);
        network.reconnect();
        network.part(&[&[0, 1], &[2, 3]]);
        assert!((0..5).all(|node| network.is_cut_off(node)));
        network.reconnect();
        network.deafen(1);
        assert!(network.is_cut_off(1) && !network.is_cut_off(0));
    }

    #[test]
    fn a_link_that_flaps_is_bad_for_a_while_and_good_for_a_while() {
        let mut network = perfect(2);
        let number = network.impair(Impairment::Between {
            from: vec![0],
            to: vec![1],
            quality: LinkQuality::NOTHING,
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
    fn one_direction_of_a_link_is_slower_than_the_other() {
        let mut network = perfect(2);
        network.impair(Impairment::Between {
            from: vec![0],
            to: vec![1],
            quality: LinkQuality {
                delay_us: 20_000,
                ..LinkQuality::AS_USUAL
            },
            flapping: None,
        });
        let at = |arrivals: [Option<super::Arrival>; 2]| arrivals[0].map_or(0, |first| first.at);
        assert!(at(network.arrivals(0, 0, 1)) >= 20 * MS);
        assert!(at(network.arrivals(0, 1, 0)) < 2 * MS);
    }

    #[test]
    fn most_damage_is_found_by_the_checksum_and_the_rest_comes_changed() {
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
        assert!((900..1100).contains(&damaged), "{damaged} of 10000 came");
        let sent = [0x4b, 0x47, 1, 1, 0, 0, 0, 9, 0, 1];
        for _ in 0..1_000 {
            assert_ne!(network.damage(&sent), sent);
        }
    }
}
