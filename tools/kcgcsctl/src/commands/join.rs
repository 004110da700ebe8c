// SPDX-License-Identifier: GPL-2.0

//! `join`: one loop that waits for records of the kernel, lines of standard input and signals at the same time.

mod report;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::arguments::Join;
use crate::clock::monotonic_ns;
use crate::device::{would_wait, Device, Got, Written};
use crate::failure::Failure;
use crate::input::Lines;
use crate::netlink::Connection;
use crate::record::{Body, Record};
use crate::text::printable;
use report::Reporter;

/// The time after which to send a line again that was refused for lack of a quorum. The kernel does not report when
/// there is a quorum again.
const NO_QUORUM_WAIT: Duration = Duration::from_millis(100);
/// The number of bytes of standard input read at once.
const INPUT_BYTES: usize = 4096;

/// Why the first line has not been sent yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nothing,
    ForRoom,
    ForQuorum,
}

/// What a wait found ready.
struct Ready {
    device: bool,
    input: bool,
    signal: bool,
}

struct Session<'a> {
    arguments: &'a Join,
    json: bool,
    device: Device,
    signals: SignalFd,
    /// Standard input, until it ends.
    input: Option<File>,
    /// Lines that have not been sent yet.
    lines: Lines,
    waiting: Waiting,
    reporter: Reporter,
    /// The number of messages delivered.
    delivered: u64,
    /// The number of records lost in overflows.
    lost: u64,
    /// The number of lines that were too long to send.
    refused_lines: u64,
    deadline: Option<Instant>,
}

/// Join the group and take part until the command is done, then leave.
pub(super) fn run(arguments: &Join, json: bool) -> Result<(), Failure> {
    let mut session = Session::open(arguments, json)?;
    let ended = session.serve();
    let Session {
        device,
        reporter,
        lost,
        refused_lines,
        ..
    } = session;
    // Closing the device leaves the group, and returns when that is done.
    drop(device);
    if !matches!(ended, Err(Failure::OutputClosed)) {
        reporter.left(monotonic_ns()).print(json)?;
    }
    ended?;
    if lost > 0 {
        return Err(Failure::Lost(lost));
    }
    if refused_lines > 0 {
        return Err(Failure::Usage(format!(
            "{refused_lines} lines were not sent, because they are longer than a message may be"
        )));
    }
    Ok(())
}

impl<'a> Session<'a> {
    fn open(arguments: &'a Join, json: bool) -> Result<Self, Failure> {
        let signals =
            catch_signals().map_err(|errno| Failure::call("cannot wait for signals", errno))?;
        let input = io::stdin().as_fd().try_clone_to_owned();
        let node = Connection::open()?.node()?;
        let device = Device::join(&arguments.group, arguments.queue_bytes)?;
        let limit = arguments.timeout_ms.map(Duration::from_millis);
        Ok(Self {
            arguments,
            json,
            device,
            signals,
            // Standard input may be closed.
            input: input.ok().map(File::from),
            lines: Lines::default(),
            waiting: Waiting::Nothing,
            reporter: Reporter::new(
                &arguments.group,
                node.node,
                node.incarnation,
                arguments.text,
            ),
            delivered: 0,
            lost: 0,
            refused_lines: 0,
            deadline: limit.and_then(|limit| Instant::now().checked_add(limit)),
        })
    }

    /// Serve the device, the input and the signals until the command is done or a signal asks it to end.
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
        let wanted = self.arguments.count;
        wanted.is_some_and(|count| self.delivered >= count)
    }

    fn is_done(&self) -> bool {
        let has_all = self.arguments.leave_at_end
            && self.input.is_none()
            && self.lines.is_empty()
            && self.reporter.outstanding() == 0;
        self.has_count() || has_all
    }

    /// The longest time that the next wait may take.
    ///
    /// # Errors
    ///
    /// The time of --timeout-ms is over.
    fn longest_wait(&self) -> Result<PollTimeout, Failure> {
        let mut longest = None;
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::TimedOut(format!(
                    "group {}: the command did not end in time, and {} messages were delivered",
                    printable(&self.arguments.group),
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
        // Add one, because fractions of a millisecond are cut off and the wait must not end too early.
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
        // Read no more than can be sent: the rest waits in the pipe.
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
        // Records that came together with the last message of --count are not shown.
        if self.has_count() {
            return Ok(());
        }
        match &record.body {
            Body::Message(_) => self.delivered = self.delivered.saturating_add(1),
            Body::Overflow { records, .. } => self.lost = self.lost.saturating_add(*records),
            _ => {}
        }
        self.reporter.take(record).print(self.json)
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
            Err(error) if would_wait(&error) => {}
            Err(error) => return Err(Failure::call("standard input", error)),
        }
        Ok(())
    }

    /// Send lines until none is left, or until the kernel accepts no more for now.
    fn write_lines(&mut self) -> Result<(), Failure> {
        self.waiting = Waiting::Nothing;
        // Messages can be sent only while the member is in a view.
        while self.reporter.is_member() {
            let Some(line) = self.lines.first() else {
                return Ok(());
            };
            let t = monotonic_ns();
            match self.device.write(line) {
                Ok(Written::Taken) => {
                    let notice = self.reporter.sent(t, line);
                    self.lines.drop_first();
                    notice.print(self.json)?;
                }
                Ok(Written::Full) => {
                    self.waiting = Waiting::ForRoom;
                    return Ok(());
                }
                Ok(Written::NotConnected) => {
                    self.waiting = Waiting::ForQuorum;
                    return Ok(());
                }
                // The node was stopped: the next read returns the end of the records.
                Err(error) if is_errno(&error, Errno::ESHUTDOWN) => return Ok(()),
                Err(error) if is_errno(&error, Errno::EMSGSIZE) => {
                    eprintln!(
                        "kcgcsctl: a line was not sent, because it is longer than a message may be"
                    );
                    self.refused_lines = self.refused_lines.saturating_add(1);
                    self.lines.drop_first();
                }
                Err(error) => return Err(Failure::call("multicast", error)),
            }
        }
        Ok(())
    }
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Block the signals that end a program and make them readable, so that they lead to an orderly leave.
fn catch_signals() -> Result<SignalFd, Errno> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}
