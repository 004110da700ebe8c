// SPDX-License-Identifier: GPL-2.0

//! Accused members that have answered the ballot which would put them out.
//!
//! ```text
//!  accused by enough, and answers ----> spared: stays in the view, its watchers look anew
//!                                          |
//!                                          | accused by enough again, before long
//!                                          v
//!                                       put out, even if it answers
//! ```
//!
//! What a network did for a while is not held against those who are back: after a partition everybody is
//! accused by somebody. But whom its watchers do not hear again and again would cost a view each time.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::Identity;
use crate::protocol::limits::NODES_MAX;
use crate::protocol::time::{Duration, Instant};

/// Who was spared lately, when, and whether it is spared in the present ballot.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Spared(BoundedVec<(Identity, Instant, bool)>);

impl Spared {
    /// Nobody was spared.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(NODES_MAX)?))
    }

    /// Decides for a ballot about those who are accused by enough and have answered it. `all`: also those
    /// who were spared before, since the network is at fault. That somebody was spared is remembered for
    /// `memory`.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        memory: Duration,
        all: bool,
        answering: impl Iterator<Item = Identity>,
    ) {
        self.0.retain(|(_, at, _)| now < at.after(memory));
        for (_, _, is_spared) in self.0.as_mut_slice() {
            *is_spared = false;
        }
        for subject in answering {
            let known = self.0.as_mut_slice().iter_mut();
            match known.into_iter().find(|(known, _, _)| *known == subject) {
                Some(known) => known.2 = all,
                None => {
                    let _ = self.0.push((subject, now, true));
                }
            }
        }
    }

    /// Whether the subject is spared in the present ballot.
    pub(super) fn has(&self, subject: Identity) -> bool {
        self.0
            .iter()
            .any(|(known, _, is_spared)| *known == subject && *is_spared)
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_spared))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{at, identity, span, TestResult};

    const MEMORY: Duration = span(5000);

    #[test]
    fn who_answers_is_spared_once_in_a_while() -> TestResult {
        let mut spared = Spared::new()?;
        spared.decide(at(0), MEMORY, false, [identity(1), identity(2)].into_iter());
        assert!(spared.has(identity(1)) && spared.has(identity(2)));
        assert!(!spared.has(identity(3)));
        spared.decide(
            at(4999),
            MEMORY,
            false,
            [identity(1), identity(3)].into_iter(),
        );
        assert!(!spared.has(identity(1)) && !spared.has(identity(2)));
        assert!(spared.has(identity(3)));
        spared.decide(at(5000), MEMORY, false, [identity(1)].into_iter());
        assert!(spared.has(identity(1)) && !spared.has(identity(3)));
        Ok(())
    }

    #[test]
    fn where_the_network_is_at_fault_all_that_answer_are_spared() -> TestResult {
        let mut spared = Spared::new()?;
        for now in [0, 1, 2] {
            spared.decide(at(now), MEMORY, true, [identity(1)].into_iter());
            assert!(spared.has(identity(1)));
        }
        Ok(())
    }
}
