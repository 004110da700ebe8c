// SPDX-License-Identifier: GPL-2.0

//! Who asks to be let into a group, and which of them come in together: members from one view of another part
//! of the cluster, in sets that deliver the same of it ([`super::past`]).

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{MemberId, ViewKey};
use crate::protocol::limits::{GROUP_MEMBERS_MAX, TRANSITIONAL_SETS_MAX};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::group::{Arrival, Place, TransitionalSet};

/// After the first that comes from another part, others are waited for so many intervals, since the last one.
const QUIET_INTERVALS: u64 = 2;
/// And for so many altogether.
const WAIT_INTERVALS_MAX: u64 = 16;

/// A member that asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joiner {
    pub(super) member: MemberId,
    /// Where it comes from, if that is another part of the cluster.
    pub(super) place: Option<Place>,
}

/// Those who are let in, with how they come, and their sets.
pub(super) type Chosen = (BoundedVec<(MemberId, Arrival)>, BoundedVec<TransitionalSet>);

/// When those who come from other parts are let in.
pub(super) struct Returns {
    /// They all have had time to ask.
    is_open: bool,
    at: Option<Instant>,
    at_last: Option<Instant>,
}

impl Returns {
    pub(super) fn new() -> Self {
        Self {
            is_open: false,
            at: None,
            at_last: None,
        }
    }

    /// One has asked: more may come from where it comes from.
    pub(super) fn wait_for_more(&mut self, now: Instant, interval: Duration) {
        let quiet = now.after(interval.times(QUIET_INTERVALS));
        let last = *self
            .at_last
            .get_or_insert(now.after(interval.times(WAIT_INTERVALS_MAX)));
        self.is_open = false;
        self.at = Some(quiet.min(last));
    }

    /// Time has gone by.
    pub(super) fn look(&mut self, now: Instant) {
        if self.at.is_some_and(|at| now >= at) {
            *self = Self {
                is_open: true,
                ..Self::new()
            };
        }
    }

    /// When [`Self::look`] has something to say.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.at
    }

    /// Whether the joiner, or all of its node that come from there, may be let in. All at once, since they share
    /// one past.
    fn is_ripe(&self, joiner: &Joiner, joins: &[Joiner]) -> bool {
        let Some(place) = &joiner.place else {
            return true;
        };
        self.is_open && companions(joiner, joins).count() == usize::from(place.members)
    }

    /// Whether somebody may be let in, with room for so many.
    pub(super) fn has_any(&self, joins: &[Joiner], room: usize) -> bool {
        let mut ripe = joins.iter().filter(|joiner| self.is_ripe(joiner, joins));
        ripe.any(|joiner| needed(joiner) <= room)
    }

    /// Chooses who is let in, with room for so many.
    pub(super) fn choose(&self, joins: &[Joiner], room: usize) -> Result<Chosen, OutOfMemory> {
        let mut chosen: BoundedVec<(MemberId, Arrival)> =
            BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?;
        let mut sets = BoundedVec::with_capacity(TRANSITIONAL_SETS_MAX)?;
        for joiner in joins.iter().filter(|joiner| self.is_ripe(joiner, joins)) {
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

/// How many members come with the joiner, itself counted.
fn needed(joiner: &Joiner) -> usize {
    joiner.place.map_or(1, |place| usize::from(place.members))
}

/// The members of the joiner's node that come from where it comes from, itself among them.
fn companions<'a>(
    joiner: &'a Joiner,
    joins: &'a [Joiner],
) -> impl Iterator<Item = &'a Joiner> + 'a {
    joins
        .iter()
        .filter(|other| other.member.node == joiner.member.node && other.place == joiner.place)
}

/// The log whose members go together with those at `place`: a later one that it has only accepted counts if
/// somebody has delivered its first entry, since all of its members have it then.
fn log_of(place: &Place, joins: &[Joiner]) -> ViewKey {
    let places = || joins.iter().filter_map(|joiner| joiner.place);
    let candidate = place.pending_start;
    let candidate = candidate.filter(|candidate| places().any(|other| other.log == *candidate));
    candidate.unwrap_or(place.log)
}

/// The set, by its place, of those who come from `place`. `None`: there are too many.
fn set_for(place: &Place, joins: &[Joiner], sets: &mut BoundedVec<TransitionalSet>) -> Option<u8> {
    let cluster_view = log_of(place, joins);
    let known = sets.iter().position(|set| set.cluster_view == cluster_view);
    let number = known.unwrap_or(sets.len());
    if known.is_none() {
        // Also what those have delivered counts who are not chosen now: all of the set hold it.
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
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_returns))]
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

    /// The only member of its node that comes from there.
    fn from(log: u64, delivered: u64) -> Option<Place> {
        Some(Place {
            log: ViewKey(log),
            delivered,
            pending_start: None,
            members: 1,
        })
    }

    fn open() -> Returns {
        Returns {
            is_open: true,
            ..Returns::new()
        }
    }

    fn set(log: u64, last: u64) -> TransitionalSet {
        TransitionalSet {
            cluster_view: ViewKey(log),
            last,
        }
    }

    /// How each of these nodes is let in, and the sets.
    fn chosen(returns: &Returns, joins: &[Joiner], room: usize) -> Result<Chosen, Unexpected> {
        Ok(returns.choose(joins, room)?)
    }

    #[test]
    fn who_comes_from_one_view_is_one_set_up_to_what_the_furthest_has_delivered() -> TestResult {
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
    fn a_log_that_one_has_only_accepted_counts_if_another_has_begun_it() -> TestResult {
        let accepted = Place {
            log: ViewKey(7),
            delivered: 9,
            pending_start: Some(ViewKey(8)),
            members: 1,
        };
        let joins = [joiner(1, 1, Some(accepted)), joiner(2, 1, from(8, 1))];
        let (_, sets) = chosen(&open(), &joins, 64)?;
        assert!(sets.iter().eq(&[set(8, 1)]));
        // Nobody has begun it: it may not count.
        let joins = [joiner(1, 1, Some(accepted)), joiner(2, 1, from(7, 8))];
        let (_, sets) = chosen(&open(), &joins, 64)?;
        assert!(sets.iter().eq(&[set(7, 9)]));
        Ok(())
    }

    #[test]
    fn the_members_of_one_node_come_all_or_not_at_all() -> TestResult {
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
        // With room for one only the single one fits.
        let (members, _) = chosen(&open(), &joins, 1)?;
        assert!(members.iter().map(|(member, _)| member.node).eq([node(2)]));
        assert!(open().has_any(&joins, 1));
        let pair = [joins[0], joins[2]];
        assert!(!open().has_any(&pair, 1) && open().has_any(&pair, 2));
        Ok(())
    }

    #[test]
    fn who_comes_from_more_views_than_one_view_tells_waits_for_the_next() -> TestResult {
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
    fn others_from_there_are_waited_for_but_not_for_ever() -> TestResult {
        let joins = [joiner(1, 1, from(7, 4)), joiner(2, 1, None)];
        let mut returns = Returns::new();
        returns.wait_for_more(at(1_000), INTERVAL);
        returns.look(at(1_099));
        let (members, _) = chosen(&returns, &joins, 64)?;
        assert!(members.iter().map(|(member, _)| member.node).eq([node(2)]));
        returns.wait_for_more(at(1_099), INTERVAL);
        assert_eq!(returns.next_deadline(), Some(at(1_199)));
        returns.wait_for_more(at(1_790), INTERVAL);
        assert_eq!(returns.next_deadline(), Some(at(1_800)));
        returns.look(at(1_800));
        assert_eq!(returns.next_deadline(), None);
        let (members, _) = chosen(&returns, &joins, 64)?;
        assert_eq!(members.len(), 2);
        Ok(())
    }
}
