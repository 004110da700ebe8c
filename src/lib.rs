// SPDX-License-Identifier: GPL-2.0

//! KCGCS protocol core, built for the host.
//!
//! The kernel module has its own root (`kcgcs_main.rs`) and includes the same `protocol` folder. With this root tests,
//! the simulator and fuzzers run the very code that runs in the kernel. Only the platform differs: memory comes from
//! the host's allocator, and a broken invariant panics instead of stopping one node.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[path = "platform_host.rs"]
pub mod platform;

pub mod protocol;
