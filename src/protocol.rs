// SPDX-License-Identifier: GPL-2.0

//! The protocol of KCGCS, without input and output.
//!
//! It is deterministic, has no unsafe code and knows nothing of Linux: [`node::Node`] takes datagrams, commands and the
//! time, and gives datagrams, events and deadlines. [`failure_detector`] is apart from it, since it runs in
//! soft-interrupt context.

#![forbid(unsafe_code)]

pub mod configuration;
pub mod errors;
pub mod failure_detector;
pub mod group;
pub mod group_properties;
pub mod group_view;
pub mod identity;
pub mod limits;
mod membership;
pub mod node;
pub mod order;
pub mod outbox;
pub mod outputs;
pub mod random;
pub mod ring;
pub mod rules;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
pub(crate) mod test_support;
pub mod time;
pub mod view;
pub mod wire;
