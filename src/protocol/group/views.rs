// SPDX-License-Identifier: GPL-2.0

//! A group's views as members on this node see them.

use super::context::Context;
use super::entry::ViewEntry;
use super::local::{Local, Standing};
use super::Group;
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_properties::GroupProperties;
use crate::protocol::group_view::{GroupMember, GroupView};
use crate::protocol::identity::MemberId;
use crate::protocol::outputs::{ChangeReason, Event};
use crate::protocol::wire::group::Arrival;

impl Group {
    /// Show a view to the members on this node.
    ///
    /// # Errors
    ///
    /// Memory is short. Nothing has changed.
    pub(super) fn show_view(
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
            let is_shown = match local.standing {
                Standing::Draining | Standing::Leaving => false,
                Standing::Merging => self.delivers_transitional,
                Standing::Joining => view.has(id(local)) && !self.delivers_transitional,
                Standing::Member => !self.delivers_transitional,
            };
            let record = match is_shown && view.has(id(local)) {
                true => Some(make_group_view(context, before, view, id(local))?),
                false => None,
            };
            shown.push((is_shown, record)).map_err(|_| OutOfMemory)?;
        }
        *context.highest = (*context.highest).max(view.number);
        let addressed = self.addressed();
        let locals = self.locals.as_mut_slice().iter_mut();
        for (local, (_, record)) in locals
            .zip(shown.iter())
            .filter(|(_, (is_shown, _))| *is_shown)
        {
            if local.take_block() {
                context.outbox.event(Event::Block {
                    endpoint: local.endpoint,
                });
            }
            let Some(record) = record else {
                local.standing = Standing::Joining;
                local.request_at = context.now;
                local.forget_messages();
                local.report_exclusion(own, context.outbox);
                continue;
            };
            local.standing = addressed;
            // What was lost with the old incarnation is told with the first view of the new one.
            let lost = match self.delivers_transitional {
                true => 0,
                false => local.take_lost(),
            };
            context.outbox.event(Event::GroupView {
                endpoint: local.endpoint,
                view: record.clone(),
                lost,
            });
            // The messages that filled the window may have been dropped while the node was excluded.
            if local.standing == Standing::Member && local.take_writable() {
                context.outbox.event(Event::Writable {
                    endpoint: local.endpoint,
                });
            }
        }
        if !self.delivers_transitional {
            self.end_leaves(context, before.map(|before| &**before), view);
        }
        Ok(())
    }

    /// End the leaving members on this node that were in the view before and are not in this one. A leaving member that
    /// was in neither waits for the answer to its request, since a view on its way may still admit it. If the view has
    /// a member of this node that is unknown here (an older join request overtook its leave request), let it leave
    /// again.
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
            let is_gone = match local.standing {
                Standing::Leaving => was_in && !view.has(id),
                Standing::Draining => !view.has(id),
                Standing::Joining | Standing::Member | Standing::Merging => false,
            };
            if is_gone {
                local.report_left(outbox);
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
                if let Ok(mut ghost) =
                    Local::new(member.id.endpoint, GroupProperties::DEFAULT, context.now)
                {
                    ghost.standing = Standing::Leaving;
                    ghost.is_end_reported = true;
                    let _ = self.locals.push(ghost);
                }
            }
        }
    }
}

/// The view as one member on this node sees it: with the members that joined, left and came along since its last view.
pub(super) fn make_group_view(
    context: &Context<'_>,
    before: Option<&Shared<ViewEntry>>,
    view: &Shared<ViewEntry>,
    reader: MemberId,
) -> Result<Shared<GroupView>, OutOfMemory> {
    let count = view.members.len();
    let mut members: BoundedVec<GroupMember> = BoundedVec::with_capacity(count)?;
    let mut joined = BoundedVec::with_capacity(count)?;
    let mut transitional = BoundedVec::with_capacity(count)?;
    let before = before.filter(|before| before.has(reader));
    let set = view.set_of(reader);
    for (member, arrival) in view.arrivals() {
        let _ = members.push(*member);
        // A member that an earlier view admitted and that never got that view arrives as new, but joined before.
        let was_in = before.is_some_and(|before| before.has(member.id));
        match (arrival, set) {
            // The reader comes from another component: all members outside its set are new to it.
            (Arrival::Together(place), Some(own)) if place == own => {
                let _ = transitional.push(member.id);
            }
            (_, Some(_)) => {
                let _ = joined.push(member.id);
            }
            (Arrival::Along, None) if was_in => {
                let _ = transitional.push(member.id);
            }
            (Arrival::New | Arrival::Together(_), None) if !was_in => {
                let _ = joined.push(member.id);
            }
            _ => {}
        }
    }
    let mut left: BoundedVec<(MemberId, ChangeReason)> =
        BoundedVec::with_capacity(view.left.len())?;
    for (slot, reason) in view.left.iter() {
        if let Some(member) = before.and_then(|before| before.member(*slot)) {
            let _ = left.push((member, *reason));
        }
    }
    Shared::try_new(GroupView {
        number: view.number,
        coordinator: view.coordinator,
        cluster_view: context.shown.number,
        primary: context.shown.is_primary,
        members,
        joined,
        left,
        transitional,
        reader: context.own,
    })
}
