// SPDX-License-Identifier: GPL-2.0

//! `join`: waits for records, lines of standard input and signals at once, and never for one alone.

mod report;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::arguments::Join;
use crate::clock::monotonic_ns;
use crate::device::{Device, Got, Written};
use crate::failure::Failure;
use crate::input::Lines;
use crate::netlink::Connection;
use crate::record::{Body, Record};
use crate::show;
use report::{News, Reporter};

/// How long a line waits that was refused for want of a quorum: nothing tells when there is one again.
const NO_QUORUM_WAIT: Duration = Duration::from_millis(100);
/// Bytes of standard input taken at once.
const INPUT_BYTES: usize = 4096;

/// Why the first line is not with the kernel yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    ForRoom,
    ForQuorum,
}

/// What can be done without waiting.
struct Ready {
    device: bool,
    input: bool,
    signal: bool,
}

struct Session<'a> {
    wishes: &'a Join,
    json: bool,
    device: Device,
    signals: SignalFd,
    input: Option<File>,
    lines: Lines,
    waiting: Waiting,
    reporter: Reporter,
    delivered: u64,
    lost: u64,
    refused_lines: u64,
    deadline: Option<Instant>,
}

pub(super) fn run(wishes: &Join, json: bool) -> Result<(), Failure> {
    let mut session = Session::open(wishes, json)?;
    let ended = session.serve();
    let Session {
        device,
        reporter,
        lost,
        refused_lines,
        ..
    } = session;
    // Closing is leaving; only then it is true that it has left.
    drop(device);
    if !matches!(ended, Err(Failure::OutputClosed)) {
        tell(&reporter.left(monotonic_ns()), json)?;
    }
    ended?;
    if lost > 0 {
        return Err(Failure::Lost(lost));
    }
    if refused_lines > 0 {
        return Err(Failure::Usage(format!(
            "{refused_lines} lines were not sent"
        )));
    }
    Ok(())
}

fn tell(news: &News, json: bool) -> Result<(), Failure> {
    match (&news.line, &news.text) {
        (Some(line), _) if json => show::print_json(line),
        (_, Some(text)) if !json => show::print_line(text),
        _ => Ok(()),
    }
}

impl<'a> Session<'a> {
    fn open(wishes: &'a Join, json: bool) -> Result<Self, Failure> {
        let signals = catch_signals().map_err(|errno| Failure::call("signals", errno))?;
        let input = io::stdin().as_fd().try_clone_to_owned();
        let node = Connection::open()?.node()?;
        let device = Device::join(&wishes.group, wishes.queue_bytes)?;
        let limit = wishes.timeout_ms.map(Duration::from_millis);
        Ok(Self {
            wishes,
            json,
            device,
            signals,
            // A closed standard input has nothing to say.
            input: input.ok().map(File::from),
            lines: Lines::default(),
            waiting: Waiting::Nothing,
            reporter: Reporter::new(&wishes.group, node.node, node.incarnation, wishes.text),
            delivered: 0,
            lost: 0,
            refused_lines: 0,
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
        })
    }

    fn serve(&mut self) -> Result<(), Failure> {
        while !self.is_done() {
            let ready = self.wait()?;
            if ready.signal {
                return Ok(());
            }
            if ready.device {
                self.read_device()?;
            }
            if ready.input {
                self.read_input()?;
            }
            self.write_lines()?;
        }
        Ok(())
    }

    fn has_count(&self) -> bool {
        let wanted = self.wishes.count;
        wanted.is_some_and(|count| self.delivered >= count)
    }

    fn is_done(&self) -> bool {
        let has_all = self.wishes.leave_at_end
            && self.input.is_none()
            && self.lines.is_empty()
            && self.reporter.outstanding() == 0;
        self.has_count() || has_all
    }

    fn longest_wait(&self) -> Result<PollTimeout, Failure> {
        let mut longest = None;
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::TimedOut(format!(
                    "group {}: it has not ended in time, with {} messages delivered",
                    show::printable(&self.wishes.group),
                    self.delivered
                )));
            }
            longest = Some(left);
        }
        if self.waiting == Waiting::ForQuorum {
            longest = Some(longest.map_or(NO_QUORUM_WAIT, |left| left.min(NO_QUORUM_WAIT)));
        }
        let Some(longest) = longest else {
            return Ok(PollTimeout::NONE);
        };
        // One more, since parts of a millisecond are cut off: the wait shall not end before its time.
        let rounded = longest.saturating_add(Duration::from_millis(1));
        Ok(PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX))
    }

    fn wait(&self) -> Result<Ready, Failure> {
        let timeout = self.longest_wait()?;
        let mut wanted = PollFlags::POLLIN;
        if self.waiting == Waiting::ForRoom {
            wanted |= PollFlags::POLLOUT;
        }
        let mut files = vec![
            PollFd::new(self.device.as_fd(), wanted),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        // No more is read than can be sent: who writes too fast waits in the pipe.
        if let (Some(input), true) = (&self.input, self.lines.is_empty()) {
            files.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut files, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::call("poll", errno)),
        }
        let is_ready = |place: usize| files.get(place).and_then(PollFd::any).unwrap_or(false);
        Ok(Ready {
            device: is_ready(0),
            signal: is_ready(1),
            input: is_ready(2),
        })
    }

    fn read_device(&mut self) -> Result<(), Failure> {
        match self.device.read()? {
            Got::Records(records) => records.iter().try_for_each(|record| self.take(record)),
            Got::Nothing => Ok(()),
            Got::End => Err(Failure::NodeGone),
        }
    }

    fn take(&mut self, record: &Record) -> Result<(), Failure> {
        // What came together with the last message that was wanted is not shown.
        if self.has_count() {
            return Ok(());
        }
        match &record.body {
            Body::Message(_) => self.delivered = self.delivered.saturating_add(1),
            Body::Overflow { records, .. } => self.lost = self.lost.saturating_add(*records),
            _ => {}
        }
        tell(&self.reporter.take(record), self.json)
    }

    fn read_input(&mut self) -> Result<(), Failure> {
        let Some(file) = &mut self.input else {
            return Ok(());
        };
        let mut bytes = [0; INPUT_BYTES];
        match file.read(&mut bytes) {
            Ok(0) => {
                self.lines.end();
                self.input = None;
            }
            Ok(length) => self.lines.take(bytes.get(..length).unwrap_or_default()),
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(Failure::call("standard input", error)),
        }
        Ok(())
    }

    fn write_lines(&mut self) -> Result<(), Failure> {
        self.waiting = Waiting::Nothing;
        // Nothing can be sent before the first view, nor after the last.
        while self.reporter.is_member() {
            let Some(line) = self.lines.first() else {
                return Ok(());
            };
            let t = monotonic_ns();
            match self.device.write(line) {
                Ok(Written::Taken) => {
                    let news = self.reporter.sent(t, line);
                    self.lines.drop_first();
                    tell(&news, self.json)?;
                }
                Ok(Written::Full) => {
                    self.waiting = Waiting::ForRoom;
                    return Ok(());
                }
                Ok(Written::NotConnected) => {
                    self.waiting = Waiting::ForQuorum;
                    return Ok(());
                }
                // The end of the records says the same.
                Err(error) if is_errno(&error, Errno::ESHUTDOWN) => return Ok(()),
                Err(error) if is_errno(&error, Errno::EMSGSIZE) => {
                    eprintln!("kcgcsctl: a line is longer than a message may be: not sent");
                    self.refused_lines = self.refused_lines.saturating_add(1);
                    self.lines.drop_first();
                }
                Err(error) => return Err(Failure::call("multicast", error)),
            }
        }
        Ok(())
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// A request to end is something to wait for, so that leaving is orderly.
fn catch_signals() -> Result<SignalFd, Errno> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
