// SPDX-License-Identifier: GPL-2.0

//! The network between the nodes: delays, loss, copies, overtaking, partitions.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// A thousand of a thousand.
const ALL: u64 = 1000;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    };
}

/// The network.
pub struct Network {
    options: NetworkOptions,
    chance: Chance,
    nodes: usize,
    /// Which side of a partition each node is on.
    sides: Vec<u8>,
    /// Single directions of links that lose more than the rest: of a thousand datagrams so many.
    bad_links: BTreeMap<(usize, usize), u64>,
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
            sides: vec![0; nodes],
            bad_links: BTreeMap::new(),
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

    /// Cuts `away` off from the rest; they reach each other.
    pub fn partition(&mut self, away: &[usize]) {
        self.part(&[away]);
    }

    /// The network falls into these parts; who is in none of them is alone with others like it.
    pub fn part(&mut self, parts: &[&[usize]]) {
        self.sides.fill(0);
        for (number, part) in (1..).zip(parts) {
            for &node in *part {
                self.sides[node] = number;
            }
        }
    }

    /// Whether a partition cuts the node off from the rest.
    pub fn is_cut_off(&self, node: usize) -> bool {
        self.sides.get(node).is_some_and(|side| *side != 0)
    }

    /// Whether the node does not reach all others, or is not reached by all.
    pub fn is_hindered(&self, node: usize) -> bool {
        self.is_cut_off(node)
            || self
                .bad_links
                .keys()
                .any(|(from, to)| *from == node || *to == node)
    }

    /// Lets nothing through from `from` to `to`.
    pub fn block_one_way(&mut self, from: usize, to: usize) {
        self.spoil_one_way(from, to, ALL);
    }

    /// From `from` to `to`, so many of a thousand datagrams are lost on top of what the network loses.
    pub fn spoil_one_way(&mut self, from: usize, to: usize, loss_per_mille: u64) {
        if from != to {
            self.bad_links.insert((from, to), loss_per_mille);
        }
    }

    /// Nothing that others send reaches `node`.
    pub fn deafen(&mut self, node: usize) {
        for other in 0..self.nodes {
            self.block_one_way(other, node);
        }
    }

    /// Nothing that `node` sends reaches anybody.
    pub fn mute(&mut self, node: usize) {
        for other in 0..self.nodes {
            self.block_one_way(node, other);
        }
    }

    /// Ends all partitions and blocks.
    pub fn reconnect(&mut self) {
        self.sides.fill(0);
        self.bad_links.clear();
    }

    /// When a datagram that is sent now arrives: not at all, once, or twice.
    pub fn arrivals(&mut self, now: u64, from: usize, to: usize) -> [Option<u64>; 2] {
        let options = self.options;
        // All is drawn before anything is decided: a partition does not change what follows it.
        let is_lost = self.chance.happens(options.loss_per_mille);
        let is_copied = self.chance.happens(options.duplication_per_mille);
        let first = self.arrival(now, from, to);
        let second = is_copied.then(|| self.arrival(now, from, to));
        if is_lost || self.sides[from] != self.sides[to] {
            return [None, None];
        }
        if let Some(&loss_per_mille) = self.bad_links.get(&(from, to)) {
            if loss_per_mille >= ALL || self.chance.happens(loss_per_mille) {
                return [None, None];
            }
        }
        [Some(first), second]
    }

    fn arrival(&mut self, now: u64, from: usize, to: usize) -> u64 {
        let options = self.options;
        let more = self.chance.exponential(options.delay_mean_us * 1_000);
        let delay = options.delay_min_us * 1_000 + more.min(options.delay_more_max_us * 1_000);
        let may_overtake = self.chance.happens(options.reordering_per_mille);
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
    use super::{Network, NetworkOptions};
    use crate::chance::Chance;

    const BAD: NetworkOptions = NetworkOptions {
        delay_min_us: 10,
        delay_mean_us: 500,
        delay_more_max_us: 5_000,
        loss_per_mille: 100,
        duplication_per_mille: 100,
        reordering_per_mille: 0,
    };

    #[test]
    fn loses_copies_and_keeps_the_order() {
        let mut network = Network::new(2, BAD, Chance::new(7, 0));
        let (mut lost, mut copied, mut latest) = (0, 0, 0);
        for sent in 0..10_000 {
            match network.arrivals(sent * 1_000, 0, 1) {
                [None, _] => lost += 1,
                [Some(one), None] => {
                    assert!(one >= latest && one >= sent * 1_000 + 10_000);
                    latest = one;
                }
                [Some(one), Some(two)] => {
                    copied += 1;
                    assert!(one >= latest && two >= one);
                    latest = two;
                }
            }
        }
        assert!((800..1200).contains(&lost), "{lost} of 10000 lost");
        assert!((700..1100).contains(&copied), "{copied} of 10000 copied");
    }

    #[test]
    fn a_partition_lets_nothing_through_until_it_ends() {
        let mut network = Network::new(3, NetworkOptions::PERFECT, Chance::new(1, 0));
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
}
