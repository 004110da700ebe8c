// SPDX-License-Identifier: GPL-2.0

//! `/dev/kcgcs`: an open file is a member of a group.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::failure::Failure;
use crate::record::{self, Record};
use crate::text::printable;

const PATH: &str = "/dev/kcgcs";
const NAME_BYTES_MAX: usize = 32;

/// `struct kcgcs_device_join`.
#[repr(C)]
struct RawJoin {
    length: u32,
    queue_bytes: u32,
    name: [u8; NAME_BYTES_MAX],
}

mod raw {
    nix::ioctl_write_ptr!(join, 0xC6, 1, super::RawJoin);
}

/// What the kernel did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It accepted the message.
    Taken,
    /// The window is full. Try again when the file is writable.
    Full,
    /// There is no view, or the view has no quorum. Try again later.
    NotConnected,
}

/// What a read returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// One or more records.
    Records(Vec<Record>),
    /// No record is there now.
    Nothing,
    /// No record will come any more: the node was stopped.
    End,
}

/// The membership of a group. Dropping it leaves the group.
pub struct Device {
    file: File,
    buffer: Vec<u8>,
}

impl Device {
    /// Join a group in the current network namespace.
    ///
    /// # Errors
    ///
    /// There is no device, the name is too long, or the kernel refuses.
    pub fn join(group: &str, queue_bytes: u32) -> Result<Self, Failure> {
        let request = join_request(group, queue_bytes)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(PATH).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::Usage(format!(
                "there is no {PATH}: is the module kcgcs_device loaded?"
            )),
            _ => Failure::call(PATH, error),
        })?;
        // SAFETY: `file` keeps the descriptor open during the call. The kernel reads one `struct kcgcs_device_join` from
        // the pointer, which comes from a reference to a value with the layout of that structure.
        let joined = unsafe { raw::join(file.as_raw_fd(), &request) };
        joined.map_err(|errno| join_failure(group, errno))?;
        let bytes = usize::try_from(queue_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            file,
            // A record cannot be longer than the queue that it waited in.
            buffer: vec![0; bytes],
        })
    }

    /// Read the records that are there, without waiting.
    ///
    /// # Errors
    ///
    /// The read fails, or returns something else than whole records.
    pub fn read(&mut self) -> Result<Got, Failure> {
        match self.file.read(&mut self.buffer) {
            Ok(0) => Ok(Got::End),
            Ok(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                record::parse(bytes).map(Got::Records)
            }
            Err(error) if would_wait(&error) => Ok(Got::Nothing),
            Err(error) => Err(Failure::call(PATH, error)),
        }
    }

    /// Multicast one message, without waiting.
    ///
    /// # Errors
    ///
    /// The kernel will never accept this message: another try is useless.
    pub fn write(&mut self, message: &[u8]) -> io::Result<Written> {
        match self.file.write(message) {
            Ok(_) => Ok(Written::Taken),
            Err(error) if would_wait(&error) => Ok(Written::Full),
            Err(error) if error.raw_os_error() == Some(Errno::ENOTCONN as i32) => {
                Ok(Written::NotConnected)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether the call had nothing to do now, or a signal interrupted it: another try later may succeed.
pub(crate) fn would_wait(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn join_request(group: &str, queue_bytes: u32) -> Result<RawJoin, Failure> {
    let mut request = RawJoin {
        length: 0,
        queue_bytes,
        name: [0; NAME_BYTES_MAX],
    };
    let bytes = group.as_bytes();
    match request.name.get_mut(..bytes.len()) {
        Some(place) if !bytes.is_empty() => place.copy_from_slice(bytes),
        _ => {
            return Err(Failure::Usage(format!(
                "the name of a group has 1 to {NAME_BYTES_MAX} bytes, and this one has {}",
                bytes.len()
            )));
        }
    }
    // At most `NAME_BYTES_MAX`.
    request.length = u32::try_from(bytes.len()).unwrap_or(0);
    Ok(request)
}

/// The refusal in words. The device gives only error numbers, those of `kcgcs_join()`.
fn join_failure(group: &str, errno: Errno) -> Failure {
    let words = match errno {
        Errno::ENETDOWN => "no node in this network namespace",
        Errno::ENOSPC => "the node has its maximum of members or groups",
        Errno::ESHUTDOWN => "the node is stopping",
        Errno::EINVAL => "the name or the queue is not allowed: --queue-bytes is 4096 to 67108864",
        other => other.desc(),
    };
    Failure::Refused {
        errno,
        message: Some(format!("group {}: {words}", printable(group))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_request_has_the_layout_of_the_header_file() {
        assert_eq!(size_of::<RawJoin>(), 40);
        assert_eq!(offset_of!(RawJoin, queue_bytes), 4);
        assert_eq!(offset_of!(RawJoin, name), 8);
    }

    #[test]
    fn a_name_has_1_to_32_bytes() {
        let request = join_request(&"x".repeat(32), 4096).unwrap();
        assert_eq!((request.length, request.queue_bytes), (32, 4096));
        assert_eq!(request.name, [b'x'; 32]);
        assert!(join_request(&"x".repeat(33), 4096).is_err());
        assert!(join_request("", 4096).is_err());
    }

    #[test]
    fn a_refusal_is_shown_in_words() {
        let failure = join_failure("locks", Errno::ENETDOWN);
        assert_eq!(
            failure.to_string(),
            "group locks: no node in this network namespace"
        );
    }
}
