// SPDX-License-Identifier: GPL-2.0

//! The operator's tool of KCGCS as a library, which `main.rs` and the tests use.
//!
//! Three layers: [`netlink`] talks to the kernel's generic netlink family, and [`device`] and [`record`] to
//! `/dev/kcgcs`; [`trace`], [`show`] and [`text`] turn answers into lines; [`commands`] puts it together.

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
pub mod text;
pub mod trace;
