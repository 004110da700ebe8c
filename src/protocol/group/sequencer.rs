// SPDX-License-Identifier: GPL-2.0

//! The sequencer of a group: the coordinator's state, which puts the group's messages, joins and leaves in one order.
//!
//! ```text
//!  Collecting ---all have reported---> Completing ---all hold what counts---> Starting --> Running
//!   queries what the survivors          lets holders hand entries              sends the start of
//!   hold of the epoch before            to nodes that lack them                this epoch
//! ```
//!
//! There is one for each group and cluster view. A new sequencer first finds out which entries of the epoch before
//! count: all that any survivor has accepted. No node has delivered the others. [`super::flush`] has the decision and
//! the argument. What the coordinator does with this state is in [`super::coordinator`].

use super::entry::{copy, Entry, ViewEntry};
use super::flush::{Decision, NodeReport};
use super::log::Log;
use super::merge::{Joiner, Merge};
use super::participant::{Participant, EXCLUSION_REPEATS};
use super::reassembly::Reassembly;
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::GroupMember;
use crate::protocol::identity::{MemberId, NodeId, Slot, ViewNumber};
use crate::protocol::limits::{FRAGMENT_BYTES_MAX, GROUP_MEMBERS_MAX, NODES_MAX};
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::ClusterView;
use crate::protocol::wire::group::{Arrival, Fragment, Place};

/// The retransmission interval doubles up to this many times the first one.
const BACK_OFF_MAX: u64 = 8;

/// Members that have left and are remembered, so that their late join requests are refused.
const GONE_MAX: usize = GROUP_MEMBERS_MAX;

/// The stage of a sequencer (see the drawing above).
pub(super) enum Stage {
    /// Queries all nodes that may hold something.
    Collecting,
    /// Waits until all survivors hold all entries that count of the epoch before.
    Completing(Decision),
    /// The start was sent; not all participants hold it yet.
    Starting,
    /// Orders messages and views.
    Running,
}

/// The sequencer of one group in one epoch.
pub(super) struct Sequencer {
    pub(super) stage: Stage,
    /// For each place in the cluster view whether the node has reported what it holds.
    answered: BoundedVec<bool>,
    pub(super) reports: BoundedVec<NodeReport>,
    pub(super) ask_at: Instant,
    /// When to announce what is stable and released to those that were not sent it with entries.
    pub(super) announce_at: Option<Instant>,
    joins: BoundedVec<Joiner>,
    merge: Merge,
    leaves: BoundedVec<MemberId>,
    /// Members that have left in this epoch.
    gone: BoundedVec<MemberId>,
    /// Members that a view of this epoch removed, each with the view's position.
    removed: BoundedVec<(MemberId, u64)>,
    pub(super) participants: BoundedVec<Participant>,
    /// The sequence number of the next message of each sender.
    senders: BoundedVec<(MemberId, u64)>,
    reassembly: Reassembly,
    /// The start: the epoch before, the last position of its log that counts, and the first view.
    pub(super) start: Option<(ViewNumber, u64, Shared<ViewEntry>)>,
    /// The view that is in force after the last ordered entry.
    pub(super) latest: Option<Shared<ViewEntry>>,
    /// The position of the last ordered entry.
    pub(super) last: u64,
}

impl Sequencer {
    /// A sequencer that begins to collect. Nodes that were not in the cluster view before hold nothing. Allocates.
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
            announce_at: None,
            joins: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            merge: Merge::new(),
            leaves: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            gone: BoundedVec::with_capacity(GONE_MAX)?,
            removed: BoundedVec::with_capacity(GONE_MAX)?,
            participants: BoundedVec::with_capacity(2 * GROUP_MEMBERS_MAX)?,
            senders: BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?,
            reassembly: Reassembly::new()?,
            start: None,
            latest: None,
            last: 0,
        })
    }

    // ---- collecting ---------------------------------------------------------------------------

    /// A node has reported what it holds, or a part of that.
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

    /// The nodes whose reports are missing.
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

    /// A member asks to join.
    pub(super) fn join(&mut self, member: MemberId) {
        self.put_joiner(Joiner {
            member,
            place: None,
        });
    }

    /// A member from another component asks to join.
    pub(super) fn join_merging(
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
            self.merge.wait_for_more(now, interval);
        }
    }

    /// Open the admission of members from other components if the wait for more of them is over.
    pub(super) fn check_merge(&mut self, now: Instant) {
        self.merge.check(now);
    }

    /// Remember a join request. Returns whether it is new or has changed.
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

    /// A member asks to leave. Returns false if it is not in the group: all members are known, and it is none of them.
    pub(super) fn leave(&mut self, member: MemberId) -> bool {
        self.joins.retain(|known| known.member != member);
        let participants = self.participants.as_mut_slice().iter_mut();
        for participant in participants.filter(|participant| participant.node == member.node) {
            participant.exclusion_repeats = EXCLUSION_REPEATS;
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
                // Its node must not forget it before all participants hold the view without it.
                let stable = self.stable();
                return self
                    .removed
                    .iter()
                    .any(|(known, position)| *known == member && *position > stable);
            }
        }
        if !self.leaves.contains(&member) {
            let _ = self.leaves.push(member);
        }
        true
    }

    /// Take out the leave request of a member that is not in the latest view.
    pub(super) fn take_stranger(&mut self) -> Option<MemberId> {
        let latest = self.latest.as_ref();
        let is_stranger = |member: &MemberId| latest.is_none_or(|view| !view.has(*member));
        let place = self.leaves.iter().position(is_stranger)?;
        self.leaves.remove(place)
    }

    /// Order the first view of the epoch. Nodes that hold something of an epoch before and have no members in this view
    /// get it too, so that they know that they are out and drop the rest.
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

    /// Whether the group has no members and no join requests.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.stage, Stage::Running)
            && self.joins.is_empty()
            && self.participants.is_empty()
            && self
                .latest
                .as_ref()
                .is_none_or(|view| view.members.is_empty())
    }

    /// The view that follows `before`: without members that left or whose nodes are gone, and with members that asked to
    /// join. Members on nodes that do not come along from `before` (it admitted them, but they never got it) are new,
    /// too.
    ///
    /// # Errors
    ///
    /// Memory is short. No view was made.
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
                if self.removed.is_full() {
                    self.removed.remove(0);
                }
                let position = self.last.saturating_add(1);
                let _ = self.removed.push((member.id, position));
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
        let (joiners, sets) = self.merge.choose(&self.joins, room)?;
        self.joins
            .retain(|known| !joiners.iter().any(|(member, _)| *member == known.member));
        let mut slot: u16 = 0;
        for (joiner, arrival) in joiners.iter().copied() {
            // A slot of the view before is not reused at once.
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
        // Leave requests of members that are not in `before` are still to be answered.
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
        !self.leaves.is_empty() || self.merge.has_any(&self.joins, room)
    }

    /// A view was ordered. Nodes that are new get all entries from its position on.
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

    /// A fragment arrived. Order it at once if it is a whole message and next, and the log has room; else keep a copy
    /// until its message is complete and next.
    pub(super) fn take_fragment(
        &mut self,
        sender: MemberId,
        fragment: &Fragment<'_>,
        log: &mut Log,
    ) {
        let slot = self.latest.as_ref().and_then(|view| view.slot(sender));
        let (Stage::Running, Some(slot)) = (&self.stage, slot) else {
            return;
        };
        let known = self.senders.iter().position(|(known, _)| *known == sender);
        let place = known.unwrap_or(self.senders.len());
        if known.is_none() && self.senders.push((sender, fragment.oldest)).is_err() {
            return;
        }
        let Some((_, next)) = self.senders.as_mut_slice().get_mut(place) else {
            return;
        };
        let (part, bytes) = (fragment.part, fragment.bytes);
        if part.sequence == *next && part.fragments == 1 && log.has_room(1) {
            let Ok(bytes) = copy(bytes) else {
                return;
            };
            *next = next.saturating_add(1);
            self.last = self.last.saturating_add(1);
            log.put(self.last, Entry::Data { slot, part, bytes });
            self.reassembly.forget(sender, part.sequence);
        } else if part.sequence >= *next {
            let is_next = part.sequence == *next;
            self.reassembly.keep(sender, &part, bytes, is_next);
        }
    }

    /// Order the messages that are complete and next, as far as the log has room.
    pub(super) fn order_messages(&mut self, log: &mut Log) {
        if self.reassembly.is_empty() {
            return;
        }
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
        self.reassembly.take(sender, sequence, |part, bytes| {
            self.last = self.last.saturating_add(1);
            log.put(self.last, Entry::Data { slot, part, bytes });
        });
        true
    }

    // ---- acknowledgements ---------------------------------------------------------------------

    /// A node acknowledges everything up to `position`. Returns whether it did so before.
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

    /// The last position that all participants hold.
    pub(super) fn stable(&self) -> u64 {
        self.participants
            .iter()
            .filter_map(Participant::counts)
            .min()
            .unwrap_or(self.last)
    }

    /// Mark each participant to be probed that has acknowledged nothing for an interval. It gets the first entry again
    /// that it may lack, and reports then what else it lacks.
    pub(super) fn check_progress(&mut self, now: Instant, interval: Duration, own: NodeId) {
        self.participants
            .retain(|participant| participant.forgotten_at.is_none_or(|at| now < at));
        for participant in self.participants.as_mut_slice() {
            if participant.node == own || participant.sent <= participant.acknowledged {
                participant.resend_at = None;
                participant.interval = interval;
                continue;
            }
            match participant.resend_at {
                None => {
                    participant.interval = interval;
                    participant.resend_at = Some(now.after(interval));
                }
                Some(at) if now >= at => {
                    let is_last = participant.interval >= interval.times(BACK_OFF_MAX);
                    if participant.is_out && is_last && participant.exclusion_repeats == 0 {
                        // It may know already that it is out, and have forgotten the group.
                        participant.forgotten_at = Some(now);
                        continue;
                    }
                    participant.exclusion_repeats = participant.exclusion_repeats.saturating_sub(1);
                    participant.is_probed = true;
                    participant.interval = participant
                        .interval
                        .times(2)
                        .min(interval.times(BACK_OFF_MAX));
                    participant.resend_at = Some(now.after(participant.interval));
                }
                Some(_) => {}
            }
        }
    }

    /// When the coordinator has something to do without another input.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Collecting | Stage::Completing(_) => Some(self.ask_at),
            Stage::Starting | Stage::Running => self
                .participants
                .iter()
                .flat_map(|participant| [participant.resend_at, participant.forgotten_at])
                .flatten()
                .chain(self.merge.next_deadline())
                .chain(self.announce_at)
                .min(),
        }
    }
}

const _: () = assert!(FRAGMENT_BYTES_MAX < u16::MAX as usize);
