// SPDX-License-Identifier: GPL-2.0

//! KCGCS protocol core, built for the exploration of all its runs at a small size.
//!
//! This is a third root, beside `lib.rs` and `kcgcs_main.rs`, of the same `protocol` folder. Under
//! `cfg(kcgcs_exploration)` nodes can be copied and compared, tables are small, and faults can be seeded; nothing else
//! differs.

#![forbid(unsafe_code)]

extern crate alloc;

#[path = "platform_host.rs"]
pub mod platform;

pub mod protocol;

#[path = "../tests/view_exploration/src/seeded_faults.rs"]
pub mod seeded_faults;

#[path = "../tests/view_exploration/src/explorer.rs"]
pub mod explorer;
