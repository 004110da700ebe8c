// SPDX-License-Identifier: GPL-2.0

//! A first-in, first-out queue of bounded size. Its memory is allocated once, when it is made.

#![forbid(unsafe_code)]

use crate::platform::{
    BoundedVec,
    OutOfMemory, //
};

/// A queue with a fixed number of slots.
///
/// # Invariants
///
/// `first < slots.len()` unless there are no slots. The `length` slots from `first` on, continued at the beginning
/// after the last one, hold values; the others do not.
pub(crate) struct RingBuffer<T> {
    slots: BoundedVec<Option<T>>,
    first: usize,
    length: usize,
}

impl<T> RingBuffer<T> {
    /// Make an empty queue for `capacity` values.
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

    /// The number of values in the queue.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Append a value, or return it if there is no room.
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

    /// Put a value back to the front, or return it if there is no room.
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

    /// Remove and return the oldest value.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let value = self.slots.as_mut_slice().get_mut(self.first)?.take()?;
        self.first = self.wrapped(self.first.wrapping_add(1));
        self.length = self.length.wrapping_sub(1);
        Some(value)
    }

    /// `index`, which is less than twice the number of slots, modulo that number.
    fn wrapped(&self, index: usize) -> usize {
        index.checked_sub(self.slots.len()).unwrap_or(index)
    }
}
