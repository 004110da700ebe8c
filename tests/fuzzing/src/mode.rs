// SPDX-License-Identifier: GPL-2.0

//! What an input is about beyond its operations: its last byte says so, if it is one of a few letters. Inputs
//! that were kept before there were modes mean what they meant.

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};

/// How nodes are set, and what is asked of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// How silence is found out.
    pub(crate) detector: DetectorKind,
    /// Whether nodes are evicted, views pinned, and failed nodes fenced.
    pub(crate) is_administered: bool,
    /// Whether there are five nodes, whose network falls into parts that go on by themselves.
    pub(crate) is_partitionable: bool,
}

impl Mode {
    /// The mode of an input, and the rest of the input.
    pub(crate) fn of(data: &[u8]) -> (&[u8], Self) {
        let mut mode = Self {
            detector: DetectorKind::Ring,
            is_administered: false,
            is_partitionable: false,
        };
        let Some((last, rest)) = data.split_last() else {
            return (data, mode);
        };
        match last {
            b'G' => mode.detector = DetectorKind::Gossip,
            b'A' => mode.is_administered = true,
            b'B' => (mode.detector, mode.is_administered) = (DetectorKind::Gossip, true),
            b'D' => mode.is_partitionable = true,
            b'E' => (mode.is_partitionable, mode.is_administered) = (true, true),
            _ => return (data, mode),
        }
        (rest, mode)
    }

    /// Whether nothing is forged and nothing put out, so that what is promised must hold.
    pub(crate) fn is_honest(&self) -> bool {
        self.is_partitionable && !self.is_administered
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        if self.is_partitionable {
            5
        } else {
            3
        }
    }

    /// How they are set. Parts come about and meet soon, so that an input is not over before.
    pub(crate) fn settings(&self) -> Configuration {
        let settings = Configuration {
            detector: self.detector,
            ..Configuration::DEFAULT
        };
        if self.is_partitionable {
            Configuration {
                partitionable: 1,
                confirmation_timeout_ms: 200,
                formation_ms: 50,
                blocked_timeout_ms: 200,
                ..settings
            }
        } else {
            settings
        }
    }
}
