// SPDX-License-Identifier: GPL-2.0

//! Clusters of real kernels under test. Two programs share this library: `kcgcs-cluster-test` runs
//! inside a virtual machine and makes clusters of namespaces there, `kcgcs-lab` runs outside, starts
//! machines and reads what they say.
#![forbid(unsafe_code)]

pub mod bench;
pub mod guest;
pub mod ktap;
pub mod lab;
