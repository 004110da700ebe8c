// SPDX-License-Identifier: GPL-2.0

//! The error numbers that consumers and operators get for errors of the protocol.

#![forbid(unsafe_code)]

use crate::protocol::errors::CommandError;
use kernel::{
    error::Error,
    prelude::*, //
};

/// The error number of a refused command.
pub(crate) fn of_command(error: CommandError) -> Error {
    match error {
        CommandError::OutOfMemory => ENOMEM,
        CommandError::LimitReached => ENOSPC,
        CommandError::NoSuchEndpoint => ESHUTDOWN,
        CommandError::WindowFull => EAGAIN,
        CommandError::MessageTooLong => EMSGSIZE,
        CommandError::NoQuorum => ENOTCONN,
        CommandError::NotSupported => EOPNOTSUPP,
        CommandError::NoSuchMember => ENOENT,
        CommandError::Stopped => ESHUTDOWN,
    }
}
