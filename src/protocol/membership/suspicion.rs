// SPDX-License-Identifier: GPL-2.0

//! Which members have failed: reports of monitors come in, confirmed failures come out.
//!
//! ```text
//!  failure detector ---> observations: what this node reports of those that it monitors ---> coordinators
//!  reports of monitors -> suspicions: who suspects and accuses whom --- enough accusers ----> confirmed
//!                           |    ^
//!         too few accuse it |    | answers: contradicted; no answer: one more accuser
//!                           v    |
//!                         indirect probe
//!  first suspicion -----> roll call: all members are asked at once; who does not answer is absent
//!  a ballot is answered -> reprieve: a confirmed member that answers stays in the view, once
//! ```
//!
//! This room decides nothing about views: [`super::agreement`] asks it whom the next view leaves out.

#[cfg(kcgcs_exploration)]
mod exploration;
mod indirect_probe;
mod observations;
mod reprieves;
mod roll_call;
mod suspicions;

use self::observations::Observations;
use self::reprieves::Reprieves;
use self::roll_call::RollCall;
use self::suspicions::Suspicions;
use super::local::LocalNode;
use super::reports::{report_to_coordinators, send_report};
use crate::platform::OutOfMemory;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::errors::Counter;
use crate::protocol::failure_detector::DetectorReport;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::MONITORED_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::{DeadlineReason, Event};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::membership::ReportRecord;
use crate::protocol::wire::Kind;

/// Records that this node reports to itself, since it is a coordinator.
pub(super) type OwnReports = [Option<ReportRecord>; 2 * MONITORED_MAX];

/// Positions in the view of the monitors of one member that can speak up about it.
type Monitors = [Option<usize>; MONITORED_MAX];

/// What a ballot shows about the members that it was sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct BallotEvidence {
    /// This node counts its quorum as lost: whoever answers is needed.
    pub(super) is_quorum_lost: bool,
    /// The ballot has run for as long as monitors need to find a crash.
    pub(super) has_waited_long: bool,
}

/// The failures of one view, as far as this node knows.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct Suspicion {
    observations: Observations,
    suspicions: Suspicions,
    roll_call: RollCall,
    reprieves: Reprieves,
}

impl Suspicion {
    /// No suspicion. Allocates room for the largest view.
    #[inline(never)]
    pub(super) fn new(configuration: &ValidConfiguration) -> Result<Self, OutOfMemory> {
        let settings = configuration.settings();
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        let retransmit = configuration.retransmit();
        let confirmation_timeout = milliseconds(settings.confirmation_timeout_ms);
        let probe_interval = milliseconds(settings.probe_interval_ms);
        let probing = probe_interval.times(u64::from(settings.probe_count).saturating_add(2));
        let interval = configuration.heartbeat_interval();
        Ok(Self {
            observations: Observations::new(retransmit, confirmation_timeout)?,
            suspicions: Suspicions::new(
                confirmation_timeout,
                probing.plus(interval).plus(retransmit.times(4)),
                retransmit,
            )?,
            roll_call: RollCall::new(
                settings.probe_count,
                probe_interval,
                configuration.roll_call_pause(),
            ),
            reprieves: Reprieves::new()?,
        })
    }

    /// Forget everything that is about the members of one view. Monitors report again what still holds in the next.
    /// Reprieves are kept: they count over several views.
    pub(super) fn clear(&mut self) {
        self.observations.clear();
        self.suspicions.clear();
        self.roll_call.clear();
    }

    // ---- inputs -----------------------------------------------------------------------------------

    /// Take in what the failure detector has found out about a member that this node monitors.
    pub(super) fn handle_detector_report(
        &mut self,
        now: Instant,
        local: &LocalNode,
        report: DetectorReport,
        outbox: &mut Outbox,
    ) {
        let view = local.view_or_empty();
        match report {
            DetectorReport::Silent {
                subject,
                silence_ms,
            } if view.has(subject) => {
                self.observations.suspect(now, subject);
                outbox.event(Event::Suspected {
                    subject,
                    silence_ms,
                });
            }
            DetectorReport::Dead {
                subject,
                silence_ms,
            } if view.has(subject) => {
                self.observations.accuse(now, subject);
                outbox.event(Event::Accused {
                    subject,
                    silence_ms,
                });
            }
            DetectorReport::Heard { subject } if view.has(subject) => {
                self.observations.clear_subject(now, subject);
                outbox.event(Event::Unsuspected { subject });
            }
            _ => {}
        }
    }

    /// Take in that `monitor` suspects the subject. Returns whether that is news.
    pub(super) fn handle_suspect(
        &mut self,
        now: Instant,
        subject: Identity,
        monitor: NodeId,
    ) -> bool {
        self.suspicions.suspect(now, subject, monitor)
    }

    /// Take in that `monitor` accuses the subject. Returns whether that is news.
    pub(super) fn handle_accuse(
        &mut self,
        now: Instant,
        subject: Identity,
        monitor: NodeId,
    ) -> bool {
        self.suspicions.accuse(now, subject, monitor)
    }

    /// Take in that `monitor` withdraws what it reported of the subject.
    pub(super) fn handle_clear(&mut self, subject: Identity, monitor: NodeId) {
        self.suspicions.withdraw(subject, monitor);
    }

    /// Take in that member `by` hears the subject, which this node accuses.
    pub(super) fn handle_contradiction(
        &mut self,
        now: Instant,
        subject: Identity,
        by: Identity,
        outbox: &mut Outbox,
    ) {
        self.suspicions.contradict(now, subject);
        if self.observations.dispute(now, subject) {
            outbox.event(Event::Contradicted { subject, by });
        }
    }

    /// Answer an indirect probe or a roll call: a member asks whether `subject`, which should be this node, is up.
    ///
    /// # Errors
    ///
    /// [`Counter::DroppedUnexpected`]: the question is about another incarnation.
    pub(super) fn handle_indirect_probe(
        local: &LocalNode,
        subject: Identity,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        if subject != local.own() {
            return Err(Counter::DroppedUnexpected);
        }
        outbox.send([&from], Kind::IndirectProbeAck, |_| Some(()));
        Ok(())
    }

    /// Take in the answer of an accused member, or of one that was asked by a roll call. Tell the accusers that the
    /// member answers.
    ///
    /// # Errors
    ///
    /// [`Counter::DroppedUnexpected`]: this node has not asked.
    pub(super) fn handle_indirect_probe_ack(
        &mut self,
        now: Instant,
        local: &LocalNode,
        subject: Identity,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let answered = self.suspicions.take_answer(now, subject);
        if answered.is_none() && self.roll_call.is_open() {
            return Ok(());
        }
        let was_silent = answered.ok_or(Counter::DroppedUnexpected)?;
        let own = local.own().node;
        if was_silent {
            self.suspicions.withdraw(subject, own);
            report_to_coordinators(local, &ReportRecord::Clear(subject, own), outbox);
        }
        let accusers = self.suspicions.accusers(subject);
        for accuser in accusers.filter(|accuser| *accuser != own) {
            let member = local.view_or_empty().member(accuser);
            let address = member.map(|member| member.address);
            let record = ReportRecord::Contradict(subject);
            send_report(address.as_slice(), &record, outbox);
        }
        Ok(())
    }

    /// Note that a member is up: it has answered, whatever it was asked.
    pub(super) fn note_present(&mut self, local: &LocalNode, sender: Identity) {
        let view = local.view_or_empty();
        let position = view.position(sender.node);
        if let Some(position) = position.filter(|_| view.has(sender)) {
            self.roll_call.note_present(position);
        }
    }

    /// Begin a roll call, unless one was held lately.
    pub(super) fn call_the_roll(&mut self, now: Instant, local: &LocalNode) {
        self.roll_call.begin(now, local.view_or_empty().count());
        self.note_present(local, local.own());
    }

    /// Remember that these members answered the ballot that would have excluded them.
    pub(super) fn grant_reprieves(
        &mut self,
        now: Instant,
        local: &LocalNode,
        answered: impl Iterator<Item = Identity>,
    ) {
        let suspicions = &self.suspicions;
        let reprieved = answered.filter(|subject| suspicions.is_confirmed(*subject));
        self.reprieves
            .grant(now, local.blocked_timeout(), reprieved);
    }

    // ---- time -------------------------------------------------------------------------------------

    /// Report the observations that are due. Records for this node itself are put into `own`.
    pub(super) fn advance_observations(
        &mut self,
        now: Instant,
        local: &LocalNode,
        own: &mut OwnReports,
        outbox: &mut Outbox,
    ) {
        let mut places = own.iter_mut();
        self.observations.send_due(
            now,
            local.own().node,
            local.view_or_empty(),
            local.coordinators_wanted(),
            outbox,
            |record| {
                if let Some(place) = places.next() {
                    *place = Some(record);
                }
            },
        );
    }

    /// Ask the members that have not answered the roll yet, if that is due.
    pub(super) fn advance_roll_call(
        &mut self,
        now: Instant,
        local: &LocalNode,
        outbox: &mut Outbox,
    ) {
        if !self.roll_call.advance(now) {
            return;
        }
        for (position, member) in local.view_or_empty().members().iter().enumerate() {
            if !self.roll_call.is_present(position) {
                outbox.send([&member.address], Kind::IndirectProbe, |writer| {
                    writer.write(&member.identity)
                });
            }
        }
    }

    /// Forget old suspicions, probe the accused, and confirm the failures that enough monitors report. While views are
    /// pinned no failure is confirmed: a member that comes back in time was never away.
    pub(super) fn advance_suspicions(
        &mut self,
        now: Instant,
        local: &LocalNode,
        is_pinned: bool,
        outbox: &mut Outbox,
    ) {
        self.suspicions.forget_old(now);
        self.probe_the_accused(now, local, outbox);
        if is_pinned {
            return;
        }
        let roll_call = &self.roll_call;
        let needed = |suspicions: &Suspicions, subject| {
            accusers_needed(suspicions, roll_call, local, subject)
        };
        while self.suspicions.next_confirmed(now, needed).is_some() {}
    }

    /// Probe the members that too few accuse. This node accuses those that do not answer it.
    fn probe_the_accused(&mut self, now: Instant, local: &LocalNode, outbox: &mut Outbox) {
        let own = local.own().node;
        while let Some((subject, is_silent)) = self.suspicions.next_probe(now) {
            let member = local.view_or_empty().member(subject.node);
            let address = member.map(|member| member.address);
            outbox.send(address.iter(), Kind::IndirectProbe, |writer| {
                writer.write(&subject)
            });
            if is_silent {
                self.suspicions.accuse(now, subject, own);
                report_to_coordinators(local, &ReportRecord::Accuse(subject, own), outbox);
            }
        }
    }

    /// When one of the `advance_*` functions has something to do although nothing comes in, and what.
    pub(super) fn next_deadline(&self) -> Option<(Instant, DeadlineReason)> {
        let with = |at: Option<Instant>, reason| at.map(|at| (at, reason));
        let deadlines = [
            with(
                self.suspicions.next_deadline(),
                DeadlineReason::Confirmation,
            ),
            with(
                self.observations.next_deadline(),
                DeadlineReason::MembershipRetransmit,
            ),
            with(self.roll_call.next_deadline(), DeadlineReason::Confirmation),
        ];
        deadlines.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    // ---- outputs ----------------------------------------------------------------------------------

    /// Whether the member is not to be counted on: this node or a coordinator has heard that it may be dead.
    pub(super) fn is_suspected(&self, local: &LocalNode, member: Identity) -> bool {
        self.suspicions.is_accused(member)
            || self.observations.suspects(member.node)
            || self.is_absent_with_its_monitors(local, member)
    }

    /// Whether the failure of the member is confirmed.
    pub(super) fn is_confirmed(&self, member: Identity) -> bool {
        self.suspicions.is_confirmed(member)
    }

    /// Whether the failure of any member is confirmed.
    pub(super) fn has_confirmed(&self) -> bool {
        self.suspicions.has_confirmed()
    }

    /// Whether some member is suspected and neither confirmed nor cleared yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.suspicions.is_unsettled()
    }

    /// Whether the member is accused and nobody contradicts, or its failure is confirmed.
    pub(super) fn is_accused(&self, member: Identity) -> bool {
        self.suspicions.is_accused(member)
    }

    /// Whether somebody has lately heard the member although it is accused.
    pub(super) fn is_contradicted(&self, member: Identity) -> bool {
        self.suspicions.is_contradicted(member)
    }

    /// Whether this node does not hear the member although others do.
    pub(super) fn disputes(&self, member: NodeId) -> bool {
        self.observations.disputes(member)
    }

    /// Whether this node accuses any member that it monitors.
    pub(super) fn accuses_anybody(&self) -> bool {
        self.observations.accuses_anybody()
    }

    /// Whether a member that nobody accuses must be dead all the same: it did not answer the roll, and neither did any
    /// of the monitors that would accuse it.
    pub(super) fn is_absent_with_its_monitors(&self, local: &LocalNode, member: Identity) -> bool {
        let is_absent = |position: usize| self.roll_call.is_absent(position);
        let position = local.view_or_empty().position(member.node);
        position.is_some_and(|position| {
            is_absent(position) && local.rings().successors(position).all(is_absent)
        })
    }

    /// Whether the next view leaves the member out because it failed. `has_answered` tells by position in the view who
    /// has answered the ballot.
    ///
    /// A confirmed member that answers is reprieved once. A member that is accused by too few, or is absent with its
    /// monitors, is dead if it does not answer the ballot either. After a long wait so is a member that has not
    /// answered, if none of its monitors has.
    pub(super) fn has_failed(
        &self,
        now: Instant,
        local: &LocalNode,
        member: Identity,
        evidence: BallotEvidence,
        has_answered: impl Fn(usize) -> bool,
    ) -> bool {
        let position = local.view_or_empty().position(member.node);
        let answers = position.is_some_and(&has_answered);
        if self.suspicions.is_confirmed(member) {
            let memory = local.blocked_timeout();
            let may_stay = evidence.is_quorum_lost || !self.reprieves.has(now, memory, member);
            !(may_stay && answers)
        } else if self.suspicions.is_accused(member)
            || self.is_absent_with_its_monitors(local, member)
        {
            !answers
        } else {
            evidence.has_waited_long
                && position.is_some_and(|position| {
                    !answers && !local.rings().successors(position).any(has_answered)
                })
        }
    }
}

/// How many must accuse the subject so that its failure is confirmed.
///
/// As many as the setting says, but no more than can speak up. Accusers that are silenced do not count. If somebody
/// contradicts, all monitors that can speak up must accuse or suspect it, and nobody else counts.
fn accusers_needed(
    suspicions: &Suspicions,
    roll_call: &RollCall,
    local: &LocalNode,
    subject: Identity,
) -> usize {
    let view = local.view_or_empty();
    let Some(position) = view.position(subject.node) else {
        return 1;
    };
    let monitors = able_monitors(suspicions, roll_call, local, subject, position);
    let able = monitors.iter().flatten().count();
    if !suspicions.is_contradicted(subject) {
        let wanted = local.configuration().settings().confirmations as usize;
        let is_silenced = |accuser: &NodeId| {
            view.member(*accuser)
                .is_some_and(|member| suspicions.is_silenced(member.identity, subject))
        };
        let silenced = suspicions.accusers(subject).filter(is_silenced).count();
        return able.min(wanted).saturating_add(silenced);
    }
    let is_able = |node: &NodeId| {
        view.position(*node)
            .is_some_and(|position| monitors.contains(&Some(position)))
    };
    let others = suspicions.reporters(subject).filter(|node| !is_able(node));
    able.max(1).saturating_add(others.count())
}

/// The monitors of the subject that can speak up about it: not those that are absent together with it, nor those that
/// are silenced.
fn able_monitors(
    suspicions: &Suspicions,
    roll_call: &RollCall,
    local: &LocalNode,
    subject: Identity,
    position: usize,
) -> Monitors {
    let is_absent = roll_call.is_absent(position);
    let mut monitors: Monitors = [None; MONITORED_MAX];
    for monitor in local.rings().successors(position) {
        let member: Option<&MemberRecord> = local.view_or_empty().members().get(monitor);
        let Some(member) = member else {
            continue;
        };
        let is_gone = is_absent && roll_call.is_absent(monitor);
        if is_gone
            || suspicions.is_silenced(member.identity, subject)
            || monitors.contains(&Some(monitor))
        {
            continue;
        }
        if let Some(free) = monitors.iter_mut().find(|place| place.is_none()) {
            *free = Some(monitor);
        }
    }
    monitors
}
