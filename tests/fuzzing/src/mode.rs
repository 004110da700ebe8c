// SPDX-License-Identifier: GPL-2.0

//! What an input is about beyond its operations: its last byte says so, if it is one of a few letters. Inputs
//! that were kept before there were modes mean what they meant.

use kcgcs_protocol::protocol::configuration::DetectorKind;

/// How nodes are set, and what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// How silence is found out.
    pub(crate) detector: DetectorKind,
    /// Whether nodes are evicted, views pinned, and failed nodes fenced.
    pub(crate) is_administered: bool,
}

impl Mode {
    /// The mode of an input, and the rest of the input.
    pub(crate) fn of(data: &[u8]) -> (&[u8], Self) {
        let (detector, is_administered, length) = match data.split_last() {
            Some((b'G', rest)) => (DetectorKind::Gossip, false, rest.len()),
            Some((b'A', rest)) => (DetectorKind::Ring, true, rest.len()),
            Some((b'B', rest)) => (DetectorKind::Gossip, true, rest.len()),
            _ => (DetectorKind::Ring, false, data.len()),
        };
        let mode = Self {
            detector,
            is_administered,
        };
        (&data[..length], mode)
    }
}
