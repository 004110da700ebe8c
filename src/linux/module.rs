// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the module.

use super::{
    control::parameters,
    ffi,
    node::{
        registry,
        settings::{
            Complaint,
            Settings, //
        }, //
    },
    observability::live_objects, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The loaded module. Dropping it undoes what `init` did, in reverse order.
pub(crate) struct KcgcsModule;

impl kernel::Module for KcgcsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module is being initialised, which happens once, and nothing of it has used the registry.
        unsafe { registry::init() };
        let settings = Settings::optional(&parameters::wishes()).map_err(report)?;
        // SAFETY: The function is called once, and undone in `drop` or below.
        to_result(unsafe { ffi::kcgcs_namespaces_register() })?;
        // SAFETY: The function is called once; if it succeeds, `drop` undoes it.
        if let Err(error) = to_result(unsafe { ffi::kcgcs_netlink_register() }) {
            // SAFETY: The namespaces were registered above, and `drop` does not run after an error.
            unsafe { ffi::kcgcs_namespaces_unregister() };
            return Err(error);
        }
        if let Some(settings) = settings {
            if let Err(complaint) = registry::start(init_net(), settings) {
                drop(Self);
                return Err(report(complaint));
            }
        }
        Ok(Self)
    }
}

/// Log why the module is not loaded, and return the error number.
fn report(complaint: Complaint) -> Error {
    pr_err!("{}\n", complaint.text());
    complaint.error()
}

/// The initial network namespace, which never goes away.
fn init_net() -> NonNull<bindings::net> {
    // SAFETY: The address of a static of the kernel is never null.
    unsafe { NonNull::new_unchecked(&raw mut bindings::init_net) }
}

impl Drop for KcgcsModule {
    fn drop(&mut self) {
        // From here on nobody can start a node.
        // SAFETY: The family was registered in `init`.
        unsafe { ffi::kcgcs_netlink_unregister() };
        registry::leave_all();
        // This finishes all nodes, namespace by namespace.
        // SAFETY: The namespaces were registered in `init`.
        unsafe { ffi::kcgcs_namespaces_unregister() };
        registry::clear();
        live_objects::expect_none();
    }
}
