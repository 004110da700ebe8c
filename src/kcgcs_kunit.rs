// SPDX-License-Identifier: GPL-2.0

//! kcgcs_kunit_test.ko: the unit tests of the protocol and of some parts of the shell, as KUnit suites. They have a
//! module of their own, so that kcgcs.ko carries no test code, and run when it is loaded.

#![crate_name = "kcgcs_kunit_test"]

use kernel::prelude::*;

#[path = "platform_kernel.rs"]
pub mod platform;
pub mod protocol;

/// The parts of the shell that need no others, and their tests.
mod linux {
    mod kunit;
    mod runtime {
        pub(super) mod clock;
        pub(super) mod deadline_timer;
        pub(super) mod ring_buffer;
        pub(super) mod work_item;
    }
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
