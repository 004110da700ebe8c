// SPDX-License-Identifier: GPL-2.0

//! Administrators and fence handlers of a simulated cluster: evict nodes, pin views, and fence failed nodes, sooner
//! or later or never.

use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::identity::{Identity, NodeId};
use kcgcs_protocol::protocol::time::Duration;
use serde::{Deserialize, Serialize};
use trace_checker::trace::EventKind;

use super::{Cluster, Occurrence};
use crate::recorder::node_member;
use crate::sabotage::Sabotage;
use crate::timing::{aftermath_ns, MS};

/// The factor by which a node with the bug [`Sabotage::FenceForEver`] waits too long for its handler.
const FENCE_FOR_EVER_FACTOR: u64 = 50;

/// The behaviour of a fence handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceHandler {
    /// The timeout given to the node.
    pub timeout_ms: u64,
    /// The longest time before it begins its work, and the longest time that the work takes.
    pub work_max_ms: u64,
    /// The calls that fail, of a thousand.
    pub fails_per_mille: u64,
    /// The calls that it never answers, of a thousand.
    pub silent_per_mille: u64,
}

impl Cluster {
    /// Evict the node on `subject` by a command on `by`. Returns whether the command was accepted.
    pub fn evict(&mut self, by: usize, subject: usize) -> bool {
        let now = self.instant(by);
        let (Some(node), false) = (NodeId::new(self.hosts[subject].id), self.is_frozen(by)) else {
            return false;
        };
        let Some(alive) = self.hosts[by].alive.as_mut() else {
            return false;
        };
        let member = alive.node.view().and_then(|view| view.member(node));
        let Some(member) = member.map(|member| member.identity) else {
            return false;
        };
        let is_lost = self.options.sabotage == Some(Sabotage::EvictionLost);
        if !is_lost && alive.node.evict(now, node).is_err() {
            return false;
        }
        let asked = (by, alive.identity.incarnation.0);
        let evicted = self.hosts[subject].alive.as_mut();
        if let Some(evicted) = evicted.filter(|evicted| evicted.identity == member) {
            evicted.evicted_by.push(asked);
        }
        let subject = node_member(member);
        self.write(by, EventKind::Evict { subject });
        self.drain_node(by);
        true
    }

    /// Pin the view for `span_ms`, or unpin it if that is 0, by a command on `by`. Returns whether the command was
    /// accepted.
    pub fn pin(&mut self, by: usize, span_ms: u64) -> bool {
        if self.hosts[by].alive.is_none() || self.is_frozen(by) {
            return false;
        }
        let mut result = Err(CommandError::Stopped);
        let span = u32::try_from(span_ms).unwrap_or(u32::MAX);
        self.command(by, |node, now| result = node.pin(now, span));
        if result.is_err() {
            return false;
        }
        // Members remember join requests for as much longer.
        let now = self.now;
        for host in &mut self.hosts {
            if host.stale_join_until > now {
                host.stale_join_until += span_ms * MS;
            }
        }
        true
    }

    /// The latest time at which a pin reported so far ends, or now if none is. Clocks are wrong by at most one in a
    /// hundred.
    pub fn pins_end(&self) -> u64 {
        let alive = self.hosts.iter().filter_map(|host| host.alive.as_ref());
        let latest = alive.filter_map(|alive| alive.pinned_until).max();
        latest.map_or(self.now, |until| {
            let left = until.saturating_sub(self.now);
            self.now + left + left / 50 + MS
        })
    }

    /// The longest time for which fence handlers may delay a view.
    pub fn fence_ns(&self) -> u64 {
        let handler = self.options.fence;
        handler.map_or(0, |handler| handler.timeout_ms * MS * 51 / 50)
    }

    fn is_frozen(&self, host: usize) -> bool {
        self.hosts[host].frozen_until > self.now
    }

    // ---- the fence gate -----------------------------------------------------------------------

    /// Register the handler of a node that has just started.
    pub(super) fn guard(&mut self, host: usize) {
        let Some(handler) = self.options.fence else {
            return;
        };
        let factor = match self.options.sabotage {
            Some(Sabotage::FenceForEver) => FENCE_FOR_EVER_FACTOR,
            _ => 1,
        };
        let timeout = Duration::from_milliseconds(handler.timeout_ms * factor);
        self.write(host, EventKind::Guard);
        let now = self.instant(host);
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            alive.node.set_fence_timeout(now, Some(timeout));
        }
    }

    /// Call the handler of a node that wants `subject` fenced.
    pub(super) fn fence_wanted(&mut self, host: usize, subject: Identity) {
        let Some(handler) = self.options.fence else {
            self.fault(
                host,
                "the node calls a fence handler that is not registered",
            );
            return;
        };
        self.fence_calls += 1;
        let until = self.now + self.fence_ns() + aftermath_ns(&self.options.configuration);
        let number = usize::from(subject.node.number()) - 1;
        let alive = self.hosts[number].alive.as_ref();
        if alive.is_some_and(|alive| alive.identity == subject) {
            self.hosts[number].fenced_until = until;
        }
        if self.options.sabotage == Some(Sabotage::FenceUnasked) {
            self.command(host, |node, now| node.answer_fence(now, subject, true));
            return;
        }
        let busy_ms = match self.handlers.happens(300) {
            true => self.handlers.between(0, handler.work_max_ms),
            false => 0,
        };
        let is_silent = self.handlers.happens(handler.silent_per_mille);
        let start = self.hosts[host].starts;
        if !is_silent {
            let call = Occurrence::FenceCall {
                host,
                start,
                subject,
            };
            self.queue.push(self.now + busy_ms * MS, call);
        }
    }

    pub(super) fn fence_call(&mut self, host: usize, start: u64, subject: Identity) {
        let (Some(handler), Some(alive)) = (self.options.fence, self.hosts[host].alive.as_ref())
        else {
            return;
        };
        if alive.start != start {
            return;
        }
        if !alive.node.wants_fence(subject) {
            self.fence_answer(host, start, subject, false);
            return;
        }
        let is_fenced = !self.handlers.happens(handler.fails_per_mille);
        let work_ms = self.handlers.between(0, handler.work_max_ms);
        let answer = Occurrence::FenceAnswer {
            host,
            start,
            subject,
            is_fenced,
        };
        self.queue.push(self.now + work_ms * MS, answer);
    }

    pub(super) fn fence_answer(
        &mut self,
        host: usize,
        start: u64,
        subject: Identity,
        is_fenced: bool,
    ) {
        let alive = self.hosts[host].alive.as_ref();
        if alive.is_none_or(|alive| alive.start != start) {
            return;
        }
        if is_fenced {
            let subject = node_member(subject);
            self.write(host, EventKind::Fenced { subject });
        }
        self.command(host, |node, now| node.answer_fence(now, subject, is_fenced));
    }
}
