// SPDX-License-Identifier: GPL-2.0

//! What will happen, in the order of virtual time; what was put in first comes first if the times
//! are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Entry<T> {
    time: u64,
    sequence: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its largest entry first: the earliest must be the largest.
        (other.time, other.sequence).cmp(&(self.time, self.sequence))
    }
}

/// A queue of future occurrences.
pub struct EventQueue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

impl<T> EventQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// Puts something in that happens at `time`.
    pub fn push(&mut self, time: u64, what: T) {
        self.sequence += 1;
        self.heap.push(Entry {
            time,
            sequence: self.sequence,
            what,
        });
    }

    /// Takes out what happens next, if it happens by `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, T)> {
        if self.heap.peek()?.time > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.time, entry.what))
    }

    /// When the next thing happens.
    pub fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.time)
    }

    /// How much is in it.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::EventQueue;

    #[test]
    fn gives_the_earliest_first_and_equal_times_in_the_order_of_arrival() {
        let mut queue = EventQueue::new();
        for (time, name) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(time, name);
        }
        let taken: Vec<char> = std::iter::from_fn(|| queue.pop_until(8))
            .map(|(_, name)| name)
            .collect();
        assert_eq!(taken, ['a', 'b', 'c', 'd']);
        assert_eq!(queue.len(), 1);
    }
}
