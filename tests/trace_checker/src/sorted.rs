// SPDX-License-Identifier: GPL-2.0

//! Sorted lists as sets.

/// Whether the sorted list has this entry.
pub(crate) fn has<T: Ord>(list: &[T], entry: &T) -> bool {
    list.binary_search(entry).is_ok()
}

/// The entries of `one` that the sorted list `other` lacks.
pub(crate) fn only_in<'l, T: Ord>(one: &'l [T], other: &'l [T]) -> impl Iterator<Item = &'l T> {
    one.iter().filter(|entry| !has(other, entry))
}
