// SPDX-License-Identifier: GPL-2.0

//! Lines of standard input, taken apart without ever waiting for a whole one.

use std::collections::VecDeque;

/// Bytes that came, as lines.
#[derive(Debug, Default)]
pub struct Lines {
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes bytes that came. Empty lines are left out: they say nothing.
    pub fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(last) => {
                    self.begun.extend(last);
                    self.end_line();
                }
                None => self.begun.extend(part),
            }
        }
    }

    /// No more bytes will come: what was begun is a line.
    pub fn end(&mut self) {
        self.end_line();
    }

    /// The line that is next.
    pub fn first(&self) -> Option<&[u8]> {
        self.whole.front().map(Vec::as_slice)
    }

    /// The first line is done with.
    pub fn drop_first(&mut self) {
        self.whole.pop_front();
    }

    /// Whether no whole line waits.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    fn end_line(&mut self) {
        if !self.begun.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lines: &mut Lines) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(line) = lines.first() {
            all.push(line.to_vec());
            lines.drop_first();
        }
        all
    }

    #[test]
    fn lines_come_whole_however_the_bytes_were_cut() {
        let text = b"one\ntwo\n\n\xff\xfe three\nfour";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            text.chunks(cut).for_each(|part| lines.take(part));
            let wanted = [b"one".as_slice(), b"two", b"\xff\xfe three"];
            assert_eq!(drain(&mut lines), wanted, "{cut}");
            lines.end();
            assert_eq!(drain(&mut lines), [b"four"]);
            lines.end();
            assert!(lines.is_empty());
        }
    }
}
