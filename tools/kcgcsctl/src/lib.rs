// SPDX-License-Identifier: GPL-2.0

//! The operator's tool of KCGCS, as a library: what `main.rs` calls and what tests look into.
//!
//! Three layers: [`netlink`] talks to the kernel's generic netlink family, [`device`] and [`record`]
//! to `/dev/kcgcs`; [`trace`] and [`show`] turn what came into lines; [`commands`] put it together.

pub mod arguments;
pub mod clock;
pub mod commands;
pub mod device;
pub mod failure;
pub mod input;
pub mod namespace;
pub mod netlink;
pub mod record;
pub mod show;
pub mod trace;
