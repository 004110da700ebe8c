// SPDX-License-Identifier: GPL-2.0

//! Tests of clusters of real kernels. The programs share this library: `kcgcs-cluster-test` runs inside a virtual
//! machine and builds clusters of namespaces there, `kcgcs-lab` runs outside, starts machines and reads their consoles,
//! and `kcgcs-bench` measures inside and reports outside.
// Only where a file says why.
#![deny(unsafe_code)]

pub mod bench;
pub mod guest;
pub mod ktap;
pub mod lab;

/// Timing slower than the defaults, for nodes that run late by 100 ms and more.
pub const RELAXED: &str = "heartbeat_interval_ms=500 heartbeat_slack_ms=250 probe_interval_ms=250 \
    confirmation_timeout_ms=2000 batching_ms=50 retransmit_ms=150 takeover_ms=800 formation_ms=1000 \
    blocked_timeout_ms=10000";
