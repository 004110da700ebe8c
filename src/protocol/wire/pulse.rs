// SPDX-License-Identifier: GPL-2.0

//! Bodies of heartbeats, probes and their answers: all have the same 8 bytes.
//!
//! ```text
//! 0  number u32      4  heard_age_ms u16      6  reserved u16, zero
//! ```

use super::{Reader, Writer};
use crate::protocol::errors::Counter;

/// What a heartbeat, a probe or an answer to a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseBody {
    /// Heartbeat: how many this sender has sent to this receiver. Probe: a number that the answer
    /// repeats.
    pub number: u32,
    /// Milliseconds since the sender last heard the receiver, capped; all ones: never, or it does
    /// not watch it. Lets both ends see a link that works one way only.
    pub heard_age_ms: u16,
}

/// "Never heard, or not watched."
pub const NEVER_HEARD: u16 = u16::MAX;

impl PulseBody {
    /// Reads a whole body.
    pub fn parse(body: &[u8]) -> Result<Self, Counter> {
        let mut reader = Reader::new(body);
        let number = reader.u32()?;
        let heard_age_ms = reader.u16()?;
        let _reserved = reader.u16()?;
        reader.end()?;
        Ok(Self {
            number,
            heard_age_ms,
        })
    }

    /// Writes a whole body.
    pub fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u32(self.number)?;
        writer.u16(self.heard_age_ms)?;
        writer.u16(0)
    }
}
