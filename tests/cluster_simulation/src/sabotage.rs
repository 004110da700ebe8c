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
}

/// All of them.
const ALL: [Sabotage; 2] = [Sabotage::SameIncarnation, Sabotage::LossAfterFreeze];

impl Sabotage {
    /// How it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Sabotage::SameIncarnation => "same-incarnation",
            Sabotage::LossAfterFreeze => "loss-after-freeze",
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
