// SPDX-License-Identifier: GPL-2.0

//! Why a command failed, as one line for the operator.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused, with its own words if it had some.
    Refused {
        /// The error number.
        errno: Errno,
        /// The kernel's words.
        message: Option<String>,
    },
    /// A system call failed.
    Call {
        /// What was tried.
        what: String,
        /// The error.
        error: io::Error,
    },
    /// The kernel's answer makes no sense to this version of the tool.
    BadAnswer(String),
    /// What the operator wants cannot be.
    Usage(String),
    /// What was waited for did not come in time.
    TimedOut(String),
    /// The node was stopped while it was needed.
    NodeGone,
    /// So many records were lost to a reader that was too slow.
    Lost(u64),
    /// Nobody reads the output any more.
    OutputClosed,
}

impl Failure {
    /// A failed system call; `what` was tried.
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

    /// What the tool ends with; `docs/kcgcsctl.md` lists these. A wrong command line is 2.
    pub fn exit_code(&self) -> u8 {
        match self {
            // Whoever read the output has gone, as `head` does: nobody is left to tell.
            Self::OutputClosed => 0,
            Self::Refused { .. } | Self::Call { .. } | Self::BadAnswer(_) | Self::Usage(_) => 1,
            Self::TimedOut(_) => 3,
            Self::NodeGone => 4,
            Self::Lost(_) => 5,
        }
    }

    /// Whether the kernel said that the namespace has no node.
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
            Self::BadAnswer(what) => write!(f, "unexpected answer of the kernel: {what}"),
            Self::Usage(what) | Self::TimedOut(what) => f.write_str(what),
            Self::NodeGone => f.write_str("the node was stopped"),
            Self::Lost(records) => {
                write!(f, "{records} records were lost: they were read too slowly")
            }
            Self::OutputClosed => f.write_str("nobody reads the output"),
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
    fn kernels_words_are_one_line() {
        let failure = Failure::Refused {
            errno: Errno::EINVAL,
            message: Some("rings=99: 1 to 8\nis allowed\n".to_owned()),
        };
        assert_eq!(failure.to_string(), "rings=99: 1 to 8 is allowed");
    }

    #[test]
    fn without_words_the_error_number_is_told() {
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
