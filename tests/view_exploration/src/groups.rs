// SPDX-License-Identifier: GPL-2.0

//! Exploring groups: what members of one group deliver while nodes crash and views change.
//!
//! A run of three nodes, two messages and two view changes has some hundred steps, so not all orders of all steps can
//! be explored, as they are for the membership alone. Instead there is one schedule, in which datagrams arrive in the
//! order in which they were sent and deadlines come when nothing is on its way, and a bounded number of *deviations*
//! from it (delay-bounded scheduling, Emmi, Qadeer and Rakamaric 2011), each at any point and in all combinations:
//!
//! - a node crashes;
//! - whatever is next (a datagram, the command to send a message, the report that a node is dead) is *held*. It comes at
//!   any later point, or never: then the datagram was lost;
//! - a deadline comes before what is on its way.
//!
//! ```text
//!  scenario --> search: breadth first, each state once --> report
//!                 |           |                  |
//!                 v           v                  v
//!               run:        properties:        settling: every message of a survivor
//!               one step    of all journals    is delivered when nothing deviates any more
//! ```
//!
//! The journals of all members are part of a state, also those of nodes that have crashed.

pub mod properties;
pub mod run;
pub mod scenarios;
pub mod search;
