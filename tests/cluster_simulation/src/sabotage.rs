// SPDX-License-Identifier: GPL-2.0

//! Bugs that are put into every node on purpose: to show that the simulator finds them, and that it
//! shrinks the run that did to what matters.

use serde::{Deserialize, Serialize};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// A node that starts again takes the incarnation that it had.
    SameIncarnation,
    /// A node that stood still loses the first message that it should deliver after it.
    LossAfterFreeze,
    /// A node that is asked to put another one out does nothing.
    EvictionLost,
    /// A node that was evicted goes on under another incarnation, as if it had been taken for dead.
    EvictedComesBack,
    /// A node says that views are pinned, and pins them no more.
    PinForgotten,
    /// A node takes failed nodes for fenced before its handler was called.
    FenceUnasked,
    /// A node waits for its handler much longer than it was told.
    FenceForEver,
}

/// All of them.
const ALL: [Sabotage; 7] = [
    Sabotage::SameIncarnation,
    Sabotage::LossAfterFreeze,
    Sabotage::EvictionLost,
    Sabotage::EvictedComesBack,
    Sabotage::PinForgotten,
    Sabotage::FenceUnasked,
    Sabotage::FenceForEver,
];

impl Sabotage {
    /// How it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Sabotage::SameIncarnation => "same-incarnation",
            Sabotage::LossAfterFreeze => "loss-after-freeze",
            Sabotage::EvictionLost => "eviction-lost",
            Sabotage::EvictedComesBack => "evicted-comes-back",
            Sabotage::PinForgotten => "pin-forgotten",
            Sabotage::FenceUnasked => "fence-unasked",
            Sabotage::FenceForEver => "fence-for-ever",
        }
    }

    /// The bug with this name.
    ///
    /// # Errors
    ///
    /// That there is none.
    pub fn from_name(name: &str) -> Result<Self, String> {
        ALL.into_iter()
            .find(|bug| bug.name() == name)
            .ok_or_else(|| format!("{name:?} is no bug that can be put in"))
    }
}
