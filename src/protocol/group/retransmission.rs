// SPDX-License-Identifier: GPL-2.0

//! What a node sends for a group, and retransmits when the answer does not arrive in time: reports of what it holds,
//! join and leave requests, messages of its members, acknowledgements. And when each of them is due.

use super::acknowledgement::{Acknowledgement, DELAY, ENTRIES_MAX, REORDERING};
use super::context::{coordinator_of, Context};
use super::local::{Local, Standing};
use super::log::Log;
use super::release::ReleaseRule;
use super::sequencer::Sequencer;
use super::{member_id, Group, ROOM_KEPT_BYTES};
use crate::protocol::identity::{EndpointId, MemberId, NodeId, ViewNumber};
use crate::protocol::limits::{DATAGRAM_BYTES_MAX, HEADER_BYTES};
use crate::protocol::time::Instant;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::group::{write_fragment, write_request, Request, FRAGMENT_HEAD_BYTES};
use crate::protocol::wire::Kind;

/// Room for fragments in a datagram.
const FRAGMENTS_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - HEADER_BYTES - 16;

impl Group {
    /// A cluster view was installed.
    pub(super) fn install(&mut self, now: Instant, view: &ClusterView, own: NodeId) {
        self.coordinator = coordinator_of(self.id, view);
        self.sequencer = None;
        self.is_ordering = false;
        if self.locals.is_empty() {
            // Its members, if any, have left before the start.
            self.pending_start = None;
        }
        // A node without members in the last view that it has accepted gets none of the entries behind that view. It
        // keeps its log only if another node may lack a part of it.
        let is_out = self.log.as_ref().is_some_and(|log| {
            let is_in = log.accepted_view().is_some_and(|view| view.has_node(own));
            !is_in && log.stable >= log.accepted
        });
        if is_out {
            self.log = None;
        }
        if let Some(log) = &mut self.log {
            log.forget_unaccepted();
        }
        let holds_something = self.log.is_some() || self.pending_start.is_some();
        self.report_at = holds_something.then_some(now);
        self.acknowledgement = Acknowledgement::default();
        for local in self.locals.as_mut_slice() {
            local.request_at = now;
            local.send_again();
        }
    }

    /// Do what is due. The cluster view is not changing.
    pub(super) fn run(&mut self, context: &mut Context<'_>) {
        self.backlog = false;
        self.drop_unused_transition();
        self.progress(context);
        self.end_draining(context.now);
        self.send_report_due(context);
        self.send_requests(context);
        self.send_data(context);
        self.run_sequencer(context);
        self.send_acknowledge(context);
        // The epoch may have begun just now: this node may have ordered its start itself.
        let epoch = context.view.number;
        if self.is_coordinator(context) && self.log_of(epoch).is_some() {
            self.backlog |= self.locals.iter().any(Local::has_more);
        }
    }

    /// Whether this node orders the group.
    pub(super) fn is_coordinator(&self, context: &Context<'_>) -> bool {
        self.coordinator == Some(context.own.node)
    }

    /// The last accepted position of the log of `epoch`, if this node has it.
    pub(super) fn accepted(&self, epoch: ViewNumber) -> Option<u64> {
        if let Some(log) = self.log.as_ref().filter(|log| log.epoch == epoch) {
            return Some(log.accepted);
        }
        let start = self.pending_start.as_ref();
        start.filter(|start| start.epoch == epoch).map(|_| 1)
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
        let merge_request = self.merge_request();
        for place in 0..self.locals.len() {
            let Some(local) = self.locals.as_mut_slice().get_mut(place) else {
                return;
            };
            let request = match local.standing {
                Standing::Joining => Request::Join,
                Standing::Leaving => Request::Leave,
                Standing::Merging => merge_request,
                Standing::Member | Standing::Draining => continue,
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

    /// Handle the request of a member to join or leave. Returns false if it asks to leave and is not in the group.
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
                sequencer.join_merging(context.now, context.interval, member, place);
                true
            }
            (Request::Leave, Some(sequencer)) => sequencer.leave(member),
            _ => true,
        }
    }

    /// Answer a leave request: the member is not in the group.
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

    /// Whether all participants are known to hold what members of this node have sent.
    fn are_own_messages_held(&self) -> bool {
        let log = self.log.as_ref();
        log.is_none_or(|log| log.last_own <= log.stable)
    }

    /// Members whose messages all participants hold ask to leave now. Before that the messages could still be lost, if
    /// this node is excluded, and the consumer would have been told that all were sent.
    fn end_draining(&mut self, now: Instant) {
        let are_held = self.are_own_messages_held();
        for local in self.locals.as_mut_slice() {
            if local.is_drained(are_held) {
                local.standing = Standing::Leaving;
                local.request_at = now;
            }
        }
    }

    /// A leaving member is not in the group any more: report its end.
    pub(super) fn forget_endpoint(&mut self, context: &mut Context<'_>, endpoint: EndpointId) {
        let outbox = &mut *context.outbox;
        self.locals.retain(|local| {
            let is_it = local.endpoint == endpoint && local.standing == Standing::Leaving;
            if is_it {
                local.report_left(outbox);
            }
            !is_it
        });
    }

    /// Send what members on this node have submitted.
    fn send_data(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let is_in_effect = self.log.as_ref().is_some_and(|log| log.epoch == epoch);
        let Some(coordinator) = self.coordinator.filter(|_| is_in_effect) else {
            return;
        };
        let interval = context.interval;
        for local in self.locals.as_mut_slice() {
            if !local.is_sending() {
                continue;
            }
            local.check_progress(context.now, interval);
            if coordinator == context.own.node {
                let member = member_id(context.own, local.endpoint);
                while let (Some(fragment), Some(sequencer), Some(log)) = (
                    local.next_fragment(),
                    self.sequencer.as_mut(),
                    self.log.as_mut(),
                ) {
                    sequencer.take_fragment(member, &fragment, log);
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
            let accepted = self.log.as_ref().map_or(0, |log| log.accepted);
            while local.next_fragment().is_some() {
                if context.outbox.transmit_room() <= ROOM_KEPT_BYTES {
                    self.backlog = true;
                    return;
                }
                context.outbox.send([&address], Kind::GroupData, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(accepted)?;
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
                self.acknowledgement.sent(accepted);
            }
        }
    }

    /// When [`Self::run`] has something to do without another input.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.backlog {
            return Some(Instant::ZERO);
        }
        let are_held = self.are_own_messages_held();
        let requests = self
            .locals
            .iter()
            .filter(|local| !local.is_sending() || local.is_drained(are_held))
            .map(|local| local.request_at);
        // Only deadlines that `send_data` and `send_acknowledge` act on. Others would wake the engine for nothing.
        let sends = self
            .locals
            .iter()
            .filter(|local| local.is_sending())
            .filter_map(Local::next_deadline);
        let acknowledgement = self.acknowledgement.next_deadline();
        let sequencer = self.sequencer.as_ref().and_then(Sequencer::next_deadline);
        requests
            .chain(sends)
            .chain(self.report_at)
            .chain(acknowledgement)
            .chain(sequencer)
            .min()
    }

    /// Whether this node may forget the group.
    pub(super) fn is_over(&self) -> bool {
        // Other nodes wait for the reports of a node with a log until they hold a view without it.
        let is_idle = match &self.sequencer {
            Some(sequencer) => sequencer.is_empty(),
            None => self.log.is_none() && self.pending_start.is_none(),
        };
        self.locals.is_empty() && is_idle
    }
}

impl Group {
    /// Acknowledge to the coordinator what this node has accepted, and report what it lacks, if that is due.
    pub(super) fn send_acknowledge(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let (Some(accepted), Some(coordinator)) = (self.accepted(epoch), self.coordinator) else {
            return;
        };
        let log = self.log.as_ref().filter(|log| log.epoch == epoch);
        let state = &mut self.acknowledgement;
        let sends_more = self.locals.iter().any(Local::has_pending);
        let rule = context.release_rule;
        let is_awaited = state.acknowledged < accepted
            && log.is_none_or(|log| is_awaited(log, state.acknowledged, rule));
        // The others wait for this node to hold its own messages. If it sends more, the coordinator tells them.
        let own = log.map_or(0, |log| log.last_own);
        let for_all = rule == ReleaseRule::SendersHold
            && own > state.announced
            && own <= accepted
            && !sends_more;
        if coordinator == context.own.node {
            // Its acknowledgements are in what it orders.
            state.at = None;
            state.gap = None;
            return;
        }
        let group = self.id;
        let is_overdue = state.at.is_some_and(|at| context.now >= at);
        let is_full = accepted.saturating_sub(state.acknowledged) >= ENTRIES_MAX;
        if state.is_due || is_awaited || is_overdue || is_full || for_all {
            let view = log.and_then(|log| log.view.as_ref()).filter(|_| for_all);
            let others = view.into_iter().flat_map(|view| view.nodes());
            let others = others.filter(|node| *node != context.own.node && *node != coordinator);
            let cluster = context.view;
            let addresses = core::iter::once(coordinator)
                .chain(others)
                .filter_map(|node| cluster.member(node).map(|member| &member.address));
            context
                .outbox
                .send(addresses, Kind::GroupAcknowledge, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(accepted)
                });
            if for_all {
                state.announced = accepted;
            }
            state.acknowledged = accepted;
            state.is_due = false;
            // Until the coordinator announces that the entries are stable, the acknowledgement may have been lost.
            state.at = Some(context.now.after(context.interval.times(2)));
        } else if !state.is_up_to_date(accepted) && state.at.is_none() {
            state.at = Some(context.now.after(DELAY));
        } else if !state.is_up_to_date(accepted) {
            let soon = context.now.after(DELAY);
            state.at = state.at.map(|at| at.min(soon));
        }
        if log.map_or(0, |log| log.stable) >= accepted {
            state.at = None;
        }
        self.report_gap(context);
    }

    /// Report the first gap to the coordinator, once it has lasted for a while.
    fn report_gap(&mut self, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let log = self.log.as_ref().filter(|log| log.epoch == epoch);
        let Some((from, to)) = log.and_then(Log::gap) else {
            self.acknowledgement.gap = None;
            return;
        };
        let at = match self.acknowledgement.gap {
            Some((known, at)) if known == from => at,
            _ => context.now.after(REORDERING),
        };
        self.acknowledgement.gap = Some((from, at));
        let coordinator = self.coordinator.and_then(|node| context.address(node));
        let (Some(address), true) = (coordinator, context.now >= at) else {
            return;
        };
        let group = self.id;
        context
            .outbox
            .send([&address], Kind::GroupMissing, |writer| {
                writer.u64(group.0)?;
                writer.u64(from)?;
                writer.u64(to)
            });
        self.acknowledgement.gap = Some((from, context.now.after(context.interval)));
    }
}

/// Whether somebody waits for the acknowledgement of what was accepted behind `acknowledged`.
fn is_awaited(log: &Log, acknowledged: u64, rule: ReleaseRule) -> bool {
    rule == ReleaseRule::AllHold
        || [log.last_view, log.last_safe, log.last_own]
            .iter()
            .any(|position| *position > acknowledged)
}
