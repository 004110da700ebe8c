// SPDX-License-Identifier: GPL-2.0

//! Which memberships behave alike from now on: all that they remember, without what follows from the
//! rest (rings), what is only used within one input (the next view), what never changes (settings) and since
//! when a node is a member, which matters after a minute only.

use core::hash::{Hash, Hasher};

use super::{Membership, Phase};

impl Hash for Membership {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.own.hash(state);
        self.phase.hash(state);
        if self.phase == Phase::Gone {
            return;
        }
        self.view.hash(state);
        self.departures.hash(state);
        self.acceptor.hash(state);
        self.proposer.hash(state);
        self.announcement.hash(state);
        self.highest_round.hash(state);
        self.not_before.hash(state);
        if self.phase == Phase::Joining {
            self.joining.hash(state);
            self.random.hash(state);
        } else {
            self.installed_at.hash(state);
        }
        self.transfers.hash(state);
        self.reminders.hash(state);
        self.assembly.hash(state);
        self.watch.hash(state);
        self.changes.hash(state);
        self.farewell.hash(state);
        self.is_frozen.hash(state);
        self.troubled_since.hash(state);
        self.quorum_lost.hash(state);
        self.requested.hash(state);
        self.parting.hash(state);
        self.pinning.hash(state);
        self.fencing.hash(state);
        self.has_heard_later_incarnation.hash(state);
        self.reprieves.hash(state);
        self.memory.hash(state);
    }
}
