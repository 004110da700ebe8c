// SPDX-License-Identifier: GPL-2.0

//! The protocol's platform on the host: containers with fallible allocation, and reports of broken invariants.
//!
//! `platform_kernel.rs` defines the same names on top of the kernel's allocator. Both fail in the same places: a
//! [`BoundedVec`] never grows past the capacity it was made with, and returns the value when it is full.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::protocol::rules::Rule;

extern crate std;

std::thread_local! {
    static BROKEN: core::cell::Cell<Option<Rule>> = const { core::cell::Cell::new(None) };
}

/// Let the nodes of this thread break a rule from now on, or none.
pub fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}

/// Whether the nodes of this thread break the rule.
pub fn breaks(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

/// An allocation failed. The operation changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// A vector with a capacity that is fixed when it is made.
///
/// # Invariants
///
/// `values.len() <= capacity`.
pub struct BoundedVec<T> {
    values: Vec<T>,
    capacity: usize,
}

impl<T> BoundedVec<T> {
    /// Make an empty vector without memory; it refuses every push.
    pub const fn empty() -> Self {
        Self {
            values: Vec::new(),
            capacity: 0,
        }
    }

    /// Allocate room for `capacity` values. May sleep in the kernel.
    pub fn with_capacity(capacity: usize) -> Result<Self, OutOfMemory> {
        let mut values = Vec::new();
        values
            .try_reserve_exact(capacity)
            .map_err(|_| OutOfMemory)?;
        // INVARIANT: The vector is empty.
        Ok(Self { values, capacity })
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
        if self.is_full() {
            return Err(value);
        }
        self.values.push(value);
        Ok(())
    }

    /// Insert a value before `index`, or return it if there is no room or no such place.
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), T> {
        if self.is_full() || index > self.values.len() {
            return Err(value);
        }
        self.values.insert(index, value);
        Ok(())
    }

    /// Remove and return the value at `index`; the others keep their order.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        if index < self.values.len() {
            Some(self.values.remove(index))
        } else {
            None
        }
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
        self.values.retain_mut(keep);
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
        self.values.extend_from_slice(values);
        Ok(())
    }
}

#[cfg(kcgcs_exploration)]
impl<T: Clone> Clone for BoundedVec<T> {
    fn clone(&self) -> Self {
        Self {
            values: self.values.clone(),
            capacity: self.capacity,
        }
    }
}

#[cfg(kcgcs_exploration)]
impl<T: core::hash::Hash> core::hash::Hash for BoundedVec<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.values.hash(state);
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
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub struct Owned<T>(Box<T>);

impl<T> Owned<T> {
    /// Move `value` to memory of its own. May sleep in the kernel.
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        Ok(Self(Box::new(value)))
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
    /// Move `value` to shared memory. May sleep in the kernel.
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        Ok(Self(Arc::new(value)))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
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

/// Report a broken invariant: a bug of this code, never a datagram of the network.
///
/// On the host this stops the program, so that a test shows it. In the kernel it warns once, and the caller marks its
/// node as failed.
pub fn report_broken_invariant(what: &'static str) {
    panic!("broken invariant: {what}");
}
