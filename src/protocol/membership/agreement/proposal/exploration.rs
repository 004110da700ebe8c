// SPDX-License-Identifier: GPL-2.0

//! Which proposals are alike.

use core::hash::{Hash, Hasher};

use super::Proposal;

impl Hash for Proposal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ballot.hash(state);
        // Without a ballot there is no proposal, whoever issued the one before.
        if self.ballot.is_some() {
            self.issuer.hash(state);
            self.number.hash(state);
            self.kind.hash(state);
            self.parts.hash(state);
            self.changes_total.hash(state);
            self.present.hash(state);
            self.changes.hash(state);
            self.reporters.hash(state);
        }
    }
}
