// SPDX-License-Identifier: GPL-2.0

//! Impairments between some nodes only. Several may hold at the same time, and each ends by itself.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

/// All datagrams, of a thousand.
const ALL: u64 = 1000;

/// The quality of one direction between two nodes, against the rest of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkQuality {
    /// Datagrams lost in addition, of a thousand.
    pub loss_per_mille: u64,
    /// The delay added to each datagram.
    pub delay_us: u64,
    /// The mean of the random delay added besides.
    pub jitter_mean_us: u64,
}

impl LinkQuality {
    /// As good as the rest of the network.
    pub const NORMAL: LinkQuality = LinkQuality {
        loss_per_mille: 0,
        delay_us: 0,
        jitter_mean_us: 0,
    };
    /// All datagrams are lost.
    pub const BLOCKED: LinkQuality = LinkQuality {
        loss_per_mille: ALL,
        ..LinkQuality::NORMAL
    };

    /// Whether all datagrams are lost.
    pub fn blocks(&self) -> bool {
        self.loss_per_mille >= ALL
    }

    fn and(self, other: Self) -> Self {
        Self {
            loss_per_mille: self.loss_per_mille.max(other.loss_per_mille),
            delay_us: self.delay_us + other.delay_us,
            jitter_mean_us: self.jitter_mean_us + other.jitter_mean_us,
        }
    }
}

/// The times of an impairment that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flapping {
    /// The beginning of the first bad time.
    pub since: u64,
    /// The length of each bad time.
    pub bad_ns: u64,
    /// The length of each good time.
    pub good_ns: u64,
}

impl Flapping {
    fn is_bad(&self, now: u64) -> bool {
        let period = (self.bad_ns + self.good_ns).max(1);
        now >= self.since && (now - self.since) % period < self.bad_ns
    }
}

/// An impairment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Impairment {
    /// A split network: only nodes with the same number reach each other.
    Components(Vec<u8>),
    /// All directions from some nodes to some others are worse.
    Between {
        /// The senders.
        from: Vec<usize>,
        /// The receivers.
        to: Vec<usize>,
        /// Their quality.
        quality: LinkQuality,
        /// The times at which they are bad, if not always.
        flapping: Option<Flapping>,
    },
}

impl Impairment {
    fn quality(&self, now: Option<u64>, from: usize, to: usize) -> LinkQuality {
        match self {
            Impairment::Components(sides) if sides.get(from) != sides.get(to) => {
                LinkQuality::BLOCKED
            }
            Impairment::Components(_) => LinkQuality::NORMAL,
            Impairment::Between {
                from: senders,
                to: receivers,
                quality,
                flapping,
            } => {
                // Without a time, the impairment counts as bad.
                let is_bad = match (flapping, now) {
                    (Some(flapping), Some(now)) => flapping.is_bad(now),
                    _ => true,
                };
                if is_bad && from != to && senders.contains(&from) && receivers.contains(&to) {
                    *quality
                } else {
                    LinkQuality::NORMAL
                }
            }
        }
    }

    fn concerns(&self, node: usize) -> bool {
        match self {
            Impairment::Components(sides) => {
                let own = sides.get(node);
                let together = sides.iter().filter(|side| Some(*side) == own).count();
                2 * together <= sides.len()
            }
            Impairment::Between { from, to, .. } => from.contains(&node) || to.contains(&node),
        }
    }
}

/// All present impairments.
pub(super) struct Impairments {
    nodes: usize,
    list: Vec<(u64, Impairment)>,
    next: u64,
    /// Which nodes are cut off, as far as it has been computed since the last change.
    cut_off: RefCell<Option<Vec<bool>>>,
}

impl Impairments {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            list: Vec::new(),
            next: 0,
            cut_off: RefCell::new(None),
        }
    }

    pub(super) fn add(&mut self, impairment: Impairment) -> u64 {
        self.next += 1;
        self.list.push((self.next, impairment));
        self.cut_off.take();
        self.next
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.list.retain(|(own, _)| *own != number);
        self.cut_off.take();
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.cut_off.take();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn quality(&self, now: u64, from: usize, to: usize) -> LinkQuality {
        self.worst(Some(now), from, to)
    }

    pub(super) fn concern(&self, node: usize) -> bool {
        self.list.iter().any(|(_, one)| one.concerns(node))
    }

    fn worst(&self, now: Option<u64>, from: usize, to: usize) -> LinkQuality {
        self.list
            .iter()
            .map(|(_, one)| one.quality(now, from, to))
            .fold(LinkQuality::NORMAL, LinkQuality::and)
    }

    pub(super) fn is_cut_off(&self, node: usize) -> bool {
        if self.list.is_empty() {
            return false;
        }
        let mut known = self.cut_off.borrow_mut();
        let known = known.get_or_insert_with(|| self.cut_off_with(None));
        known.get(node).copied().unwrap_or(false)
    }

    /// The nodes that are cut off, or would be with one more impairment.
    pub(super) fn cut_off_with(&self, more: Option<&Impairment>) -> Vec<bool> {
        // A direction that loses half of the datagrams is too bad to vote over.
        let is_open = |from, to| {
            let more = more.map_or(LinkQuality::NORMAL, |one| one.quality(None, from, to));
            2 * self.worst(None, from, to).and(more).loss_per_mille < ALL
        };
        let reached = |node: usize| {
            (0..self.nodes)
                .filter(|&other| is_open(node, other) && is_open(other, node))
                .count()
        };
        (0..self.nodes)
            .map(|node| 2 * reached(node) <= self.nodes)
            .collect()
    }
}
