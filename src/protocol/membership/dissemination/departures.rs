// SPDX-License-Identifier: GPL-2.0

//! Which nodes left the cluster lately, and why: no incarnation that left is admitted again.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, Incarnation};
use crate::protocol::limits::{DEPARTURES_IN_PART_MAX, DEPARTURES_MAX};
use crate::protocol::outputs::ChangeReason;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::Change;

/// Which nodes left lately and why. Told to nodes that missed it.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Departures(BoundedVec<(Identity, ChangeReason)>);

impl Departures {
    /// No departure.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(BoundedVec::with_capacity(DEPARTURES_MAX)?))
    }

    /// Forget all departures.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Remember a departure. It replaces one of an earlier incarnation of the same node, or else the oldest.
    pub(super) fn add(&mut self, subject: Identity, reason: ChangeReason) {
        if self.last_incarnation(subject) >= Some(subject.incarnation) {
            return;
        }
        self.0.retain(|(known, _)| known.node != subject.node);
        if self.0.is_full() {
            self.0.remove(0);
        }
        let _ = self.0.push((subject, reason));
    }

    /// Remember the departures of one view. The failed nodes are put first, as if they had left sooner: a part tells of
    /// few, and a node that is not told of is taken to have failed.
    pub(super) fn add_all(&mut self, changes: &[Change]) {
        for failed in [true, false] {
            for change in changes {
                if let Change::Remove { subject, reason } = *change {
                    if (reason == ChangeReason::Failed) == failed {
                        self.add(subject, reason);
                    }
                }
            }
        }
    }

    /// The incarnation in which the node of `subject` left last.
    pub(super) fn last_incarnation(&self, subject: Identity) -> Option<Incarnation> {
        self.0
            .iter()
            .find(|(known, _)| known.node == subject.node)
            .map(|(known, _)| known.incarnation)
    }

    /// Whether `subject` or a later incarnation of it left: it must not come back under this incarnation.
    pub(super) fn has(&self, subject: Identity) -> bool {
        self.last_incarnation(subject) >= Some(subject.incarnation)
    }

    /// Whether an administrator evicted this incarnation of the node of `subject`, or a later one.
    pub(super) fn was_evicted_since(&self, subject: Identity, incarnation: Incarnation) -> bool {
        self.0.iter().any(|(known, reason)| {
            known.node == subject.node
                && known.incarnation >= incarnation
                && *reason == ChangeReason::Evicted
        })
    }

    /// Why `subject` left. Failed, if that is not known.
    pub(super) fn reason(&self, subject: Identity) -> ChangeReason {
        self.0
            .iter()
            .find(|(known, _)| *known == subject)
            .map_or(ChangeReason::Failed, |(_, reason)| *reason)
    }

    /// All departures, the oldest first.
    pub(super) fn all(&self) -> &[(Identity, ChangeReason)] {
        &self.0
    }

    /// The departures that `part` of `view` tells of, the latest last.
    ///
    /// All parts together tell of nodes that are away before those that are back, the latest first. A node that is away
    /// may ask to come back under the incarnation that left, without having heard that it was ever in. New members must
    /// know better.
    pub(super) fn told_in(&self, part: u16, view: &ClusterView) -> ToldDepartures {
        let is_away = |gone: &&(Identity, ChangeReason)| view.position(gone.0.node).is_none();
        let away = self.0.iter().rev().filter(is_away);
        let back = self.0.iter().rev().filter(|gone| !is_away(gone));
        let before = usize::from(part).saturating_mul(DEPARTURES_IN_PART_MAX);
        let is_more = before < self.0.len();
        let in_part = if is_more { DEPARTURES_IN_PART_MAX } else { 0 };
        let told = away.chain(back).skip(before).take(in_part);
        let nobody = Identity {
            node: view.issuer,
            incarnation: Incarnation(0),
        };
        let mut departures = ToldDepartures {
            places: [(nobody, ChangeReason::Failed); DEPARTURES_IN_PART_MAX],
            start: DEPARTURES_IN_PART_MAX,
        };
        for (place, gone) in departures.places.iter_mut().rev().zip(told) {
            *place = *gone;
            departures.start = departures.start.saturating_sub(1);
        }
        departures
    }
}

/// The departures of one part of a view.
pub(super) struct ToldDepartures {
    places: [(Identity, ChangeReason); DEPARTURES_IN_PART_MAX],
    start: usize,
}

impl ToldDepartures {
    /// The departures, the latest last.
    pub(super) fn all(&self) -> &[(Identity, ChangeReason)] {
        self.places.get(self.start..).unwrap_or_default()
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_departures))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity, view, TestResult, Unexpected};

    #[test]
    fn the_latest_departures_are_remembered_and_as_many_told_as_there_is_room_for() -> TestResult {
        let mut departures = Departures::new()?;
        let many = DEPARTURES_MAX as u16 + 10;
        for number in 1..=many {
            departures.add(identity(number), ChangeReason::Leave);
        }
        assert_eq!(departures.reason(identity(10)), ChangeReason::Failed);
        assert_eq!(departures.reason(identity(11)), ChangeReason::Leave);
        // Nodes 250 and later are back: the others are told of first.
        let view = view(250..=many)?;
        let in_part = DEPARTURES_IN_PART_MAX as u16;
        for part in 0..2 {
            let told = departures.told_in(part, &view);
            let told = told.all().iter().map(|(subject, _)| *subject);
            let last = 249 - part * in_part;
            assert!(told.eq((last - in_part + 1..=last).map(identity)));
        }
        let parts = DEPARTURES_MAX.div_ceil(DEPARTURES_IN_PART_MAX) as u16;
        let told = (0..=parts).map(|part| departures.told_in(part, &view).all().len());
        assert_eq!(told.sum::<usize>(), DEPARTURES_MAX);
        let last = departures.told_in(parts - 1, &view);
        let last = last.all().first().ok_or(Unexpected)?;
        assert_eq!(last.0, identity(250));
        departures.clear();
        assert_eq!(departures.reason(identity(many)), ChangeReason::Failed);
        Ok(())
    }

    #[test]
    fn a_leave_is_told_even_if_more_nodes_failed_in_the_same_view_than_are_told() -> TestResult {
        let mut departures = Departures::new()?;
        let removed = |number: u16| Change::Remove {
            subject: identity(number),
            reason: if number == 1 {
                ChangeReason::Leave
            } else {
                ChangeReason::Failed
            },
        };
        let mut changes = BoundedVec::with_capacity(DEPARTURES_IN_PART_MAX + 5)?;
        for number in 1..=DEPARTURES_IN_PART_MAX as u16 + 5 {
            assert!(changes.push(removed(number)).is_ok());
        }
        departures.add_all(&changes);
        let left = (identity(1), ChangeReason::Leave);
        assert!(departures.told_in(0, &view(90..=90)?).all().contains(&left));
        Ok(())
    }
}
