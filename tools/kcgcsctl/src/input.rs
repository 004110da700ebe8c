// SPDX-License-Identifier: GPL-2.0

//! Lines of standard input, split without waiting for a whole line.

use std::collections::VecDeque;

/// The number of bytes kept of a line, so that an endless line does not fill the memory. A message may not be that long,
/// so the kernel refuses a line that was cut.
const LINE_BYTES_KEPT: usize = 64 * 1024;

/// The lines of the bytes read so far.
#[derive(Debug, Default)]
pub struct Lines {
    whole: VecDeque<Vec<u8>>,
    begun: Vec<u8>,
}

impl Lines {
    /// Add bytes that were read. Empty lines are skipped.
    pub fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(last) => {
                    self.extend_line(last);
                    self.end_line();
                }
                None => self.extend_line(piece),
            }
        }
    }

    /// Note the end of the input, which ends the last line.
    pub fn end(&mut self) {
        self.end_line();
    }

    /// The first whole line.
    pub fn first(&self) -> Option<&[u8]> {
        self.whole.front().map(Vec::as_slice)
    }

    /// Drop the first whole line.
    pub fn drop_first(&mut self) {
        self.whole.pop_front();
    }

    /// Whether there is no whole line.
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_KEPT.saturating_sub(self.begun.len());
        self.begun.extend(bytes.iter().take(room));
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
    fn lines_are_whole_however_the_bytes_are_cut() {
        let text = b"one\ntwo\n\n\xff\xfe three\nfour";
        for cut in 1..text.len() {
            let mut lines = Lines::default();
            text.chunks(cut).for_each(|piece| lines.take(piece));
            let wanted = [b"one".as_slice(), b"two", b"\xff\xfe three"];
            assert_eq!(drain(&mut lines), wanted, "{cut}");
            lines.end();
            assert_eq!(drain(&mut lines), [b"four"]);
            lines.end();
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn an_endless_line_does_not_fill_the_memory() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.take(&[b'x'; 4096]);
        }
        lines.take(b"\nnext\n");
        let all = drain(&mut lines);
        assert_eq!(all[0].len(), LINE_BYTES_KEPT);
        assert_eq!(all[1], b"next");
    }
}
