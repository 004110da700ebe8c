// SPDX-License-Identifier: GPL-2.0

//! The fuzz targets: the bytes of an input decide what happens to a few whole nodes with their failure detectors.
//!
//! Failures are a panic, a broken invariant, an event for an endpoint that does not exist, outputs without end, and a
//! deadline that never advances. The entry points for libFuzzer are in the folder `fuzz`. The test of this package
//! replays the inputs that were kept.

mod cluster;
mod datagrams;
mod forgery;
mod mode;
mod operations;
mod promises;

pub use datagrams::datagrams;
pub use operations::operations;
