// SPDX-License-Identifier: GPL-2.0

//! Merging of components in a group: which of the members that ask to join are admitted now, and in which transitional
//! sets. Members of one group view in another component are one set, which delivers the same entries of the log there
//! ([`super::component_change`]).

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{MemberId, ViewKey};
use crate::protocol::limits::{GROUP_MEMBERS_MAX, TRANSITIONAL_SETS_MAX};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::group::{Arrival, Place, TransitionalSet};

/// After a member from another component asks to join, the coordinator waits for others from there until none has
/// asked for so many intervals.
const QUIET_INTERVALS: u64 = 2;
/// And so many intervals after the first one at most.
const WAIT_INTERVALS_MAX: u64 = 16;

/// A member that asks to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Joiner {
    pub(super) member: MemberId,
    /// How far it has delivered in another component, if it is from there.
    pub(super) place: Option<Place>,
}

/// The members to admit, each with how it arrives, and their transitional sets.
pub(super) type Chosen = (BoundedVec<(MemberId, Arrival)>, BoundedVec<TransitionalSet>);

/// When members from other components are admitted.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Merge {
    /// All of them have had time to ask.
    is_open: bool,
    /// When it opens if no other member asks.
    opens_at: Option<Instant>,
    /// When it opens even if others ask.
    opens_at_last: Option<Instant>,
}

impl Merge {
    /// No members from other components.
    pub(super) fn new() -> Self {
        Self {
            is_open: false,
            opens_at: None,
            opens_at_last: None,
        }
    }

    /// A member from another component has asked to join: wait for others from there.
    pub(super) fn wait_for_more(&mut self, now: Instant, interval: Duration) {
        let quiet = now.after(interval.times(QUIET_INTERVALS));
        let last = *self
            .opens_at_last
            .get_or_insert(now.after(interval.times(WAIT_INTERVALS_MAX)));
        self.is_open = false;
        self.opens_at = Some(quiet.min(last));
    }

    /// Open if the wait is over.
    pub(super) fn check(&mut self, now: Instant) {
        if self.opens_at.is_some_and(|at| now >= at) {
            *self = Self {
                is_open: true,
                ..Self::new()
            };
        }
    }

    /// When [`Self::check`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.opens_at
    }

    /// Whether the joiner may be admitted. Members of one node from another component are admitted all at once,
    /// since they share one log.
    fn may_join(&self, joiner: &Joiner, joins: &[Joiner]) -> bool {
        let Some(place) = &joiner.place else {
            return true;
        };
        self.is_open && companions(joiner, joins).count() == usize::from(place.members)
    }

    /// Whether any joiner may be admitted to a view with room for so many.
    pub(super) fn has_any(&self, joins: &[Joiner], room: usize) -> bool {
        let mut ready = joins.iter().filter(|joiner| self.may_join(joiner, joins));
        ready.any(|joiner| needed(joiner) <= room)
    }

    /// Choose the joiners to admit to a view with room for so many.
    ///
    /// # Errors
    ///
    /// Memory is short. Nothing has changed.
    pub(super) fn choose(&self, joins: &[Joiner], room: usize) -> Result<Chosen, OutOfMemory> {
        let mut chosen: BoundedVec<(MemberId, Arrival)> =
            BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?;
        let mut sets = BoundedVec::with_capacity(TRANSITIONAL_SETS_MAX)?;
        for joiner in joins.iter().filter(|joiner| self.may_join(joiner, joins)) {
            let room = room.saturating_sub(chosen.len());
            let is_chosen = |member: MemberId| chosen.iter().any(|(known, _)| *known == member);
            if is_chosen(joiner.member) || needed(joiner) > room {
                continue;
            }
            let Some(place) = &joiner.place else {
                let _ = chosen.push((joiner.member, Arrival::New));
                continue;
            };
            let Some(number) = set_for(place, joins, &mut sets) else {
                continue;
            };
            for companion in companions(joiner, joins) {
                let _ = chosen.push((companion.member, Arrival::Together(number)));
            }
        }
        Ok((chosen, sets))
    }
}

/// How many members are admitted with the joiner, itself included.
fn needed(joiner: &Joiner) -> usize {
    joiner.place.map_or(1, |place| usize::from(place.members))
}

/// The members of the joiner's node that have delivered as far as it has in the same component, itself included.
fn companions<'a>(
    joiner: &'a Joiner,
    joins: &'a [Joiner],
) -> impl Iterator<Item = &'a Joiner> + 'a {
    joins
        .iter()
        .filter(|other| other.member.node == joiner.member.node && other.place == joiner.place)
}

/// The log that identifies the transitional set of the members at `place`. A pending start counts instead of the log
/// before it if any joiner has delivered its first entry, since then all of its members hold it.
fn log_of(place: &Place, joins: &[Joiner]) -> ViewKey {
    let places = || joins.iter().filter_map(|joiner| joiner.place);
    let start = place.pending_start;
    let start = start.filter(|start| places().any(|other| other.log == *start));
    start.unwrap_or(place.log)
}

/// The index of the transitional set of the members at `place`. `None`: there are too many sets.
fn set_for(place: &Place, joins: &[Joiner], sets: &mut BoundedVec<TransitionalSet>) -> Option<u8> {
    let cluster_view = log_of(place, joins);
    let known = sets.iter().position(|set| set.cluster_view == cluster_view);
    let number = known.unwrap_or(sets.len());
    if known.is_none() {
        // What joiners have delivered counts even if they are not chosen now: the whole set holds it.
        let delivered = joins
            .iter()
            .filter_map(|joiner| joiner.place)
            .filter(|other| other.log == cluster_view);
        let last = delivered.map(|other| other.delivered).max().unwrap_or(0);
        sets.push(TransitionalSet { cluster_view, last }).ok()?;
    }
    u8::try_from(number).ok()
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_group_merge))]
mod tests {
    use super::*;
    use crate::protocol::identity::EndpointId;
    use crate::protocol::test_support::{at, identity, node, TestResult, Unexpected};

    const INTERVAL: Duration = Duration::from_milliseconds(50);

    fn joiner(number: u16, endpoint: u32, place: Option<Place>) -> Joiner {
        let member = MemberId {
            node: node(number),
            endpoint: EndpointId(endpoint),
            incarnation: identity(number).incarnation,
        };
        Joiner { member, place }
    }

    /// The place of the only member of its node from that log.
    fn from(log: u64, delivered: u64) -> Option<Place> {
        Some(Place {
            log: ViewKey(log),
            delivered,
            pending_start: None,
            members: 1,
        })
    }

    fn open() -> Merge {
        Merge {
            is_open: true,
            ..Merge::new()
        }
    }

    fn set(log: u64, last: u64) -> TransitionalSet {
        TransitionalSet {
            cluster_view: ViewKey(log),
            last,
        }
    }

    /// The members that are admitted, and their sets.
    fn chosen(merge: &Merge, joins: &[Joiner], room: usize) -> Result<Chosen, Unexpected> {
        Ok(merge.choose(joins, room)?)
    }

    #[test]
    fn members_of_one_log_are_one_set_up_to_what_the_furthest_has_delivered() -> TestResult {
        let joins = [
            joiner(1, 1, from(7, 4)),
            joiner(2, 1, None),
            joiner(3, 1, from(8, 2)),
            joiner(4, 1, from(7, 6)),
        ];
        let (members, sets) = chosen(&open(), &joins, 64)?;
        let arrivals = members
            .iter()
            .map(|(member, arrival)| (member.node, *arrival));
        assert!(arrivals.eq([
            (node(1), Arrival::Together(0)),
            (node(2), Arrival::New),
            (node(3), Arrival::Together(1)),
            (node(4), Arrival::Together(0)),
        ]));
        assert!(sets.iter().eq(&[set(7, 6), set(8, 2)]));
        Ok(())
    }

    #[test]
    fn a_pending_start_counts_if_another_joiner_has_delivered_it() -> TestResult {
        let accepted = Place {
            log: ViewKey(7),
            delivered: 9,
            pending_start: Some(ViewKey(8)),
            members: 1,
        };
        let joins = [joiner(1, 1, Some(accepted)), joiner(2, 1, from(8, 1))];
        let (_, sets) = chosen(&open(), &joins, 64)?;
        assert!(sets.iter().eq(&[set(8, 1)]));
        // No joiner has delivered it: it may not count.
        let joins = [joiner(1, 1, Some(accepted)), joiner(2, 1, from(7, 8))];
        let (_, sets) = chosen(&open(), &joins, 64)?;
        assert!(sets.iter().eq(&[set(7, 9)]));
        Ok(())
    }

    #[test]
    fn the_members_of_one_node_are_admitted_all_or_not_at_all() -> TestResult {
        let of_two = Place {
            log: ViewKey(7),
            delivered: 3,
            pending_start: None,
            members: 2,
        };
        let joins = [
            joiner(1, 1, Some(of_two)),
            joiner(2, 1, from(7, 3)),
            joiner(1, 2, Some(of_two)),
        ];
        let (members, _) = chosen(&open(), joins.get(..2).ok_or(Unexpected)?, 64)?;
        assert!(members.iter().map(|(member, _)| member.node).eq([node(2)]));
        let (members, _) = chosen(&open(), &joins, 64)?;
        assert_eq!(members.len(), 3);
        // With room for one, only the member that is alone on its node fits.
        let (members, _) = chosen(&open(), &joins, 1)?;
        assert!(members.iter().map(|(member, _)| member.node).eq([node(2)]));
        assert!(open().has_any(&joins, 1));
        let pair = [joins[0], joins[2]];
        assert!(!open().has_any(&pair, 1) && open().has_any(&pair, 2));
        Ok(())
    }

    #[test]
    fn sets_that_do_not_fit_into_one_view_wait_for_the_next() -> TestResult {
        let many = TRANSITIONAL_SETS_MAX as u16 + 1;
        let mut joins = BoundedVec::with_capacity(usize::from(many))?;
        for number in 1..=many {
            let place = from(u64::from(number), 1);
            joins
                .push(joiner(number, 1, place))
                .map_err(|_| Unexpected)?;
        }
        let (members, sets) = chosen(&open(), &joins, 64)?;
        assert_eq!(members.len(), TRANSITIONAL_SETS_MAX);
        assert_eq!(sets.len(), TRANSITIONAL_SETS_MAX);
        Ok(())
    }

    #[test]
    fn the_coordinator_waits_for_others_from_a_component_but_not_for_ever() -> TestResult {
        let joins = [joiner(1, 1, from(7, 4)), joiner(2, 1, None)];
        let mut merge = Merge::new();
        merge.wait_for_more(at(1_000), INTERVAL);
        merge.check(at(1_099));
        let (members, _) = chosen(&merge, &joins, 64)?;
        assert!(members.iter().map(|(member, _)| member.node).eq([node(2)]));
        merge.wait_for_more(at(1_099), INTERVAL);
        assert_eq!(merge.next_deadline(), Some(at(1_199)));
        merge.wait_for_more(at(1_790), INTERVAL);
        assert_eq!(merge.next_deadline(), Some(at(1_800)));
        merge.check(at(1_800));
        assert_eq!(merge.next_deadline(), None);
        let (members, _) = chosen(&merge, &joins, 64)?;
        assert_eq!(members.len(), 2);
        Ok(())
    }
}
