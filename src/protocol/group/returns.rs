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
    let candidate = place.candidate;
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
