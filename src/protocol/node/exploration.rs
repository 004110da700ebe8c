// SPDX-License-Identifier: GPL-2.0

//! Which nodes behave alike from now on, where no datagram comes twice and the outputs have been polled: what was
//! counted, the numbers of datagrams and the windows against copies are left out.

use core::hash::{Hash, Hasher};

use super::Node;

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.membership.hash(state);
        let mut has_groups = false;
        self.groups.for_each_group(&mut |_| has_groups = true);
        if has_groups {
            self.groups.hash(state);
        }
    }
}
