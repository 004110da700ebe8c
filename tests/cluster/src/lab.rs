// SPDX-License-Identifier: GPL-2.0

//! The code that runs outside the machines: it starts them, follows their consoles and runs the demo.

pub mod cluster;
pub mod console;
pub mod demo;
pub mod machine;
pub mod narrator;
