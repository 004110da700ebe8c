// SPDX-License-Identifier: GPL-2.0

//! The future events of a simulation in the order of virtual time. Events at the same time keep the order in which
//! they were pushed.

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
        // The heap pops its largest entry first, so the earliest must be the largest.
        (other.time, other.sequence).cmp(&(self.time, self.sequence))
    }
}

/// A queue of future events.
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

    /// Push an event that happens at `time`.
    pub fn push(&mut self, time: u64, what: T) {
        self.sequence += 1;
        self.heap.push(Entry {
            time,
            sequence: self.sequence,
            what,
        });
    }

    /// Pop the next event, if it happens by `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, T)> {
        if self.heap.peek()?.time > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.time, entry.what))
    }

    /// The time of the next event.
    pub fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.time)
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there are no events.
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
    fn the_queue_pops_the_earliest_event_first_and_equal_times_in_the_order_of_pushing() {
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
