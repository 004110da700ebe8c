// SPDX-License-Identifier: GPL-2.0

//! What runs outside of the machines: starts them, follows their consoles, tells the story.

pub mod cluster;
pub mod console;
pub mod demo;
pub mod machine;
pub mod narrator;
