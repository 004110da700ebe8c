// SPDX-License-Identifier: GPL-2.0

//! The protocol's platform in the kernel: containers with fallible allocation, and reports of broken invariants.
//!
//! `platform_host.rs` defines the same names on top of the host's allocator. Both fail in the same places: a
//! [`BoundedVec`] never grows past the capacity it was made with, and returns the value when it is full. Large
//! capacities fall back to virtually contiguous memory, so that a queue of some hundred kilobytes can be allocated
//! although the machine's memory is fragmented.

#![forbid(unsafe_code)]

use core::ops::{
    Deref,
    DerefMut, //
};
use crate::protocol::rules::Rule;
use kernel::{
    alloc::kvec::InsertError,
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Whether tests let nodes break the rule. Never in the kernel.
#[inline(always)]
pub const fn breaks(_: Rule) -> bool {
    false
}

/// An allocation failed. The operation changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A vector with a capacity that is fixed when it is made.
///
/// # Invariants
///
/// `values.len() <= capacity <= values.capacity()`.
pub struct BoundedVec<T> {
    values: KVVec<T>,
    capacity: usize,
}

impl<T> BoundedVec<T> {
    /// Make an empty vector without memory; it refuses every push.
    pub const fn empty() -> Self {
        Self {
            values: KVVec::new(),
            capacity: 0,
        }
    }

    /// Allocate room for `capacity` values.
    ///
    /// Context: Process context. May sleep.
    pub fn with_capacity(capacity: usize) -> Result<Self, OutOfMemory> {
        let values = KVVec::with_capacity(capacity, GFP_KERNEL).map_err(|_| OutOfMemory)?;
        // INVARIANT: The vector is empty and has room for `capacity` values.
        Ok(Self { values, capacity })
    }

    /// Take over a vector of the kernel. Its present length becomes the capacity.
    pub fn from_vector(values: KVVec<T>) -> Self {
        let capacity = values.len();
        // INVARIANT: The length is the capacity.
        Self { values, capacity }
    }

    /// The number of values that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether a push would be refused.
    pub fn is_full(&self) -> bool {
        self.values.len() >= self.capacity
    }

    /// Append a value, or return it if there is no room.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let last = self.values.len();
        self.insert(last, value)
    }

    /// Insert a value before `index`, or return it if there is no room or no such place.
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), T> {
        if self.is_full() || index > self.values.len() {
            return Err(value);
        }
        match self.values.insert_within_capacity(index, value) {
            Ok(()) => Ok(()),
            Err(InsertError::IndexOutOfBounds(value) | InsertError::OutOfCapacity(value)) => {
                Err(value)
            }
        }
    }

    /// Remove and return the value at `index`; the others keep their order.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        self.values.remove(index).ok()
    }

    /// Remove and return the last value.
    pub fn pop(&mut self) -> Option<T> {
        self.values.pop()
    }

    /// Keep the first `length` values and drop the others.
    pub fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
    }

    /// Remove all values; the memory stays.
    pub fn clear(&mut self) {
        self.values.clear();
    }

    /// Keep the values for which `keep` is true, in order.
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        self.values.retain(keep);
    }

    /// The values, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The values.
    pub fn as_slice(&self) -> &[T] {
        &self.values
    }
}

impl<T: Clone> BoundedVec<T> {
    /// Append all of `values`, or nothing if they do not fit.
    pub fn extend_from_slice(&mut self, values: &[T]) -> Result<(), OutOfMemory> {
        if self.values.len().saturating_add(values.len()) > self.capacity {
            return Err(OutOfMemory);
        }
        // There is room, so this does not allocate and the flags have no effect.
        self.values
            .extend_from_slice(values, GFP_ATOMIC)
            .map_err(|_| OutOfMemory)
    }
}

impl<T> Deref for BoundedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T: fmt::Debug> fmt::Debug for BoundedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter()).finish()
    }
}

/// A value in an allocation of its own. It keeps its owner small while the owner is on the stack.
pub struct Owned<T>(KBox<T>);

impl<T> Owned<T> {
    /// Move `value` to memory of its own.
    ///
    /// Context: Process context. May sleep.
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        KBox::new(value, GFP_KERNEL)
            .map(Self)
            .map_err(|_| OutOfMemory)
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A value with several owners. Cloning it is cheap and cannot fail.
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Move `value` to shared memory.
    ///
    /// Context: Process context. May sleep.
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        Arc::new(value, GFP_KERNEL)
            .map(Self)
            .map_err(|_| OutOfMemory)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Whether a broken invariant was reported since the module was loaded.
static HAS_WARNED: Atomic<bool> = Atomic::new(false);

/// Report a broken invariant: a bug of this code, never a datagram of the network.
///
/// The first report makes the kernel warn, so that tests and operators see where it came from. The caller marks its
/// node as failed. The machine goes on.
pub fn report_broken_invariant(what: &'static str) {
    pr_err!("broken invariant: {}\n", what);
    if !HAS_WARNED.xchg(true, Relaxed) {
        kernel::warn_on!(true);
    }
}
