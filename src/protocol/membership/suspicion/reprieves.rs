// SPDX-License-Identifier: GPL-2.0

//! Reprieves: confirmed members that answered the ballot which would have excluded them.
//!
//! ```text
//!  confirmed, and answers the ballot ----> reprieved: stays in the view, its monitors look anew
//!                                             |
//!                                             | confirmed again, before long
//!                                             v
//!                                          excluded, even if it answers
//! ```
//!
//! What a network did for a while is not held against nodes that are back: after a partition every node is accused by
//! somebody. But a node that its monitors lose again and again would cost a view each time. A ballot that is held has
//! cost none yet, so it may reprieve the same nodes as often as it is looked at.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::time::{Duration, Instant};

/// The members that were reprieved lately, and when.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Reprieves(BoundedVec<(Identity, Instant)>);

impl Reprieves {
    /// No reprieve.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// Whether the subject was reprieved within `memory`.
    pub(super) fn has(&self, now: Instant, memory: Duration, subject: Identity) -> bool {
        let mut reprieves = self.0.iter();
        reprieves.any(|(known, at)| *known == subject && now < at.after(memory))
    }

    /// Remember that these members are reprieved by a proposal that is made now.
    pub(super) fn grant(
        &mut self,
        now: Instant,
        memory: Duration,
        subjects: impl Iterator<Item = Identity>,
    ) {
        self.0.retain(|(_, at)| now < at.after(memory));
        for subject in subjects {
            if !self.has(now, memory, subject) {
                let _ = self.0.push((subject, now));
            }
        }
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_reprieves))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, identity, span, TestResult};

    const MEMORY: Duration = span(5000);

    #[test]
    fn a_reprieve_is_remembered_for_a_while() -> TestResult {
        let mut reprieves = Reprieves::new()?;
        let subjects = || [identity(1), identity(2)].into_iter();
        assert!(!reprieves.has(at(0), MEMORY, identity(1)));
        reprieves.grant(at(0), MEMORY, subjects());
        // A member that is reprieved again meanwhile is remembered since the first time.
        reprieves.grant(at(1000), MEMORY, subjects());
        for number in 1..=2 {
            assert!(reprieves.has(at(4999), MEMORY, identity(number)));
            assert!(!reprieves.has(at(5000), MEMORY, identity(number)));
        }
        assert!(!reprieves.has(at(1000), MEMORY, identity(3)));
        reprieves.grant(at(5000), MEMORY, [identity(3)].into_iter());
        assert!(reprieves.has(at(5000), MEMORY, identity(3)));
        Ok(())
    }
}
