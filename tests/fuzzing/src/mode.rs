// SPDX-License-Identifier: GPL-2.0

//! The mode of an input: its last byte chooses the failure detector, administrators and the kind of cluster, if it is
//! one of a few letters. Inputs without such a letter, which were kept before there were modes, have the default mode.

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};

/// The settings of nodes, and the operations of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// The failure detector.
    pub(crate) detector: DetectorKind,
    /// Whether nodes are evicted, views pinned, and failed nodes fenced.
    pub(crate) is_administered: bool,
    /// Whether there are five nodes of a partitionable cluster, whose network splits into components.
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

    /// Whether nothing is forged and no node evicted, so that all promises must hold.
    pub(crate) fn is_honest(&self) -> bool {
        self.is_partitionable && !self.is_administered
    }

    /// The number of nodes.
    pub(crate) fn nodes(&self) -> usize {
        if self.is_partitionable {
            5
        } else {
            3
        }
    }

    /// The settings of all nodes. Components form and merge soon, so that an input reaches that before it ends.
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
