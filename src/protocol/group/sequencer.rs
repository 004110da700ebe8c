// SPDX-License-Identifier: GPL-2.0

//! A group's coordinator: it puts the group's messages, joins and leaves in one order.
//!
//! ```text
//!  Collecting ---all have answered---> Completing ---all have what counts---> Starting --> Running
//!   asks what is left of the log        lets holders hand entries              the first view of
//!   of the time before                  to those who lack them                 this epoch goes out
//! ```
//!
//! There is one for each group and cluster view. A new one first finds out what became of the log of
//! the epoch before: everything that any survivor has accepted counts, the rest was delivered by
//! nobody. See [`super::flush`] for the decision and its argument.

use super::flush::{Decision, NodeReport};
use super::log::{Entry, Log, ViewEntry};
use super::participant::{Participant, TELLINGS};
use super::reassembly::Reassembly;
use super::returns::{Joiner, Returns};
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::GroupMember;
use crate::protocol::identity::{MemberId, NodeId, Slot, ViewNumber};
use crate::protocol::limits::{
    FRAGMENT_BYTES_MAX, GROUP_FLIGHT_ENTRIES_MAX, GROUP_MEMBERS_MAX, NODES_MAX,
};
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::ClusterView;
use crate::protocol::wire::group::{Arrival, Fragment, Place};

/// An unanswered message is sent again after at most this many times the first interval.
const BACK_OFF_MAX: u64 = 8;

/// Members that were let go and are remembered: their late requests to come in are refused.
const GONE_MAX: usize = GROUP_MEMBERS_MAX;

/// Where a coordinator stands.
pub(super) enum Stage {
    /// Asks all nodes that may hold something.
    Collecting,
    /// Waits until all survivors have the whole log of the epoch before.
    Completing(Decision),
    /// The first view was sent out; it is not held by all.
    Starting,
    /// Orders what comes.
    Running,
}

/// The coordinator of one group in one epoch.
pub(super) struct Sequencer {
    pub(super) stage: Stage,
    /// For each place in the cluster view whether the node has said what it holds.
    answered: BoundedVec<bool>,
    pub(super) reports: BoundedVec<NodeReport>,
    pub(super) ask_at: Instant,
    joins: BoundedVec<Joiner>,
    returns: Returns,
    leaves: BoundedVec<MemberId>,
    /// Who has left in this epoch.
    gone: BoundedVec<MemberId>,
    /// Members that a view of this epoch took out, with the view's position.
    taken_out: BoundedVec<(MemberId, u64)>,
    pub(super) participants: BoundedVec<Participant>,
    /// The next message of each sender.
    senders: BoundedVec<(MemberId, u64)>,
    reassembly: Reassembly,
    /// What the first entry says of the epoch before, and the view in it.
    pub(super) start: Option<(ViewNumber, u64, Shared<ViewEntry>)>,
    /// The view that is in force after the last ordered entry.
    pub(super) latest: Option<Shared<ViewEntry>>,
    /// The last ordered entry.
    pub(super) last: u64,
}

impl Sequencer {
    /// Begins to ask. Nodes that were not in the cluster view before hold nothing.
    pub(super) fn new(view: &ClusterView, now: Instant) -> Result<Self, OutOfMemory> {
        let mut answered = BoundedVec::with_capacity(view.count())?;
        for member in view.members() {
            let _ = answered.push(!view.is_reporter(member.identity.node));
        }
        Ok(Self {
            stage: Stage::Collecting,
            answered,
            reports: BoundedVec::with_capacity(view.count().min(NODES_MAX))?,
            ask_at: now,
            joins: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            returns: Returns::new(),
            leaves: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            gone: BoundedVec::with_capacity(GONE_MAX)?,
            taken_out: BoundedVec::with_capacity(GONE_MAX)?,
            participants: BoundedVec::with_capacity(2 * GROUP_MEMBERS_MAX)?,
            senders: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            reassembly: Reassembly::new()?,
            start: None,
            latest: None,
            last: 0,
        })
    }

    // ---- collecting ---------------------------------------------------------------------------

    /// A node has said what it holds, or a part of that.
    pub(super) fn take_report(&mut self, view: &ClusterView, report: NodeReport) {
        if !matches!(self.stage, Stage::Collecting | Stage::Completing(_)) {
            return;
        }
        let node = report.node;
        let place = match self.reports.iter().position(|known| known.node == node) {
            Some(place) => place,
            None => {
                let place = self.reports.len();
                if self.reports.push(NodeReport::of(node)).is_err() {
                    return;
                }
                place
            }
        };
        let Some(known) = self.reports.as_mut_slice().get_mut(place) else {
            return;
        };
        known.merge(report);
        if known.is_complete() {
            let answered = view
                .position(node)
                .and_then(|place| self.answered.as_mut_slice().get_mut(place));
            if let Some(answered) = answered {
                *answered = true;
            }
        }
    }

    /// The nodes that have not answered.
    pub(super) fn unanswered<'a>(
        &'a self,
        view: &'a ClusterView,
    ) -> impl Iterator<Item = NodeId> + 'a {
        view.members()
            .iter()
            .zip(self.answered.iter())
            .filter(|(_, answered)| !**answered)
            .map(|(member, _)| member.identity.node)
    }

    // ---- joins and leaves ---------------------------------------------------------------------

    /// A member asks to be let in.
    pub(super) fn join(&mut self, member: MemberId) {
        self.put_joiner(Joiner {
            member,
            place: None,
        });
    }

    /// A member asks to be let in that comes from another part of the cluster.
    pub(super) fn join_again(
        &mut self,
        now: Instant,
        interval: Duration,
        member: MemberId,
        place: Place,
    ) {
        let joiner = Joiner {
            member,
            place: Some(place),
        };
        if self.put_joiner(joiner) {
            self.returns.wait_for_more(now, interval);
        }
    }

    /// Those who come from other parts may have been waited for long enough.
    pub(super) fn look_at_returns(&mut self, now: Instant) {
        self.returns.look(now);
    }

    /// Whether that is news.
    fn put_joiner(&mut self, joiner: Joiner) -> bool {
        let member = joiner.member;
        let is_in = self.latest.as_ref().is_some_and(|view| view.has(member));
        if is_in || self.gone.contains(&member) {
            return false;
        }
        let mut joins = self.joins.as_mut_slice().iter_mut();
        match joins.find(|known| known.member == member) {
            Some(known) => core::mem::replace(known, joiner) != joiner,
            None => self.joins.push(joiner).is_ok(),
        }
    }

    /// A member asks to be let go. False if it is not known at all, now that everything is.
    pub(super) fn leave(&mut self, member: MemberId) -> bool {
        self.joins.retain(|known| known.member != member);
        let participants = self.participants.as_mut_slice().iter_mut();
        for participant in participants.filter(|participant| participant.node == member.node) {
            participant.tellings = TELLINGS;
        }
        if !self.gone.contains(&member) {
            if self.gone.is_full() {
                self.gone.remove(0);
            }
            let _ = self.gone.push(member);
        }
        if matches!(self.stage, Stage::Running) {
            let is_in = self.latest.as_ref().is_some_and(|view| view.has(member));
            if !is_in {
                // It must not forget itself before all have the view without it.
                let stable = self.stable();
                return self
                    .taken_out
                    .iter()
                    .any(|(known, position)| *known == member && *position > stable);
            }
        }
        if !self.leaves.contains(&member) {
            let _ = self.leaves.push(member);
        }
        true
    }

    /// The next of those who asked to be let go and are not in the latest view at all.
    pub(super) fn take_stranger(&mut self) -> Option<MemberId> {
        let latest = self.latest.as_ref();
        let is_stranger = |member: &MemberId| latest.is_none_or(|view| !view.has(*member));
        let place = self.leaves.iter().position(is_stranger)?;
        self.leaves.remove(place)
    }

    /// The first view of the epoch is ordered. Nodes that hold something of an epoch before and are
    /// not in this view get it too: so they know that they are out, and forget the rest.
    pub(super) fn install_start(
        &mut self,
        view: Shared<ViewEntry>,
        own: NodeId,
        interval: Duration,
    ) {
        for report in self.reports.iter() {
            let is_out = report.holds_something() && !view.has_node(report.node);
            if is_out && report.node != own {
                let _ = self
                    .participants
                    .push(Participant::out(report.node, interval));
            }
        }
        self.install(view, 1, interval);
    }

    /// Whether nobody is in the group, and nobody wants to be.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Running)
            && self.joins.is_empty()
            && self.participants.is_empty()
            && self
                .latest
                .as_ref()
                .is_none_or(|view| view.members.is_empty())
    }

    /// The view that follows `before`: without those who left or whose nodes are gone, with those
    /// who asked to come in. Members on nodes that do not come along from `before` (it let them in,
    /// and they never got it) are marked as new as well.
    pub(super) fn make_view(
        &mut self,
        before: Option<&ViewEntry>,
        number: ViewNumber,
        coordinator: NodeId,
        is_here: impl Fn(MemberId) -> bool,
        reason_of: impl Fn(MemberId) -> ChangeReason,
        comes_along: impl Fn(NodeId) -> bool,
    ) -> Result<Shared<ViewEntry>, OutOfMemory> {
        let mut members: BoundedVec<(GroupMember, Arrival)> =
            BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?;
        let mut left = BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?;
        for member in before.map_or(&[][..], |view| &view.members) {
            if !is_here(member.id) {
                let _ = left.push((member.slot, reason_of(member.id)));
            } else if self.leaves.contains(&member.id) {
                let _ = left.push((member.slot, ChangeReason::Leave));
                if self.taken_out.is_full() {
                    self.taken_out.remove(0);
                }
                let position = self.last.saturating_add(1);
                let _ = self.taken_out.push((member.id, position));
            } else {
                let arrival = match comes_along(member.id.node) {
                    true => Arrival::Along,
                    false => Arrival::New,
                };
                let _ = members.push((*member, arrival));
            }
        }
        self.joins
            .retain(|joiner| before.is_none_or(|view| !view.has(joiner.member)));
        let room = GROUP_MEMBERS_MAX.saturating_sub(members.len());
        let (joiners, sets) = self.returns.choose(&self.joins, room)?;
        self.joins
            .retain(|known| !joiners.iter().any(|(member, _)| *member == known.member));
        let mut slot: u16 = 0;
        for (joiner, arrival) in joiners.iter().copied() {
            // A slot of the view before is not given out again at once.
            loop {
                slot = slot.saturating_add(1);
                if before.is_none_or(|view| view.member(Slot(slot)).is_none()) {
                    break;
                }
            }
            let member = GroupMember {
                id: joiner,
                slot: Slot(slot),
            };
            let _ = members.push((member, arrival));
        }
        // Those who are not in `before` are still to be told that they are not in the group.
        self.leaves
            .retain(|member| before.is_none_or(|view| !view.has(*member)));
        members
            .as_mut_slice()
            .sort_unstable_by_key(|(member, _)| (member.id.node, member.id.endpoint));
        let mut list = BoundedVec::with_capacity(members.len())?;
        let mut arrivals = BoundedVec::with_capacity(members.len())?;
        for (member, arrival) in members.iter() {
            let _ = list.push(*member);
            let _ = arrivals.push(*arrival);
        }
        Shared::try_new(ViewEntry {
            number,
            coordinator,
            members: list,
            arrivals,
            left,
            sets,
        })
    }

    /// Whether the view has to change.
    pub(super) fn has_changes(&self) -> bool {
        let latest = self.latest.as_ref().map_or(0, |view| view.members.len());
        let room = GROUP_MEMBERS_MAX.saturating_sub(latest);
        !self.leaves.is_empty() || self.returns.has_any(&self.joins, room)
    }

    /// A view was ordered: nodes that are new get everything from its position on.
    pub(super) fn install(&mut self, view: Shared<ViewEntry>, position: u64, interval: Duration) {
        let before = position.saturating_sub(1);
        for participant in self.participants.as_mut_slice() {
            if view.has_node(participant.node) {
                participant.stay(before);
            } else {
                participant.leave(position);
            }
        }
        for node in view.nodes() {
            if self.participants.iter().all(|known| known.node != node) {
                let _ = self
                    .participants
                    .push(Participant::new(node, before, interval));
            }
        }
        self.senders.retain(|(member, _)| view.has(*member));
        self.reassembly.retain(|sender| view.has(sender));
        self.latest = Some(view);
        self.last = position;
    }

    // ---- messages -----------------------------------------------------------------------------

    /// A fragment came in: keeps a copy until its message is complete and next.
    pub(super) fn take_fragment(&mut self, sender: MemberId, fragment: &Fragment<'_>) {
        let is_member = self.latest.as_ref().is_some_and(|view| view.has(sender));
        if !matches!(self.stage, Stage::Running) || !is_member {
            return;
        }
        let next = match self.senders.iter().find(|(known, _)| *known == sender) {
            Some((_, next)) => *next,
            None => {
                let _ = self.senders.push((sender, fragment.oldest));
                fragment.oldest
            }
        };
        let sequence = fragment.part.sequence;
        if sequence >= next {
            let is_next = sequence == next;
            self.reassembly
                .keep(sender, &fragment.part, fragment.bytes, is_next);
        }
    }

    /// Orders the messages that are complete and next, as far as the log has room.
    pub(super) fn order_messages(&mut self, log: &mut Log) {
        let mut is_progress = true;
        while is_progress {
            is_progress = false;
            for place in 0..self.senders.len() {
                let Some((sender, next)) = self.senders.get(place).copied() else {
                    break;
                };
                if self.order_next(sender, next, log) {
                    is_progress = true;
                    if let Some(entry) = self.senders.as_mut_slice().get_mut(place) {
                        entry.1 = next.saturating_add(1);
                    }
                }
            }
        }
    }

    fn order_next(&mut self, sender: MemberId, sequence: u64, log: &mut Log) -> bool {
        let slot = self.latest.as_ref().and_then(|view| view.slot(sender));
        let (Some(slot), Some(fragments)) = (slot, self.reassembly.complete(sender, sequence))
        else {
            return false;
        };
        if !log.has_room(usize::from(fragments)) {
            return false;
        }
        for fragment in 0..fragments {
            if let Some((part, bytes)) = self.reassembly.take(sender, sequence, fragment) {
                self.last = self.last.saturating_add(1);
                log.put(self.last, Entry::Data { slot, part, bytes });
            }
        }
        self.reassembly.forget(sender, sequence);
        true
    }

    // ---- acknowledgements ---------------------------------------------------------------------

    /// A node has everything up to `position`. Whether it has said so before.
    pub(super) fn acknowledge(&mut self, now: Instant, node: NodeId, position: u64) -> bool {
        let last = self.last;
        let Some(participant) = self
            .participants
            .as_mut_slice()
            .iter_mut()
            .find(|participant| participant.node == node)
        else {
            return false;
        };
        if position > last {
            return false;
        }
        if position <= participant.acknowledged {
            return true;
        }
        participant.advance(now, position);
        false
    }

    /// A participant is told once more what all have.
    pub(super) fn tell_again(&mut self, node: NodeId) {
        let stable = self.stable();
        for participant in self.participants.as_mut_slice() {
            if participant.node == node {
                participant.told_stable = stable.saturating_sub(1);
            }
        }
    }

    /// What all participants have.
    pub(super) fn stable(&self) -> u64 {
        self.participants
            .iter()
            .filter_map(Participant::counts)
            .min()
            .unwrap_or(self.last)
    }

    /// A participant lacks entries.
    pub(super) fn missing(&mut self, node: NodeId, from: u64) {
        for participant in self.participants.as_mut_slice() {
            if participant.node == node && from > participant.acknowledged {
                participant.sent = participant.sent.min(from.saturating_sub(1));
            }
        }
    }

    /// Goes back to what was acknowledged where nothing has come for an interval.
    pub(super) fn check_progress(&mut self, now: Instant, interval: Duration, own: NodeId) -> u64 {
        let mut resent: u64 = 0;
        self.participants
            .retain(|participant| participant.forgotten_at.is_none_or(|at| now < at));
        for participant in self.participants.as_mut_slice() {
            if participant.node == own || participant.sent <= participant.acknowledged {
                participant.resend_at = None;
                participant.interval = interval;
                continue;
            }
            match participant.resend_at {
                None => participant.resend_at = Some(now.after(participant.interval)),
                Some(at) if now >= at => {
                    let is_last = participant.interval >= interval.times(BACK_OFF_MAX);
                    if participant.is_out && is_last && participant.tellings == 0 {
                        // It may know already, and have nothing to do with the group any more.
                        participant.forgotten_at = Some(now);
                        continue;
                    }
                    participant.tellings = participant.tellings.saturating_sub(1);
                    let behind = participant.sent.saturating_sub(participant.acknowledged);
                    resent = resent.saturating_add(behind);
                    participant.sent = participant.acknowledged;
                    participant.interval = participant
                        .interval
                        .times(2)
                        .min(interval.times(BACK_OFF_MAX));
                    participant.resend_at = Some(now.after(participant.interval));
                }
                Some(_) => {}
            }
        }
        resent
    }

    /// The last entry that may be sent to a participant now.
    pub(super) fn flight_limit(&self, participant: &Participant) -> u64 {
        if participant.forgotten_at.is_some() {
            return participant.sent;
        }
        // What a newcomer acknowledges all others must hold up to there: it cannot hand it to them.
        if participant.acknowledged <= participant.begins_after
            && self.stable() < participant.begins_after
        {
            return participant.sent;
        }
        participant
            .acknowledged
            .saturating_add(GROUP_FLIGHT_ENTRIES_MAX as u64)
            .min(participant.ends_at.unwrap_or(self.last))
    }

    /// When something is to be done although nothing comes in.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Collecting | Stage::Completing(_) => Some(self.ask_at),
            Stage::Starting | Stage::Running => self
                .participants
                .iter()
                .flat_map(|participant| [participant.resend_at, participant.forgotten_at])
                .flatten()
                .chain(self.returns.next_deadline())
                .min(),
        }
    }
}

const _: () = assert!(FRAGMENT_BYTES_MAX < u16::MAX as usize);
