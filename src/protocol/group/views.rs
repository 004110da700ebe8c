// SPDX-License-Identifier: GPL-2.0

//! A group's views as members on this node see them.

use super::context::Context;
use super::log::ViewEntry;
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::{GroupMember, GroupView};
use crate::protocol::identity::MemberId;
use crate::protocol::outputs::ChangeReason;
use crate::protocol::wire::group::Arrival;

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
