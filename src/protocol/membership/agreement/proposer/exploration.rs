// SPDX-License-Identifier: GPL-2.0

//! Which proposers behave alike from now on, whatever they have done before.

use core::hash::{Hash, Hasher};

use super::{Proposer, Stage};

impl Hash for Proposer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stage.hash(state);
        // An idle one begins anew: what is left of its last ballot has no influence.
        if self.stage == Stage::Idle {
            return;
        }
        self.ballot.hash(state);
        self.voters.hash(state);
        self.send_at.hash(state);
        self.interval.hash(state);
        self.started_at.hash(state);
        self.cursor.hash(state);
        self.held.hash(state);
        if self.stage == Stage::Preparing {
            self.found.hash(state);
            self.short_until.hash(state);
            self.long_until.hash(state);
            self.look_at.hash(state);
        }
    }
}
