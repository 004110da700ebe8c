// SPDX-License-Identifier: GPL-2.0

//! Bugs that are injected into every node on purpose, to show that the simulator finds them and shrinks the run that
//! did to what matters.

use kcgcs_protocol::protocol::rules::Rule;
use serde::{Deserialize, Serialize};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// A node that starts again uses the incarnation that it had before.
    SameIncarnation,
    /// A node that was frozen loses the first message that it should deliver afterwards.
    LossAfterFreeze,
    /// A node that is asked to evict another one does nothing.
    EvictionLost,
    /// A node that was evicted begins a new incarnation, as if it had been excluded as failed.
    EvictedComesBack,
    /// A node reports that the view is pinned, but does not pin it.
    PinForgotten,
    /// A node takes failed nodes for fenced without calling its handler.
    FenceUnasked,
    /// A node waits for its handler much longer than the timeout.
    FenceForEver,
    /// An agreed message is delivered before the node of its sender is known to hold it.
    EarlyRelease,
    /// A safe message is delivered as if it were an agreed one.
    EarlySafe,
    /// After a view change only counts what all survivors have accepted.
    LowestCounts,
    /// A node drops an entry as soon as it has delivered it.
    DropDelivered,
    /// A node reports less than it has acknowledged.
    ReportLess,
    /// A FIFO message overtakes earlier messages of its own sender.
    OvertakeItself,
    /// A causal message does not wait for what its sender had delivered.
    IgnorePast,
}

/// All of them.
const ALL: [Sabotage; 14] = [
    Sabotage::SameIncarnation,
    Sabotage::LossAfterFreeze,
    Sabotage::EvictionLost,
    Sabotage::EvictedComesBack,
    Sabotage::PinForgotten,
    Sabotage::FenceUnasked,
    Sabotage::FenceForEver,
    Sabotage::EarlyRelease,
    Sabotage::EarlySafe,
    Sabotage::LowestCounts,
    Sabotage::DropDelivered,
    Sabotage::ReportLess,
    Sabotage::OvertakeItself,
    Sabotage::IgnorePast,
];

impl Sabotage {
    /// The name of the bug on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Sabotage::SameIncarnation => "same-incarnation",
            Sabotage::LossAfterFreeze => "loss-after-freeze",
            Sabotage::EvictionLost => "eviction-lost",
            Sabotage::EvictedComesBack => "evicted-comes-back",
            Sabotage::PinForgotten => "pin-forgotten",
            Sabotage::FenceUnasked => "fence-unasked",
            Sabotage::FenceForEver => "fence-for-ever",
            Sabotage::EarlyRelease => "early-release",
            Sabotage::EarlySafe => "early-safe",
            Sabotage::LowestCounts => "lowest-counts",
            Sabotage::DropDelivered => "drop-delivered",
            Sabotage::ReportLess => "report-less",
            Sabotage::OvertakeItself => "overtake-itself",
            Sabotage::IgnorePast => "ignore-past",
        }
    }

    /// The rule of the protocol that nodes with this bug break, if the bug is one of the protocol.
    pub fn rule(self) -> Option<Rule> {
        Some(match self {
            Sabotage::EarlyRelease => Rule::ReleaseWaitsForSender,
            Sabotage::EarlySafe => Rule::SafeWaitsForAll,
            Sabotage::LowestCounts => Rule::FurthestAcceptedCounts,
            Sabotage::DropDelivered => Rule::KeepUntilStable,
            Sabotage::ReportLess => Rule::ReportAllAcknowledged,
            Sabotage::OvertakeItself => Rule::FifoOvertakesNotItself,
            Sabotage::IgnorePast => Rule::CausalWaitsForPast,
            _ => return None,
        })
    }

    /// The bug with this name.
    ///
    /// # Errors
    ///
    /// Fails with a message if there is no such bug.
    pub fn from_name(name: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|bug| bug.name() == name)
            .ok_or_else(|| format!("{name:?} is not a bug that can be injected"))
    }
}
