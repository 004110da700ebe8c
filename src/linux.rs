// SPDX-License-Identifier: GPL-2.0

//! The shell: all code that knows Linux. It knows nothing of how the protocol works.
//!
//! # Folders
//!
//! Each folder uses only those below it.
//!
//! ```text
//!  exports           control            the functions of kcgcs.h      netlink, module parameters
//!       \            /
//!            node                       one node of a network namespace: engine, bottom half, start and end
//!       /            \
//!  consumers         network            handles, notifiers, fence gate      the UDP socket
//!       \            /
//!        observability                  kernel log, trace events, live objects
//!             |
//!          runtime                      clock, timer, work items, locks, queues
//! ```
//!
//! `module` loads and unloads all of it. `ffi` has the declarations of the C files, which lie beside the Rust files
//! that use them.
//!
//! # Contexts
//!
//! ```text
//!  soft interrupt                         process context
//!  --------------                         ---------------
//!  heartbeat timer --> FailureDetector --report-->  engine: Mutex<Engine>, one input at a time
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
//! From the outermost to the innermost: the registry's mutex; the engine's mutex; then, never two of them at once,
//! the bottom-half locks of the failure detector and of the notifier, the mutex of the fence gate's queue, and the
//! lock of a handle, which keeps interrupts off, since consumers send in any context. No callback of a consumer is
//! called under any of these locks. Notifiers and the fence handler are called one after the other, each under a mutex
//! of its own.

mod consumers {
    pub(super) mod callback_types;
    pub(super) mod cluster_notifier;
    pub(super) mod consumer_ops;
    pub(super) mod fence_gate;
    pub(super) mod group_handle;
    pub(super) mod view_record;
}
mod control {
    mod netlink;
    pub(super) mod parameters;
}
mod exports {
    mod exported_functions;
}
mod ffi;
pub(crate) mod module;
mod network {
    pub(super) mod udp_socket;
}
mod node {
    mod bottom_half;
    pub(super) mod engine;
    pub(super) mod errno;
    pub(super) mod instance;
    pub(super) mod registry;
    pub(super) mod settings;
}
mod observability {
    pub(super) mod cluster_log;
    pub(super) mod event_log;
    pub(super) mod live_objects;
    pub(super) mod trace_points;
}
mod runtime {
    pub(super) mod bottom_half_lock;
    pub(super) mod clock;
    pub(super) mod deadline_timer;
    pub(super) mod engine_link;
    pub(super) mod no_io;
    pub(super) mod ring_buffer;
    pub(super) mod text_buffer;
    pub(super) mod work_item;
}
