// SPDX-License-Identifier: GPL-2.0

//! Scopes in which allocations start no input or output.
//!
//! A consumer may be a file system or a block device whose writes wait for messages of this module. If the module,
//! while it handles such a message, waited for memory that only a write can free, both would wait for ever.

use crate::linux::ffi;
use kernel::{
    ffi::c_uint,
    types::NotThreadSafe, //
};

/// A scope: while this value exists, allocations of the task that made it start no input or output.
pub(crate) struct NoIo {
    before: c_uint,
    _task: NotThreadSafe,
}

impl NoIo {
    /// Begin a scope. Scopes may be nested.
    ///
    /// Context: Process context.
    pub(crate) fn begin() -> Self {
        Self {
            // SAFETY: The function has no requirements; it changes a flag of the present task only.
            before: unsafe { ffi::kcgcs_no_io_begin() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: The value is from the beginning of this scope, in the same task: the type is not `Send`.
        unsafe { ffi::kcgcs_no_io_end(self.before) }
    }
}
