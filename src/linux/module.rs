// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading the module.

use super::{
    ffi,
    live_objects,
    parameters,
    registry,
    settings::{
        Complaint,
        Settings, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::to_result,
    prelude::*, //
};

/// The loaded module. Dropping it undoes what [`Self::init`] did, the last thing first.
pub(crate) struct KcgcsModule;

impl kernel::Module for KcgcsModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The module is being initialised, which happens once.
        unsafe { registry::init() };
        let settings = Settings::optional(&parameters::wishes()).map_err(report)?;
        // SAFETY: Called once, and undone in `drop` or below.
        to_result(unsafe { ffi::kcgcs_namespaces_register() })?;
        // SAFETY: As above.
        if let Err(error) = to_result(unsafe { ffi::kcgcs_netlink_register() }) {
            // SAFETY: Registered above.
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

/// Tells the operator why the module is not loaded.
fn report(complaint: Complaint) -> Error {
    pr_err!("{}\n", complaint.text());
    complaint.error()
}

/// The initial network namespace, which is there for ever.
fn init_net() -> NonNull<bindings::net> {
    // SAFETY: The address of a static of the kernel is never null.
    unsafe { NonNull::new_unchecked(&raw mut bindings::init_net) }
}

impl Drop for KcgcsModule {
    fn drop(&mut self) {
        // Nobody starts a node any more.
        // SAFETY: Registered in `init`.
        unsafe { ffi::kcgcs_netlink_unregister() };
        registry::leave_all();
        // Stops those that are left, namespace by namespace.
        // SAFETY: Registered in `init`.
        unsafe { ffi::kcgcs_namespaces_unregister() };
        registry::clear();
        live_objects::expect_none();
    }
}
