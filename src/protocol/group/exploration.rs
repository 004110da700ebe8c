// SPDX-License-Identifier: GPL-2.0

//! Copying nodes for the exploration. Only nodes without groups are copied.

use super::Groups;
use crate::platform::BoundedVec;

impl Clone for Groups {
    fn clone(&self) -> Self {
        assert!(
            self.groups.is_empty(),
            "only nodes without groups are copied"
        );
        Self {
            own: self.own,
            groups: BoundedVec::empty(),
            interval: self.interval,
            release_rule: self.release_rule,
            next_endpoint: self.next_endpoint,
            has_quorum: self.has_quorum,
            transition_timeout: self.transition_timeout,
            cluster_view: self.cluster_view,
            shown: self.shown,
            is_frozen: self.is_frozen,
            is_stopped: self.is_stopped,
            highest: self.highest,
            departed: self.departed.clone(),
        }
    }
}
