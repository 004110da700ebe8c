// SPDX-License-Identifier: GPL-2.0

//! Who belongs to the cluster: finding it, agreeing on views, leaving it.
//!
//! ```text
//!             in a view                 leave_cluster
//!  Joining -----------------> Member -------------------> Leaving
//!     ^                          |                           |
//!     |  a later view does not   |                           | a view without us, or one second
//!     |  have us, or no quorum   |                           v
//!     +--- for long: new --------+                          Gone
//!          incarnation
//! ```
//!
//! This type dispatches; each part of the work has its file: [`joining`] looks for a cluster,
//! [`watch`] says what the pulse has found out, [`changes`] and [`doubts`] collect what a view has
//! to change, [`agreement`] decides on it, [`announcement`] and [`transfer`] bring it to everybody.

mod agreement;
mod announcement;
mod changes;
mod doubts;
mod installation;
mod joining;
mod messages;
mod proposal;
mod replay;
mod transfer;
mod watch;

pub(in crate::protocol) use replay::ReplayWindows;

use self::agreement::{Acceptor, Proposer, QuorumRule, Stage};
use self::announcement::Announcement;
use self::changes::{Changes, FreeSlots};
use self::doubts::Doubts;
use self::joining::Joining;
use self::transfer::{Assembly, Departures, Transfers};
use self::watch::{send_report, Watch};
use super::configuration::ValidConfiguration;
use super::errors::Counter;
use super::identity::{Identity, NodeId, PeerAddress, ViewNumber};
use super::limits::{COORDINATORS_MAX, WATCHED_MAX};
use super::outbox::Outbox;
use super::outputs::{DeadlineReason, Event};
use super::pulse::{PulseAssignment, PulseReport};
use super::random::Random;
use super::ring::Rings;
use super::time::{Duration, Instant};
use super::view::{ClusterView, MemberRecord};
use super::wire::membership::{Ballot, Change, ReportRecord};
use crate::platform::OutOfMemory;

/// How long a node that leaves waits for the others to agree.
const LEAVE_TIMEOUT: Duration = Duration::from_milliseconds(1000);

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Looks for its cluster.
    Joining,
    /// Has a view.
    Member,
    /// Has a view and has said that it wants to go.
    Leaving,
    /// Has left.
    Gone,
}

/// What the rest of the node has to do after an input, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals {
    /// A promise was given: groups stop until the next view.
    pub(super) frozen: bool,
    /// A view was installed.
    pub(super) installed: bool,
    /// The node lives on under a new incarnation and without a view.
    pub(super) excluded: Option<Identity>,
    /// The quorum was lost or is back.
    pub(super) quorum: Option<bool>,
}

/// A leave that was asked for.
#[derive(Clone, Copy, Debug)]
struct Farewell {
    give_up_at: Instant,
    send_at: Instant,
    attempts: u32,
}

/// The membership of one node.
pub(super) struct Membership {
    own: Identity,
    address: PeerAddress,
    configuration: ValidConfiguration,
    random: Random,
    phase: Phase,
    view: ClusterView,
    installed_at: Instant,
    /// The next view while it is being put together.
    next: ClusterView,
    rings: Rings,
    departures: Departures,
    transfers: Transfers,
    assembly: Assembly,
    acceptor: Acceptor,
    proposer: Proposer,
    announcement: Announcement,
    watch: Watch,
    changes: Changes,
    joining: Joining,
    farewell: Option<Farewell>,
    signals: Signals,
    has_groups: bool,
    /// Groups were told to stop in this view.
    is_frozen: bool,
    /// Since when a view change is needed that does not come about.
    troubled_since: Option<Instant>,
    quorum_lost: bool,
    /// The highest round of a ballot that was heard of in this view.
    highest_round: u32,
    /// A refused proposer tries again no sooner.
    not_before: Instant,
    /// Whom a view was asked of last, and when.
    requested: Option<(PeerAddress, Instant)>,
    assignment: Option<PulseAssignment>,
}

impl Membership {
    /// A node that looks for its cluster. Allocates all it ever needs.
    pub(super) fn new(
        own: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let settings = *configuration.settings();
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        let retransmit = configuration.retransmit();
        let probing = milliseconds(settings.probe_interval_ms)
            .times(u64::from(settings.probe_count).saturating_add(2));
        let interval = configuration.heartbeat_interval();
        let doubts = Doubts::new(
            milliseconds(settings.confirmation_timeout_ms),
            probing.plus(interval).plus(retransmit.times(4)),
        )?;
        Ok(Self {
            own,
            address,
            random: Random::new(seed),
            phase: Phase::Joining,
            view: ClusterView::empty(own.node)?,
            installed_at: now,
            next: ClusterView::empty(own.node)?,
            rings: Rings::new()?,
            departures: Departures::new()?,
            transfers: Transfers::new()?,
            assembly: Assembly::empty(own.node)?,
            acceptor: Acceptor::new(own.node)?,
            proposer: Proposer::new(own.node, retransmit)?,
            announcement: Announcement::new(retransmit)?,
            watch: Watch::new(retransmit)?,
            changes: Changes::new(
                doubts,
                milliseconds(settings.batching_ms),
                probing.plus(interval).plus(retransmit),
            )?,
            joining: Joining::new(now, &configuration)?,
            farewell: None,
            signals: Signals::default(),
            has_groups: false,
            is_frozen: false,
            troubled_since: None,
            quorum_lost: false,
            highest_round: 0,
            not_before: now,
            requested: None,
            assignment: None,
            configuration,
        })
    }

    // ---- getters ------------------------------------------------------------------------------

    /// Who this node is now.
    pub(super) fn own(&self) -> Identity {
        self.own
    }

    /// The present view.
    pub(super) fn view(&self) -> Option<&ClusterView> {
        (self.view.number != ViewNumber::default()).then_some(&self.view)
    }

    /// Whether the view has a quorum as far as this node knows.
    pub(super) fn has_quorum(&self) -> bool {
        self.view().is_some() && !self.quorum_lost
    }

    /// Whether group datagrams are to be dealt with: there is a view and no promise for another.
    pub(super) fn is_settled(&self) -> bool {
        self.view().is_some() && self.acceptor.promised().is_none()
    }

    /// The number of the cluster, for the headers.
    pub(super) fn cluster(&self) -> u32 {
        self.configuration.cluster()
    }

    /// Whether the node has left.
    pub(super) fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// What the rest of the node has to do; asked once after each input.
    pub(super) fn take_signals(&mut self) -> Signals {
        core::mem::take(&mut self.signals)
    }

    /// The pulse's new assignment, once after each change.
    pub(super) fn take_assignment(&mut self) -> Option<PulseAssignment> {
        self.assignment.take()
    }

    /// Told before each input: whether this node may hold messages of groups that others lack.
    pub(super) fn set_has_groups(&mut self, has_groups: bool) {
        self.has_groups = has_groups;
    }

    fn coordinators_wanted(&self) -> u32 {
        self.configuration.settings().coordinators
    }

    fn takeover(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().takeover_ms))
    }

    // ---- inputs -------------------------------------------------------------------------------

    /// The pulse has found out something about a node that it watches.
    pub(super) fn handle_pulse_report(
        &mut self,
        now: Instant,
        report: PulseReport,
        outbox: &mut Outbox,
    ) {
        match report {
            PulseReport::Silent {
                subject,
                silence_ms,
            } if self.view.has(subject) => {
                self.watch.suspect(now, subject);
                outbox.counters.count(Counter::Suspicions);
                outbox.event(Event::Suspected {
                    subject,
                    silence_ms,
                });
            }
            PulseReport::Dead {
                subject,
                silence_ms,
            } if self.view.has(subject) => {
                self.watch.accuse(now, subject);
                outbox.counters.count(Counter::Accusations);
                outbox.event(Event::Accused {
                    subject,
                    silence_ms,
                });
            }
            PulseReport::Heard { subject } if self.view.has(subject) => {
                self.watch.heard(now, subject);
                outbox.event(Event::Unsuspected { subject });
            }
            PulseReport::OtherView { sender, from, view } => {
                self.meet_other_view(now, sender, from, view, outbox);
            }
            _ => {}
        }
        self.advance(now, outbox);
    }

    /// Says good-bye.
    pub(super) fn leave_cluster(&mut self, now: Instant, outbox: &mut Outbox) {
        match self.phase {
            Phase::Joining => self.finish_leaving(outbox),
            Phase::Member if self.view.count() <= 1 => self.finish_leaving(outbox),
            Phase::Member => {
                self.phase = Phase::Leaving;
                self.changes.add_leave(now, self.own);
                self.farewell = Some(Farewell {
                    give_up_at: now.after(LEAVE_TIMEOUT),
                    send_at: now,
                    attempts: 0,
                });
                self.advance(now, outbox);
            }
            Phase::Leaving | Phase::Gone => {}
        }
    }

    /// Does everything that is due at `now`.
    pub(super) fn advance(&mut self, now: Instant, outbox: &mut Outbox) {
        match self.phase {
            Phase::Gone => return,
            Phase::Joining => {
                self.joining
                    .begin_round(now, &self.configuration, &mut self.random, outbox);
            }
            Phase::Member | Phase::Leaving => {
                self.advance_watch(now, outbox);
                self.advance_doubts(now, outbox);
                self.advance_farewell(now, outbox);
                self.advance_quorum(now, outbox);
            }
        }
        self.advance_ballot(now, outbox);
        self.announcement.send_due(now, &mut self.transfers, outbox);
        self.pump(outbox);
    }

    /// Sends what had to wait for room in the transmit queue.
    pub(super) fn pump(&mut self, outbox: &mut Outbox) {
        if self.proposer.stage() == Stage::Proposing {
            self.proposer
                .pump(self.own, self.acceptor.accepted(), outbox);
        }
        self.transfers.pump(&self.view, &self.departures, outbox);
    }

    // ---- what is due --------------------------------------------------------------------------

    fn advance_watch(&mut self, now: Instant, outbox: &mut Outbox) {
        let mut own_records = [None; 2 * WATCHED_MAX];
        let mut places = own_records.iter_mut();
        self.watch.send_due(
            now,
            self.own.node,
            &self.view,
            self.configuration.settings().coordinators,
            outbox,
            |record| {
                if let Some(place) = places.next() {
                    *place = Some(record);
                }
            },
        );
        for record in own_records.into_iter().flatten() {
            self.take_report(now, self.own, record, outbox);
        }
    }

    fn advance_doubts(&mut self, now: Instant, outbox: &mut Outbox) {
        let wanted = self.configuration.settings().confirmations as usize;
        loop {
            let (view, rings) = (&self.view, &self.rings);
            let confirmed = self.changes.doubts.next_confirmed(now, |doubts, subject| {
                let Some(position) = view.position(subject.node) else {
                    return 1;
                };
                let mut watchers = [None; WATCHED_MAX];
                for watcher in rings.successors(position) {
                    let Some(member) = view.members().get(watcher) else {
                        continue;
                    };
                    if doubts.is_accused(member.identity) || watchers.contains(&Some(watcher)) {
                        continue;
                    }
                    if let Some(free) = watchers.iter_mut().find(|place| place.is_none()) {
                        *free = Some(watcher);
                    }
                }
                watchers.iter().flatten().count().min(wanted)
            });
            let Some(subject) = confirmed else {
                break;
            };
            self.relay(&ReportRecord::Confirm(subject), outbox);
        }
        self.changes.doubts.forget_old(now);
        self.changes.update(now);
    }

    fn advance_farewell(&mut self, now: Instant, outbox: &mut Outbox) {
        let Some(mut farewell) = self.farewell else {
            return;
        };
        if now >= farewell.give_up_at {
            self.finish_leaving(outbox);
            return;
        }
        if now < farewell.send_at {
            return;
        }
        let wanted = if farewell.attempts == 0 {
            1
        } else {
            COORDINATORS_MAX
        };
        let mut addresses = [None; COORDINATORS_MAX];
        let to = self
            .view
            .coordinators_for(self.own.node, self.coordinators_wanted())
            .chain(self.view.members().iter())
            .filter(|member| {
                member.identity.node != self.own.node && !self.is_doubted(member.identity)
            })
            .take(wanted);
        for (address, member) in addresses.iter_mut().zip(to) {
            *address = Some(member.address);
        }
        for address in addresses.into_iter().flatten() {
            send_report(&[address], &ReportRecord::Leave(self.own), outbox);
        }
        farewell.attempts = farewell.attempts.saturating_add(1);
        farewell.send_at = now.after(self.configuration.retransmit().times(2));
        self.farewell = Some(farewell);
    }

    /// How long a needed view change may take before the quorum counts as lost.
    fn patience(&self) -> Duration {
        self.takeover()
            .times(u64::from(self.coordinators_wanted()).saturating_add(2))
    }

    fn blocked_timeout(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().blocked_timeout_ms))
    }

    fn advance_quorum(&mut self, now: Instant, outbox: &mut Outbox) {
        if !matches!(self.phase, Phase::Member | Phase::Leaving) {
            return;
        }
        let is_troubled = self.acceptor.promised().is_some()
            || self.changes.doubts.has_confirmed()
            || self.watch.accuses_anybody();
        if !is_troubled {
            self.troubled_since = None;
            self.regain_quorum(outbox);
            return;
        }
        let since = *self.troubled_since.get_or_insert(now);
        if now >= since.after(self.patience()) && !self.quorum_lost {
            self.quorum_lost = true;
            self.signals.quorum = Some(false);
            outbox.event(Event::QuorumLost);
        }
        if self.quorum_lost && now >= since.after(self.patience()).after(self.blocked_timeout()) {
            self.exclude(now, self.view.number, outbox);
        }
    }

    fn regain_quorum(&mut self, outbox: &mut Outbox) {
        if self.quorum_lost {
            self.quorum_lost = false;
            self.signals.quorum = Some(true);
            outbox.event(Event::QuorumRegained);
        }
    }

    // ---- proposing ----------------------------------------------------------------------------

    fn advance_ballot(&mut self, now: Instant, outbox: &mut Outbox) {
        let is_forming = self.phase == Phase::Joining;
        if self.proposer.is_stuck(now)
            || (is_forming && self.proposer.is_older(now, self.forming_timeout()))
        {
            self.proposer.stop();
        }
        if self.proposer.stage() == Stage::Idle {
            let is_due = match self.phase {
                Phase::Joining => self.may_form(now),
                _ => self.act_at().is_some_and(|at| now >= at),
            };
            if !is_due {
                return;
            }
            self.start_ballot(now, outbox);
        }
        if self.is_prepared(now) {
            self.fill_proposal();
            self.proposer.propose(now, self.own);
        }
        if self.proposer.is_decided() {
            self.decide(now, outbox);
            return;
        }
        self.proposer
            .send_due(now, self.own, self.acceptor.accepted(), outbox);
    }

    /// How long an attempt to form a first view is kept up among the same voters.
    fn forming_timeout(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().formation_ms)).times(3)
    }

    fn may_form(&self, now: Instant) -> bool {
        // Another one's attempt gets its time.
        let patience = self.forming_timeout();
        now >= self.not_before
            && self
                .acceptor
                .promised()
                .is_none_or(|(_, at)| now >= at.after(patience))
            && self
                .joining
                .may_form(now, self.address, &self.configuration)
    }

    /// Whether this node should not be counted on: itself or a coordinator has heard that it may be
    /// dead.
    fn is_doubted(&self, identity: Identity) -> bool {
        self.changes.doubts.is_accused(identity) || self.watch.doubts(identity.node)
    }

    /// How many nodes have the right to act before this one: coordinators first, then the others,
    /// without those that are doubted or leaving.
    fn rank(&self) -> u64 {
        let acts = |member: &&MemberRecord| {
            !self.is_doubted(member.identity) && !self.changes.is_leaving(member.identity)
        };
        let wanted = self.coordinators_wanted();
        let own = self.own.node;
        let is_leaving = self.changes.is_leaving(self.own);
        let is_coordinator = self.view.is_coordinator(own, wanted);
        let before = |member: &&MemberRecord| is_leaving || member.identity.node < own;
        let first = self
            .view
            .coordinators(wanted)
            .filter(|member| member.identity.node != own)
            .filter(|member| !is_coordinator || before(member))
            .filter(acts)
            .count();
        let then = if is_coordinator && !is_leaving {
            0
        } else {
            self.view
                .members()
                .iter()
                .filter(|member| member.identity.node != own)
                .filter(before)
                .filter(|member| !self.view.is_coordinator(member.identity.node, wanted))
                .filter(acts)
                .count()
        };
        first.saturating_add(then) as u64
    }

    /// When this member is to start a ballot.
    fn act_at(&self) -> Option<Instant> {
        if self.proposer.stage() != Stage::Idle
            || !matches!(self.phase, Phase::Member | Phase::Leaving)
        {
            return None;
        }
        let due = self.changes.due_at();
        let promised = self.acceptor.promised();
        if due.is_none() && promised.is_none() {
            return None;
        }
        let rank = self.rank();
        let due = due.map(|due| due.after(self.takeover().times(rank)));
        let at = match promised {
            None => due?,
            Some((ballot, heard_at)) => {
                let silent = heard_at.after(self.takeover().times(rank.saturating_add(1)));
                let coordinator = self.view.member(ballot.coordinator);
                let is_dead = coordinator.is_none_or(|member| self.is_doubted(member.identity));
                match due {
                    Some(due) if is_dead => due.min(silent),
                    _ => silent,
                }
            }
        };
        Some(at.max(self.not_before))
    }

    fn start_ballot(&mut self, now: Instant, outbox: &mut Outbox) {
        let promised = self
            .acceptor
            .promised()
            .map_or(0, |(ballot, _)| ballot.round);
        let ballot = Ballot {
            round: promised.max(self.highest_round).saturating_add(1),
            coordinator: self.own.node,
        };
        self.highest_round = ballot.round;
        if !self.acceptor.promise(now, ballot) {
            return;
        }
        let accepted = self.acceptor.accepted();
        if self.phase == Phase::Joining {
            let own = core::iter::once((self.own, self.address));
            let others = self.joining.candidates(now);
            self.proposer.start(
                now,
                ballot,
                QuorumRule::AtLeast(self.configuration.formation_quorum()),
                own.chain(others.map(|candidate| (candidate.identity, candidate.address))),
                accepted,
            );
        } else {
            let members = self.view.members().iter();
            self.proposer.start(
                now,
                ballot,
                QuorumRule::OfView,
                members.map(|member| (member.identity, member.address)),
                accepted,
            );
        }
        self.proposer.promise_own(self.own, self.has_groups);
        self.freeze(outbox);
    }

    fn is_prepared(&self, now: Instant) -> bool {
        self.proposer
            .is_prepared(now, |voter| !self.changes.doubts.is_accused(voter))
    }

    /// Accepts, as the first, the value that this node proposes: one that may have been decided
    /// already, or what was collected.
    fn fill_proposal(&mut self) {
        let ballot = self.proposer.ballot();
        if let Some(found) = self.proposer.found() {
            self.acceptor
                .accept_own(|proposal| proposal.copy_from(found, ballot));
            return;
        }
        let (view, proposer, changes) = (&self.view, &self.proposer, &self.changes);
        let own = self.own.node;
        let is_first = self.phase == Phase::Joining;
        let quorum_lost = self.quorum_lost;
        self.acceptor.accept_own(|proposal| {
            proposal.begin(ballot, own);
            if is_first {
                let mut slots = FreeSlots::new();
                for voter in proposer.voters().iter().filter(|voter| voter.promised) {
                    let Some(slot) = slots.next(view) else {
                        break;
                    };
                    proposal.add(Change::Add(MemberRecord {
                        identity: voter.identity,
                        address: voter.address,
                        slot,
                    }));
                }
            } else {
                for eight in proposer.voters().chunks(8) {
                    let bits = eight.iter().enumerate().fold(0, |bits, (place, voter)| {
                        let is_reporter = !voter.promised || voter.has_groups;
                        bits | (u8::from(is_reporter) << place)
                    });
                    proposal.add_reporters(bits);
                }
                // After a time without a quorum many are accused of what the network did. Who
                // answers is not taken out for it.
                changes.fill(view, proposal, |subject| {
                    quorum_lost
                        && proposer
                            .voters()
                            .iter()
                            .any(|voter| voter.identity == subject && voter.promised)
                });
            }
            proposal.close();
        });
    }

    // ---- relaying -----------------------------------------------------------------------------

    /// Whether this node collects for the arc that `node` lies in.
    fn is_arc_coordinator(&self, node: NodeId) -> bool {
        self.arc_coordinator(node)
            .is_some_and(|member| member.identity == self.own)
    }

    /// Who collects for the arc that `node` lies in: the first that is not doubted.
    fn arc_coordinator(&self, node: NodeId) -> Option<&MemberRecord> {
        self.view
            .coordinators_for(node, self.coordinators_wanted())
            .find(|member| member.identity.node != node && !self.is_doubted(member.identity))
    }

    /// Tells the other coordinators, if this node is one.
    fn relay(&self, record: &ReportRecord, outbox: &mut Outbox) {
        let wanted = self.coordinators_wanted();
        if !self.view.is_coordinator(self.own.node, wanted) {
            return;
        }
        for member in self.view.coordinators(wanted) {
            if member.identity != self.own {
                send_report(&[member.address], record, outbox);
            }
        }
    }

    // ---- the next deadline --------------------------------------------------------------------

    /// When [`Self::advance`] has something to do although nothing comes in, and what.
    pub(super) fn next_deadline(&self) -> Option<(Instant, DeadlineReason)> {
        let mut next: Option<(Instant, DeadlineReason)> = None;
        let mut add = |at: Option<Instant>, reason| {
            let Some(at) = at else {
                return;
            };
            if next.is_none_or(|(earliest, _)| at < earliest) {
                next = Some((at, reason));
            }
        };
        match self.phase {
            Phase::Gone => return None,
            Phase::Joining => add(
                Some(self.joining.next_deadline()),
                DeadlineReason::Formation,
            ),
            Phase::Member | Phase::Leaving => {
                let reason = if self.acceptor.promised().is_some() {
                    DeadlineReason::Takeover
                } else {
                    DeadlineReason::Batching
                };
                add(self.act_at(), reason);
                add(
                    self.changes.doubts.next_deadline(),
                    DeadlineReason::Confirmation,
                );
                add(
                    self.watch.next_deadline(),
                    DeadlineReason::MembershipRetransmit,
                );
                let farewell = self
                    .farewell
                    .map(|farewell| farewell.send_at.min(farewell.give_up_at));
                add(farewell, DeadlineReason::MembershipRetransmit);
                let blocked = self.troubled_since.map(|since| {
                    let lost_at = since.after(self.patience());
                    if self.quorum_lost {
                        lost_at.after(self.blocked_timeout())
                    } else {
                        lost_at
                    }
                });
                add(blocked, DeadlineReason::Blocked);
            }
        }
        add(
            self.proposer.next_deadline(),
            DeadlineReason::MembershipRetransmit,
        );
        add(
            self.announcement.next_deadline(),
            DeadlineReason::MembershipRetransmit,
        );
        next
    }
}
