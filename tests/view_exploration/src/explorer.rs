// SPDX-License-Identifier: GPL-2.0

//! Goes through every run of a few nodes within given bounds, over the protocol's own code.
//!
//! ```text
//!  scenario --> search: breadth first, each state once --> report
//!                 |            |                |
//!                 v            v                v
//!               world:       properties:      settling:
//!               one node,    what must hold   what must come
//!               one input    in each state    when faults end
//! ```
//!
//! Nodes share nothing but datagrams, and each has a clock of its own that only its own deadlines
//! move: a deadline may come before or after any datagram, as if timers and networks were as slow
//! as they like. So what one node does with one input depends on that node alone, is worked out
//! once ([`world`]) and looked up for every state of the whole that it is part of ([`search`]).

pub mod fingerprint;
pub mod local;
pub mod properties;
pub mod scenarios;
pub mod search;
pub mod settling;
pub mod state;
pub mod world;
