// SPDX-License-Identifier: GPL-2.0

//! Virtual synchrony for members whose node moves from one component of a partitioned cluster to another: those that
//! arrive together have delivered the same messages before, and each knows the others (the transitional set).
//!
//! ```text
//!           the node leaves its component          admitted together with others from there
//!   Member -------------------------------> Merging ---------------------------------> Member, in a new incarnation
//!                                              |
//!                                              +-- no view for long, or admitted ----> excluded, and new in its
//!                                                  without others from there           group
//! ```
//!
//! When a node leaves its component, the members of a group may have delivered different amounts. But whatever one
//! of them has delivered, all of them hold, since nothing is delivered earlier than that ([`super::member`]). So no
//! node has to hand over anything. Each node reports to the coordinator of its new component how far it has delivered
//! ([`Place`](crate::protocol::wire::group::Place)). The view that admits the members carries how far the furthest
//! of them has delivered, and each node delivers up to there before it installs that view. Entries behind that
//! position were delivered by none of the arriving members and are dropped: members that stayed in the component may
//! have delivered them there, so they must not appear in another view.
//!
//! Until then the consumer keeps its view and cannot send.

use super::context::{Context, Shown};
use super::entry::ViewEntry;
use super::local::Standing;
use super::transition::Transition;
use super::{member_id, Group};
use crate::protocol::identity::Identity;
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::wire::group::{Request, TransitionalSet};

impl Group {
    /// The node leaves its component by itself: its members retain their log until another component admits them.
    pub(super) fn begin_transition(
        &mut self,
        own: Identity,
        shown: Shown,
        deadline: Instant,
        outbox: &mut Outbox,
    ) {
        let mut members = self.locals.iter();
        if !members.any(|local| local.standing == Standing::Member) {
            // The members may still be on their way from an earlier component.
            return;
        }
        self.abandon_transition(outbox);
        let transition = Transition {
            own,
            shown,
            log: self.log.take(),
            pending_start: self.pending_start.take(),
            deadline,
        };
        let members = self.locals.iter();
        let members = members.filter(|local| local.standing == Standing::Member);
        if transition
            .place(members.map(|local| member_id(own, local.endpoint)))
            .is_none()
        {
            return;
        }
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Member {
                local.standing = Standing::Merging;
            }
        }
        self.transition = Some(transition);
    }

    /// Report the members from another component as excluded after all. They join anew.
    pub(super) fn abandon_transition(&mut self, outbox: &mut Outbox) {
        let Some(transition) = self.transition.take() else {
            return;
        };
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Merging {
                local.report_exclusion(transition.own, outbox);
                local.standing = Standing::Joining;
            }
        }
    }

    /// When members from another component are excluded if they have no view.
    pub(super) fn transition_deadline(&self) -> Option<Instant> {
        self.transition
            .as_ref()
            .map(|transition| transition.deadline)
    }

    /// Forget what was retained if no member needs it any more.
    pub(super) fn drop_unused_transition(&mut self) {
        let mut locals = self.locals.iter();
        if !locals.any(|local| local.standing == Standing::Merging) {
            self.transition = None;
        }
    }

    /// What members from another component request of the coordinator.
    pub(super) fn merge_request(&self) -> Request {
        let place = self.transition.as_ref().and_then(|transition| {
            let merging = self.locals.iter();
            let merging = merging.filter(|local| local.standing == Standing::Merging);
            transition.place(merging.map(|local| member_id(transition.own, local.endpoint)))
        });
        place.map_or(Request::Join, Request::Return)
    }

    /// Before `view` is shown: if it admits members from another component, deliver to them what their transitional
    /// set has delivered. Returns false if there is no room for that now.
    pub(super) fn complete_transition(
        &mut self,
        context: &mut Context<'_>,
        view: &ViewEntry,
    ) -> bool {
        let own = context.own;
        let mut merging = self
            .locals
            .iter()
            .filter(|local| local.standing == Standing::Merging)
            .map(|local| member_id(own, local.endpoint));
        let Some(member) = merging.find(|member| view.has(*member)) else {
            return true;
        };
        let set = view
            .set_of(member)
            .and_then(|place| view.sets.get(usize::from(place)));
        let transition = self.transition.as_ref();
        let Some(set) = set.filter(|set| transition.is_some_and(|known| known.holds(set))) else {
            self.abandon_transition(context.outbox);
            return true;
        };
        let Some(transition) = self.transition.take() else {
            return true;
        };
        let (transition, has_room) = self.deliver_transitional(context, transition, set);
        if !has_room {
            self.transition = Some(transition);
            return false;
        }
        if !transition.has_delivered(set) {
            // Cannot be: all of it was held.
            self.transition = Some(transition);
            self.abandon_transition(context.outbox);
            return true;
        }
        for local in self.locals.as_mut_slice() {
            if local.standing == Standing::Merging {
                // The next event of the member is the view that admits it.
                local.standing = Standing::Joining;
            }
        }
        true
    }

    /// Deliver the retained log as far as the set has delivered. Returns the transition, and whether there was room.
    fn deliver_transitional(
        &mut self,
        context: &mut Context<'_>,
        transition: Transition,
        set: &TransitionalSet,
    ) -> (Transition, bool) {
        let mut then = Context {
            own: transition.own,
            shown: transition.shown,
            now: context.now,
            view: context.view,
            cluster_view: context.cluster_view,
            interval: context.interval,
            release_rule: context.release_rule,
            departed: context.departed,
            highest: &mut *context.highest,
            outbox: &mut *context.outbox,
        };
        let log = core::mem::replace(&mut self.log, transition.log);
        let start = core::mem::replace(&mut self.pending_start, transition.pending_start);
        match &mut self.pending_start {
            // A node of the set has seen that all participants hold this start.
            Some(start) if start.cluster_view == set.cluster_view => {
                start.in_effect = true;
            }
            _ => {
                self.pending_start = None;
                if let Some(log) = &mut self.log {
                    log.stable = log.stable.max(set.last);
                }
            }
        }
        self.delivers_transitional = true;
        self.transitional_limit = Some(set.last);
        let has_room = self.deliver(&mut then);
        self.delivers_transitional = false;
        self.transitional_limit = None;
        let transition = Transition {
            log: core::mem::replace(&mut self.log, log),
            pending_start: core::mem::replace(&mut self.pending_start, start),
            ..transition
        };
        (transition, has_room)
    }

    /// The standing of the members that get what is delivered now.
    pub(super) fn addressed(&self) -> Standing {
        if self.delivers_transitional {
            Standing::Merging
        } else {
            Standing::Member
        }
    }
}
