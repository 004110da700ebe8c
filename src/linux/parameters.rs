// SPDX-License-Identifier: GPL-2.0

//! The module's parameters, read once when it is loaded.
//!
//! The kernel fills them in before the module's initialisation runs, and they cannot be written
//! later, so their texts can be lent for as long as the module is there.

use super::{
    ffi,
    settings::{
        self,
        Wishes, //
    }, //
};
use crate::protocol::configuration::Configuration;
use kernel::{
    ffi::c_char,
    prelude::*, //
};

/// The bytes of a C string; none for NULL.
///
/// # Safety
///
/// `text` is NULL, or a string that ends with a zero and stays as it is during `'a`.
pub(super) unsafe fn c_bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: Not NULL, so the caller says that it is such a string.
    Some(unsafe { CStr::from_char_ptr(text) }.to_bytes())
}

/// What the operator asks for in the initial network namespace; `None` if neither a node number nor
/// an address was given.
pub(crate) fn wishes() -> Option<Wishes<'static>> {
    let mut settings = Configuration::DEFAULT;
    for name in settings::SETTING_NAMES {
        // SAFETY: The name ends with a zero.
        let place = unsafe { ffi::kcgcs_parameter_setting(name.as_char_ptr()) };
        let Some(wanted) = settings::setting(&mut settings, name.to_bytes()) else {
            continue;
        };
        if place.is_null() {
            pr_err!("parameter {} is missing\n", *name);
            continue;
        }
        // SAFETY: Not NULL, so a variable of the C file. Parameters have been set and are read-only
        // from now on; nobody else writes while the module is being initialised.
        unsafe {
            if *place == ffi::SETTING_NOT_GIVEN {
                *place = *wanted;
            } else {
                *wanted = *place;
            }
        }
    }
    // SAFETY: The functions have no requirements; what they return is NULL or a string that the
    // kernel keeps until the module is gone.
    let (cluster, address, peers, node_id) = unsafe {
        (
            c_bytes(ffi::kcgcs_parameter_cluster()),
            c_bytes(ffi::kcgcs_parameter_address()),
            c_bytes(ffi::kcgcs_parameter_peers()),
            ffi::kcgcs_parameter_node_id(),
        )
    };
    if node_id == 0 && address.is_none() {
        return None;
    }
    Some(Wishes {
        cluster: cluster.unwrap_or_default(),
        node_id,
        address: address.unwrap_or_default(),
        peers: peers.unwrap_or_default(),
        settings,
    })
}
