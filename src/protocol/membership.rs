// SPDX-License-Identifier: GPL-2.0

//! Who belongs to the cluster: finding it, agreeing on views, leaving it.
//!
//! ```text
//!             in a view                 leave_cluster
//!  Joining -----------------> Member -------------------> Leaving
//!     ^                        |  |                          |
//!     |  a later view without  |  | evicted by an            | a view without this node, or one second
//!     |  this node, or no      |  | administrator            v
//!     +--- quorum and no way --+  +-----------------------> Gone
//!          back to it: new incarnation
//! ```
//!
//! [`Membership`] holds the rooms and dispatches between them. Each room owns its state; nothing else sees its fields:
//!
//! | room | comes in | goes out |
//! |---|---|---|
//! | [`local`] | | who this node is, its view: read by all rooms |
//! | [`suspicion`] | reports of the failure detector and of monitors | confirmed failures |
//! | [`agreement`] | joins, leaves, failures, ballots of others | a decided view |
//! | [`dissemination`] | a decided view, requests for views | commits, whole views, departures |
//! | [`formation`] | other nodes without a view | where to join, or whom to form a first view with |
//! | [`admission`] | a request to join | what it is answered |
//! | [`partitions`] | other components, the last primary view | the vote of a node without a view, when to merge |
//! | [`quorum`] | whether a needed view change goes on | whether sends are refused, when the view is given up |
//! | [`leaving`] | a leave command | requests to be removed |
//!
//! [`commands`] carries out what consumers and administrators ask for, [`datagrams`] and [`joining`] dispatch what
//! other nodes send, [`installation`] goes from one view to the next.

mod admission;
mod agreement;
mod commands;
mod datagrams;
mod dissemination;
#[cfg(kcgcs_exploration)]
mod exploration;
mod formation;
mod installation;
mod joining;
mod leaving;
mod local;
mod partitions;
mod quorum;
mod replay_window;
mod reports;
mod suspicion;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod test_support;

pub(in crate::protocol) use replay_window::ReplayWindows;

use self::agreement::{Agreement, Rooms};
use self::dissemination::Dissemination;
use self::formation::Formation;
use self::leaving::Leaving;
use self::local::{LocalNode, Phase};
use self::partitions::{Asking, Partitions};
use self::quorum::QuorumMonitor;
use self::reports::report_to_coordinators;
use self::suspicion::{OwnReports, Suspicion};
use super::configuration::ValidConfiguration;
use super::failure_detector::{DetectorAssignment, DetectorReport};
use super::identity::{Identity, NodeId, PeerAddress};
use super::outbox::Outbox;
use super::outputs::{ChangeReason, DeadlineReason};
use super::random::Random;
use super::time::{Duration, Instant};
use super::view::{ClusterView, MemberRecord};
use super::wire::membership::ReportRecord;
use crate::platform::{BoundedVec, OutOfMemory, Owned};

/// Where the sender of a datagram stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is a member of the present view, at the member's address: its datagrams are numbered.
    Member,
    /// It may be anybody, whatever name it gives: its datagram must be harmless however often it comes.
    Outsider,
}

/// What the rest of the node has to do after an input, in the order of the fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signals {
    /// A promise was given: groups stop until the next view.
    pub(super) frozen: bool,
    /// A view was installed.
    pub(super) installed: bool,
    /// The node goes on under a new incarnation and without a view.
    pub(super) excluded: Option<Identity>,
    /// The quorum was lost or is back.
    pub(super) quorum: Option<bool>,
    /// The node goes to another component by itself: members of its groups keep what they have.
    pub(super) changes_component: bool,
    /// The node is out for good: its memberships in groups end.
    pub(super) is_over: bool,
}

/// The membership of one node.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct Membership {
    local: LocalNode,
    suspicion: Suspicion,
    agreement: Agreement,
    dissemination: Dissemination,
    formation: Owned<Formation>,
    partitions: Partitions,
    quorum: QuorumMonitor,
    leaving: Leaving,
    random: Random,
    /// The next view while it is being put together.
    next: ClusterView,
    signals: Signals,
    /// The new assignment of the failure detector, if there is one. It is too large to lie within this value.
    assignment: BoundedVec<DetectorAssignment>,
    has_groups: bool,
}

impl Membership {
    /// A node that looks for its cluster. Allocates all that it ever needs.
    ///
    /// Never inlined: what it lays on the stack shall not be there beside the rest of a node.
    #[inline(never)]
    pub(super) fn new(
        own: Identity,
        address: PeerAddress,
        configuration: ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let local = LocalNode::new(own, address, configuration, now)?;
        Ok(Self {
            suspicion: Suspicion::new(local.configuration())?,
            agreement: Agreement::new(&local, now)?,
            dissemination: Dissemination::new(&local)?,
            formation: Owned::try_new(Formation::new(now, local.configuration())?)?,
            partitions: Partitions::new(&local, now)?,
            quorum: QuorumMonitor::default(),
            leaving: Leaving::default(),
            random: Random::new(seed),
            next: ClusterView::empty(own.node)?,
            signals: Signals::default(),
            assignment: BoundedVec::with_capacity(1)?,
            has_groups: false,
            local,
        })
    }

    // ---- getters ----------------------------------------------------------------------------------

    /// The present identity of this node.
    pub(super) fn own(&self) -> Identity {
        self.local.own()
    }

    /// The present view, if there is one.
    pub(super) fn view(&self) -> Option<&ClusterView> {
        self.local.view()
    }

    /// Whether there is a view and it has a quorum, as far as this node knows.
    pub(super) fn has_quorum(&self) -> bool {
        self.local.view().is_some() && !self.quorum.is_lost()
    }

    /// Whether datagrams of groups may be handled: there is a view and no promise for another.
    pub(super) fn is_settled(&self) -> bool {
        self.local.view().is_some() && !self.agreement.has_promised()
    }

    /// The number of the cluster, for headers.
    pub(super) fn cluster(&self) -> u32 {
        self.local.configuration().cluster()
    }

    /// Whether the node has left or was evicted.
    pub(super) fn is_gone(&self) -> bool {
        self.local.phase() == Phase::Gone
    }

    /// The nodes that left lately and why.
    pub(super) fn departed(&self) -> &[(Identity, ChangeReason)] {
        self.dissemination.departed()
    }

    /// What the rest of the node has to do. Asked once after each input.
    pub(super) fn take_signals(&mut self) -> Signals {
        let mut signals = core::mem::take(&mut self.signals);
        signals.frozen |= self.agreement.take_freezes();
        signals.quorum = self.quorum.take_change().or(signals.quorum);
        signals
    }

    /// Drop the signals of this input so far: the node begins anew.
    fn restart_signals(&mut self, signals: Signals) {
        self.agreement.take_freezes();
        self.quorum.take_change();
        self.signals = signals;
    }

    /// The new assignment of the failure detector, once after each change.
    pub(super) fn take_assignment(&mut self) -> Option<DetectorAssignment> {
        self.assignment.pop()
    }

    /// Note before each input whether this node may hold messages of groups that others lack.
    pub(super) fn set_has_groups(&mut self, has_groups: bool) {
        self.has_groups = has_groups;
    }

    /// How much longer views are pinned, and which node asked for it.
    pub(super) fn pin(&self, now: Instant) -> Option<(Duration, NodeId)> {
        self.agreement.pin(now)
    }

    /// Whether a ballot of this node still waits for the handler to fence `subject`.
    pub(super) fn wants_fence(&self, subject: Identity) -> bool {
        self.agreement.wants_fence(subject)
    }

    // ---- inputs -----------------------------------------------------------------------------------

    /// Take in what the failure detector has found out about a node.
    pub(super) fn handle_detector_report(
        &mut self,
        now: Instant,
        report: DetectorReport,
        outbox: &mut Outbox,
    ) {
        if let DetectorReport::OtherView { sender, from, view } = report {
            self.quorum.note_sender(&self.local, sender, from);
            self.meet_other_view(now, sender, from, view, outbox);
        } else {
            self.suspicion
                .handle_detector_report(now, &self.local, report, outbox);
        }
        self.advance(now, outbox);
    }

    // ---- time -------------------------------------------------------------------------------------

    /// Do everything that is due at `now`.
    pub(super) fn advance(&mut self, now: Instant, outbox: &mut Outbox) {
        match self.local.phase() {
            Phase::Gone => return,
            Phase::Joining => {
                let known = (
                    self.partitions.last_primary(),
                    self.partitions.seat(&self.local),
                );
                let configuration = self.local.configuration();
                self.formation
                    .begin_round(now, configuration, known, &mut self.random, outbox);
            }
            Phase::Member | Phase::Leaving => self.advance_member(now, outbox),
        }
        let decided = self.with_agreement(|agreement, rooms| agreement.advance(now, rooms, outbox));
        if let Some(ballot) = decided {
            self.decide(now, ballot, outbox);
        }
        self.dissemination.advance(now, outbox);
        if let Some(later_view) = self.leaving.decided() {
            if self.dissemination.is_announced() {
                self.exclude(now, later_view, outbox);
            }
        }
        self.pump(outbox);
    }

    fn advance_member(&mut self, now: Instant, outbox: &mut Outbox) {
        self.agreement.advance_pin(now, &self.local, outbox);
        let own = self.local.own();
        let mut own_reports: OwnReports = Default::default();
        self.suspicion
            .advance_observations(now, &self.local, &mut own_reports, outbox);
        for record in own_reports.into_iter().flatten() {
            self.handle_report(now, own, record, outbox);
        }
        self.suspicion.advance_roll_call(now, &self.local, outbox);
        let is_pinned = self.agreement.is_pinned();
        self.suspicion
            .advance_suspicions(now, &self.local, is_pinned, outbox);
        self.agreement.update_changes(now, &self.suspicion);
        // A view that was installed just now has to be announced first: the deadlines stay.
        let gives_up = self
            .leaving
            .advance(now, &self.local, &self.suspicion, outbox);
        if gives_up && !self.signals.installed {
            self.finish_leaving(outbox);
            return;
        }
        // While views are pinned it is as it should be that none comes.
        let has_failure = self.suspicion.has_confirmed() || self.suspicion.accuses_anybody();
        let is_troubled = self.agreement.has_promised() || !is_pinned && has_failure;
        if self.quorum.advance(now, &self.local, is_troubled, outbox) {
            let number = self.local.view_or_empty().number;
            self.leave_component(now, number, outbox);
        }
        if !self.signals.installed
            && self.partitions.advance(now, &self.local, outbox) == Asking::BeginAnew
        {
            let number = self.local.view_or_empty().number;
            self.dissolve(now, number, outbox);
        }
    }

    /// Lend the agreement the other rooms for one step.
    fn with_agreement<T>(&mut self, step: impl FnOnce(&mut Agreement, &mut Rooms<'_>) -> T) -> T {
        let mut rooms = Rooms {
            local: &self.local,
            suspicion: &mut self.suspicion,
            partitions: &mut self.partitions,
            formation: &mut self.formation,
            quorum: &mut self.quorum,
            has_groups: self.has_groups,
            is_departing: self.leaving.decided().is_some(),
        };
        step(&mut self.agreement, &mut rooms)
    }

    /// Send what had to wait for room in the transmit queue.
    pub(super) fn pump(&mut self, outbox: &mut Outbox) {
        self.agreement.pump(&self.local, &self.partitions, outbox);
        self.dissemination.pump(&self.local, outbox);
    }

    /// When [`Self::advance`] has something to do although nothing comes in, and what.
    pub(super) fn next_deadline(&self) -> Option<(Instant, DeadlineReason)> {
        let with = |at: Option<Instant>, reason| at.map(|at| (at, reason));
        let is_departing = self.leaving.decided().is_some();
        let formation = match self.local.phase() {
            Phase::Gone => return None,
            Phase::Joining => Some(self.formation.next_deadline()),
            Phase::Member | Phase::Leaving => self.partitions.next_deadline(&self.local),
        };
        let deadlines = [
            self.agreement
                .next_deadline(&self.local, &self.suspicion, is_departing),
            self.suspicion.next_deadline(),
            with(
                self.leaving.next_deadline(),
                DeadlineReason::MembershipRetransmit,
            ),
            with(
                self.quorum.next_deadline(&self.local),
                DeadlineReason::Blocked,
            ),
            with(formation, DeadlineReason::Formation),
            with(
                self.dissemination.next_deadline(),
                DeadlineReason::MembershipRetransmit,
            ),
        ];
        deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    // ---- coordinators -----------------------------------------------------------------------------

    /// The member that collects reports about `node`: the first coordinator for its arc that is not suspected, or where
    /// there is none the first such member.
    fn arc_coordinator(&self, node: NodeId) -> Option<&MemberRecord> {
        let view = self.local.view_or_empty();
        view.coordinators_for(node, self.local.coordinators_wanted())
            .chain(view.members().iter())
            .find(|member| {
                member.identity.node != node
                    && !self.suspicion.is_suspected(&self.local, member.identity)
            })
    }

    /// Whether this node collects reports about `node`.
    fn is_arc_coordinator(&self, node: NodeId) -> bool {
        self.arc_coordinator(node)
            .is_some_and(|member| member.identity == self.local.own())
    }

    /// Pass a record on to the other coordinators, if this node is one.
    fn relay(&self, record: &ReportRecord, outbox: &mut Outbox) {
        if self.local.is_coordinator(self.local.own().node) {
            report_to_coordinators(&self.local, record, outbox);
        }
    }
}
