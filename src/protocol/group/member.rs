// SPDX-License-Identifier: GPL-2.0

//! What a node with members of a group does: it takes ordered entries, acknowledges them, delivers
//! what all have, and installs the group's views at their places among the messages.

use super::local::{Local, Standing};
use super::log::{Entry, Log, ViewEntry};
use super::views::make_group_view;
use super::{Candidate, Context, Group, EVENTS_KEPT};
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{MemberId, ViewNumber};
use crate::protocol::outputs::Event;
use crate::protocol::wire::group::{Arrival, EntryBody, Ordered, ViewBody};

/// What became of an attempt to deliver.
enum Step {
    /// Something was delivered.
    Done,
    /// There is nothing more that may be.
    Nothing,
    /// Events or memory are short: later.
    NoRoom,
}

impl Group {
    // ---- taking -------------------------------------------------------------------------------

    /// Ordered entries of the present epoch came from the coordinator.
    pub(super) fn take_ordered(&mut self, context: &mut Context<'_>, ordered: &Ordered<'_>) {
        self.hear_stable(context, ordered.stable);
        // A node that is out and comes back is done with what it has before it begins anew.
        self.progress(context);
        let epoch = context.view.number;
        let mut position = ordered.first;
        for entry in ordered.entries() {
            match entry {
                EntryBody::Start {
                    previous,
                    last,
                    view,
                } if position == 1 => self.take_start(context, previous, last, &view),
                EntryBody::Start { .. } => {}
                EntryBody::View(view) => self.take_view(context, position, &view),
                EntryBody::Data { slot, part, bytes } => {
                    if let Some(log) = self.log_of(epoch).filter(|log| log.wants(position)) {
                        if let Ok(bytes) = copy(bytes) {
                            log.put(position, Entry::Data { slot, part, bytes });
                        }
                    }
                }
            }
            position = position.saturating_add(1);
        }
        self.acknowledge_due = true;
        self.progress(context);
    }

    fn take_view(&mut self, context: &Context<'_>, position: u64, body: &ViewBody<'_>) {
        let epoch = context.view.number;
        if self.log_of(epoch).is_none() {
            // The first entry of a node that was not in the group.
            let is_starting = self
                .candidate
                .as_ref()
                .is_some_and(|candidate| candidate.epoch == epoch);
            let own = context.own;
            let is_own = |member: &MemberId| {
                member.node == own.node && member.incarnation == own.incarnation
            };
            let is_in = body.members().any(|(member, _, _)| is_own(&member));
            // Else an earlier entry let this node in, which is still to come.
            let begins_here = body
                .members()
                .all(|(member, _, arrival)| arrival != Arrival::Along || !is_own(&member));
            if is_starting || !is_in || !begins_here || self.locals.is_empty() {
                return;
            }
            // What is left of an epoch before is over: its members on this node have left.
            self.candidate = None;
            self.report_at = None;
            self.log = Log::new(epoch, context.cluster_view, position.saturating_sub(1)).ok();
        }
        if let Some(log) = self.log_of(epoch).filter(|log| log.wants(position)) {
            if let Ok(view) = ViewEntry::from_body(body) {
                log.put(position, Entry::View(view));
            }
        }
    }

    /// The log, if it is of this epoch.
    pub(super) fn log_of(&mut self, epoch: ViewNumber) -> Option<&mut Log> {
        self.log.as_mut().filter(|log| log.epoch == epoch)
    }

    /// The start of the present epoch.
    fn take_start(
        &mut self,
        context: &mut Context<'_>,
        previous: ViewNumber,
        last: u64,
        body: &ViewBody<'_>,
    ) {
        if let Ok(view) = ViewEntry::from_body(body) {
            // Who held something of an epoch before learns so that it is out.
            let holds_something = self.log.is_some() || self.candidate.is_some();
            if view.has_node(context.own.node) || holds_something {
                self.accept_start(context, previous, last, view);
            }
        }
    }

    /// As [`Self::take_start`], also of one's own making.
    pub(super) fn accept_start(
        &mut self,
        context: &mut Context<'_>,
        previous: ViewNumber,
        last: u64,
        view: Shared<ViewEntry>,
    ) {
        let epoch = context.view.number;
        if self.log.as_ref().is_some_and(|log| log.epoch == epoch) {
            return;
        }
        if let Some(candidate) = &mut self.candidate {
            if candidate.epoch == epoch {
                return;
            }
            if candidate.epoch == previous {
                // It counts after all.
                candidate.in_effect = true;
            }
            if candidate.in_effect {
                self.deliver(context);
                if self.candidate.is_some() {
                    // It is not carried out yet; this one comes again.
                    return;
                }
            }
        }
        match &self.log {
            Some(log) if log.epoch == previous && log.accepted >= last => {}
            Some(log) if log.epoch == previous && is_in(log, context) => {
                // Cannot be: the coordinator waits until this node has what counts.
                return;
            }
            // A log that does not count any more, or without members on this node.
            _ => self.log = None,
        }
        self.candidate = Some(Candidate {
            epoch,
            cluster_view: context.cluster_view,
            previous,
            last,
            view,
            in_effect: false,
        });
    }

    /// All participants have everything up to `stable`.
    pub(super) fn hear_stable(&mut self, context: &mut Context<'_>, stable: u64) {
        let epoch = context.view.number;
        if let Some(candidate) = &mut self.candidate {
            if candidate.epoch == epoch && stable >= 1 && !candidate.in_effect {
                candidate.in_effect = true;
                self.deliver(context);
            }
        }
        if let Some(log) = self.log_of(epoch) {
            log.stable = log.stable.max(stable);
        }
    }

    /// Entries of the epoch before came from another member.
    pub(super) fn take_handover(
        &mut self,
        context: &mut Context<'_>,
        epoch: ViewNumber,
        ordered: &Ordered<'_>,
    ) {
        if let Some(candidate) = &mut self.candidate {
            if candidate.epoch == epoch && epoch < context.view.number {
                // Only what counts is handed over: so its start took effect.
                candidate.in_effect = true;
                self.deliver(context);
            }
        }
        let Some(log) = self
            .log
            .as_mut()
            .filter(|log| log.epoch == epoch && epoch < context.view.number)
        else {
            return;
        };
        let mut position = ordered.first;
        for entry in ordered.entries() {
            if log.wants(position) {
                match entry {
                    EntryBody::Data { slot, part, bytes } => {
                        if let Ok(bytes) = copy(bytes) {
                            log.put(position, Entry::Data { slot, part, bytes });
                        }
                    }
                    EntryBody::View(body) => {
                        if let Ok(view) = ViewEntry::from_body(&body) {
                            log.put(position, Entry::View(view));
                        }
                    }
                    EntryBody::Start { .. } => {}
                }
            }
            position = position.saturating_add(1);
        }
        self.progress(context);
        // The coordinator waits for this.
        self.report_at = self.report_at.map(|_| context.now);
    }

    /// Accepts and delivers as far as it goes.
    pub(super) fn progress(&mut self, context: &mut Context<'_>) {
        self.accept(context);
        self.deliver(context);
    }

    /// Accepts what has come without a gap. Own messages among it are sent for good now: they will
    /// be delivered at this place.
    fn accept(&mut self, context: &mut Context<'_>) {
        loop {
            if context.outbox.event_room() <= EVENTS_KEPT {
                self.backlog = true;
                return;
            }
            let Some(log) = &mut self.log else {
                return;
            };
            // What is handed over of an epoch that is over is decided, views and all.
            let is_over = log.epoch < context.view.number;
            let Some(position) = log.accept_next(is_over) else {
                return;
            };
            self.acknowledge_due = true;
            if is_over {
                // Its place is told when it is delivered.
                continue;
            }
            let Some(Entry::Data { slot, part, .. }) = log.entry(position) else {
                continue;
            };
            let (part, sender) = (*part, log.view.as_ref().and_then(|view| view.member(*slot)));
            let Some(view) = log.view.as_ref().map(|view| view.number) else {
                continue;
            };
            if let (true, Some(sender)) = (part.is_last(), sender) {
                self.own_message_ordered(context, sender, part.sequence, view);
            }
        }
    }

    fn own_message_ordered(
        &mut self,
        context: &mut Context<'_>,
        sender: MemberId,
        sequence: u64,
        view: ViewNumber,
    ) {
        let own = context.own;
        if sender.node != own.node || sender.incarnation != own.incarnation {
            return;
        }
        let Some(local) = self
            .locals
            .as_mut_slice()
            .iter_mut()
            .find(|local| local.endpoint == sender.endpoint)
        else {
            return;
        };
        let Some(message) = local.ordered(sequence) else {
            return;
        };
        context.outbox.counters.count(Counter::MessagesSent);
        if local.is_ended {
            // Its end was told: nobody is there to hear this.
            return;
        }
        if let Ok(payload) = Shared::try_new(message.payload) {
            context.outbox.event(Event::Sent {
                endpoint: sender.endpoint,
                sequence: message.sequence,
                order: message.order,
                view,
                payload,
            });
        }
        if local.take_writable() {
            context.outbox.event(Event::Writable {
                endpoint: sender.endpoint,
            });
        }
    }

    // ---- delivering ---------------------------------------------------------------------------

    /// Delivers what all have, and what counts of the epoch before a start that is in effect. False if there was
    /// no room for all of that.
    pub(super) fn deliver(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let limit = match (&self.candidate, &self.log) {
                (Some(candidate), Some(log)) if candidate.in_effect => {
                    if log.epoch == candidate.previous {
                        candidate.last.min(log.accepted)
                    } else {
                        log.delivered
                    }
                }
                (Some(candidate), None) if candidate.in_effect => 0,
                (_, Some(log)) => log.stable.min(log.accepted),
                (_, None) => return true,
            };
            let step = match self.deliver_next(context, limit) {
                Step::Nothing if self.candidate_in_effect() => {
                    match self.carry_out_start(context) {
                        Ok(()) => Step::Done,
                        Err(OutOfMemory) => Step::NoRoom,
                    }
                }
                step => step,
            };
            match step {
                Step::Done => self.accept(context),
                Step::Nothing => return true,
                Step::NoRoom => {
                    self.backlog = true;
                    return false;
                }
            }
        }
    }

    fn candidate_in_effect(&self) -> bool {
        self.candidate
            .as_ref()
            .is_some_and(|candidate| candidate.in_effect)
    }

    fn deliver_next(&mut self, context: &mut Context<'_>, limit: u64) -> Step {
        let told = self.told();
        let members = self
            .locals
            .iter()
            .filter(|local| local.standing == told)
            .count();
        let Some(log) = &mut self.log else {
            return Step::Nothing;
        };
        let next = log.delivered.saturating_add(1);
        if next > limit {
            return Step::Nothing;
        }
        let needed = EVENTS_KEPT.saturating_add(self.locals.len().saturating_mul(2));
        if context.outbox.event_room() <= needed {
            return Step::NoRoom;
        }
        let view = match log.entry(next) {
            Some(Entry::View(view)) => view.clone(),
            Some(Entry::Data { part, slot, .. }) => {
                let (part, slot) = (*part, *slot);
                let last = next
                    .saturating_add(u64::from(part.fragments))
                    .saturating_sub(1);
                if last > limit {
                    return Step::Nothing;
                }
                let payload = if members == 0 {
                    None
                } else {
                    match gather(log, next, last) {
                        Ok(payload) => Some(payload),
                        Err(OutOfMemory) => return Step::NoRoom,
                    }
                };
                for position in next..=last {
                    log.take(position);
                }
                log.delivered = last;
                let sender = log.view.as_ref().and_then(|view| view.member(slot));
                let number = log.view.as_ref().map(|view| view.number);
                if let (Some(sender), Some(view)) = (sender, number) {
                    self.own_message_ordered(context, sender, part.sequence, view);
                }
                if let (Some(payload), Some(sender), Some(view)) = (payload, sender, number) {
                    for local in self.locals.iter() {
                        if local.standing == told {
                            context.outbox.counters.count(Counter::MessagesDelivered);
                            context.outbox.event(Event::Deliver {
                                endpoint: local.endpoint,
                                sender,
                                sequence: part.sequence,
                                order: part.order,
                                view,
                                payload: payload.clone(),
                            });
                        }
                    }
                }
                return Step::Done;
            }
            None => return Step::Nothing,
        };
        let before = log.view.clone();
        let is_ready = self.finish_past(context, &view);
        if !is_ready || self.show_view(context, before.as_ref(), &view).is_err() {
            return Step::NoRoom;
        }
        if let Some(log) = &mut self.log {
            log.take(next);
            log.delivered = next;
            log.view = Some(view);
        }
        self.forget_log_if_out(context);
        Step::Done
    }

    /// The log before is delivered as far as it counts: the new epoch begins.
    fn carry_out_start(&mut self, context: &mut Context<'_>) -> Result<(), OutOfMemory> {
        let needed = EVENTS_KEPT.saturating_add(self.locals.len().saturating_mul(2));
        if context.outbox.event_room() <= needed {
            return Err(OutOfMemory);
        }
        let Some(candidate) = &self.candidate else {
            return Ok(());
        };
        let (epoch, previous, view) = (candidate.epoch, candidate.previous, candidate.view.clone());
        let mut log = Log::new(epoch, candidate.cluster_view, 1)?;
        if !self.finish_past(context, &view) {
            return Err(OutOfMemory);
        }
        let before = self
            .log
            .as_ref()
            .filter(|log| log.epoch == previous)
            .and_then(|log| log.view.clone());
        self.show_view(context, before.as_ref(), &view)?;
        log.view = Some(view);
        self.log = Some(log);
        self.candidate = None;
        for local in self.locals.as_mut_slice() {
            local.send_again();
        }
        self.forget_log_if_out(context);
        Ok(())
    }

    /// A node without members in the present view has no part in the log.
    fn forget_log_if_out(&mut self, context: &Context<'_>) {
        let is_in = self
            .log
            .as_ref()
            .and_then(|log| log.view.as_ref())
            .is_some_and(|view| view.has_node(context.own.node));
        if !is_in && !self.is_ordering {
            self.log = None;
            // There is nothing to acknowledge any more: no deadline may wait for that.
            self.acknowledge_at = None;
        }
    }

    /// Tells the members on this node of a view. Nothing has changed on an error.
    fn show_view(
        &mut self,
        context: &mut Context<'_>,
        before: Option<&Shared<ViewEntry>>,
        view: &Shared<ViewEntry>,
    ) -> Result<(), OutOfMemory> {
        let own = context.own;
        let id = |local: &Local| MemberId {
            node: own.node,
            endpoint: local.endpoint,
            incarnation: own.incarnation,
        };
        let mut shown = BoundedVec::with_capacity(self.locals.len())?;
        for local in self.locals.iter() {
            let is_told = match local.standing {
                Standing::Leaving => false,
                Standing::Returning => self.is_in_past,
                Standing::Joining => view.has(id(local)) && !self.is_in_past,
                Standing::Member => !self.is_in_past,
            };
            let record = match is_told {
                true => Some(make_group_view(context, before, view, id(local))?),
                false => None,
            };
            shown.push(record).map_err(|_| OutOfMemory)?;
        }
        *context.highest = (*context.highest).max(view.number);
        let told = self.told();
        for (local, record) in self.locals.as_mut_slice().iter_mut().zip(shown.iter()) {
            let Some(record) = record else {
                continue;
            };
            local.standing = if view.has(id(local)) {
                told
            } else {
                local.request_at = context.now;
                Standing::Joining
            };
            context.outbox.event(Event::GroupView {
                endpoint: local.endpoint,
                view: record.clone(),
            });
            // What filled the window may have been forgotten while the node was out.
            if local.standing == Standing::Member && local.take_writable() {
                context.outbox.event(Event::Writable {
                    endpoint: local.endpoint,
                });
            }
        }
        if !self.is_in_past {
            self.end_leaves(context, before.map(|before| &**before), view);
        }
        Ok(())
    }

    /// Members that were in and have left are gone. One that was never in waits for the answer to its
    /// request: what is on its way may still let it in. One that nobody here knows (its request to
    /// leave was overtaken by an older one to join) is asked to leave again.
    fn end_leaves(
        &mut self,
        context: &mut Context<'_>,
        before: Option<&ViewEntry>,
        view: &ViewEntry,
    ) {
        let own = context.own;
        let outbox = &mut *context.outbox;
        self.locals.retain(|local| {
            let id = MemberId {
                node: own.node,
                endpoint: local.endpoint,
                incarnation: own.incarnation,
            };
            let was_in = before.is_some_and(|before| before.has(id));
            let is_gone = local.standing == Standing::Leaving && was_in && !view.has(id);
            if is_gone {
                local.tell_end(outbox);
            }
            !is_gone
        });
        for member in view.members.iter() {
            let is_own = member.id.node == own.node && member.id.incarnation == own.incarnation;
            let is_known = self
                .locals
                .iter()
                .any(|local| local.endpoint == member.id.endpoint);
            if is_own && !is_known {
                if let Ok(mut ghost) = Local::new(member.id.endpoint, context.now) {
                    ghost.standing = Standing::Leaving;
                    ghost.is_ended = true;
                    let _ = self.locals.push(ghost);
                }
            }
        }
    }
}

/// Whether the node has members in the view that is in force where it has accepted the log.
fn is_in(log: &Log, context: &Context<'_>) -> bool {
    log.accepted_view()
        .is_some_and(|view| view.has_node(context.own.node))
}

fn copy(bytes: &[u8]) -> Result<BoundedVec<u8>, OutOfMemory> {
    let mut copy = BoundedVec::with_capacity(bytes.len())?;
    copy.extend_from_slice(bytes)?;
    Ok(copy)
}

/// Puts a message together from its fragments.
fn gather(log: &mut Log, first: u64, last: u64) -> Result<Shared<BoundedVec<u8>>, OutOfMemory> {
    let length = (first..=last)
        .filter_map(|position| match log.entry(position) {
            Some(Entry::Data { bytes, .. }) => Some(bytes.len()),
            _ => None,
        })
        .fold(0, usize::saturating_add);
    let mut payload = BoundedVec::with_capacity(length)?;
    for position in first..=last {
        if let Some(Entry::Data { bytes, .. }) = log.entry(position) {
            payload.extend_from_slice(bytes)?;
        }
    }
    Shared::try_new(payload)
}
