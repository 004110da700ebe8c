// SPDX-License-Identifier: GPL-2.0

//! Simulation of whole KCGCS clusters in virtual time.
//!
//! The nodes run the protocol of the kernel module itself; everything around it is simulated: the network, the
//! timers, the soft interrupt, the engine's work item, and the faults. One seed decides all of it, so a run that
//! broke a promise can be repeated exactly.

#![forbid(unsafe_code)]

pub mod broken;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod description;
pub mod event_queue;
pub mod faults;
pub mod host;
pub mod neighbours;
pub mod network;
pub mod plan;
pub mod quorum;
pub mod recorder;
pub mod reference_model;
pub mod report;
pub mod sabotage;
pub mod scenario;
pub mod shrinking;
pub mod statistics;

pub mod timing;
pub mod trials;
pub mod workload;
