// SPDX-License-Identifier: GPL-2.0

//! The kernel's log through `/dev/kmsg`: read it from a point on, and add lines to it, which get times of the same
//! clock.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

/// A line of the kernel's log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// Microseconds of the kernel's log clock.
    pub time_us: u64,
    /// The text.
    pub text: String,
}

/// Reads what the kernel writes from now on.
pub struct KernelLog(File);

impl KernelLog {
    /// Open the log behind its last line.
    pub fn from_now() -> Result<Self, String> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        file.seek(SeekFrom::End(0))
            .map_err(|error| format!("/dev/kmsg: {error}"))?;
        Ok(Self(file))
    }

    /// All lines since the last call. It is an error if lines were lost because the buffer was full.
    pub fn read_new(&mut self) -> Result<Vec<LogLine>, String> {
        let mut lines = Vec::new();
        let mut record = vec![0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => lines.extend(parse(&String::from_utf8_lossy(&record[..length]))),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(lines),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("/dev/kmsg: {error}")),
            }
        }
    }
}

/// Parse `6,339,5140900,-;text`. Continuation lines, which start with a space, are ignored.
fn parse(record: &str) -> Option<LogLine> {
    let (head, text) = record.lines().next()?.split_once(';')?;
    Some(LogLine {
        time_us: head.split(',').nth(2)?.parse().ok()?,
        text: text.to_string(),
    })
}

/// Write a line into the kernel's log (level notice).
pub fn mark(text: &str) -> Result<(), String> {
    OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut file| file.write_all(format!("<5>{text}\n").as_bytes()))
        .map_err(|error| format!("/dev/kmsg: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_split_into_time_and_text() {
        let line = parse("6,339,5140900,-;kcgcs: a;b\n SUBSYSTEM=net\n").expect("a line");
        assert_eq!(
            (line.time_us, line.text.as_str()),
            (5_140_900, "kcgcs: a;b")
        );
    }
}
