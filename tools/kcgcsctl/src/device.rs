// SPDX-License-Identifier: GPL-2.0

//! `/dev/kcgcs`: one open file, one member of a group.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::failure::Failure;
use crate::record::{self, Record};

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

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The kernel has it.
    Taken,
    /// The window is full: again when the file is writable.
    Full,
    /// There is no view, or none with a quorum: again later.
    NotConnected,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Got {
    /// Records, at least one.
    Records(Vec<Record>),
    /// Nothing now.
    Nothing,
    /// Nothing any more: the node is gone.
    End,
}

/// A membership. Closing it leaves the group.
pub struct Device {
    file: File,
    buffer: Vec<u8>,
}

impl Device {
    /// Joins a group in the present network namespace.
    ///
    /// # Errors
    ///
    /// No device, a name that is too long, or the kernel's refusal.
    pub fn join(group: &str, queue_bytes: u32) -> Result<Self, Failure> {
        let request = join_request(group, queue_bytes)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.custom_flags(OFlag::O_NONBLOCK.bits());
        let file = options.open(PATH).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Failure::Usage(format!("no {PATH}: is the module kcgcs_device loaded?"))
            }
            _ => Failure::call(PATH, error),
        })?;
        // SAFETY: The descriptor is open, and the call reads one `struct kcgcs_device_join` from
        // the pointer, which is a reference to a value with that layout.
        let joined = unsafe { raw::join(file.as_raw_fd(), &request) };
        joined.map_err(|errno| join_failure(group, errno))?;
        let bytes = usize::try_from(queue_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            file,
            // No record can be longer than the queue that it waited in.
            buffer: vec![0; bytes],
        })
    }

    /// Reads what is there.
    ///
    /// # Errors
    ///
    /// The read failed, or gave no whole records.
    pub fn read(&mut self) -> Result<Got, Failure> {
        match self.file.read(&mut self.buffer) {
            Ok(0) => Ok(Got::End),
            Ok(length) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                record::parse(bytes).map(Got::Records)
            }
            Err(error) if is_for_later(&error) => Ok(Got::Nothing),
            Err(error) => Err(Failure::call(PATH, error)),
        }
    }

    /// Multicasts one message.
    ///
    /// # Errors
    ///
    /// The kernel will never take this message.
    pub fn write(&mut self, message: &[u8]) -> io::Result<Written> {
        match self.file.write(message) {
            Ok(_) => Ok(Written::Taken),
            Err(error) if is_for_later(&error) => Ok(Written::Full),
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

fn is_for_later(error: &io::Error) -> bool {
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
                "a group's name has 1 to {NAME_BYTES_MAX} bytes, not {}",
                bytes.len()
            )));
        }
    }
    // Not more than the length of the name's place.
    request.length = u32::try_from(bytes.len()).unwrap_or(0);
    Ok(request)
}

/// The device has no words of its own: error numbers are those of `kcgcs_join()`.
fn join_failure(group: &str, errno: Errno) -> Failure {
    let words = match errno {
        Errno::ENETDOWN => "no node in this network namespace",
        Errno::ENOSPC => "the node has as many members or groups as it may",
        Errno::ESHUTDOWN => "the node is stopping",
        Errno::EINVAL => "the name or the length of the queue is not allowed",
        other => other.desc(),
    };
    Failure::Refused {
        errno,
        message: Some(format!("group {}: {words}", crate::show::printable(group))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn request_has_the_layout_of_the_header_file() {
        assert_eq!(size_of::<RawJoin>(), 40);
        assert_eq!(offset_of!(RawJoin, queue_bytes), 4);
        assert_eq!(offset_of!(RawJoin, name), 8);
    }

    #[test]
    fn names_are_bounded() {
        let request = join_request(&"x".repeat(32), 4096).unwrap();
        assert_eq!((request.length, request.queue_bytes), (32, 4096));
        assert_eq!(request.name, [b'x'; 32]);
        assert!(join_request(&"x".repeat(33), 4096).is_err());
        assert!(join_request("", 4096).is_err());
    }

    #[test]
    fn refusals_are_words() {
        let failure = join_failure("locks", Errno::ENETDOWN);
        assert_eq!(
            failure.to_string(),
            "group locks: no node in this network namespace"
        );
    }
}
