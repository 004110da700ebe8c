// SPDX-License-Identifier: GPL-2.0

//! A group's views as members on this node see them.

use super::log::ViewEntry;
use super::Context;
use crate::platform::{BoundedVec, OutOfMemory, Shared};
use crate::protocol::group_view::{GroupMember, GroupView};
use crate::protocol::identity::{Identity, MemberId, ViewNumber};
use crate::protocol::outputs::ChangeReason;

/// The view as one member on this node sees it.
pub(super) fn make_group_view(
    context: &Context<'_>,
    before: Option<&Shared<ViewEntry>>,
    view: &Shared<ViewEntry>,
    reader: MemberId,
) -> Result<Shared<GroupView>, OutOfMemory> {
    if !view.has(reader) {
        return empty_view(context.own);
    }
    let count = view.members.len();
    let mut members: BoundedVec<GroupMember> = BoundedVec::with_capacity(count)?;
    let mut joined = BoundedVec::with_capacity(count)?;
    let mut transitional = BoundedVec::with_capacity(count)?;
    let before = before.filter(|before| before.has(reader));
    for (member, is_new) in view.members.iter().zip(view.is_new.iter()) {
        let _ = members.push(*member);
        // Who was let in before and never got that view comes alone, but has joined before.
        let was_in = before.is_some_and(|before| before.has(member.id));
        match (was_in, *is_new) {
            (true, false) => drop(transitional.push(member.id)),
            (false, true) => drop(joined.push(member.id)),
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
        cluster_view: context.view.number,
        primary: context.view.is_primary,
        members,
        joined,
        left,
        transitional,
        reader: context.own,
    })
}

/// The view of a member that is out.
pub(super) fn empty_view(own: Identity) -> Result<Shared<GroupView>, OutOfMemory> {
    Shared::try_new(GroupView {
        number: ViewNumber::default(),
        coordinator: own.node,
        cluster_view: ViewNumber::default(),
        primary: false,
        members: BoundedVec::empty(),
        joined: BoundedVec::empty(),
        left: BoundedVec::empty(),
        transitional: BoundedVec::empty(),
        reader: own,
    })
}
