// SPDX-License-Identifier: GPL-2.0

//! What a member does by itself as time goes by: it says what it has to say of those it watches,
//! counts what it was told of others, asks to be let go, and notices that it has no quorum.

use super::watch::send_report;
use super::{Membership, Phase};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::{COORDINATORS_MAX, WATCHED_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::Event;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::membership::ReportRecord;
use crate::protocol::wire::Kind;

impl Membership {
    pub(super) fn advance_watch(&mut self, now: Instant, outbox: &mut Outbox) {
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

    pub(super) fn advance_suspicions(&mut self, now: Instant, outbox: &mut Outbox) {
        self.changes.suspicions.forget_old(now);
        self.ask_the_accused(now, outbox);
        let wanted = self.configuration.settings().confirmations as usize;
        // Who comes back while views are pinned has never been away.
        while !self.is_pinned() {
            let (view, rings, roll_call) = (&self.view, &self.rings, &self.roll_call);
            let confirmed = self
                .changes
                .suspicions
                .next_confirmed(now, |suspicions, subject| {
                    let Some(position) = view.position(subject.node) else {
                        return 1;
                    };
                    let is_absent = roll_call.is_absent(position);
                    let mut watchers = [None; WATCHED_MAX];
                    for watcher in rings.successors(position) {
                        let Some(member) = view.members().get(watcher) else {
                            continue;
                        };
                        let is_gone = is_absent && roll_call.is_absent(watcher);
                        if is_gone
                            || suspicions.is_silenced(member.identity, subject)
                            || watchers.contains(&Some(watcher))
                        {
                            continue;
                        }
                        if let Some(free) = watchers.iter_mut().find(|place| place.is_none()) {
                            *free = Some(watcher);
                        }
                    }
                    let able = watchers.iter().flatten().count();
                    if !suspicions.is_contradicted(subject) {
                        // Who is not waited for since it is suspected itself does not count as one of those either.
                        let suspected = suspicions.accusers(subject).filter(|accuser| {
                            view.member(*accuser).is_some_and(|member| {
                                suspicions.is_silenced(member.identity, subject)
                            })
                        });
                        return able.min(wanted).saturating_add(suspected.count());
                    }
                    // All who are able must say so; what others have said counts for nothing.
                    let is_able = |accuser: NodeId| {
                        view.position(accuser)
                            .is_some_and(|position| watchers.contains(&Some(position)))
                    };
                    let others = suspicions
                        .suspecters(subject)
                        .filter(|node| !is_able(*node));
                    able.max(1).saturating_add(others.count())
                });
            if confirmed.is_none() {
                break;
            }
        }
        self.changes.update(now);
    }

    /// Asks those who are accused by too few, and accuses those who do not answer.
    fn ask_the_accused(&mut self, now: Instant, outbox: &mut Outbox) {
        while let Some((subject, is_silent)) = self.changes.suspicions.next_question(now) {
            let address = self.view.member(subject.node).map(|member| member.address);
            outbox.send(address.iter(), Kind::IndirectProbe, |writer| {
                writer.write(&subject)
            });
            if is_silent {
                self.changes.suspicions.accuse(now, subject, self.own.node);
                self.tell_coordinators(&ReportRecord::Accuse(subject, self.own.node), outbox);
            }
        }
    }

    /// Somebody is suspected: if this node is one of those who would propose a view, it asks all others whether they
    /// are there.
    pub(super) fn call_the_roll(&mut self, now: Instant) {
        if self.is_coordinator(self.own) || self.rank() == 0 {
            self.roll_call.begin(now, self.view.count());
            self.note_present(self.own);
        }
    }

    pub(super) fn advance_roll_call(&mut self, now: Instant, outbox: &mut Outbox) {
        if !self.roll_call.advance(now) {
            return;
        }
        for (position, member) in self.view.members().iter().enumerate() {
            if !self.roll_call.is_present(position) {
                outbox.send([&member.address], Kind::IndirectProbe, |writer| {
                    writer.write(&member.identity)
                });
            }
        }
    }

    /// Somebody asks whether `subject`, which should be this node, is there.
    pub(super) fn ack_indirect_probe(
        &self,
        subject: Identity,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        if subject != self.own {
            return Err(Counter::DroppedUnexpected);
        }
        outbox.send([&from], Kind::IndirectProbeAck, |_| Some(()));
        Ok(())
    }

    /// An accused node has answered this one: those who accuse it hear that.
    pub(super) fn take_indirect_probe_ack(
        &mut self,
        now: Instant,
        subject: Identity,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let answered = self.changes.suspicions.take_answer(now, subject);
        if answered.is_none() && self.roll_call.is_open() {
            return Ok(());
        }
        let was_silent = answered.ok_or(Counter::DroppedUnexpected)?;
        let own = self.own.node;
        if was_silent {
            self.changes.suspicions.take_back(subject, own);
            self.tell_coordinators(&ReportRecord::Clear(subject, own), outbox);
        }
        let accusers = self.changes.suspicions.accusers(subject);
        for accuser in accusers.filter(|accuser| *accuser != own) {
            let address = self.view.member(accuser).map(|member| member.address);
            send_report(
                address.as_slice(),
                &ReportRecord::Contradict(subject),
                outbox,
            );
        }
        Ok(())
    }

    /// Another member has heard a node that this one accuses.
    pub(super) fn take_contradiction(
        &mut self,
        now: Instant,
        subject: Identity,
        by: Identity,
        outbox: &mut Outbox,
    ) {
        self.changes.suspicions.contradict(now, subject);
        if self.watch.dispute(now, subject) {
            outbox.event(Event::Contradicted { subject, by });
        }
    }

    pub(super) fn advance_farewell(&mut self, now: Instant, outbox: &mut Outbox) {
        let Some(mut farewell) = self.farewell else {
            return;
        };
        if now >= farewell.give_up_at {
            // A view that was installed just now has to be told first: the deadline stays.
            if !self.signals.installed {
                self.finish_leaving(outbox);
            }
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
                member.identity.node != self.own.node && !self.is_suspected(member.identity)
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
    pub(super) fn patience(&self) -> Duration {
        self.takeover()
            .times(u64::from(self.coordinators_wanted()).saturating_add(2))
    }

    pub(super) fn blocked_timeout(&self) -> Duration {
        Duration::from_milliseconds(u64::from(self.configuration.settings().blocked_timeout_ms))
    }

    pub(super) fn advance_quorum(&mut self, now: Instant, outbox: &mut Outbox) {
        if !matches!(self.phase, Phase::Member | Phase::Leaving) {
            return;
        }
        // While views are pinned it is as it should be that none comes.
        let is_troubled = self.acceptor.promised().is_some()
            || !self.is_pinned()
                && (self.changes.suspicions.has_confirmed() || self.watch.accuses_anybody());
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
        if self.quorum_lost && self.quorum_deadline().is_some_and(|at| now >= at) {
            self.leave_part(now, self.view.number, outbox);
        }
    }

    /// When a view change takes too long, so that the quorum counts as lost; or, once it does, when the
    /// view is given up: for as long as only silence speaks against it, never, since who is silent may be
    /// back. But where members have begun later incarnations, the cluster has lost its memory in this part; and in a
    /// partitionable cluster this part goes on by itself.
    pub(super) fn quorum_deadline(&self) -> Option<Instant> {
        let lost_at = self.troubled_since?.after(self.patience());
        if !self.quorum_lost {
            return Some(lost_at);
        }
        (self.has_heard_later_incarnation || self.memory.is_some())
            .then(|| lost_at.after(self.blocked_timeout()))
    }

    /// Somebody was heard, from `from`: if it is a later incarnation of a member, the member's own is over.
    pub(super) fn note_later_incarnation(&mut self, sender: Identity, from: PeerAddress) {
        self.has_heard_later_incarnation |= self.view.member(sender.node).is_some_and(|member| {
            member.address == from && member.identity.incarnation < sender.incarnation
        });
    }

    pub(super) fn regain_quorum(&mut self, outbox: &mut Outbox) {
        if self.quorum_lost {
            self.quorum_lost = false;
            self.signals.quorum = Some(true);
            outbox.event(Event::QuorumRegained);
        }
    }

    /// Whether this node collects for the arc that `node` lies in.
    pub(super) fn is_arc_coordinator(&self, node: NodeId) -> bool {
        self.arc_coordinator(node)
            .is_some_and(|member| member.identity == self.own)
    }

    /// Who collects for the arc that `node` lies in: the first coordinator that is not suspected, or
    /// where there is none the first such member.
    pub(super) fn arc_coordinator(&self, node: NodeId) -> Option<&MemberRecord> {
        self.view
            .coordinators_for(node, self.coordinators_wanted())
            .chain(self.view.members().iter())
            .find(|member| member.identity.node != node && !self.is_suspected(member.identity))
    }

    /// Whether the member is a coordinator.
    pub(super) fn is_coordinator(&self, member: Identity) -> bool {
        let wanted = self.coordinators_wanted();
        self.view.is_coordinator(member.node, wanted)
    }

    /// Tells the other coordinators, if this node is one.
    pub(super) fn relay(&self, record: &ReportRecord, outbox: &mut Outbox) {
        if self
            .view
            .is_coordinator(self.own.node, self.coordinators_wanted())
        {
            self.tell_coordinators(record, outbox);
        }
    }

    pub(super) fn tell_coordinators(&self, record: &ReportRecord, outbox: &mut Outbox) {
        let wanted = self.coordinators_wanted();
        for member in self.view.coordinators(wanted) {
            if member.identity != self.own {
                send_report(&[member.address], record, outbox);
            }
        }
    }
}
