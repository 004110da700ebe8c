// SPDX-License-Identifier: GPL-2.0

//! The unit tests of the protocol, and of some parts of the shell, as KUnit suites, in a module of
//! their own: kcgcs.ko carries no test code. The suites run when this module is loaded.

#![crate_name = "kcgcs_kunit_test"]

use kernel::prelude::*;

#[path = "platform_kernel.rs"]
pub mod platform;
pub mod protocol;

/// Those parts of the shell that need no others.
mod linux {
    pub(crate) mod clock;
    pub(crate) mod deadline_timer;
    mod kunit;
    pub(crate) mod ring_buffer;
    pub(crate) mod work_item;
}

module! {
    type: ProtocolTests,
    name: "kcgcs_kunit_test",
    authors: ["KCGCS developers"],
    description: "Unit tests of KCGCS",
    license: "GPL",
}

struct ProtocolTests;

impl kernel::Module for ProtocolTests {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
