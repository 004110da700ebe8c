// SPDX-License-Identifier: GPL-2.0

//! The shell: all code that knows Linux. It knows nothing of how the protocol works.
//!
//! # What runs where
//!
//! ```text
//!  soft interrupt                         process context
//!  --------------                         ---------------
//!  heartbeat timer --> FailureDetector --report-->  engine: Mutex<Node>, one input at a time
//!  receive hook -----> FailureDetector                |        ^
//!        |                                  |        | submissions, joins, leaves
//!        +--other datagrams--> queue ------>|        |
//!                                           v        |
//!                                        deliveries, one work item for each handle
//!                                           |
//!                                           v
//!                                        callbacks of consumers
//! ```
//!
//! # Locks
//!
//! From the outermost to the innermost: the registry's mutex; the engine's mutex; then, never two of
//! them at once, the bottom-half locks of the failure detector and of the notifier, and the lock of a handle,
//! which keeps interrupts off, since consumers send from anywhere. No callback of a consumer is made
//! under any of them, but that notifiers are called one after the other, under a mutex of their own.

mod bottom_half_lock;
mod callback_types;
mod clock;
mod cluster_log;
mod cluster_notifier;
mod deadline_timer;
mod engine;
mod errno;
mod event_log;
mod exported_functions;
mod fence_gate;
mod ffi;
mod group_handle;
mod instance;
mod live_objects;
pub(crate) mod module;
mod netlink;
mod no_io;
mod parameters;
mod registry;
mod ring_buffer;
mod settings;
mod text_buffer;
mod trace_points;
mod udp_socket;
mod view_record;
mod work_item;
