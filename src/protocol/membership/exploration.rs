// SPDX-License-Identifier: GPL-2.0

//! Which memberships behave alike from now on: all that they remember, without what follows from the
//! rest (rings), what is only used within one input (the next view), what never changes (settings) and since
//! when a node is a member, which matters after a minute only.

use core::hash::{Hash, Hasher};

use super::local::Phase;
use super::Membership;

impl Hash for Membership {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local.own().hash(state);
        self.local.phase().hash(state);
        if self.local.phase() == Phase::Gone {
            return;
        }
        self.local.view_or_empty().hash(state);
        self.agreement.hash(state);
        if self.local.is_joining() {
            self.local.first_incarnation().hash(state);
            self.formation.hash(state);
            self.random.hash(state);
        } else {
            self.local.installed_at().hash(state);
        }
        self.dissemination.hash(state);
        self.suspicion.hash(state);
        self.leaving.hash(state);
        self.quorum.hash(state);
        self.partitions.hash(state);
    }
}
