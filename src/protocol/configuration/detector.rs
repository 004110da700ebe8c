// SPDX-License-Identifier: GPL-2.0

//! How nodes find out that others are silent: on rings or by gossip, and how long silence may last before it
//! counts in the second case.

use crate::protocol::limits::GOSSIP_ENTRIES_MAX;
use crate::protocol::time::Duration;

/// Rounds that a counter may stand still beyond those that news needs to reach everybody. In each round the
/// chance that a node has not been told yet falls by a factor of 2.9 (2.4 at 10 % loss), so that at any
/// moment one watched counter in some million stands still for so long although its node is well.
const QUIET_ROUNDS: u64 = 12;

/// How nodes find out that others are silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DetectorKind {
    /// Each node sends heartbeats to those that watch it, its successors on the rings.
    #[default]
    Ring,
    /// Each node tells random others how far everybody's counter has come; a watcher looks whether those
    /// of the nodes that it watches grow.
    Gossip,
}

impl DetectorKind {
    /// All there are.
    pub const ALL: [DetectorKind; 2] = [Self::Ring, Self::Gossip];

    /// The name that operators use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Gossip => "gossip",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

/// How often a node gossips, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipTiming {
    /// A node sends one datagram in each round: as many in a heartbeat's interval as there are rings.
    pub round: Duration,
    /// What a machine may be late.
    pub slack: Duration,
}

impl GossipTiming {
    /// How long a counter may stand still before its node is suspected, in a view of so many members: the
    /// `log2(members)` rounds in which news doubles until all have it, and `QUIET_ROUNDS` more. Where a
    /// datagram has room for a part of the table only, each entry has as many times fewer rounds.
    pub fn silence(&self, members: usize) -> Duration {
        let doublings = members
            .checked_next_power_of_two()
            .map_or(usize::BITS, usize::trailing_zeros);
        let rounds = u64::from(doublings).saturating_add(QUIET_ROUNDS);
        let windows = members.div_ceil(GOSSIP_ENTRIES_MAX).max(1) as u64;
        self.round.times(rounds).times(windows).plus(self.slack)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_detector_kind))]
mod tests {
    use super::*;
    use crate::protocol::test_support::span;

    #[test]
    fn each_name_stands_for_one_detector() {
        for kind in DetectorKind::ALL {
            assert_eq!(DetectorKind::from_name(kind.name().as_bytes()), Some(kind));
        }
        assert_eq!(DetectorKind::default(), DetectorKind::Ring);
        for name in ["", "rings", "Gossip", "gossip "] {
            assert_eq!(DetectorKind::from_name(name.as_bytes()), None);
        }
    }

    #[test]
    fn silence_grows_with_the_logarithm_of_the_members() {
        let timing = GossipTiming {
            round: span(50),
            slack: span(15),
        };
        // Members, rounds, windows.
        for (members, rounds, windows) in [
            (0, 12, 1),
            (1, 12, 1),
            (2, 13, 1),
            (3, 14, 1),
            (4, 14, 1),
            (8, 15, 1),
            (9, 16, 1),
            (256, 20, 1),
            (257, 21, 2),
            (512, 21, 2),
            (513, 22, 3),
            (1024, 22, 4),
        ] {
            let expected = span(50 * rounds * windows + 15);
            assert_eq!(timing.silence(members), expected);
        }
        assert_eq!(
            timing.silence(usize::MAX),
            Duration::from_nanoseconds(u64::MAX)
        );
    }
}
