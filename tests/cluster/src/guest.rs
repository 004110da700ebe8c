// SPDX-License-Identifier: GPL-2.0

//! What runs inside a test machine: clusters made of network namespaces, and the tests on them.

pub mod kernel_log;
pub mod network;
pub mod route;
pub mod scenarios;
pub mod wait;
