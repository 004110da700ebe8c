// SPDX-License-Identifier: GPL-2.0

//! The format on the wire. After this module nobody looks at bytes: a message that exists is valid.
//!
//! Every datagram is a header of 56 bytes and a body, whose layout follows from the kind in the header ([`Kind`]). All
//! numbers are big-endian.
//!
//! ```text
//!  0  magic u16      2 version u8    3 kind u8       4 cluster u32
//!  8  sender u16    10 key id u16   12 body length u16   14 lineage u16
//! 16  incarnation u64               24 view u64
//! 32  counter u64                   40 tag, 16 bytes (room for authentication, zero)
//! ```
//!
//! The layout of a message is a list of its fields (`layout!` in `layout.rs`); reader and writer are made from it. What has
//! another shape (lists, checks of several values together) is read and written by hand, from the same pieces. Reading
//! takes values from the front of a slice and fails where it ends, without an index or a panic; a body that is longer than
//! its message fails too.

mod bytes;
pub mod gossip;
pub mod group;
mod header;
pub mod heartbeat;
mod identity;
mod layout;
pub mod membership;

pub use bytes::{Decode, Encode, List, Reader, Writer};
pub use header::{write_datagram, Datagram, Header, Kind, MAGIC, VERSION};
