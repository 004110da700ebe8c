// SPDX-License-Identifier: GPL-2.0

//! The code that runs inside a test machine: clusters of network namespaces, and the tests on them.

pub mod bench;
pub mod cluster;
pub mod kernel_log;
pub mod member;
pub mod modules;
pub mod network;
pub mod numbering;
pub mod packet;
pub mod recording;
pub mod route;
pub mod scenarios;
pub mod topology;
pub mod trace;
pub mod wait;
