// SPDX-License-Identifier: GPL-2.0

//! Who belongs to the cluster: finding it, agreeing on views, leaving it.
//!
//! ```text
//!             in a view                 leave_cluster
//!  Joining -----------------> Member -------------------> Leaving
//!     ^                        |  |                          |
//!     |  a later view does not |  | an administrator         | a view without us, or one second
//!     |  have us, or no quorum |  | has put us out           v
//!     +--- and a member has ---+  +-----------------------> Gone
//!          started anew: new incarnation
//! ```
//!
//! This type dispatches; each part of the work has its file: [`joining`] looks for a cluster,
//! [`admission`] answers who does, [`watch`] says what the failure detector has found out, [`changes`] and [`suspicions`]
//! collect what a view has to change, [`indirect_probe`] asks who is accused, [`roll_call`] asks all, [`agreement`] decides on it,
//! [`announcement`] and [`transfer`] bring it to everybody, [`reminders`] keeps the answers to those few that
//! have missed a lot, [`reprieves`] those who were accused and answered, [`pinning`] that an administrator wants
//! no views for a while, [`fencing`] who must be fenced first, [`parts`] what parts of a partitionable cluster do.

mod admission;
mod agreement;
mod announcement;
mod changes;
mod duties;
#[cfg(kcgcs_exploration)]
mod exploration;
mod fencing;
mod indirect_probe;
mod installation;
mod joining;
mod messages;
mod parts;
mod pinning;
mod proposal;
mod proposing;
mod reminders;
mod replay;
mod reprieves;
mod roll_call;
mod suspicions;
mod transfer;
mod watch;

pub(in crate::protocol) use messages::Standing;
pub(in crate::protocol) use replay::ReplayWindows;

use self::agreement::{Acceptor, Proposer, Stage};
use self::announcement::Announcement;
use self::changes::Changes;
use self::fencing::Fencing;
use self::joining::Joining;
use self::parts::Memory;
use self::pinning::Pinning;
use self::reminders::Reminders;
use self::reprieves::Reprieves;
use self::roll_call::RollCall;
use self::suspicions::Suspicions;
use self::transfer::{Assembly, Departures, Transfers};
use self::watch::Watch;
use super::configuration::ValidConfiguration;
use super::errors::CommandError;
use super::failure_detector::{DetectorAssignment, DetectorReport};
use super::identity::{Identity, NodeId, PeerAddress, ViewNumber};
use super::outbox::Outbox;
use super::outputs::{ChangeReason, DeadlineReason, Event};
use super::random::Random;
use super::ring::Rings;
use super::time::{Duration, Instant};
use super::view::ClusterView;
use super::wire::membership::ReportRecord;
use crate::platform::{BoundedVec, OutOfMemory, Owned};

/// How long a node that leaves waits for the others to agree.
const LEAVE_TIMEOUT: Duration = Duration::from_milliseconds(1000);

/// Who has not asked for so many rounds of looking for a cluster is not let in any more.
const JOIN_ROUNDS: u64 = 8;

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
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
    /// The new incarnation is one in another part of the cluster, to which the node goes by itself.
    pub(super) keeps_past: bool,
    /// The node is out for good: its memberships in groups end.
    pub(super) is_over: bool,
}

/// A leave that was asked for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Farewell {
    give_up_at: Instant,
    send_at: Instant,
    attempts: u32,
}

/// The membership of one node.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct Membership {
    own: Identity,
    address: PeerAddress,
    configuration: ValidConfiguration,
    random: Random,
    phase: Phase,
    view: ClusterView,
    installed_at: Instant,
    /// When this incarnation got its first view.
    member_since: Instant,
    /// The next view while it is being put together.
    next: ClusterView,
    rings: Rings,
    departures: Departures,
    transfers: Transfers,
    reminders: Reminders,
    assembly: Owned<Assembly>,
    acceptor: Owned<Acceptor>,
    proposer: Owned<Proposer>,
    announcement: Announcement,
    watch: Watch,
    changes: Owned<Changes>,
    roll_call: RollCall,
    joining: Owned<Joining>,
    farewell: Option<Farewell>,
    signals: Signals,
    has_groups: bool,
    /// Groups were told to stop in this view.
    is_frozen: bool,
    /// Since when a view change is needed that does not come about.
    troubled_since: Option<Instant>,
    quorum_lost: bool,
    /// Whether a node of the view was heard in a later incarnation: its vote in this view is lost for ever.
    has_heard_later_incarnation: bool,
    /// Whom this node has lately left in a view although enough accused them, since they answered.
    reprieves: Reprieves,
    /// The highest round of a ballot that was heard of in this view.
    highest_round: u32,
    /// A refused proposer tries again no sooner.
    not_before: Instant,
    /// Whom a view was asked of last, and when.
    requested: Option<(PeerAddress, Instant)>,
    /// The failure detector's new assignment, if there is one: not within this value, which is large enough.
    assignment: BoundedVec<DetectorAssignment>,
    /// This node has decided on a view that it is not in itself, and stays until the others know.
    parting: Option<ViewNumber>,
    pinning: Pinning,
    fencing: Fencing,
    /// In a partitionable cluster.
    memory: Option<Owned<Memory>>,
}

impl Membership {
    /// A node that looks for its cluster. Allocates all it ever needs. What it lays on the stack meanwhile
    /// shall not be there beside the rest of a node.
    #[inline(never)]
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
        let suspicions = Suspicions::new(
            milliseconds(settings.confirmation_timeout_ms),
            probing.plus(interval).plus(retransmit.times(4)),
            retransmit,
        )?;
        Ok(Self {
            own,
            address,
            random: Random::new(seed),
            phase: Phase::Joining,
            view: ClusterView::empty(own.node)?,
            installed_at: now,
            member_since: now,
            next: ClusterView::empty(own.node)?,
            rings: Rings::new()?,
            departures: Departures::new()?,
            transfers: Transfers::new()?,
            reminders: Reminders::new()?,
            assembly: Owned::try_new(Assembly::empty(own.node)?)?,
            acceptor: Owned::try_new(Acceptor::new(own.node)?)?,
            proposer: Owned::try_new(Proposer::new(
                own.node,
                retransmit,
                configuration.detection().plus(retransmit),
            )?)?,
            announcement: Announcement::new(retransmit)?,
            watch: Watch::new(retransmit, milliseconds(settings.confirmation_timeout_ms))?,
            changes: Owned::try_new(Changes::new(
                suspicions,
                milliseconds(settings.batching_ms),
                probing.plus(interval).plus(retransmit),
                configuration.formation_round().times(JOIN_ROUNDS),
            )?)?,
            roll_call: RollCall::new(
                settings.probe_count,
                milliseconds(settings.probe_interval_ms),
                configuration.check_pause(),
            ),
            joining: Owned::try_new(Joining::new(now, &configuration, own.incarnation)?)?,
            farewell: None,
            signals: Signals::default(),
            has_groups: false,
            is_frozen: false,
            troubled_since: None,
            quorum_lost: false,
            has_heard_later_incarnation: false,
            reprieves: Reprieves::new()?,
            highest_round: 0,
            not_before: now,
            requested: None,
            assignment: BoundedVec::with_capacity(1)?,
            parting: None,
            pinning: Pinning::new(),
            fencing: Fencing::new()?,
            memory: match settings.partitionable {
                0 => None,
                _ => Some(Owned::try_new(Memory::new(own, now)?)?),
            },
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

    /// Why nodes went lately.
    pub(super) fn departed(&self) -> &[(Identity, ChangeReason)] {
        self.departures.all()
    }

    /// What the rest of the node has to do; asked once after each input.
    pub(super) fn take_signals(&mut self) -> Signals {
        core::mem::take(&mut self.signals)
    }

    /// The failure detector's new assignment, once after each change.
    pub(super) fn take_assignment(&mut self) -> Option<DetectorAssignment> {
        self.assignment.pop()
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

    /// The failure detector has found out something about a node that it watches.
    pub(super) fn handle_detector_report(
        &mut self,
        now: Instant,
        report: DetectorReport,
        outbox: &mut Outbox,
    ) {
        match report {
            DetectorReport::Silent {
                subject,
                silence_ms,
            } if self.view.has(subject) => {
                self.watch.suspect(now, subject);
                outbox.event(Event::Suspected {
                    subject,
                    silence_ms,
                });
            }
            DetectorReport::Dead {
                subject,
                silence_ms,
            } if self.view.has(subject) => {
                self.watch.accuse(now, subject);
                outbox.event(Event::Accused {
                    subject,
                    silence_ms,
                });
            }
            DetectorReport::Heard { subject } if self.view.has(subject) => {
                self.watch.heard(now, subject);
                outbox.event(Event::Unsuspected { subject });
            }
            DetectorReport::OtherView { sender, from, view } => {
                self.note_later_incarnation(sender, from);
                self.meet_other_view(now, sender, from, view, outbox);
            }
            _ => {}
        }
        self.advance(now, outbox);
    }

    /// An administrator wants a member out.
    ///
    /// # Errors
    ///
    /// There is no quorum that could let it go, or it is no member, or this node. Nothing has changed.
    pub(super) fn evict(
        &mut self,
        now: Instant,
        node: NodeId,
        outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        if !self.has_quorum() {
            return Err(CommandError::NoQuorum);
        }
        let member = self.view.member(node).map(|member| member.identity);
        let subject = member
            .filter(|subject| *subject != self.own)
            .ok_or(CommandError::NoSuchMember)?;
        // Should no coordinator hear of it, this node proposes it itself when its turn comes.
        self.changes.add_leaver(now, subject, ChangeReason::Evicted);
        let record = ReportRecord::Evict(subject);
        self.tell_coordinators(&record, outbox);
        // The only coordinator may be the one that is to go.
        let next = self.arc_coordinator(node).map(|member| member.identity);
        if let Some(next) = next.filter(|next| !self.is_coordinator(*next)) {
            self.tell_member(next, &record, outbox);
        }
        self.advance(now, outbox);
        Ok(())
    }

    /// Says good-bye.
    pub(super) fn leave_cluster(&mut self, now: Instant, outbox: &mut Outbox) {
        match self.phase {
            Phase::Joining => self.finish_leaving(outbox),
            Phase::Member if self.view.count() <= 1 => self.finish_leaving(outbox),
            Phase::Member => {
                self.phase = Phase::Leaving;
                self.changes.add_leaver(now, self.own, ChangeReason::Leave);
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
                let known = (self.last_primary(), self.seat());
                let (configuration, random) = (&self.configuration, &mut self.random);
                self.joining
                    .begin_round(now, configuration, known, random, outbox);
            }
            Phase::Member | Phase::Leaving => {
                self.advance_pin(now, outbox);
                self.advance_watch(now, outbox);
                self.advance_roll_call(now, outbox);
                self.advance_suspicions(now, outbox);
                self.advance_farewell(now, outbox);
                self.advance_quorum(now, outbox);
                self.advance_asking(now, outbox);
            }
        }
        self.advance_ballot(now, outbox);
        self.announcement.send_due(now, &mut self.transfers, outbox);
        self.advance_parting(now, outbox);
        self.pump(outbox);
    }

    /// Sends what had to wait for room in the transmit queue.
    pub(super) fn pump(&mut self, outbox: &mut Outbox) {
        if self.proposer.stage() == Stage::Proposing {
            let is_formation = self.phase == Phase::Joining;
            let memory = self.memory.as_deref().filter(|_| is_formation);
            let accepted = proposing::accepted(memory, &self.acceptor, self.proposer.ballot());
            self.proposer.pump(self.own, accepted, outbox);
        }
        self.transfers.pump(&self.view, &self.departures, outbox);
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
                    self.changes.suspicions.next_deadline(),
                    DeadlineReason::Confirmation,
                );
                add(
                    self.watch.next_deadline(),
                    DeadlineReason::MembershipRetransmit,
                );
                add(self.roll_call.next_deadline(), DeadlineReason::Confirmation);
                let farewell = self
                    .farewell
                    .map(|farewell| farewell.send_at.min(farewell.give_up_at));
                add(farewell, DeadlineReason::MembershipRetransmit);
                add(self.quorum_deadline(), DeadlineReason::Blocked);
                add(self.ask_elsewhere_at(), DeadlineReason::Formation);
                add(self.pinning.next_deadline(), DeadlineReason::Pinned);
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
