// SPDX-License-Identifier: GPL-2.0

//! Bytes and messages. After this module nobody looks at bytes: a message that exists is valid.
//!
//! Every datagram is a fixed header of 56 bytes and a body that the kind in the header names, all
//! numbers big-endian:
//!
//! ```text
//!  0  magic u16      2 version u8    3 kind u8       4 cluster u32
//!  8  sender u16    10 key id u16   12 body length u16   14 lineage u16
//! 16  incarnation u64               24 view u64
//! 32  counter u64                   40 tag, 16 bytes (room for authentication, zero)
//! ```
//!
//! Reading takes bytes from the front of a slice and fails where they end; nothing is indexed.
//! Writing is done to a buffer that the caller lends and fails where it ends.

mod bytes;
pub mod gossip;
pub mod group;
mod header;
pub mod heartbeat;
pub mod membership;

pub use bytes::{Reader, Writer};
pub use header::{write_datagram, Datagram, Header, Kind, MAGIC, VERSION};
