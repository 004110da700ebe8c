// SPDX-License-Identifier: GPL-2.0

//! kcgcs.ko: group communication between kernel modules.
//!
//! `protocol` is the protocol, which knows nothing of Linux. `linux` is the shell around it: sockets, timers, work
//! items, namespaces, exported symbols, netlink, tracing.

#![crate_name = "kcgcs"]

use kernel::prelude::*;

#[path = "platform_kernel.rs"]
pub mod platform;
pub mod protocol;

mod linux;

module! {
    type: linux::module::KcgcsModule,
    name: "kcgcs",
    authors: ["KCGCS developers"],
    description: "Group communication between kernel modules",
    license: "GPL",
}
