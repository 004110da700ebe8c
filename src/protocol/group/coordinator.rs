// SPDX-License-Identifier: GPL-2.0

//! What a group's coordinator does: it queries the survivors, lets them hand over entries, orders messages and views,
//! and sends the ordered entries until all participants hold them. Its state is in [`super::sequencer`].

use super::context::Context;
use super::distribution::{entries_that_fit, write_entries, ENTRIES_BYTES_MAX};
use super::entry::Entry;
use super::flush::{decide, holder, lacking, Decision, Held, NodeReport};
use super::sequencer::{Sequencer, Stage};
use super::{Group, ROOM_KEPT_BYTES};
use crate::platform::{breaks, BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, MemberId, NodeId, ViewNumber};
use crate::protocol::limits::GROUP_MEMBERS_MAX;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::rules::Rule;
use crate::protocol::wire::group::{
    write_fetch, write_query, write_report_log, write_report_nothing, write_report_pending_start,
    Fetch, Fragment,
};
use crate::protocol::wire::Kind;

/// The view numbers of an epoch begin with this number times the cluster view's number. So a group never uses a view
/// number twice, even if no node is left that knows the epoch before.
const VIEWS_PER_CLUSTER_VIEW: u64 = 1_000_000;

impl Group {
    /// The coordinator's state. This node is the coordinator in the present epoch; the first call makes the state.
    pub(super) fn sequencer(&mut self, context: &Context<'_>) -> Option<&mut Sequencer> {
        if self.sequencer.is_none() {
            let mut sequencer = Sequencer::new(context.view, context.now).ok()?;
            sequencer.take_report(context.view, self.own_report(context.own.node));
            self.sequencer = Some(sequencer);
            self.is_ordering = true;
        }
        self.sequencer.as_mut()
    }

    /// The report of what this node holds.
    pub(super) fn own_report(&self, own: NodeId) -> NodeReport {
        let mut report = NodeReport::of(own);
        report.is_without_members =
            self.locals.is_empty() && self.log.is_none() && self.pending_start.is_none();
        if let Some(start) = &self.pending_start {
            report.pending_start = Some(Held {
                epoch: start.epoch,
                accepted: 1,
                view: start.view.clone(),
            });
            if start.in_effect {
                // The log before it is decided, only not delivered yet.
                report.log = report.pending_start.take();
                return report;
            }
        }
        report.log = self.log.as_ref().and_then(|log| {
            Some(Held {
                epoch: log.epoch,
                accepted: match breaks(Rule::ReportAllAcknowledged) {
                    true => log.delivered.min(log.stable),
                    false => log.accepted,
                },
                view: log.accepted_view()?.clone(),
            })
        });
        report
    }

    /// Report to a coordinator what this node holds.
    pub(super) fn send_report(&self, context: &mut Context<'_>, to: NodeId) {
        let Some(address) = context.address(to) else {
            return;
        };
        let report = self.own_report(context.own.node);
        let name = &self.name;
        if let Some(log) = &report.log {
            let has_pending_start = report.pending_start.is_some();
            context
                .outbox
                .send([&address], Kind::GroupReport, |writer| {
                    write_report_log(writer, name, log.epoch, log.accepted, has_pending_start)?;
                    log.view.write(writer)
                });
        }
        if let Some(start) = &report.pending_start {
            let has_log = report.log.is_some();
            context
                .outbox
                .send([&address], Kind::GroupReport, |writer| {
                    write_report_pending_start(writer, name, start.epoch, has_log)?;
                    start.view.write(writer)
                });
        }
        if report.log.is_none() && report.pending_start.is_none() {
            let has_members = !report.is_without_members;
            context
                .outbox
                .send([&address], Kind::GroupReport, |writer| {
                    write_report_nothing(writer, name, has_members)
                });
        }
    }

    /// Hand over entries of the epoch before to a node that lacks them.
    pub(super) fn hand_over(&mut self, context: &mut Context<'_>, fetch: &Fetch) {
        let (Some(address), Some(log)) = (context.address(fetch.receiver), &self.log) else {
            return;
        };
        if log.epoch != fetch.epoch {
            return;
        }
        let mut position = fetch.from;
        let last = fetch.to.min(log.accepted);
        while position <= last && context.outbox.transmit_room() > ROOM_KEPT_BYTES {
            let count = entries_that_fit(log, position, last, ENTRIES_BYTES_MAX);
            if count == 0 {
                // Delivered and dropped, so the receiver holds it.
                return;
            }
            let (group, epoch) = (self.id, log.epoch);
            context
                .outbox
                .send([&address], Kind::GroupHandover, |writer| {
                    writer.u64(group.0)?;
                    writer.u64(epoch.0)?;
                    write_entries(writer, log, position, count)
                });
            position = position.saturating_add(count);
        }
    }

    /// Do what the coordinator has to do now.
    pub(super) fn run_sequencer(&mut self, context: &mut Context<'_>) {
        let Some(mut sequencer) = self.sequencer.take() else {
            return;
        };
        sequencer.check_merge(context.now);
        if self.prepare_start(&mut sequencer, context).is_err() {
            // Memory is short: try again after an interval.
            sequencer.ask_at = context.now.after(context.interval);
        }
        if matches!(sequencer.stage, Stage::Starting) {
            self.finish_start(&mut sequencer, context);
        }
        if matches!(sequencer.stage, Stage::Running) {
            self.order(&mut sequencer, context);
        }
        if matches!(sequencer.stage, Stage::Starting | Stage::Running) {
            self.send_ordered(&mut sequencer, context);
        }
        self.sequencer = Some(sequencer);
    }

    fn prepare_start(
        &mut self,
        sequencer: &mut Sequencer,
        context: &mut Context<'_>,
    ) -> Result<(), OutOfMemory> {
        let is_due = context.now >= sequencer.ask_at;
        if matches!(sequencer.stage, Stage::Collecting) {
            if sequencer.unanswered(context.view).next().is_none() {
                let decision = decide(&sequencer.reports, context.view);
                sequencer.stage = Stage::Completing(decision);
                sequencer.ask_at = context.now;
            } else if is_due {
                let name = &self.name;
                for node in sequencer.unanswered(context.view) {
                    if let Some(address) = context.address(node) {
                        context.outbox.send([&address], Kind::GroupQuery, |writer| {
                            write_query(writer, name)
                        });
                    }
                }
                sequencer.ask_at = context.now.after(context.interval);
                return Ok(());
            } else {
                return Ok(());
            }
        }
        let Stage::Completing(decision) = &sequencer.stage else {
            return Ok(());
        };
        let decision = decision.clone();
        sequencer.take_report(context.view, self.own_report(context.own.node));
        if lacking(&sequencer.reports, &decision).next().is_some() {
            if context.now >= sequencer.ask_at {
                self.fetch(sequencer, &decision, context);
                sequencer.ask_at = context.now.after(context.interval);
            }
            return Ok(());
        }
        self.start(sequencer, &decision, context)
    }

    fn fetch(&mut self, sequencer: &Sequencer, decision: &Decision, context: &mut Context<'_>) {
        let Some(holder) = holder(&sequencer.reports, decision) else {
            return;
        };
        for (receiver, accepted) in lacking(&sequencer.reports, decision) {
            let fetch = Fetch {
                epoch: decision.previous,
                from: accepted.saturating_add(1),
                to: decision.last,
                receiver,
            };
            if holder == context.own.node {
                self.hand_over(context, &fetch);
            } else if let Some(address) = context.address(holder) {
                let group = self.id;
                context.outbox.send([&address], Kind::GroupFetch, |writer| {
                    write_fetch(writer, group, &fetch)
                });
            }
        }
    }

    fn start(
        &mut self,
        sequencer: &mut Sequencer,
        decision: &Decision,
        context: &mut Context<'_>,
    ) -> Result<(), OutOfMemory> {
        let before = decision.view.as_deref_entry();
        let fresh = context.view.number.0.saturating_mul(VIEWS_PER_CLUSTER_VIEW);
        let known = before.map_or_else(ViewNumber::default, |view| view.number);
        let number = known.max(*context.highest).next().max(ViewNumber(fresh));
        let (departed, cluster) = (context.departed, context.view);
        let reason = |member: MemberId| match cluster.has(identity_of(member)) {
            true => ChangeReason::Leave,
            false => departed_reason(departed, member),
        };
        // Nodes whose members left with a view that not all survivors hold: they report to have no members.
        let reports = &sequencer.reports;
        let mut memberless = BoundedVec::with_capacity(GROUP_MEMBERS_MAX)?;
        for node in before.iter().flat_map(|view| view.nodes()) {
            let report = reports.iter().find(|report| report.node == node);
            let has_none = match report {
                Some(report) => report.is_without_members,
                None => !cluster.is_reporter(node),
            };
            if has_none {
                let _ = memberless.push(node);
            }
        }
        let mut holders = BoundedVec::with_capacity(sequencer.reports.len())?;
        for report in sequencer.reports.iter() {
            // A node that holds less than what counts was admitted by a view that it never got: its members are
            // new.
            let held = report.accepted(decision.previous);
            if held.is_some_and(|held| held.accepted >= decision.last) {
                let _ = holders.push(report.node);
            }
        }
        let view = sequencer.make_view(
            before,
            number,
            context.own.node,
            |member| cluster.has(identity_of(member)) && !memberless.contains(&member.node),
            reason,
            |node| holders.contains(&node),
        )?;
        *context.highest = (*context.highest).max(number);
        sequencer.start = Some((decision.previous, decision.last, view.clone()));
        sequencer.install_start(view.clone(), context.own.node, context.interval);
        sequencer.stage = Stage::Starting;
        self.accept_start(context, decision.previous, decision.last, view);
        Ok(())
    }

    fn finish_start(&mut self, sequencer: &mut Sequencer, context: &mut Context<'_>) {
        let epoch = context.view.number;
        let holds_start = self
            .pending_start
            .as_ref()
            .is_some_and(|start| start.epoch == epoch);
        if !holds_start && self.log_of(epoch).is_none() {
            // This node had to carry out an earlier start first.
            if let Some((previous, last, view)) = sequencer.start.clone() {
                self.accept_start(context, previous, last, view);
            }
            return;
        }
        sequencer.acknowledge(context.now, context.own.node, 1);
        let stable = sequencer.stable();
        self.hear_stable(context, stable);
        self.deliver(context);
        if self.log_of(epoch).is_some() {
            sequencer.stage = Stage::Running;
        }
    }

    fn order(&mut self, sequencer: &mut Sequencer, context: &mut Context<'_>) {
        let (epoch, cluster) = (context.view.number, context.view);
        while let Some(member) = sequencer.take_stranger() {
            // It asked to leave before the members were known and is no member. No view will exclude it, so answer.
            self.answer_gone(context, member);
        }
        loop {
            self.settle(sequencer, context);
            let Some(log) = self.log_of(epoch) else {
                return;
            };
            let before = sequencer.last;
            sequencer.order_messages(log);
            if sequencer.has_changes() && log.has_room(1) {
                let number = sequencer
                    .latest
                    .as_ref()
                    .map_or(ViewNumber(1), |view| view.number.next());
                let latest = sequencer.latest.clone();
                let made = sequencer.make_view(
                    latest.as_deref_entry(),
                    number,
                    context.own.node,
                    |member| cluster.has(identity_of(member)),
                    |_| ChangeReason::Leave,
                    |_| true,
                );
                if let Ok(view) = made {
                    *context.highest = (*context.highest).max(number);
                    let position = sequencer.last.saturating_add(1);
                    log.put(position, Entry::View(view.clone()));
                    sequencer.install(view, position, context.interval);
                }
            }
            if sequencer.last == before {
                return;
            }
        }
    }

    /// Accept what was ordered, and deliver and drop what that allows.
    fn settle(&mut self, sequencer: &mut Sequencer, context: &mut Context<'_>) {
        loop {
            self.progress(context);
            let Some(log) = self.log_of(context.view.number) else {
                return;
            };
            sequencer.acknowledge(context.now, context.own.node, log.accepted);
            let stable = log.stable.max(sequencer.stable().min(sequencer.last));
            if stable == log.stable {
                return;
            }
            log.stable = stable;
        }
    }

    /// Take in an acknowledgement, whether this node orders the group or not. Returns whether this node orders it and the
    /// sender has acknowledged so much before.
    pub(super) fn take_acknowledge(
        &mut self,
        context: &Context<'_>,
        node: NodeId,
        accepted: u64,
    ) -> bool {
        if let Some(log) = self.log_of(context.view.number) {
            log.note_holder(node, accepted);
        }
        let sequencer = self.sequencer.as_mut();
        sequencer.is_some_and(|sequencer| sequencer.acknowledge(context.now, node, accepted))
    }

    /// Take in a fragment of a member.
    pub(super) fn take_fragment(&mut self, member: MemberId, fragment: &Fragment<'_>) {
        if let (Some(sequencer), Some(log)) = (&mut self.sequencer, &mut self.log) {
            sequencer.take_fragment(member, fragment, log);
        }
    }
}

/// The node of a member, in the member's incarnation.
fn identity_of(member: MemberId) -> Identity {
    Identity {
        node: member.node,
        incarnation: member.incarnation,
    }
}

/// Borrows the view of an `Option<Shared<ViewEntry>>`.
trait AsEntry {
    fn as_deref_entry(&self) -> Option<&super::entry::ViewEntry>;
}

impl AsEntry for Option<crate::platform::Shared<super::entry::ViewEntry>> {
    fn as_deref_entry(&self) -> Option<&super::entry::ViewEntry> {
        self.as_ref().map(|view| &**view)
    }
}

/// Why a member is gone whose node is not in the cluster view any more.
fn departed_reason(departed: &[(Identity, ChangeReason)], member: MemberId) -> ChangeReason {
    departed
        .iter()
        .find(|(identity, _)| *identity == identity_of(member))
        .map_or(ChangeReason::Failed, |(_, reason)| *reason)
}
