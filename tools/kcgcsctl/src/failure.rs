// SPDX-License-Identifier: GPL-2.0

//! Why a command failed, in one line for the operator, and the exit code.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused the request.
    Refused {
        /// The error number.
        errno: Errno,
        /// The kernel's own words, if it gave any.
        message: Option<String>,
    },
    /// A system call failed.
    Call {
        /// The file, or what the call was for.
        what: String,
        /// The error.
        error: io::Error,
    },
    /// This version of the tool does not understand the kernel's answer.
    BadAnswer(String),
    /// The operator's request cannot be carried out.
    Usage(String),
    /// The awaited event did not happen in time.
    TimedOut(String),
    /// The node was stopped while the command needed it.
    NodeGone,
    /// The tool read records too slowly and lost this many.
    Lost(u64),
    /// The reader of the output is gone.
    OutputClosed,
}

impl Failure {
    /// A failed system call. `what` is the file, or what the call was for.
    pub fn call(what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::Call {
            what: what.into(),
            error: error.into(),
        }
    }

    /// A failed write to standard output.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::call("standard output", error)
        }
    }

    /// The exit code of the tool. `docs/kcgcsctl.md` lists all; a wrong command line has code 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            // The reader has all that it wanted, as `head` does.
            Self::OutputClosed => 0,
            Self::Refused { .. } | Self::Call { .. } | Self::BadAnswer(_) | Self::Usage(_) => 1,
            Self::TimedOut(_) => 3,
            Self::NodeGone => 4,
            Self::Lost(_) => 5,
        }
    }

    /// Whether the kernel refused because the namespace has no node.
    pub fn is_no_node(&self) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == Errno::ENODEV)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused {
                message: Some(message),
                ..
            } => f.write_str(&one_line(message)),
            Self::Refused { errno, .. } => write!(f, "the kernel refused: {}", errno.desc()),
            Self::Call { what, error } => write!(f, "{what}: {error}"),
            Self::BadAnswer(what) => write!(f, "the kernel gave an unexpected answer: {what}"),
            Self::Usage(what) | Self::TimedOut(what) => f.write_str(what),
            Self::NodeGone => f.write_str("the node was stopped"),
            Self::Lost(records) => {
                write!(
                    f,
                    "{records} records were lost, because they were read too slowly: give a larger --queue-bytes"
                )
            }
            Self::OutputClosed => f.write_str("the reader of the output is gone"),
        }
    }
}

impl std::error::Error for Failure {}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_kernel_become_one_line() {
        let failure = Failure::Refused {
            errno: Errno::EINVAL,
            message: Some("rings=99: 1 to 8\nis allowed\n".to_owned()),
        };
        assert_eq!(failure.to_string(), "rings=99: 1 to 8 is allowed");
    }

    #[test]
    fn a_refusal_without_words_shows_the_error_number_in_words() {
        let failure = Failure::Refused {
            errno: Errno::EPERM,
            message: None,
        };
        assert_eq!(
            failure.to_string(),
            "the kernel refused: Operation not permitted"
        );
        assert!(!failure.is_no_node());
    }
}
