// SPDX-License-Identifier: GPL-2.0

//! Text in memory of fixed size. Text that does not fit is cut off.

#![forbid(unsafe_code)]

use kernel::fmt;

/// Writes text to borrowed bytes.
///
/// # Invariants
///
/// `length <= bytes.len()`; the first `length` bytes were written.
pub(crate) struct TextBuffer<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> TextBuffer<'a> {
    /// Make an empty text.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        // INVARIANT: No byte was written.
        Self { bytes, length: 0 }
    }

    /// The text written so far.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Write for TextBuffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.length..).unwrap_or_default();
        let (taken, result) = match text.as_bytes().get(..free.len()) {
            Some(part) if part.len() < text.len() => (part, Err(fmt::Error)),
            _ => (text.as_bytes(), Ok(())),
        };
        for (place, byte) in free.iter_mut().zip(taken) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(taken.len());
        result
    }
}
