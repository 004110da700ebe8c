// SPDX-License-Identifier: GPL-2.0

//! What each message of the membership protocol does. Every handler checks the whole message before
//! it changes anything; an error names the counter of what was wrong.

use core::cmp::Ordering;

use super::agreement::Stage;
use super::watch::send_report;
use super::{Membership, Phase};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{
    Ballot, Commit, Hold, JoinAnswer, JoinRequest, NotMember, NotMemberReason, Prepare, Promise,
    Propose, ReportRecord, Reports, ViewPart,
};
use crate::protocol::wire::{Decode, Header, Kind};

/// Who sent a datagram that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Standing {
    /// A member of the present view, from the member's address: its datagrams are numbered.
    Member,
    /// Anybody, whatever name it gives: what it says must be harmless however often it comes.
    Outsider,
}

impl Membership {
    /// Whether the sender may send this kind at all: members of the present view may, and some
    /// kinds come from nodes that are not (yet) in it.
    pub(in crate::protocol) fn check_sender(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<Standing, Counter> {
        let sender = header.sender;
        if sender == self.own {
            return Err(Counter::DroppedFromSelf);
        }
        self.note_later_incarnation(sender, from);
        if matches!(header.kind, Kind::Join | Kind::JoinAnswer) {
            // Looked at again and again.
            return Ok(Standing::Outsider);
        }
        if self.phase == Phase::Gone {
            return Err(Counter::DroppedUnexpected);
        }
        let member = self.view.member(sender.node);
        if member.is_some_and(|member| member.identity == sender && member.address == from) {
            return Ok(Standing::Member);
        }
        let is_awaited = match header.kind {
            Kind::Prepare
            | Kind::Promise
            | Kind::Propose
            | Kind::Accepted
            | Kind::Commit
            | Kind::Installed
            | Kind::ViewRequest => self.phase == Phase::Joining,
            Kind::ViewPart => {
                self.phase == Phase::Joining
                    || self.requested.is_some_and(|(asked, _)| asked == from)
            }
            _ => false,
        };
        if is_awaited {
            return Ok(Standing::Outsider);
        }
        match member {
            Some(member) if member.identity == sender => Err(Counter::DroppedWrongAddress),
            Some(member) if member.identity.incarnation > sender.incarnation => {
                self.meet_other_view(now, sender, from, header.mark(), outbox);
                Err(Counter::DroppedStaleIncarnation)
            }
            _ => {
                self.meet_other_view(now, sender, from, header.mark(), outbox);
                Err(Counter::DroppedNonMember)
            }
        }
    }

    /// Whether a message that only makes sense between nodes of one view comes from this one. If
    /// not, whichever side is behind gets help.
    pub(in crate::protocol) fn check_view(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        if header.mark() == self.mark() {
            return Ok(());
        }
        self.meet_other_view(now, header.sender, from, header.mark(), outbox);
        Err(Counter::DroppedOtherView)
    }

    /// Somebody shows by the number of its view that it or this node has missed something.
    pub(super) fn meet_other_view(
        &mut self,
        now: Instant,
        sender: Identity,
        from: PeerAddress,
        shown: ViewMark,
        outbox: &mut Outbox,
    ) {
        if !matches!(self.phase, Phase::Member | Phase::Leaving) || shown == self.mark() {
            return;
        }
        let view = shown.number;
        if view > self.view.number {
            self.request_view(now, from, outbox);
            return;
        }
        // A member that missed the view may be the one without which it has no quorum. Who is out is told
        // so by a quorum only: it would forget what it has promised.
        let is_member = self.view.has(sender);
        if view == ViewNumber::default() || !(is_member || self.has_quorum()) {
            return;
        }
        let pause = self.configuration.retransmit();
        // Just after a change the coordinator's own announcement is on its way.
        if is_member && now < self.installed_at.after(pause) {
            return;
        }
        if !self.reminders.is_due(now, from, pause) {
            return;
        }
        if is_member {
            self.transfers.begin(from);
        } else {
            let not_member = NotMember {
                number: self.view.number,
                is_primary: self.view.is_primary,
                reason: NotMemberReason::Gone(self.departures.reason(sender)),
            };
            outbox.send([&from], Kind::NotMember, |writer| writer.write(&not_member));
        }
    }

    /// A member has answered, whatever it was asked.
    pub(super) fn note_present(&mut self, sender: Identity) {
        let position = self.view.position(sender.node);
        if let Some(position) = position.filter(|_| self.view.has(sender)) {
            self.roll_call.note_present(position);
        }
    }

    fn request_view(&mut self, now: Instant, from: PeerAddress, outbox: &mut Outbox) {
        let pause = self.configuration.retransmit();
        let is_too_soon = self
            .requested
            .is_some_and(|(asked, at)| asked == from && now < at.after(pause));
        if !is_too_soon {
            self.requested = Some((from, now));
            outbox.send([&from], Kind::ViewRequest, |_| Some(()));
        }
    }

    /// A datagram of the membership protocol. Nothing has changed on an error.
    pub(in crate::protocol) fn handle_message(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let sender = header.sender;
        match header.kind {
            Kind::Join => self.handle_join(now, header, from, JoinRequest::parse(body)?, outbox),
            Kind::JoinAnswer => {
                let answer = JoinAnswer::parse(body)?;
                self.handle_join_answer(now, header, from, &answer, outbox)?;
            }
            Kind::Report => {
                let records = Reports::parse(body)?;
                self.check_view(now, header, from, outbox)?;
                for record in records {
                    self.take_report(now, sender, record, outbox);
                }
            }
            Kind::Prepare => {
                let prepare = Prepare::parse(body)?;
                let ballot = prepare.ballot;
                if ballot.coordinator != sender.node {
                    return Err(Counter::DroppedValue);
                }
                self.check_view(now, header, from, outbox)?;
                self.check_may_vote(now)?;
                if !self.is_electorate(&prepare) {
                    return Err(Counter::DroppedOtherView);
                }
                if self.is_pinned() {
                    // Who does not answer at all would be taken for dead.
                    outbox.send([&from], Kind::IndirectProbeAck, |_| Some(()));
                    return Err(Counter::DroppedUnexpected);
                }
                self.highest_round = self.highest_round.max(ballot.round);
                if self.acceptor.promise(now, ballot) {
                    self.proposer.stop();
                    self.note_promised(now, &prepare);
                    self.freeze(outbox);
                }
                self.answer_prepare(from, outbox);
            }
            Kind::Promise => {
                let promise = Promise::parse(body)?;
                self.check_view(now, header, from, outbox)?;
                self.note_present(sender);
                self.highest_round = self.highest_round.max(promise.ballot.round);
                if self.proposer.stage() == Stage::Idle {
                    return Err(Counter::DroppedUnexpected);
                }
                if promise.ballot > self.proposer.ballot() {
                    self.give_way(now);
                } else {
                    let (vote, order) = self.judge(sender, &promise.seat);
                    if order == Ordering::Greater {
                        self.note_later_primary(promise.seat.electorate);
                    }
                    self.proposer.take_promise(sender, &promise, vote, order);
                }
            }
            Kind::Propose => {
                let Propose { ballot, part } = Propose::parse(body)?;
                if ballot.coordinator != sender.node {
                    return Err(Counter::DroppedValue);
                }
                self.check_view(now, header, from, outbox)?;
                self.check_may_vote(now)?;
                self.highest_round = self.highest_round.max(ballot.round);
                if !self.has_heard_request(ballot) {
                    return Err(Counter::DroppedUnexpected);
                }
                if self.acceptor.promise(now, ballot) {
                    self.proposer.stop();
                    self.freeze(outbox);
                    if self.take_proposal_part(ballot, &part) {
                        outbox.send([&from], Kind::Accepted, |writer| writer.write(&ballot));
                    }
                } else {
                    self.answer_prepare(from, outbox);
                }
            }
            Kind::Hold => {
                let Hold { ballot, subject } = Hold::parse(body)?;
                if ballot.coordinator != sender.node {
                    return Err(Counter::DroppedValue);
                }
                self.check_view(now, header, from, outbox)?;
                self.take_hold(now, ballot, sender, subject, outbox);
            }
            Kind::Accepted => {
                let ballot = Ballot::parse(body)?;
                self.check_view(now, header, from, outbox)?;
                self.proposer.take_accepted(sender, ballot);
            }
            Kind::Commit => {
                let Commit { ballot, number } = Commit::parse(body)?;
                if number > self.view.number {
                    if self.apply_accepted(ballot) && number == self.next.number {
                        self.install_next(now, outbox);
                    } else {
                        self.request_view(now, from, outbox);
                        return Ok(());
                    }
                }
                self.send_installed(from, outbox);
            }
            Kind::Installed => {
                let number = ViewNumber::parse(body)?;
                self.announcement.take_installed(sender, number);
            }
            Kind::ViewRequest => {
                if !body.is_empty() {
                    return Err(Counter::DroppedLength);
                }
                let may_be_told = self.view.has(sender) || self.has_quorum();
                if header.view >= self.view.number || !may_be_told {
                    return Err(Counter::DroppedUnexpected);
                }
                self.transfers.begin(from);
            }
            Kind::ViewPart => self.handle_view_part(now, sender, from, body, outbox)?,
            Kind::IndirectProbe | Kind::IndirectProbeAck if self.is_elsewhere(header) => {
                return Err(Counter::DroppedOtherView);
            }
            Kind::IndirectProbe => {
                self.ack_indirect_probe(Identity::parse(body)?, from, outbox)?;
                return Ok(());
            }
            Kind::IndirectProbeAck => {
                if !body.is_empty() {
                    return Err(Counter::DroppedLength);
                }
                self.note_present(sender);
                self.proposer.take_presence(sender);
                self.take_indirect_probe_ack(now, sender, outbox)?;
            }
            Kind::NotMember => {
                let told = NotMember::parse(body)?;
                if told.number <= self.view.number || self.outranks(told.is_primary) {
                    return Err(Counter::DroppedOtherView);
                }
                match told.reason {
                    NotMemberReason::Dissolved => self.leave_part(now, told.number, outbox),
                    NotMemberReason::Gone(reason) => {
                        self.departures.add(self.own, reason);
                        self.exclude(now, told.number, outbox);
                    }
                }
            }
            _ => return Err(Counter::DroppedKind),
        }
        self.advance(now, outbox);
        Ok(())
    }

    /// Nobody votes for a first view who has heard of a cluster that has one.
    fn check_may_vote(&self, now: Instant) -> Result<(), Counter> {
        if self.phase == Phase::Joining && self.joining.knows_cluster(now) {
            return Err(Counter::DroppedUnexpected);
        }
        Ok(())
    }

    /// A higher ballot is under way: leaves it some time.
    fn give_way(&mut self, now: Instant) {
        self.proposer.stop();
        let wait = match self.phase {
            Phase::Joining => self.forming_timeout(),
            _ => self.takeover().times(self.rank().saturating_add(1)),
        };
        self.not_before = now.after(wait);
    }

    fn send_installed(&self, to: PeerAddress, outbox: &mut Outbox) {
        let number = self.view.number;
        if number != ViewNumber::default() {
            outbox.send([&to], Kind::Installed, |writer| writer.write(&number));
        }
    }

    fn handle_view_part(
        &mut self,
        now: Instant,
        sender: Identity,
        from: PeerAddress,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        let part = ViewPart::parse(body)?;
        let is_older = part.number < self.view.number;
        if is_older || part.number > self.view.number && self.outranks(part.is_primary) {
            return Err(Counter::DroppedOtherView);
        }
        if part.number == self.view.number {
            if part.issuer != self.view.issuer {
                return self.meet_namesake(now, &part, outbox);
            }
            // A copy: whoever sent it waits for this.
            self.send_installed(from, outbox);
            return Ok(());
        }
        for (subject, reason) in part.departures {
            self.departures.add(subject, reason);
        }
        let Some(view) = self.assembly.add(&part) else {
            return Ok(());
        };
        let is_sound = view.has(sender)
            && view
                .member(self.own.node)
                .is_none_or(|member| member.identity != self.own || member.address == self.address);
        let is_mine = view.has(self.own);
        let is_copied = is_sound && self.next.copy_from(view).is_ok();
        self.assembly.clear();
        if !is_copied {
            return Err(Counter::DroppedValue);
        }
        if !is_mine && self.phase == Phase::Joining {
            return Err(Counter::DroppedUnexpected);
        }
        if self.is_foreign() {
            let later_view = self.next.number;
            self.leave_part(now, later_view, outbox);
            return Ok(());
        }
        self.install_next(now, outbox);
        self.send_installed(from, outbox);
        Ok(())
    }

    // ---- reports ------------------------------------------------------------------------------

    /// A member of the present view, maybe this node, tells of another one.
    pub(super) fn take_report(
        &mut self,
        now: Instant,
        sender: Identity,
        record: ReportRecord,
        outbox: &mut Outbox,
    ) {
        let may_speak_for = |watcher: NodeId| {
            watcher == sender.node
                || self
                    .view
                    .is_coordinator(sender.node, self.coordinators_wanted())
        };
        match record {
            ReportRecord::Suspect(subject, watcher)
                if self.is_other_member(subject) && may_speak_for(watcher) =>
            {
                // The watcher tells all coordinators itself.
                if self.changes.suspicions.suspect(now, subject, watcher) {
                    self.call_the_roll(now);
                }
            }
            ReportRecord::Accuse(subject, watcher)
                if self.is_other_member(subject) && may_speak_for(watcher) =>
            {
                let is_news = self.changes.suspicions.accuse(now, subject, watcher);
                if is_news {
                    self.call_the_roll(now);
                }
                if watcher == sender.node && self.changes.suspicions.is_contradicted(subject) {
                    let record = ReportRecord::Contradict(subject);
                    self.tell_member(sender, &record, outbox);
                }
                self.relay_for(is_news && watcher == sender.node, subject, &record, outbox);
            }
            ReportRecord::Clear(subject, watcher)
                if self.is_other_member(subject) && may_speak_for(watcher) =>
            {
                // The watcher tells all coordinators itself.
                self.changes.suspicions.take_back(subject, watcher);
            }
            ReportRecord::Contradict(subject)
                if self.is_other_member(subject) && sender != self.own && sender != subject =>
            {
                self.take_contradiction(now, subject, sender, outbox);
            }
            ReportRecord::Leave(subject) if self.view.has(subject) => {
                self.take_leaver(now, subject, ChangeReason::Leave, &record, outbox);
            }
            ReportRecord::Evict(subject) if self.view.has(subject) => {
                self.take_leaver(now, subject, ChangeReason::Evicted, &record, outbox);
            }
            ReportRecord::Pin(subject, pin) if subject == sender => {
                self.take_pin(now, sender, pin, outbox);
            }
            ReportRecord::Join(joiner, address, last_view)
                if !self.view.has(joiner) && !self.departures.has(joiner) =>
            {
                self.changes.add_join(now, joiner, address, last_view);
            }
            // Of this node itself, or of somebody who is gone or already here.
            _ => {}
        }
        self.changes.update(now);
    }

    /// A member wants to go, or is to.
    fn take_leaver(
        &mut self,
        now: Instant,
        subject: Identity,
        reason: ChangeReason,
        record: &ReportRecord,
        outbox: &mut Outbox,
    ) {
        let is_news = self.changes.add_leaver(now, subject, reason);
        self.relay_for(is_news, subject, record, outbox);
    }

    /// Tells the other coordinators, if this one collects for the subject's arc.
    fn relay_for(
        &self,
        is_news: bool,
        subject: Identity,
        record: &ReportRecord,
        outbox: &mut Outbox,
    ) {
        if is_news && self.is_arc_coordinator(subject.node) {
            self.relay(record, outbox);
        }
    }

    pub(super) fn tell_member(&self, to: Identity, record: &ReportRecord, outbox: &mut Outbox) {
        let other = self.view.member(to.node).filter(|_| to != self.own);
        let address = other.map(|member| member.address);
        send_report(address.as_slice(), record, outbox);
    }

    fn is_other_member(&self, subject: Identity) -> bool {
        subject != self.own && self.view.has(subject)
    }
}
