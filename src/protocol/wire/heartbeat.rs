// SPDX-License-Identifier: GPL-2.0

//! The body of heartbeats, probes and probe replies.
//!
//! ```text
//! 0  number u32      4  heard_age_ms u16      6  reserved u16: written as zero, not looked at
//! ```

use super::bytes::{Decode, Encode, Reader, Writer};
use crate::protocol::errors::Counter;

/// What a heartbeat, a probe or a probe reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetectorBody {
    /// Of a heartbeat: how many the sender has sent to this receiver. Of a probe: a number that the reply repeats.
    pub number: u32,
    /// Milliseconds since the sender last heard the receiver, or [`NEVER_HEARD`]. With it both ends see a link that works
    /// one way only.
    pub heard_age_ms: u16,
}

/// The sender has never heard the receiver, or does not monitor it.
pub const NEVER_HEARD: u16 = u16::MAX;

impl Decode<'_> for DetectorBody {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Counter> {
        let number = reader.u32()?;
        let heard_age_ms = reader.u16()?;
        let _reserved = reader.u16()?;
        Ok(Self {
            number,
            heard_age_ms,
        })
    }
}

impl Encode for DetectorBody {
    fn encode(&self, writer: &mut Writer<'_>) -> Option<()> {
        writer.u32(self.number)?;
        writer.u16(self.heard_age_ms)?;
        writer.u16(0)
    }
}

impl DetectorBody {
    /// Read a whole body.
    pub fn parse(body: &[u8]) -> Result<Self, Counter> {
        Decode::parse(body)
    }

    /// Write a whole body.
    pub fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        self.encode(writer)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_heartbeat))]
mod tests {
    use super::*;
    use crate::protocol::limits::{HEADER_BYTES, HEARTBEAT_BYTES};
    use crate::protocol::test_support::{written, wrong_length_taken, TestResult};

    #[test]
    fn a_body_is_read_as_it_was_written_and_fits_a_heartbeat() -> TestResult {
        for number in [0, 1, u32::MAX] {
            for heard_age_ms in [0, 1, 160, NEVER_HEARD - 1, NEVER_HEARD] {
                let body = DetectorBody {
                    number,
                    heard_age_ms,
                };
                let mut buffer = [0; 16];
                let bytes = written(&mut buffer, |writer| body.write(writer))?;
                assert_eq!(bytes.len() + HEADER_BYTES, HEARTBEAT_BYTES);
                assert_eq!(DetectorBody::parse(bytes), Ok(body));
            }
        }
        Ok(())
    }

    #[test]
    fn bodies_of_other_lengths_are_refused() -> TestResult {
        let body = DetectorBody {
            number: 1,
            heard_age_ms: 2,
        };
        let mut buffer = [0; 16];
        let bytes = written(&mut buffer, |writer| body.write(writer))?;
        let taken = wrong_length_taken(bytes, |bytes| DetectorBody::parse(bytes).is_ok());
        assert_eq!(taken, None);
        assert_eq!(DetectorBody::parse(&[]), Err(Counter::DroppedShort));
        assert_eq!(DetectorBody::parse(&[0; 9]), Err(Counter::DroppedLength));
        Ok(())
    }

    #[test]
    fn reserved_bytes_are_for_later_versions() {
        let body = [0, 0, 0, 7, 0, 9, 0xff, 0xff];
        let expected = DetectorBody {
            number: 7,
            heard_age_ms: 9,
        };
        assert_eq!(DetectorBody::parse(&body), Ok(expected));
    }
}
