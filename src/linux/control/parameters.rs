// SPDX-License-Identifier: GPL-2.0

//! The module's parameters, read once when it is loaded.
//!
//! The kernel fills them in before the module's initialisation runs, and nobody can write them later. So their texts
//! can be borrowed for as long as the module is loaded.

use crate::{
    linux::{
        ffi::{
            self,
            c_bytes, //
        },
        node::settings::{
            self,
            Wishes, //
        }, //
    },
    protocol::configuration::Configuration, //
};
use kernel::prelude::*;

const NODE_ID: &CStr = c"node_id";

/// The number given as a parameter. If none was given, store `default`, which sysfs then shows, and return it.
fn number(name: &'static CStr, default: u32) -> u32 {
    // SAFETY: The name ends with a zero.
    let place = unsafe { ffi::kcgcs_parameter_setting(name.as_char_ptr()) };
    if place.is_null() {
        pr_err!("parameter {} is missing\n", name);
        return default;
    }
    // SAFETY: Not NULL, so it points to a variable of `kcgcs_parameters.c`. The kernel has set the parameters, and
    // nobody else writes them while the module is being initialised.
    unsafe {
        if *place == ffi::KCGCS_SETTING_NOT_GIVEN {
            *place = default;
        }
        *place
    }
}

/// The text that the operator gave for a number and that is none.
fn unreadable(name: &str) -> Option<&'static [u8]> {
    let is_it = |known: &&&CStr| known.to_bytes() == name.as_bytes();
    let name = settings::SETTING_NAMES
        .iter()
        .find(is_it)
        .or(Some(&NODE_ID).filter(is_it))?;
    // SAFETY: The name ends with a zero; the kernel keeps the text until the module is gone.
    unsafe { c_bytes(ffi::kcgcs_parameter_unreadable(name.as_char_ptr())) }
}

/// The operator's wishes for the initial network namespace.
pub(crate) fn wishes() -> Wishes<'static> {
    let mut settings = Configuration::DEFAULT;
    for name in settings::SETTING_NAMES {
        if let Some(wanted) = settings::setting(&mut settings, name.to_bytes()) {
            *wanted = number(name, *wanted);
        }
    }
    let node_id = number(NODE_ID, 0);
    // SAFETY: The functions have no requirements; what they return is NULL or a string that the
    // kernel keeps until the module is gone.
    let (cluster, detector, address, peers) = unsafe {
        (
            c_bytes(ffi::kcgcs_parameter_cluster()),
            c_bytes(ffi::kcgcs_parameter_detector()),
            c_bytes(ffi::kcgcs_parameter_address()),
            c_bytes(ffi::kcgcs_parameter_peers()),
        )
    };
    Wishes {
        cluster: cluster.unwrap_or_default(),
        node_id,
        address: address.unwrap_or_default(),
        peers: peers.unwrap_or_default(),
        settings,
        detector: detector.unwrap_or_default(),
        unreadable,
    }
}
