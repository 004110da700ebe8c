// SPDX-License-Identifier: GPL-2.0

//! What the fuzzers do with their bytes: a few whole nodes with their heartbeats get what the bytes say.
//!
//! A panic, a broken invariant, an event for an endpoint that is not there, outputs without end and a
//! deadline that never moves are failures. The targets for libFuzzer are in the folder `fuzz`; the test
//! of this package replays the inputs that were kept.

mod cluster;
mod datagrams;
mod forgery;
mod mode;
mod operations;
mod promises;

pub use datagrams::datagrams;
pub use operations::operations;
