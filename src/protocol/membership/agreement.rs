// SPDX-License-Identifier: GPL-2.0

//! Deciding on the next view: changes and failures come in, a decided view comes out.
//!
//! Every view decides its successor by single-decree Paxos (Lamport 1998) among its own members, one instance for each
//! view:
//!
//! ```text
//!  coordinator                         every member of the view (the coordinator is one of them)
//!      | ---- Prepare(ballot) -------------------> | promises: nothing of a lower ballot any more;
//!      | <--- Promise(ballot, accepted before?) -- | its groups stop (the flush begins)
//!      |                                           |
//!      | a quorum has promised: take the value accepted under the highest ballot,
//!      | or, where there is none, the pending changes and the failures
//!      |                                           |
//!      | ---- Propose(ballot, changes) ----------> | accepts, unless it promised a higher ballot
//!      | <--- Accepted(ballot) ------------------- |
//!      | a quorum has accepted: the value is decided for ever
//!      | ---- Commit(ballot) --------------------> | installs the view
//! ```
//!
//! Two quorums of a view share a member, so two ballots cannot decide on different views. A member that crashes comes back
//! under another incarnation and is no member of that view any more, so nothing has to be written to disk. A member that
//! finds the coordinator silent may start a higher ballot in any phase ([`turn`]): it takes up what may have been decided.
//!
//! Two gates lie on the way. A pinned member promises nothing ([`pinning`]). A proposal that leaves out a failed node
//! waits until the node is fenced ([`fence_gate`]).

pub(super) mod acceptor;
mod ballot;
mod fence_gate;
mod pending_changes;
mod pinning;
pub(super) mod proposal;
pub(super) mod proposer;
mod turn;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

use core::cmp::Ordering;

use self::acceptor::Acceptor;
use self::fence_gate::FenceGate;
use self::pending_changes::PendingChanges;
use self::pinning::Pinning;
use self::proposal::Proposal;
use self::proposer::{Proposer, Stage};
use super::formation::Formation;
use super::local::LocalNode;
use super::partitions::Partitions;
use super::quorum::QuorumMonitor;
use super::suspicion::Suspicion;
use crate::platform::{OutOfMemory, Owned};
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::errors::{CommandError, Counter};
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{ChangeReason, DeadlineReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{Ballot, Pin, Prepare, Promise, ProposalPart};
use crate::protocol::wire::Kind;

/// A node that has not asked to join for so many rounds of looking for a cluster is not admitted any more.
const JOIN_ROUNDS: u64 = 8;

/// The other rooms that a ballot depends on, lent by the dispatcher for one input.
pub(super) struct Rooms<'a> {
    /// This node and its view.
    pub(super) local: &'a LocalNode,
    /// Which members have failed.
    pub(super) suspicion: &'a mut Suspicion,
    /// The seat of a node without a view.
    pub(super) partitions: &'a mut Partitions,
    /// The candidates for a first view.
    pub(super) formation: &'a mut Formation,
    /// Told that a ballot goes on.
    pub(super) quorum: &'a mut QuorumMonitor,
    /// Whether this node may hold messages of groups that others lack.
    pub(super) has_groups: bool,
    /// This node has decided on a view without itself: it starts no further ballot.
    pub(super) is_departing: bool,
}

/// This node's part in the decision on the next view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Agreement {
    acceptor: Owned<Acceptor>,
    proposer: Owned<Proposer>,
    changes: Owned<PendingChanges>,
    /// The highest round of a ballot that was heard of in this view.
    highest_round: u32,
    /// A refused proposer tries again no sooner.
    not_before: Instant,
    pinning: Pinning,
    fence_gate: FenceGate,
    /// Groups were told to stop in this view.
    is_frozen: bool,
    /// Groups are to be told to stop: set once in a view, until it is taken.
    freezes: bool,
}

impl Agreement {
    /// Nothing promised and nothing to change. Allocates room for the largest view.
    #[inline(never)]
    pub(super) fn new(local: &LocalNode, now: Instant) -> Result<Self, OutOfMemory> {
        let configuration = local.configuration();
        let any = local.own().node;
        let retransmit = configuration.retransmit();
        Ok(Self {
            acceptor: Owned::try_new(Acceptor::new(any)?)?,
            proposer: Owned::try_new(Proposer::new(
                any,
                retransmit,
                configuration.detection().plus(retransmit),
            )?)?,
            changes: Owned::try_new(Self::no_changes(configuration)?)?,
            highest_round: 0,
            not_before: now,
            pinning: Pinning::new(),
            fence_gate: FenceGate::new()?,
            is_frozen: false,
            freezes: false,
        })
    }

    fn no_changes(configuration: &ValidConfiguration) -> Result<PendingChanges, OutOfMemory> {
        let settings = configuration.settings();
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        let probing = milliseconds(settings.probe_interval_ms)
            .times(u64::from(settings.probe_count).saturating_add(2));
        let interval = configuration.heartbeat_interval();
        PendingChanges::new(
            milliseconds(settings.batching_ms),
            probing.plus(interval).plus(configuration.retransmit()),
            configuration.formation_round().times(JOIN_ROUNDS),
        )
    }

    /// A view was installed: nothing is promised in it. Changes that it carried out are forgotten, and joins of nodes that
    /// `has_departed` meanwhile.
    pub(super) fn install(
        &mut self,
        now: Instant,
        local: &LocalNode,
        has_departed: impl Fn(Identity) -> bool,
    ) {
        self.acceptor.clear();
        self.proposer.stop();
        self.changes
            .install(now, local.view_or_empty(), has_departed);
        self.highest_round = 0;
        self.not_before = now;
        self.pinning.enter_view(local.own().node);
        self.fence_gate.clear();
        self.is_frozen = false;
    }

    /// The view was given up: forget everything about it.
    pub(super) fn clear(&mut self) {
        self.acceptor.clear();
        self.proposer.stop();
        self.changes.clear();
        self.highest_round = 0;
        self.pinning = Pinning::new();
        self.fence_gate.clear();
        self.is_frozen = false;
    }

    /// Go on without a view. In a partitionable cluster the promise of the seat holds.
    pub(super) fn resume(&mut self, now: Instant, local: &LocalNode, partitions: &Partitions) {
        if local.is_partitionable() {
            self.acceptor.resume(partitions.promised());
        }
        self.not_before = now;
    }

    // ---- what is known --------------------------------------------------------------------------

    /// Whether this node has promised a ballot in the present view.
    pub(super) fn has_promised(&self) -> bool {
        self.acceptor.promised().is_some()
    }

    /// Whether no view is agreed on as far as this node can prevent it. A ballot that it promised before goes on.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinning.until().is_some() && !self.has_promised()
    }

    /// How much longer views are pinned, and which node asked for it.
    pub(super) fn pin(&self, now: Instant) -> Option<(Duration, NodeId)> {
        self.pinning.pinned(now)
    }

    /// Give up the present ballot: its decision was carried out, or cannot be.
    pub(super) fn stop(&mut self) {
        self.proposer.stop();
    }

    /// The number of the view that this node has accepted, if it has.
    pub(super) fn accepted_number(&self) -> Option<ViewNumber> {
        self.acceptor.accepted().map(Proposal::number)
    }

    /// What was accepted under exactly this ballot.
    pub(super) fn accepted_under<'a>(
        &'a self,
        local: &LocalNode,
        partitions: &'a Partitions,
        ballot: Ballot,
    ) -> Option<&'a Proposal> {
        partitions.accepted_under(local, &self.acceptor, ballot)
    }

    /// Whether groups are to be told to stop since this was last asked.
    pub(super) fn take_freezes(&mut self) -> bool {
        core::mem::take(&mut self.freezes)
    }

    /// Whether a ballot of this node still waits for the handler to fence `subject`. The subject may have been heard again
    /// meanwhile, or another proposer may have taken over.
    pub(super) fn wants_fence(&self, subject: Identity) -> bool {
        self.proposer.is_held() && self.fence_gate.is_wanted(subject)
    }

    // ---- changes ----------------------------------------------------------------------------------

    /// Take in that a node asks to join.
    pub(super) fn add_join(
        &mut self,
        now: Instant,
        suspicion: &Suspicion,
        joiner: Identity,
        address: PeerAddress,
        last_view: ViewNumber,
    ) {
        self.changes.add_join(now, joiner, address, last_view);
        self.update_changes(now, suspicion);
    }

    /// Note that a node still asks to join, whether or not it may now.
    pub(super) fn renew_join(&mut self, now: Instant, joiner: Identity) {
        self.changes.renew_join(now, joiner);
    }

    /// Take in that a member leaves or is evicted. Returns whether that is news.
    pub(super) fn add_leaver(
        &mut self,
        now: Instant,
        suspicion: &Suspicion,
        subject: Identity,
        reason: ChangeReason,
    ) -> bool {
        let is_news = self.changes.add_leaver(subject, reason);
        self.update_changes(now, suspicion);
        is_news
    }

    /// Drop joins that nobody repeats, and note since when there is something to change. To be called when a failure may
    /// have been confirmed.
    pub(super) fn update_changes(&mut self, now: Instant, suspicion: &Suspicion) {
        self.changes.update(now, suspicion.has_confirmed());
    }

    /// How many members have the right to act before this one.
    pub(super) fn rank(&self, local: &LocalNode, suspicion: &Suspicion) -> u64 {
        turn::rank(local, suspicion, &self.changes)
    }

    // ---- pinning and fencing ----------------------------------------------------------------------

    /// Let no view be agreed on for `span_ms` from now on. Zero ends that.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoQuorum`]: there is no view, or no quorum that could be told. Nothing has changed.
    pub(super) fn set_pin(
        &mut self,
        now: Instant,
        local: &LocalNode,
        has_quorum: bool,
        span_ms: u32,
        outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        if local.view().is_none() || (!has_quorum && span_ms > 0) {
            return Err(CommandError::NoQuorum);
        }
        self.pinning.set_own(now, local.own(), span_ms, outbox);
        Ok(())
    }

    /// Take in a pin that a member tells of.
    pub(super) fn handle_pin(&mut self, now: Instant, by: Identity, pin: Pin, outbox: &mut Outbox) {
        self.pinning.handle_pin(now, by, pin, outbox);
    }

    /// End a pin whose time is over, and tell the others of one that was asked for at this node.
    pub(super) fn advance_pin(&mut self, now: Instant, local: &LocalNode, outbox: &mut Outbox) {
        self.pinning.advance(now, local, outbox);
    }

    /// Set how long a fence handler may take. `None`: there is no handler.
    pub(super) fn set_fence_timeout(&mut self, timeout: Option<Duration>) {
        self.fence_gate.set_timeout(timeout);
    }

    /// Take in that the handler has fenced `subject`, or failed to.
    pub(super) fn handle_fence_answer(&mut self, now: Instant, subject: Identity, is_fenced: bool) {
        self.fence_gate.handle_answer(now, subject, is_fenced);
    }

    // ---- messages of ballots ----------------------------------------------------------------------

    /// Take in a request for a promise: promise the ballot unless a higher one was promised, and answer.
    pub(super) fn handle_prepare(
        &mut self,
        now: Instant,
        rooms: &mut Rooms<'_>,
        prepare: &Prepare,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) {
        self.highest_round = self.highest_round.max(prepare.ballot.round);
        if self.acceptor.promise(now, prepare.ballot) {
            self.proposer.stop();
            Self::note_promised(now, rooms, prepare);
            self.freeze(rooms.local, outbox);
        }
        self.answer_prepare(rooms, from, outbox);
    }

    /// Note a promise in the seat as well, if this node votes by it.
    fn note_promised(now: Instant, rooms: &mut Rooms<'_>, prepare: &Prepare) {
        if rooms.partitions.note_promised(now, rooms.local, prepare) {
            rooms.formation.note_view(prepare.number);
        }
    }

    /// Tell groups to stop until the next view: a promise was given. Told once in a view.
    fn freeze(&mut self, local: &LocalNode, outbox: &mut Outbox) {
        if let Some(view) = local.view().filter(|_| !self.is_frozen) {
            self.is_frozen = true;
            self.freezes = true;
            outbox.event(Event::Prepare {
                number: view.number.next(),
            });
        }
    }

    fn answer_prepare(&self, rooms: &Rooms<'_>, to: PeerAddress, outbox: &mut Outbox) {
        let seat = rooms.partitions.seat(rooms.local);
        let accepted = rooms.partitions.accepted(rooms.local, &self.acceptor);
        self.acceptor
            .send_promise(to, rooms.has_groups, seat, accepted, outbox);
    }

    /// Take in a promise, or a refusal that names a higher ballot.
    ///
    /// # Errors
    ///
    /// [`Counter::DroppedUnexpected`]: this node has no ballot under way.
    pub(super) fn handle_promise(
        &mut self,
        now: Instant,
        rooms: &mut Rooms<'_>,
        sender: Identity,
        promise: &Promise<'_>,
    ) -> Result<(), Counter> {
        self.highest_round = self.highest_round.max(promise.ballot.round);
        if self.proposer.stage() == Stage::Idle {
            return Err(Counter::DroppedUnexpected);
        }
        if promise.ballot > self.proposer.ballot() {
            self.give_way(now, rooms);
            return Ok(());
        }
        let (vote, order) = rooms.partitions.judge(rooms.local, sender, &promise.seat);
        if order == Ordering::Greater {
            let electorate = promise.seat.electorate;
            rooms.partitions.note_later_primary(rooms.local, electorate);
        }
        self.proposer.take_promise(sender, promise, vote, order);
        Ok(())
    }

    /// Give up the present ballot, since a higher one is under way, and leave that some time.
    fn give_way(&mut self, now: Instant, rooms: &Rooms<'_>) {
        self.proposer.stop();
        let local = rooms.local;
        let wait = match local.is_joining() {
            true => local.forming_timeout(),
            false => {
                let rank = self.rank(local, rooms.suspicion);
                local.takeover().times(rank.saturating_add(1))
            }
        };
        self.not_before = now.after(wait);
    }

    /// Take in a part of a proposal: accept the proposal once all its parts are there, unless a higher ballot was promised.
    ///
    /// # Errors
    ///
    /// [`Counter::DroppedUnexpected`]: in a partitionable cluster the request for a promise, which says what the ballot is
    /// about, must have come before.
    pub(super) fn handle_propose(
        &mut self,
        now: Instant,
        rooms: &mut Rooms<'_>,
        ballot: Ballot,
        part: &ProposalPart<'_>,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        self.highest_round = self.highest_round.max(ballot.round);
        let promised = self.acceptor.promised().map(|(promised, _)| promised);
        if rooms.local.is_partitionable() && promised != Some(ballot) {
            return Err(Counter::DroppedUnexpected);
        }
        if !self.acceptor.promise(now, ballot) {
            self.answer_prepare(rooms, from, outbox);
            return Ok(());
        }
        self.proposer.stop();
        self.freeze(rooms.local, outbox);
        let by_seat = rooms
            .partitions
            .handle_proposal_part(rooms.local, ballot, part);
        let is_accepted = match by_seat {
            Some(is_accepted) => is_accepted,
            None => self.acceptor.take_part(ballot, part),
        };
        if is_accepted {
            outbox.send([&from], Kind::Accepted, |writer| writer.write(&ballot));
        }
        Ok(())
    }

    /// Take in that the proposer `by` of a promised ballot waits until `subject` is fenced.
    pub(super) fn handle_hold(
        &mut self,
        now: Instant,
        quorum: &mut QuorumMonitor,
        ballot: Ballot,
        by: Identity,
        subject: Identity,
        outbox: &mut Outbox,
    ) {
        if self.acceptor.hear(now, ballot) {
            quorum.note_progress(outbox);
            self.fence_gate.handle_awaited(subject, by, outbox);
        }
    }

    /// Take in that a member has accepted the proposal of this ballot.
    pub(super) fn handle_accepted(&mut self, sender: Identity, ballot: Ballot) {
        self.proposer.take_accepted(sender, ballot);
    }

    /// Note that a member is up, although it may not promise: views are pinned there.
    pub(super) fn note_present(&mut self, sender: Identity) {
        self.proposer.take_presence(sender);
    }

    // ---- time ------------------------------------------------------------------------------------

    /// Send what had to wait for room in the transmit queue.
    pub(super) fn pump(&mut self, local: &LocalNode, partitions: &Partitions, outbox: &mut Outbox) {
        if self.proposer.stage() == Stage::Proposing {
            let ballot = self.proposer.ballot();
            let accepted = partitions.accepted_under(local, &self.acceptor, ballot);
            self.proposer.pump(local.own(), accepted, outbox);
        }
    }

    /// Keep the vote of a node that is about to leave its view.
    pub(super) fn keep_seat(&mut self, local: &LocalNode, partitions: &mut Partitions) {
        partitions.keep_seat(local, &mut self.acceptor);
    }

    /// When [`Self::advance`] or [`Self::advance_pin`] has something to do although nothing comes in, and what.
    pub(super) fn next_deadline(
        &self,
        local: &LocalNode,
        suspicion: &Suspicion,
        is_departing: bool,
    ) -> Option<(Instant, DeadlineReason)> {
        let turn = match self.has_promised() {
            true => DeadlineReason::Takeover,
            false => DeadlineReason::Batching,
        };
        let with = |at: Option<Instant>, reason| at.map(|at| (at, reason));
        let deadlines = [
            with(self.turn_at(local, suspicion, is_departing), turn),
            with(self.pinning.next_deadline(), DeadlineReason::Pinned),
            with(
                self.proposer.next_deadline(),
                DeadlineReason::MembershipRetransmit,
            ),
        ];
        deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
