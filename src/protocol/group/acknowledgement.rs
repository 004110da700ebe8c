// SPDX-License-Identifier: GPL-2.0

//! When a node acknowledges the entries that it has accepted, and reports those that it lacks.
//!
//! An acknowledgement is for the coordinator: the entry is stable when all participants have acknowledged it. It waits
//! until it pays, since nobody waits for it: until a quarter of the window is accepted, or for a few milliseconds.
//! Somebody does wait if an entry is a view, if it is to be delivered as safe, or if it is a message of this node,
//! which the others deliver only when they know that this node holds it ([`super::release`]). Then the acknowledgement
//! goes out at once: on the next data if there is more to send, else to all nodes with members.

use super::context::Context;
use super::local::Local;
use super::log::Log;
use super::release::ReleaseRule;
use super::Group;
use crate::protocol::limits::GROUP_FLIGHT_ENTRIES_MAX;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::Kind;

/// So many entries are acknowledged at once.
const ENTRIES_MAX: u64 = GROUP_FLIGHT_ENTRIES_MAX as u64 / 4;
/// An acknowledgement that nobody waits for is sent after this time.
pub(super) const DELAY: Duration = Duration::from_milliseconds(5);
/// A gap is reported when it lasts for this time: datagrams overtake each other in some networks.
const REORDERING: Duration = Duration::from_milliseconds(2);

/// What was acknowledged, and what is due.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledgement {
    /// Somebody waits for the acknowledgement.
    pub(super) is_due: bool,
    /// What the coordinator was sent last.
    acknowledged: u64,
    /// What all nodes with members were sent last.
    announced: u64,
    /// When to acknowledge, at the latest.
    at: Option<Instant>,
    /// The first gap, and when to report it.
    gap: Option<(u64, Instant)>,
}

impl Acknowledgement {
    /// The coordinator was sent, on other data, that everything up to `accepted` is held.
    pub(super) fn sent(&mut self, accepted: u64) {
        self.acknowledged = self.acknowledged.max(accepted);
    }

    /// Whether everything up to `accepted` was acknowledged, and nobody waits for a repetition.
    fn is_up_to_date(&self, accepted: u64) -> bool {
        !self.is_due && self.acknowledged >= accepted
    }

    /// When [`Group::send_acknowledge`] has something to do without another input.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.at.into_iter().chain(self.gap.map(|(_, at)| at)).min()
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
