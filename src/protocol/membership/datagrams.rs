// SPDX-License-Identifier: GPL-2.0

//! Dispatching the datagrams of the membership protocol to the rooms. Every handler checks the whole message before it
//! changes anything; an error names the counter of what was wrong.

use super::admission::may_collect;
use super::local::Phase;
use super::partitions::Partitions;
use super::reports::report_to_member;
use super::suspicion::Suspicion;
use super::{Membership, Standing};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewMark, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::Instant;
use crate::protocol::wire::membership::{
    parse_ballot, parse_commit, parse_hold, parse_identity, parse_join, parse_join_answer,
    parse_not_member, parse_number, parse_prepare, parse_promise, parse_propose, parse_reports,
    parse_view_part, write_number, Ballot, NotMemberReason, ReportRecord,
};
use crate::protocol::wire::{Header, Kind};

impl Membership {
    // ---- who may send what ------------------------------------------------------------------------

    /// Check whether the sender may send this kind at all. Members of the present view may, and some kinds come from
    /// nodes that are not in it, or not yet.
    ///
    /// # Errors
    ///
    /// The counter under which the datagram is dropped.
    pub(in crate::protocol) fn check_sender(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<Standing, Counter> {
        let sender = header.sender;
        if sender == self.local.own() {
            return Err(Counter::DroppedFromSelf);
        }
        self.quorum.note_sender(&self.local, sender, from);
        if matches!(header.kind, Kind::Join | Kind::JoinAnswer) {
            // Judged anew each time it comes.
            return Ok(Standing::Outsider);
        }
        if self.local.phase() == Phase::Gone {
            return Err(Counter::DroppedUnexpected);
        }
        let member = self.local.view_or_empty().member(sender.node).copied();
        if member.is_some_and(|member| member.identity == sender && member.address == from) {
            return Ok(Standing::Member);
        }
        let is_joining = self.local.is_joining();
        let is_awaited = match header.kind {
            Kind::Prepare
            | Kind::Promise
            | Kind::Propose
            | Kind::Accepted
            | Kind::Commit
            | Kind::Installed
            | Kind::ViewRequest => is_joining,
            Kind::ViewPart => is_joining || self.dissemination.has_requested_from(from),
            _ => false,
        };
        if is_awaited {
            return Ok(Standing::Outsider);
        }
        if member.is_some_and(|member| member.identity == sender) {
            return Err(Counter::DroppedWrongAddress);
        }
        self.meet_other_view(now, sender, from, header.mark(), outbox);
        let is_stale =
            member.is_some_and(|member| member.identity.incarnation > sender.incarnation);
        match is_stale {
            true => Err(Counter::DroppedStaleIncarnation),
            false => Err(Counter::DroppedNonMember),
        }
    }

    /// Check whether a message that only makes sense between nodes of one view comes from this one. If not, whichever side
    /// is behind gets help.
    ///
    /// # Errors
    ///
    /// [`Counter::DroppedOtherView`]: the sender has another view.
    pub(in crate::protocol) fn check_view(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        outbox: &mut Outbox,
    ) -> Result<(), Counter> {
        if header.mark() == self.local.mark() {
            return Ok(());
        }
        self.meet_other_view(now, header.sender, from, header.mark(), outbox);
        Err(Counter::DroppedOtherView)
    }

    /// Help whichever side has missed a view: the sender shows another one than this node has.
    pub(super) fn meet_other_view(
        &mut self,
        now: Instant,
        sender: Identity,
        from: PeerAddress,
        shown: ViewMark,
        outbox: &mut Outbox,
    ) {
        let Some(view) = self.local.view() else {
            return;
        };
        if shown == self.local.mark() {
            return;
        }
        if shown.number > view.number {
            self.dissemination
                .request_view(now, &self.local, from, outbox);
            return;
        }
        // A member that missed the view may be the one without which it has no quorum. A node that is out is told so by a
        // quorum only: it would forget what it has promised.
        if shown.number != ViewNumber::default() && (view.has(sender) || self.has_quorum()) {
            self.dissemination
                .answer_older_view(now, &self.local, sender, from, outbox);
        }
    }

    /// Check whether this node may vote: a node without a view that has heard of a cluster does not vote for another first
    /// view.
    fn check_may_vote(&self, now: Instant) -> Result<(), Counter> {
        if self.local.is_joining() && self.formation.knows_cluster(now) {
            return Err(Counter::DroppedUnexpected);
        }
        Ok(())
    }

    // ---- dispatch ---------------------------------------------------------------------------------

    /// Handle a datagram of the membership protocol.
    ///
    /// # Errors
    ///
    /// The counter under which the datagram is dropped. Nothing has changed.
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
            Kind::Join => self.handle_join(now, header, from, parse_join(body)?, outbox),
            Kind::JoinAnswer => {
                let answer = parse_join_answer(body)?;
                self.handle_join_answer(now, header, from, &answer, outbox)?;
            }
            Kind::Report => {
                let records = parse_reports(body)?;
                self.check_view(now, header, from, outbox)?;
                for record in records {
                    self.handle_report(now, sender, record, outbox);
                }
            }
            Kind::Prepare
            | Kind::Promise
            | Kind::Propose
            | Kind::Hold
            | Kind::Accepted
            | Kind::Commit => {
                if !self.handle_ballot(now, header, from, body, outbox)? {
                    return Ok(());
                }
            }
            Kind::Installed => {
                let number = parse_number(body)?;
                self.dissemination.handle_installed(sender, number);
            }
            Kind::ViewRequest => {
                check_empty(body)?;
                let view = self.local.view_or_empty();
                let may_be_told = view.has(sender) || self.has_quorum();
                if header.view >= view.number || !may_be_told {
                    return Err(Counter::DroppedUnexpected);
                }
                self.dissemination.send_view(from);
            }
            Kind::ViewPart => self.handle_view_part(now, sender, from, body, outbox)?,
            Kind::IndirectProbe | Kind::IndirectProbeAck
                if Partitions::is_elsewhere(&self.local, header) =>
            {
                return Err(Counter::DroppedOtherView);
            }
            Kind::IndirectProbe => {
                let subject = parse_identity(body)?;
                return Suspicion::handle_indirect_probe(&self.local, subject, from, outbox);
            }
            Kind::IndirectProbeAck => {
                check_empty(body)?;
                self.suspicion.note_present(&self.local, sender);
                self.agreement.note_present(sender);
                self.suspicion
                    .handle_indirect_probe_ack(now, &self.local, sender, outbox)?;
            }
            Kind::NotMember => {
                let told = parse_not_member(body)?;
                let is_older = told.number <= self.local.view_or_empty().number;
                if is_older || self.partitions.outranks(&self.local, told.is_primary) {
                    return Err(Counter::DroppedOtherView);
                }
                match told.reason {
                    NotMemberReason::Dissolved => {
                        self.leave_component(now, told.number, outbox);
                    }
                    NotMemberReason::Gone(reason) => {
                        self.dissemination.note_departure(self.local.own(), reason);
                        self.exclude(now, told.number, outbox);
                    }
                }
            }
            _ => return Err(Counter::DroppedKind),
        }
        self.advance(now, outbox);
        Ok(())
    }

    // ---- ballots ----------------------------------------------------------------------------------

    /// Handle a message of a ballot. Returns whether to go on with what is due.
    fn handle_ballot(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Result<bool, Counter> {
        let sender = header.sender;
        match header.kind {
            Kind::Prepare => {
                let prepare = parse_prepare(body)?;
                check_coordinator(prepare.ballot, sender)?;
                self.check_view(now, header, from, outbox)?;
                self.check_may_vote(now)?;
                if !self.partitions.is_electorate(&self.local, &prepare) {
                    return Err(Counter::DroppedOtherView);
                }
                if self.agreement.is_pinned() {
                    // A member that does not answer at all would be taken for dead.
                    outbox.send([&from], Kind::IndirectProbeAck, |_| Some(()));
                    return Err(Counter::DroppedUnexpected);
                }
                self.with_agreement(|agreement, rooms| {
                    agreement.handle_prepare(now, rooms, &prepare, from, outbox);
                });
            }
            Kind::Promise => {
                let promise = parse_promise(body)?;
                self.check_view(now, header, from, outbox)?;
                self.suspicion.note_present(&self.local, sender);
                self.with_agreement(|agreement, rooms| {
                    agreement.handle_promise(now, rooms, sender, &promise)
                })?;
            }
            Kind::Propose => {
                let (ballot, part) = parse_propose(body)?;
                check_coordinator(ballot, sender)?;
                self.check_view(now, header, from, outbox)?;
                self.check_may_vote(now)?;
                self.with_agreement(|agreement, rooms| {
                    agreement.handle_propose(now, rooms, ballot, &part, from, outbox)
                })?;
            }
            Kind::Hold => {
                let (ballot, subject) = parse_hold(body)?;
                check_coordinator(ballot, sender)?;
                self.check_view(now, header, from, outbox)?;
                self.agreement
                    .handle_hold(now, &mut self.quorum, ballot, sender, subject, outbox);
            }
            Kind::Accepted => {
                let ballot = parse_ballot(body)?;
                self.check_view(now, header, from, outbox)?;
                self.agreement.handle_accepted(sender, ballot);
            }
            _ => {
                let (ballot, number) = parse_commit(body)?;
                if number > self.local.view_or_empty().number {
                    if !self.apply_accepted(ballot) || number != self.next.number {
                        self.dissemination
                            .request_view(now, &self.local, from, outbox);
                        return Ok(false);
                    }
                    self.install_next(now, outbox);
                }
                self.send_installed(from, outbox);
            }
        }
        Ok(true)
    }

    fn send_installed(&self, to: PeerAddress, outbox: &mut Outbox) {
        if let Some(view) = self.local.view() {
            outbox.send([&to], Kind::Installed, |writer| {
                write_number(writer, view.number)
            });
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
        let part = parse_view_part(body)?;
        let (own, address) = (self.local.own(), self.local.address());
        let view = self.local.view_or_empty();
        let is_later = part.number > view.number;
        if part.number < view.number
            || is_later && self.partitions.outranks(&self.local, part.is_primary)
        {
            return Err(Counter::DroppedOtherView);
        }
        if !is_later && part.issuer != view.issuer {
            if !self.partitions.yields_to(&self.local, &part) {
                return Err(Counter::DroppedOtherView);
            }
            self.leave_component(now, part.number, outbox);
            return Ok(());
        }
        if !is_later {
            // A copy: the node that sent it waits for this.
            self.send_installed(from, outbox);
            return Ok(());
        }
        let Some(whole) = self.dissemination.handle_view_part(&part) else {
            return Ok(());
        };
        let is_at_own_address = whole
            .member(own.node)
            .is_none_or(|member| member.identity != own || member.address == address);
        let is_sound = whole.has(sender) && is_at_own_address;
        let is_mine = whole.has(own);
        let is_copied = is_sound && self.next.copy_from(whole).is_ok();
        self.dissemination.clear_assembly();
        if !is_copied {
            return Err(Counter::DroppedValue);
        }
        if !is_mine && self.local.is_joining() {
            return Err(Counter::DroppedUnexpected);
        }
        if self.partitions.is_foreign(&self.local, &self.next) {
            let later_view = self.next.number;
            self.leave_component(now, later_view, outbox);
            return Ok(());
        }
        self.install_next(now, outbox);
        self.send_installed(from, outbox);
        Ok(())
    }

    // ---- reports ----------------------------------------------------------------------------------

    /// Handle one record of a member of the present view, maybe of this node.
    pub(super) fn handle_report(
        &mut self,
        now: Instant,
        sender: Identity,
        record: ReportRecord,
        outbox: &mut Outbox,
    ) {
        let local = &self.local;
        let may_speak_for =
            |monitor: NodeId| monitor == sender.node || local.is_coordinator(sender.node);
        match record {
            ReportRecord::Suspect(subject, monitor)
                if local.is_other_member(subject) && may_speak_for(monitor) =>
            {
                // The monitor reports it to all coordinators itself.
                if self.suspicion.handle_suspect(now, subject, monitor) {
                    self.call_the_roll(now);
                }
            }
            ReportRecord::Accuse(subject, monitor)
                if local.is_other_member(subject) && may_speak_for(monitor) =>
            {
                let is_news = self.suspicion.handle_accuse(now, subject, monitor);
                if is_news {
                    self.call_the_roll(now);
                }
                if monitor == sender.node && self.suspicion.is_contradicted(subject) {
                    let record = ReportRecord::Contradict(subject);
                    report_to_member(&self.local, sender, &record, outbox);
                }
                self.relay_for(is_news && monitor == sender.node, subject, &record, outbox);
            }
            ReportRecord::Clear(subject, monitor)
                if local.is_other_member(subject) && may_speak_for(monitor) =>
            {
                // The monitor reports it to all coordinators itself.
                self.suspicion.handle_clear(subject, monitor);
            }
            ReportRecord::Contradict(subject)
                if local.is_other_member(subject) && sender != local.own() && sender != subject =>
            {
                self.suspicion
                    .handle_contradiction(now, subject, sender, outbox);
            }
            ReportRecord::Leave(subject) if local.view_or_empty().has(subject) => {
                self.handle_leaver(now, subject, ChangeReason::Leave, &record, outbox);
            }
            ReportRecord::Evict(subject) if local.view_or_empty().has(subject) => {
                self.handle_leaver(now, subject, ChangeReason::Evicted, &record, outbox);
            }
            ReportRecord::Pin(subject, pin) if subject == sender => {
                self.agreement.handle_pin(now, sender, pin, outbox);
            }
            ReportRecord::Join(joiner, address, last_view)
                if may_collect(local, &self.dissemination, joiner) =>
            {
                self.agreement
                    .add_join(now, &self.suspicion, joiner, address, last_view);
            }
            // About this node itself, or about a node that is gone or already here.
            _ => {}
        }
        self.agreement.update_changes(now, &self.suspicion);
    }

    /// Note that a member leaves or is evicted.
    fn handle_leaver(
        &mut self,
        now: Instant,
        subject: Identity,
        reason: ChangeReason,
        record: &ReportRecord,
        outbox: &mut Outbox,
    ) {
        let is_news = self
            .agreement
            .add_leaver(now, &self.suspicion, subject, reason);
        self.relay_for(is_news, subject, record, outbox);
    }

    /// Pass a record on to the other coordinators, if this one collects for the subject's arc.
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

    /// Call the roll since a member is suspected, if this node is one of those that would propose the next view.
    fn call_the_roll(&mut self, now: Instant) {
        let local = &self.local;
        if local.is_coordinator(local.own().node)
            || self.agreement.rank(local, &self.suspicion) == 0
        {
            self.suspicion.call_the_roll(now, local);
        }
    }
}

/// A ballot is named after the coordinator that sends its messages.
fn check_coordinator(ballot: Ballot, sender: Identity) -> Result<(), Counter> {
    match ballot.coordinator == sender.node {
        true => Ok(()),
        false => Err(Counter::DroppedValue),
    }
}

fn check_empty(body: &[u8]) -> Result<(), Counter> {
    match body.is_empty() {
        true => Ok(()),
        false => Err(Counter::DroppedLength),
    }
}
