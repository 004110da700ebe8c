// SPDX-License-Identifier: GPL-2.0

//! Trace events as JSON Lines: one object a line.
//!
//! Each line has the time `"t"`, the `"node"` and its `"incarnation"`, and the word of the `"event"`. The other fields
//! depend on the event. A member is the list `[node,endpoint,incarnation]`, a view `[number,coordinator]`.
//!
//! - `"group"` and `"endpoint"` name the handle that an event of a group belongs to; `"endpoint"` may be missing.
//! - `"joined"` and `"left"` are lists of `[node,endpoint,incarnation,"reason"]`.
//! - `"subject"` is a node number, and a member in `evict` and `fenced`.
//! - `"call_view"` in a `send` is the view that the sender had been shown when it called; `"view"` there is the view that
//!   the message became part of.
//! - `"sending_view":true` in a `view` says that the group asked for sending view delivery.
//! - `"lost"` in a `leave` that has returned, and in a `view` without members, is the number of messages that the handle
//!   had accepted and that were lost. These three fields may be missing. So may fields that are not listed here.
//! - `"done":false` marks a `leave` that was asked for and has not returned.
//! - `expect` lines say what a test requires: the text of `line/expectations.rs` lists their fields.

mod expectations;
mod fields;
mod reader;
mod writer;

pub use reader::{BadLine, Reader};
pub use writer::{to_json, write};
