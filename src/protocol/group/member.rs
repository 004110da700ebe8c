// SPDX-License-Identifier: GPL-2.0

//! What a node with members of a group does with ordered entries: it accepts them, delivers them when their order allows
//! it ([`super::release`]), and installs the group's views at their places among the messages.

use super::acknowledgement::Acknowledgement;
use super::context::Context;
use super::entry::{copy, Entry, ViewEntry};
use super::flush::PendingStart;
use super::log::Log;
use super::{Group, EVENTS_KEPT};
use crate::platform::{breaks, BoundedVec, OutOfMemory, Shared};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{MemberId, ViewNumber};
use crate::protocol::outputs::{Event, Payload};
use crate::protocol::rules::Rule;
use crate::protocol::wire::group::{Arrival, EntryBody, Ordered, Reached, Status, ViewBody};

/// The result of an attempt to deliver.
enum Step {
    /// Something was delivered.
    Done,
    /// No more entries may be delivered.
    Nothing,
    /// The event queue is full or memory is short: try again later.
    NoRoom,
}

impl Group {
    // ---- accepting ----------------------------------------------------------------------------

    /// Ordered entries of the present epoch arrived from the coordinator.
    pub(super) fn take_ordered(&mut self, context: &mut Context<'_>, ordered: &Ordered<'_>) {
        self.hear_stable(context, ordered.reached.stable);
        let received = self.log.as_ref().map(Log::received);
        // A node whose members left and join again finishes the log that it has before it begins a new one.
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
        if self.log.as_ref().map(Log::received) == received {
            // The coordinator repeats what it believes to be missing: it did not hear the last acknowledgement.
            self.acknowledgement.is_due = true;
        }
        self.progress(context);
        self.hear_reached(context, ordered.reached);
        self.progress(context);
    }

    fn take_view(&mut self, context: &Context<'_>, position: u64, body: &ViewBody<'_>) {
        let epoch = context.view.number;
        // A node that is out has nothing more to receive. If its members are in again, the others hold all that it
        // keeps: a node that comes in gets nothing before they do.
        let is_out = self.log_of(epoch).is_some_and(|log| {
            // An older view that arrives late tells nothing new.
            position > log.accepted && log.accepted == log.delivered && !is_in(log, context)
        });
        if is_out || self.log_of(epoch).is_none() {
            // This may be the first entry for a node that had no members.
            let is_starting = self
                .pending_start
                .as_ref()
                .is_some_and(|start| start.epoch == epoch);
            let own = context.own;
            let is_own = |member: &MemberId| {
                member.node == own.node && member.incarnation == own.incarnation
            };
            let is_in = body.members().any(|(member, _, _)| is_own(&member));
            // Otherwise an earlier entry admitted this node's members, and is still to arrive.
            let begins_here = body
                .members()
                .all(|(member, _, arrival)| arrival != Arrival::Along || !is_own(&member));
            if is_starting || !is_in || !begins_here || self.locals.is_empty() {
                return;
            }
            // A pending start from before is obsolete: its members on this node have left.
            self.pending_start = None;
            self.report_at = None;
            self.log = Log::new(epoch, context.cluster_view, position.saturating_sub(1)).ok();
        }
        if let Some(log) = self.log_of(epoch).filter(|log| log.wants(position)) {
            if let Ok(view) = ViewEntry::from_body(body) {
                log.put(position, Entry::View(view));
            }
        }
    }

    /// The log if it is of this epoch.
    pub(super) fn log_of(&mut self, epoch: ViewNumber) -> Option<&mut Log> {
        self.log.as_mut().filter(|log| log.epoch == epoch)
    }

    /// The start of the present epoch arrived.
    fn take_start(
        &mut self,
        context: &mut Context<'_>,
        previous: ViewNumber,
        last: u64,
        body: &ViewBody<'_>,
    ) {
        if let Ok(view) = ViewEntry::from_body(body) {
            // A node that holds something of an epoch before learns from the start that its members are out.
            let holds_something = self.log.is_some() || self.pending_start.is_some();
            if view.has_node(context.own.node) || holds_something {
                self.accept_start(context, previous, last, view);
            }
        }
    }

    /// Accept the start of the present epoch, whether it arrived or this node made it.
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
        if let Some(start) = &mut self.pending_start {
            if start.epoch == epoch {
                return;
            }
            if start.epoch == previous {
                // The start that this node holds counts.
                start.in_effect = true;
            }
            if start.in_effect {
                self.deliver(context);
                if self.pending_start.is_some() {
                    // It is not carried out yet. The coordinator sends the new one again.
                    return;
                }
            }
        }
        match &self.log {
            Some(log) if log.epoch == previous && log.accepted >= last => {}
            Some(log) if log.epoch == previous && is_in(log, context) => {
                // Cannot be: the coordinator waits until this node holds all entries that count.
                return;
            }
            // The log does not count any more, or has no members on this node.
            _ => self.log = None,
        }
        self.pending_start = Some(PendingStart {
            epoch,
            cluster_view: context.cluster_view,
            previous,
            last,
            view,
            in_effect: false,
        });
    }

    /// The coordinator announces how far it is.
    pub(super) fn take_status(&mut self, context: &mut Context<'_>, status: &Status) {
        self.hear_stable(context, status.reached.stable);
        if let Some(log) = self.log_of(context.view.number) {
            log.note_highest(status.last);
        }
        self.hear_reached(context, status.reached);
        self.progress(context);
    }

    fn hear_reached(&mut self, context: &Context<'_>, reached: Reached) {
        let coordinator = self.coordinator;
        if let Some(log) = self.log_of(context.view.number) {
            if let Some(coordinator) = coordinator {
                let accepted = match breaks(Rule::CoordinatorHoldsWhatItAccepted) {
                    true => u64::MAX,
                    false => reached.accepted,
                };
                log.note_holder(coordinator, accepted);
            }
            log.hear_released(reached.released);
        }
    }

    /// All participants hold all entries up to `stable`.
    pub(super) fn hear_stable(&mut self, context: &mut Context<'_>, stable: u64) {
        let epoch = context.view.number;
        if let Some(start) = &mut self.pending_start {
            if start.epoch == epoch && stable >= 1 && !start.in_effect {
                start.in_effect = true;
                self.deliver(context);
            }
        }
        if let Some(log) = self.log_of(epoch) {
            log.stable = log.stable.max(stable);
        }
    }

    /// Entries of the epoch before arrived from another node.
    pub(super) fn take_handover(
        &mut self,
        context: &mut Context<'_>,
        epoch: ViewNumber,
        ordered: &Ordered<'_>,
    ) {
        if let Some(start) = &mut self.pending_start {
            if start.epoch == epoch && epoch < context.view.number {
                // Only entries that count are handed over, so this start took effect.
                start.in_effect = true;
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
        // The coordinator waits for this report.
        self.report_at = self.report_at.map(|_| context.now);
    }

    /// Accept and deliver as far as possible.
    pub(super) fn progress(&mut self, context: &mut Context<'_>) {
        self.accept(context);
        self.deliver(context);
        if let Some(log) = &mut self.log {
            log.drop_stable();
        }
        self.forget_log_if_out(context);
    }

    /// Accept what arrived without a gap. The place of own messages among these entries is final now, so their senders
    /// get `Event::Sent`.
    fn accept(&mut self, context: &mut Context<'_>) {
        loop {
            if context.outbox.event_room() <= EVENTS_KEPT {
                self.backlog = true;
                return;
            }
            let Some(log) = &mut self.log else {
                return;
            };
            // Entries of an epoch that is over are decided already, also those behind a view. But a node whose members a
            // view has removed gets none behind that, even if a later view has members of it again: these are new.
            let is_over = log.epoch < context.view.number;
            if is_over && !is_in(log, context) {
                return;
            }
            let Some(position) = log.accept_next(context.own.node, is_over) else {
                return;
            };
            if is_over {
                // `Event::Sent` follows when the entry is delivered.
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
        if local.is_end_reported {
            // The member has got its last event.
            return;
        }
        context.outbox.event(Event::Sent {
            endpoint: sender.endpoint,
            sequence: message.sequence,
            order: message.order,
            view,
            call_view: message.call_view,
        });
        if local.take_writable() {
            context.outbox.event(Event::Writable {
                endpoint: sender.endpoint,
            });
        }
    }

    // ---- delivering ---------------------------------------------------------------------------

    /// Deliver the entries whose order allows it; and if a start is in effect, the entries that count of the epoch
    /// before, then begin the new epoch. Returns false if there was no room for all of that.
    pub(super) fn deliver(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let limit = match (&self.pending_start, &self.log) {
                (Some(start), Some(log)) if start.in_effect => {
                    Some(match log.epoch == start.previous {
                        true => start.last.min(log.accepted),
                        false => log.delivered,
                    })
                }
                (Some(start), None) if start.in_effect => Some(0),
                (_, Some(log)) => self.transitional_limit.map(|limit| limit.min(log.accepted)),
                (_, None) => return true,
            };
            if let (None, Some(log)) = (limit, &mut self.log) {
                log.release(context.own.node, context.release_rule);
            }
            let step = match self.deliver_next(context, limit) {
                Step::Nothing if self.is_start_in_effect() => match self.carry_out_start(context) {
                    Ok(()) => Step::Done,
                    Err(OutOfMemory) => Step::NoRoom,
                },
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

    fn is_start_in_effect(&self) -> bool {
        self.pending_start
            .as_ref()
            .is_some_and(|start| start.in_effect)
    }

    /// Deliver the next message or view: up to `limit` whatever their orders, or, without a limit, as their orders
    /// allow it.
    fn deliver_next(&mut self, context: &mut Context<'_>, limit: Option<u64>) -> Step {
        let Some(log) = &mut self.log else {
            return Step::Nothing;
        };
        let next = log.delivered.saturating_add(1);
        let last = log.last_of(next);
        if log.is_delivered_early(next) {
            log.deliver_up_to(last);
            return Step::Done;
        }
        let is_allowed = match limit {
            Some(limit) => last <= limit,
            None => last <= log.accepted && log.is_deliverable(next),
        };
        let view = match log.entry(next) {
            Some(Entry::View(view)) if is_allowed => view.clone(),
            Some(Entry::Data { .. }) if is_allowed => {
                return self.deliver_message(context, next, last);
            }
            _ if limit.is_some() => return Step::Nothing,
            _ => {
                let Some(first) = log.next_overtaker(context.own.node, context.release_rule) else {
                    return Step::Nothing;
                };
                let last = log.last_of(first);
                return self.deliver_message(context, first, last);
            }
        };
        if !self.has_event_room(context) {
            return Step::NoRoom;
        }
        let Some(log) = &self.log else {
            return Step::Nothing;
        };
        let before = log.view.clone();
        let is_ready = self.complete_transition(context, &view);
        if !is_ready || self.show_view(context, before.as_ref(), &view).is_err() {
            return Step::NoRoom;
        }
        if let Some(log) = &mut self.log {
            log.deliver_up_to(next);
            log.view = Some(view);
        }
        self.forget_log_if_out(context);
        Step::Done
    }

    fn has_event_room(&self, context: &Context<'_>) -> bool {
        let needed = EVENTS_KEPT.saturating_add(self.locals.len().saturating_mul(3));
        context.outbox.event_room() > needed
    }

    /// Deliver the message that the entries from `first` to `last` are: in its turn, or before that.
    fn deliver_message(&mut self, context: &mut Context<'_>, first: u64, last: u64) -> Step {
        if !self.has_event_room(context) {
            return Step::NoRoom;
        }
        let addressed = self.addressed();
        let has_members = self.locals.iter().any(|local| local.standing == addressed);
        let Some(log) = &mut self.log else {
            return Step::Nothing;
        };
        let Some(Entry::Data { part, .. }) = log.entry(first) else {
            return Step::Nothing;
        };
        let part = *part;
        let payload = match has_members.then(|| gather(log, first, last)) {
            None => None,
            Some(Ok(payload)) => Some(payload),
            Some(Err(OutOfMemory)) => return Step::NoRoom,
        };
        let sender = log.sender(first);
        let number = log.view.as_ref().map(|view| view.number);
        if first == log.delivered.saturating_add(1) {
            log.deliver_up_to(last);
        } else {
            log.deliver_early(first, last);
        }
        let (Some(sender), Some(view)) = (sender, number) else {
            return Step::Done;
        };
        self.own_message_ordered(context, sender, part.sequence, view);
        let Some(payload) = payload else {
            return Step::Done;
        };
        for local in self.locals.iter() {
            if local.standing == addressed {
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
        Step::Done
    }

    /// Begin the epoch of the pending start: the log before is delivered as far as it counts.
    fn carry_out_start(&mut self, context: &mut Context<'_>) -> Result<(), OutOfMemory> {
        if !self.has_event_room(context) {
            return Err(OutOfMemory);
        }
        let Some(start) = &self.pending_start else {
            return Ok(());
        };
        let (epoch, previous, view) = (start.epoch, start.previous, start.view.clone());
        let mut log = Log::new(epoch, start.cluster_view, 1)?;
        if !self.complete_transition(context, &view) {
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
        self.pending_start = None;
        for local in self.locals.as_mut_slice() {
            local.begin_log();
        }
        self.forget_log_if_out(context);
        Ok(())
    }

    /// Drop the log if this node has no members in the present view, does not order the group, and all others hold what
    /// it holds.
    fn forget_log_if_out(&mut self, context: &Context<'_>) {
        let is_needed = self.log.as_ref().is_some_and(|log| {
            let view = log.view.as_ref();
            let is_in = view.is_some_and(|view| view.has_node(context.own.node));
            is_in || log.accepted > log.delivered || log.stable < log.delivered
        });
        if !is_needed && !self.is_ordering {
            self.log = None;
            // There is nothing to acknowledge any more, so the deadline must go too.
            self.acknowledgement = Acknowledgement::default();
        }
    }
}

/// Whether the node has members in the view that is in force after the last accepted entry.
fn is_in(log: &Log, context: &Context<'_>) -> bool {
    log.accepted_view()
        .is_some_and(|view| view.has_node(context.own.node))
}

/// The bytes of the message whose fragments are the entries from `first` to `last`. A message of one fragment is not
/// copied.
fn gather(log: &Log, first: u64, last: u64) -> Result<Payload, OutOfMemory> {
    if let (true, Some(Entry::Data { bytes, .. })) = (first == last, log.entry(first)) {
        return Ok(bytes.clone());
    }
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
