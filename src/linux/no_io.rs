// SPDX-License-Identifier: GPL-2.0

//! Memory that is not waited for by input or output.
//!
//! A consumer may be a file system or a block device whose writes wait for messages of this module.
//! Were the module, while it handles such a message, to wait for memory that is only had by a write,
//! both would wait for ever.

use super::ffi;
use kernel::{
    ffi::c_uint,
    types::NotThreadSafe, //
};

/// As long as it lives, allocations of the task that made it start no input or output.
pub(crate) struct NoIo {
    before: c_uint,
    _task: NotThreadSafe,
}

impl NoIo {
    /// Begins a scope; scopes may be nested.
    ///
    /// Context: Process context.
    pub(crate) fn begin() -> Self {
        Self {
            // SAFETY: The function changes a flag of the present task only.
            before: unsafe { ffi::kcgcs_no_io_begin() },
            _task: NotThreadSafe,
        }
    }
}

impl Drop for NoIo {
    fn drop(&mut self) {
        // SAFETY: The value is from the beginning of this scope, in the same task.
        unsafe { ffi::kcgcs_no_io_end(self.before) }
    }
}
