// SPDX-License-Identifier: GPL-2.0

//! What a node does for one group: it asks for its members to be let in or go, sends what they have
//! submitted, acknowledges what has come, and does all of it again when nothing comes back.

use super::local::{Local, Standing};
use super::log::Log;
use super::sequencer::Sequencer;
use super::{coordinator_of, member_id, Context, Group, FRAGMENTS_BYTES_MAX, ROOM_KEPT_BYTES};
use crate::protocol::identity::{EndpointId, MemberId, NodeId, ViewNumber};
use crate::protocol::time::Instant;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::group::{write_fragment, write_request, Request, FRAGMENT_HEAD_BYTES};
use crate::protocol::wire::Kind;

impl Group {
    /// A cluster view was installed.
    pub(super) fn install(&mut self, now: Instant, view: &ClusterView, own: NodeId) {
        self.coordinator = coordinator_of(self.id, view);
        self.sequencer = None;
        self.is_ordering = false;
        if self.locals.is_empty() {
            // It only ordered the group.
            self.log = None;
            self.candidate = None;
        }
        // A node that has accepted a view without it gets nothing of what followed.
        let is_out = self
            .log
            .as_ref()
            .and_then(Log::accepted_view)
            .is_some_and(|view| !view.has_node(own));
        if is_out {
            self.log = None;
        }
        if let Some(log) = &mut self.log {
            log.forget_unaccepted();
        }
        let holds_something = self.log.is_some() || self.candidate.is_some();
        self.report_at = holds_something.then_some(now);
        self.acknowledge_due = false;
        self.acknowledge_at = None;
        for local in self.locals.as_mut_slice() {
            local.request_at = now;
            local.send_again();
        }
    }

    /// Does what is due, in a settled cluster view.
    pub(super) fn run(&mut self, context: &mut Context<'_>) {
        self.backlog = false;
        self.forget_past_of_nobody();
        self.progress(context);
        self.send_report_due(context);
        self.send_requests(context);
        self.send_data(context);
        self.run_sequencer(context);
        self.send_acknowledge(context);
        // The epoch may have begun just now, by what this node has ordered itself.
        let epoch = context.view.number;
        if self.is_coordinator(context) && self.log_of(epoch).is_some() {
            self.backlog |= self.locals.iter().any(Local::has_more);
        }
    }

    pub(super) fn is_coordinator(&self, context: &Context<'_>) -> bool {
        self.coordinator == Some(context.own.node)
    }

    /// How far the log of the present epoch was accepted.
    pub(super) fn accepted(&self, epoch: ViewNumber) -> Option<u64> {
        if let Some(log) = self.log.as_ref().filter(|log| log.epoch == epoch) {
            return Some(log.accepted);
        }
        let candidate = self.candidate.as_ref();
        candidate
            .filter(|candidate| candidate.epoch == epoch)
            .map(|_| 1)
    }

    fn send_report_due(&mut self, context: &mut Context<'_>) {
        if self.accepted(context.view.number).is_some() {
            self.report_at = None;
        }
        let (Some(at), Some(coordinator)) = (self.report_at, self.coordinator) else {
            return;
        };
        if context.now < at {
            return;
        }
        if self.is_coordinator(context) {
            self.sequencer(context);
            self.report_at = None;
        } else {
            self.send_report(context, coordinator);
            self.report_at = Some(context.now.after(context.interval.times(2)));
        }
    }

    fn send_requests(&mut self, context: &mut Context<'_>) {
        let Some(coordinator) = self.coordinator else {
            return;
        };
        let to_return = self.request_to_return();
        for place in 0..self.locals.len() {
            let Some(local) = self.locals.as_mut_slice().get_mut(place) else {
                return;
            };
            let request = match local.standing {
                Standing::Joining => Request::Join,
                Standing::Leaving => Request::Leave,
                Standing::Returning => to_return,
                Standing::Member => continue,
            };
            if context.now < local.request_at {
                continue;
            }
            local.request_at = context.now.after(context.interval.times(2));
            let endpoint = local.endpoint;
            if coordinator == context.own.node {
                let member = member_id(context.own, endpoint);
                if !self.take_request(context, request, member) {
                    self.answer_gone(context, member);
                }
            } else if let Some(address) = context.address(coordinator) {
                let name = &self.name;
                context
                    .outbox
                    .send([&address], Kind::GroupRequest, |writer| {
                        write_request(writer, name, request, endpoint)
                    });
            }
        }
    }

    /// A member asks to be let in or go. False if it wants to go and is not known.
    pub(super) fn take_request(
        &mut self,
        context: &Context<'_>,
        request: Request,
        member: MemberId,
    ) -> bool {
        match (request, self.sequencer(context)) {
            (Request::Join, Some(sequencer)) => {
                sequencer.join(member);
                true
            }
            (Request::Return(place), Some(sequencer)) => {
                sequencer.join_again(context.now, context.interval, member, place);
                true
            }
            (Request::Leave, Some(sequencer)) => sequencer.leave(member),
            _ => true,
        }
    }

    /// Tells a member that wanted to go that it is not in the group.
    pub(super) fn answer_gone(&mut self, context: &mut Context<'_>, member: MemberId) {
        if member.node == context.own.node {
            self.forget_endpoint(context, member.endpoint);
        } else if let Some(address) = context.address(member.node) {
            let name = &self.name;
            context
                .outbox
                .send([&address], Kind::GroupRequest, |writer| {
                    write_request(writer, name, Request::Gone, member.endpoint)
                });
        }
    }

    /// A member that wanted to go is not in the group.
    pub(super) fn forget_endpoint(&mut self, context: &mut Context<'_>, endpoint: EndpointId) {
        let outbox = &mut *context.outbox;
        self.locals.retain(|local| {
            let is_it = local.endpoint == endpoint && local.standing == Standing::Leaving;
            if is_it {
                local.tell_end(outbox);
            }
            !is_it
        });
    }

    /// Sends what members on this node have submitted.
    fn send_data(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let is_in_effect = self.log.as_ref().is_some_and(|log| log.epoch == epoch);
        let Some(coordinator) = self.coordinator.filter(|_| is_in_effect) else {
            return;
        };
        let interval = context.interval;
        for local in self.locals.as_mut_slice() {
            if local.standing != Standing::Member {
                continue;
            }
            local.check_progress(context.now, interval);
            if coordinator == context.own.node {
                let member = member_id(context.own, local.endpoint);
                while let (Some(fragment), Some(sequencer)) =
                    (local.next_fragment(), self.sequencer.as_mut())
                {
                    sequencer.take_fragment(member, &fragment);
                    local.fragment_sent(context.now, interval);
                }
                continue;
            }
            let Some(address) = context
                .view
                .member(coordinator)
                .map(|member| member.address)
            else {
                return;
            };
            let group = self.id;
            while local.next_fragment().is_some() {
                if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
                    self.backlog = true;
                    return;
                }
                context.outbox.send([&address], Kind::GroupData, |writer| {
                    writer.u64(group.0)?;
                    let mut bytes: usize = 0;
                    while let Some(fragment) = local.next_fragment() {
                        bytes = bytes
                            .saturating_add(FRAGMENT_HEAD_BYTES)
                            .saturating_add(fragment.bytes.len());
                        if bytes > FRAGMENTS_BYTES_MAX {
                            break;
                        }
                        write_fragment(writer, &fragment)?;
                        local.fragment_sent(context.now, interval);
                    }
                    Some(())
                });
            }
        }
    }

    fn send_acknowledge(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let (Some(accepted), Some(coordinator)) = (self.accepted(epoch), self.coordinator) else {
            return;
        };
        if coordinator == context.own.node {
            return;
        }
        let Some(address) = context.address(coordinator) else {
            return;
        };
        let group = self.id;
        let (stable, gap) = match self.log.as_ref().filter(|log| log.epoch == epoch) {
            Some(log) => (log.stable, log.gap()),
            None => (0, None),
        };
        let is_again = self.acknowledge_at.is_some_and(|at| context.now >= at);
        if self.acknowledge_due || is_again {
            context
                .outbox
                .send([&address], Kind::GroupAcknowledge, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(accepted)
                });
            self.acknowledge_due = false;
            self.acknowledge_at = Some(context.now.after(context.interval.times(2)));
        }
        if stable >= accepted {
            self.acknowledge_at = None;
        }
        if let Some((from, to)) = gap.filter(|_| context.now >= self.missing_at) {
            context
                .outbox
                .send([&address], Kind::GroupMissing, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(from)?;
                    writer.u64(to)
                });
            self.missing_at = context.now.after(context.interval);
        }
    }

    /// When something is to be done although nothing comes in.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.backlog {
            return Some(Instant::ZERO);
        }
        let requests = self
            .locals
            .iter()
            .filter(|local| local.standing != Standing::Member)
            .map(|local| local.request_at);
        // Only what `send_data` and `send_acknowledge` look after: else nothing would be done then.
        let sends = self
            .locals
            .iter()
            .filter(|local| local.standing == Standing::Member)
            .filter_map(Local::next_deadline);
        let is_present = self.report_at.is_none();
        let gap = self.log.as_ref().filter(|_| is_present).and_then(Log::gap);
        let missing = gap.map(|_| self.missing_at).filter(|_| !self.is_ordering);
        let sequencer = self.sequencer.as_ref().and_then(Sequencer::next_deadline);
        requests
            .chain(sends)
            .chain(self.report_at)
            .chain(self.acknowledge_at)
            .chain(missing)
            .chain(sequencer)
            .min()
    }

    /// Whether this node has nothing to do with the group any more.
    pub(super) fn is_over(&self) -> bool {
        // Others wait for what a node with a log says, until a view without it is everywhere.
        let is_idle = match &self.sequencer {
            Some(sequencer) => sequencer.is_empty(),
            None => self.log.is_none() && self.candidate.is_none(),
        };
        self.locals.is_empty() && is_idle
    }
}
