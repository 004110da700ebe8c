// SPDX-License-Identifier: GPL-2.0

//! What consumers and administrators ask of the membership: evict, pin, fence, leave.

use super::local::Phase;
use super::reports::{report_to_coordinators, report_to_member};
use super::Membership;
use crate::protocol::errors::CommandError;
use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::outbox::Outbox;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::ReportRecord;

impl Membership {
    /// Evict a member.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoQuorum`]: no quorum could exclude it. [`CommandError::NoSuchMember`]: it is no member, or it is
    /// this node. Nothing has changed.
    pub(in crate::protocol) fn evict(
        &mut self,
        now: Instant,
        node: NodeId,
        outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        if !self.has_quorum() {
            return Err(CommandError::NoQuorum);
        }
        let member = self.local.view_or_empty().member(node);
        let subject = member
            .map(|member| member.identity)
            .filter(|subject| *subject != self.local.own())
            .ok_or(CommandError::NoSuchMember)?;
        // If no coordinator hears of it, this node proposes it itself when its turn comes.
        self.agreement
            .add_leaver(now, &self.suspicion, subject, ChangeReason::Evicted);
        let record = ReportRecord::Evict(subject);
        report_to_coordinators(&self.local, &record, outbox);
        // The only coordinator may be the one that is evicted.
        let next = self.arc_coordinator(node).map(|member| member.identity);
        if let Some(next) = next.filter(|next| !self.local.is_coordinator(next.node)) {
            report_to_member(&self.local, next, &record, outbox);
        }
        self.advance(now, outbox);
        Ok(())
    }

    /// Let no view be agreed on for `span_ms` from now on. Zero ends that.
    ///
    /// # Errors
    ///
    /// [`CommandError::NoQuorum`]: there is no view, or no quorum that could be told. Nothing has changed.
    pub(in crate::protocol) fn set_pin(
        &mut self,
        now: Instant,
        span_ms: u32,
        outbox: &mut Outbox,
    ) -> Result<(), CommandError> {
        let has_quorum = self.has_quorum();
        self.agreement
            .set_pin(now, &self.local, has_quorum, span_ms, outbox)?;
        self.advance(now, outbox);
        Ok(())
    }

    /// Set how long a fence handler may take. `None`: there is no handler.
    pub(in crate::protocol) fn set_fence_timeout(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        outbox: &mut Outbox,
    ) {
        self.agreement.set_fence_timeout(timeout);
        self.advance(now, outbox);
    }

    /// Take in that the fence handler has fenced `subject`, or failed to.
    pub(in crate::protocol) fn handle_fence_answer(
        &mut self,
        now: Instant,
        subject: Identity,
        is_fenced: bool,
        outbox: &mut Outbox,
    ) {
        self.agreement.handle_fence_answer(now, subject, is_fenced);
        self.advance(now, outbox);
    }

    /// Leave the cluster: ask to be removed from the view, or end at once if there is nobody to ask.
    pub(in crate::protocol) fn leave_cluster(&mut self, now: Instant, outbox: &mut Outbox) {
        match self.local.phase() {
            Phase::Joining => self.finish_leaving(outbox),
            Phase::Member if self.local.view_or_empty().count() <= 1 => {
                self.finish_leaving(outbox);
            }
            Phase::Member => {
                self.local.set_phase(Phase::Leaving);
                let own = self.local.own();
                self.agreement
                    .add_leaver(now, &self.suspicion, own, ChangeReason::Leave);
                self.leaving.request(now);
                self.advance(now, outbox);
            }
            Phase::Leaving | Phase::Gone => {}
        }
    }
}
