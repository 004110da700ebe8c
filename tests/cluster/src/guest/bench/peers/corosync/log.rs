// SPDX-License-Identifier: GPL-2.0

//! A daemon's log file: the lines about memberships, with times on `CLOCK_MONOTONIC`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use kcgcsctl::clock::monotonic_ns;
use nix::time::{clock_gettime, ClockId};

use crate::guest::bench::peers::Notice;

const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

/// A log file that is read as it grows.
pub(super) struct Log {
    file: File,
    node: u16,
    /// A line without its end.
    rest: String,
    /// The last lines, for the message of a failure.
    last: Vec<String>,
}

impl Log {
    pub(super) fn open(path: &Path, node: u16) -> Result<Self, String> {
        Ok(Self {
            file: File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
            node,
            rest: String::new(),
            last: Vec::new(),
        })
    }

    /// Return the memberships logged since the last call.
    pub(super) fn read_new(&mut self) -> Result<Vec<Notice>, String> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .map_err(|error| format!("log of node {}: {error}", self.node))?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        self.rest.push_str(&String::from_utf8_lossy(&bytes));
        let (now_ns, now_of_day_ns) = (monotonic_ns(), time_of_day_ns()?);
        let mut notices = Vec::new();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            if let Some((of_day_ns, gained, lost)) = membership(line) {
                let age_ns = (now_of_day_ns + DAY_NS - of_day_ns) % DAY_NS;
                notices.push(Notice {
                    at_ns: now_ns.saturating_sub(age_ns),
                    observer: self.node,
                    gained,
                    lost,
                });
            }
            self.last.push(line.to_string());
            if self.last.len() > 3 {
                self.last.remove(0);
            }
            self.rest = rest.to_string();
        }
        Ok(notices)
    }

    /// The last lines.
    pub(super) fn tail(&mut self) -> String {
        // Read the lines that the daemon wrote before it ended.
        let _ = self.read_new();
        self.last.join(" | ")
    }
}

/// The time of the day. The machine's time zone is UTC, as that of the daemons' log.
fn time_of_day_ns() -> Result<u64, String> {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).map_err(|errno| format!("time: {errno}"))?;
    let seconds = u64::try_from(time.tv_sec()).map_err(|error| error.to_string())?;
    let nanoseconds = u64::try_from(time.tv_nsec()).map_err(|error| error.to_string())?;
    Ok(seconds * 1_000_000_000 % DAY_NS + nanoseconds)
}

/// Parse `Jan 01 00:01:02.345 [77] node1 corosync notice  [TOTEM ] A new membership (1.2c) was formed. Members joined:
/// 2 left: 3 4` into the time of the day, the nodes that joined and those that left.
fn membership(line: &str) -> Option<(u64, Vec<u16>, Vec<u16>)> {
    let (head, change) = line.split_once("A new membership (")?;
    let (_, change) = change.split_once("Members")?;
    let time = head.split_whitespace().find(|word| word.contains(':'))?;
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    let mut list = None;
    for word in change.split_whitespace() {
        match word {
            "joined:" => list = Some(&mut joined),
            "left:" => list = Some(&mut left),
            number => list.as_mut()?.push(number.parse().ok()?),
        }
    }
    Some((of_day_ns(time)?, joined, left))
}

/// Parse a time of the day such as `00:01:02.345`.
fn of_day_ns(time: &str) -> Option<u64> {
    let mut parts = time.split([':', '.']);
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (hours, minutes, seconds, milliseconds) = (next()?, next()?, next()?, next()?);
    Some((((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds) * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_membership_is_parsed() {
        let line = |change: &str| {
            format!("Jan 01 00:01:02.345 [77] kcgcs corosync notice  [TOTEM ] A new membership (1.2c) was formed. Members{change}")
        };
        let at_ns = 62_345_000_000;
        for (change, joined, left) in [
            ("", vec![], vec![]),
            (" joined: 2 3", vec![2, 3], vec![]),
            (" left: 4", vec![], vec![4]),
            (" joined: 2 left: 3 4", vec![2], vec![3, 4]),
        ] {
            assert_eq!(membership(&line(change)), Some((at_ns, joined, left)));
        }
        assert_eq!(
            membership("Jan 01 00:01:02.345 [77] kcgcs [TOTEM ] x"),
            None
        );
    }
}
