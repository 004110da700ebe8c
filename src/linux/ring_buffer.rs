// SPDX-License-Identifier: GPL-2.0

//! A first-in, first-out queue whose memory is had once, when it is made.

#![forbid(unsafe_code)]

use crate::platform::{
    BoundedVec,
    OutOfMemory, //
};

/// A queue of at most so many values as it was made for.
///
/// # Invariants
///
/// `first < slots.len()` unless there are no slots; the `length` slots from `first` on, going round
/// at the end, hold values, the others do not.
pub(crate) struct RingBuffer<T> {
    slots: BoundedVec<Option<T>>,
    first: usize,
    length: usize,
}

impl<T> RingBuffer<T> {
    /// An empty queue for `capacity` values.
    ///
    /// Context: Process context. May sleep.
    pub(crate) fn with_capacity(capacity: usize) -> Result<Self, OutOfMemory> {
        let mut slots = BoundedVec::with_capacity(capacity)?;
        for _ in 0..capacity {
            slots.push(None).map_err(|_| OutOfMemory)?;
        }
        // INVARIANT: All slots are empty.
        Ok(Self {
            slots,
            first: 0,
            length: 0,
        })
    }

    /// Number of values in the queue.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Appends a value, or hands it back if there is no room.
    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if self.length >= self.slots.len() {
            return Err(value);
        }
        let index = self.wrapped(self.first.wrapping_add(self.length));
        match self.slots.as_mut_slice().get_mut(index) {
            Some(slot) => *slot = Some(value),
            None => return Err(value),
        }
        self.length = self.length.wrapping_add(1);
        Ok(())
    }

    /// Puts a value back to the front, or hands it back if there is no room.
    pub(crate) fn push_front(&mut self, value: T) -> Result<(), T> {
        if self.length >= self.slots.len() {
            return Err(value);
        }
        let before = self.first.checked_sub(1);
        let index = before.unwrap_or(self.slots.len().wrapping_sub(1));
        match self.slots.as_mut_slice().get_mut(index) {
            Some(slot) => *slot = Some(value),
            None => return Err(value),
        }
        self.first = index;
        self.length = self.length.wrapping_add(1);
        Ok(())
    }

    /// Removes and returns the oldest value.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let value = self.slots.as_mut_slice().get_mut(self.first)?.take()?;
        self.first = self.wrapped(self.first.wrapping_add(1));
        self.length = self.length.wrapping_sub(1);
        Some(value)
    }

    /// `index`, which is less than twice the number of slots, brought back among them.
    fn wrapped(&self, index: usize) -> usize {
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }
}
