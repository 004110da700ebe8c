// SPDX-License-Identifier: GPL-2.0

//! What keeps a consumer's module loaded while it is a member.

use kernel::{
    bindings,
    prelude::*, //
};

/// A reference to a consumer's module, which keeps it loaded.
pub(super) struct ModuleReference(*mut bindings::module);

impl ModuleReference {
    /// Take a reference.
    ///
    /// # Errors
    ///
    /// - `ESHUTDOWN`: the module is being unloaded.
    ///
    /// # Safety
    ///
    /// `module` is NULL (built into the kernel) or a module whose code is running now.
    pub(super) unsafe fn new(module: *mut bindings::module) -> Result<Self> {
        // SAFETY: The caller says that it is a module.
        if unsafe { bindings::try_module_get(module) } {
            Ok(Self(module))
        } else {
            Err(ESHUTDOWN)
        }
    }
}

impl Drop for ModuleReference {
    fn drop(&mut self) {
        // SAFETY: The reference was taken in `new` and is put once.
        unsafe { bindings::module_put(self.0) }
    }
}
