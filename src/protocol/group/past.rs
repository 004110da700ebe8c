// SPDX-License-Identifier: GPL-2.0

//! What members keep that go from one part of a partitionable cluster to another, so that those who come
//! together have delivered the same before (virtual synchrony), and know who they are (the transitional set).
//!
//! ```text
//!            the node leaves its part            let in together with others from there
//!   Member ---------------------------> Returning ------------------------------------> Member, in a new incarnation
//!                                          |
//!                                          +-- no view for long, or let in without --> told that it is out,
//!                                              others from there                       and new in its group
//! ```
//!
//! When a node leaves its part, its members may have delivered different amounts. But whatever one of them has
//! delivered all of them hold, since nothing is delivered before ([`super::member`]). So nobody has to hand
//! anything to anybody: each tells the coordinator of its new part how far it had come ([`Place`]), the one that
//! lets them in says how far the furthest had, and each delivers up to there before it installs the new view.
//! What is behind that place was delivered by nobody who comes, and is given up: other parts may have delivered
//! it where it was sent, so it may not come again in another view.
//!
//! Until then the consumer keeps its view and cannot send.

use super::local::Standing;
use super::log::{Log, ViewEntry};
use super::{member_id, tell_out, Candidate, Context, Group, Shown};
use crate::protocol::identity::{Identity, MemberId};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::wire::group::{Place, Request, TransitionalSet};

/// What the members of one group on this node have kept of another part of the cluster.
pub(super) struct Past {
    /// Who the node was there.
    own: Identity,
    /// The cluster view there, as members are told of it.
    shown: Shown,
    log: Option<Log>,
    candidate: Option<Candidate>,
    /// Without a view until then they are out.
    given_up_at: Instant,
}

impl Past {
    /// How far the members have come. `None`: that is not known well enough to go on from there.
    fn place(&self, members: impl Iterator<Item = MemberId> + Clone) -> Option<Place> {
        let count = u8::try_from(members.clone().count()).ok()?;
        let candidate = self
            .candidate
            .as_ref()
            .filter(|candidate| members.clone().all(|member| candidate.view.has(member)));
        match (&self.candidate, candidate) {
            (Some(known), _) if known.in_effect => candidate.map(|candidate| Place {
                log: candidate.cluster_view,
                delivered: 1,
                pending_start: None,
                members: count,
            }),
            _ => self.log.as_ref().map(|log| Place {
                log: log.cluster_view,
                delivered: log.delivered,
                pending_start: candidate.map(|candidate| candidate.cluster_view),
                members: count,
            }),
        }
    }

    /// Whether what the set has delivered is here.
    fn holds(&self, set: &TransitionalSet) -> bool {
        let is_candidate = self
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.cluster_view == set.cluster_view);
        let log = self.log.as_ref();
        let log = log.filter(|log| log.cluster_view == set.cluster_view);
        is_candidate && set.last <= 1 || log.is_some_and(|log| set.last <= log.accepted)
    }
}

impl Group {
    /// The node leaves its part of the cluster by itself: its members keep what they have.
    pub(super) fn keep_past(
        &mut self,
        own: Identity,
        shown: Shown,
        given_up_at: Instant,
        outbox: &mut Outbox,
    ) {
        let mut members = self.locals.iter();
        if !members.any(|local| local.standing == Standing::Member) {
            // Others may still be on their way from an earlier part.
            return;
        }
        self.lose_past(outbox);
        let past = Past {
            own,
            shown,
            log: self.log.take(),
            candidate: self.candidate.take(),
            given_up_at,
        };
        let members = self.locals.iter();
        let members = members.filter(|local| local.standing == Standing::Member);
        if past
            .place(members.map(|local| member_id(own, local.endpoint)))
            .is_none()
        {
            return;
        }
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Member {
                local.standing = Standing::Returning;
            }
        }
        self.past = Some(past);
    }

    /// Members from another part are out after all.
    pub(super) fn lose_past(&mut self, outbox: &mut Outbox) {
        let Some(past) = self.past.take() else {
            return;
        };
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Returning {
                tell_out(local.endpoint, past.own, outbox);
                local.standing = Standing::Joining;
            }
        }
    }

    /// Without a view until then, members from another part are out.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        self.past.as_ref().map(|past| past.given_up_at)
    }

    /// Nobody may be left who needs it.
    pub(super) fn forget_past_of_nobody(&mut self) {
        let mut locals = self.locals.iter();
        if !locals.any(|local| local.standing == Standing::Returning) {
            self.past = None;
        }
    }

    /// What a member from another part asks of its coordinator.
    pub(super) fn request_to_return(&self) -> Request {
        let place = self.past.as_ref().and_then(|past| {
            let returning = self.locals.iter();
            let returning = returning.filter(|local| local.standing == Standing::Returning);
            past.place(returning.map(|local| member_id(past.own, local.endpoint)))
        });
        place.map_or(Request::Join, Request::Return)
    }

    /// Before `view` is shown: members that come back with it deliver what those have delivered with whom they
    /// come. False if there is no room for that now.
    pub(super) fn finish_past(&mut self, context: &mut Context<'_>, view: &ViewEntry) -> bool {
        let own = context.own;
        let mut returning = self
            .locals
            .iter()
            .filter(|local| local.standing == Standing::Returning)
            .map(|local| member_id(own, local.endpoint));
        let Some(member) = returning.find(|member| view.has(*member)) else {
            return true;
        };
        let set = view
            .set_of(member)
            .and_then(|place| view.sets.get(usize::from(place)));
        let Some(set) = set.filter(|set| self.past.as_ref().is_some_and(|past| past.holds(set)))
        else {
            self.lose_past(context.outbox);
            return true;
        };
        let Some(past) = self.past.take() else {
            return true;
        };
        let (past, has_room) = self.deliver_past(context, past, set);
        if !has_room {
            self.past = Some(past);
            return false;
        }
        let is_there =
            |log: &Log| log.cluster_view == set.cluster_view && log.delivered >= set.last;
        if !past.log.as_ref().is_some_and(is_there) {
            // Cannot be: all of it was held.
            self.past = Some(past);
            self.lose_past(context.outbox);
            return true;
        }
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Returning {
                // The view that lets it in is the next thing that it is told.
                local.standing = Standing::Joining;
            }
        }
        true
    }

    /// Delivers in the past as far as the set has. Gives the past back, and whether there was room for that.
    fn deliver_past(
        &mut self,
        context: &mut Context<'_>,
        past: Past,
        set: &TransitionalSet,
    ) -> (Past, bool) {
        let mut then = Context {
            own: past.own,
            shown: past.shown,
            now: context.now,
            view: context.view,
            cluster_view: context.cluster_view,
            interval: context.interval,
            departed: context.departed,
            highest: &mut *context.highest,
            outbox: &mut *context.outbox,
        };
        let log = core::mem::replace(&mut self.log, past.log);
        let candidate = core::mem::replace(&mut self.candidate, past.candidate);
        match &mut self.candidate {
            // Somebody of the set has seen that all have it.
            Some(candidate) if candidate.cluster_view == set.cluster_view => {
                candidate.in_effect = true;
            }
            _ => {
                self.candidate = None;
                if let Some(log) = &mut self.log {
                    log.stable = log.stable.max(set.last);
                }
            }
        }
        self.is_in_past = true;
        let has_room = self.deliver(&mut then);
        self.is_in_past = false;
        let past = Past {
            log: core::mem::replace(&mut self.log, log),
            candidate: core::mem::replace(&mut self.candidate, candidate),
            ..past
        };
        (past, has_room)
    }

    /// Who is told of what is delivered.
    pub(super) fn told(&self) -> Standing {
        if self.is_in_past {
            Standing::Returning
        } else {
            Standing::Member
        }
    }
}
