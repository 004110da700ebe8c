// SPDX-License-Identifier: GPL-2.0

//! The properties of all views that were installed anywhere, also on nodes that crashed. (M1 and M2, which concern a
//! single node, are checked where a node reports its view.)

use super::local::Installed;
use super::world::World;
use crate::protocol::identity::Identity;

/// Check all views.
///
/// In a partitionable cluster the primary views are a chain in which consecutive ones share a node, in any of its
/// incarnations, and a view that is not primary is the only one of its number and issuer.
///
/// # Errors
///
/// The broken promise.
pub fn check(world: &World, views: &[u32], is_partitionable: bool) -> Result<(), String> {
    let mut views: Vec<&Installed> = views.iter().map(|view| world.view(*view)).collect();
    views.sort_by_key(|view| (view.number, view.issuer));
    for pair in views.windows(2) {
        different(pair[0], pair[1], pair[0].issuer == pair[1].issuer)?;
    }
    views.retain(|view| view.is_primary);
    for pair in views.windows(2) {
        let (one, other) = (pair[0], pair[1]);
        different(one, other, true)?;
        let shares = match is_partitionable {
            true => one.members.iter().any(|member| has_node(other, member.0)),
            false => one.members.iter().any(|member| has(other, member.0)),
        };
        if (is_partitionable || one.number + 1 == other.number) && !shares {
            return Err(format!("M6: no member in common: {one:?} and {other:?}"));
        }
    }
    for (place, view) in views.iter().enumerate() {
        let (before, _) = views.split_at(place);
        for (member, _) in &view.members {
            no_incarnation_returns(before, *member)?;
        }
    }
    Ok(())
}

/// Check that two views `of_one` issuer or chain do not have the same number.
fn different(one: &Installed, other: &Installed, of_one: bool) -> Result<(), String> {
    if of_one && one.number == other.number {
        return Err(format!(
            "M4, M5: two views with the same number: {one:?} and {other:?}"
        ));
    }
    Ok(())
}

fn has_node(view: &Installed, identity: Identity) -> bool {
    let mut members = view.members.iter();
    members.any(|(member, _)| member.node == identity.node)
}

fn has(view: &Installed, identity: Identity) -> bool {
    view.members.iter().any(|(member, _)| *member == identity)
}

/// Check that an incarnation that is a member now was never excluded after it was admitted, and that no later one was
/// in.
fn no_incarnation_returns(before: &[&Installed], member: Identity) -> Result<(), String> {
    let mut was_in = false;
    for view in before {
        let is_in = has(view, member);
        let is_later_in = view
            .members
            .iter()
            .any(|(other, _)| other.node == member.node && *other > member);
        if is_later_in || (was_in && !is_in) {
            return Err(format!("M7: {member:?} is a member again after {view:?}"));
        }
        was_in |= is_in;
    }
    Ok(())
}
