// SPDX-License-Identifier: GPL-2.0

//! Model checking of the view agreement: explore every run of a few nodes within given bounds, with the protocol's own
//! code.
//!
//! ```text
//!  scenario --> search: breadth first, each state once --> report
//!                 |            |                |
//!                 v            v                v
//!               world:       properties:      settling:
//!               the step of  what must hold   all nodes agree
//!               one node     in each state    when faults end
//! ```
//!
//! Nodes share nothing but datagrams, and each has a clock of its own that only its own deadlines advance. A deadline
//! may come before or after any datagram, as if timers and networks were arbitrarily slow. The effect of an input on a
//! node therefore depends on that node alone. It is computed once ([`world`]), and looked up for every global state of
//! which the node is part ([`search`]).

pub mod fingerprint;
pub mod groups;
pub mod local;
pub mod properties;
pub mod scenarios;
pub mod search;
pub mod settling;
pub mod state;
pub mod world;
