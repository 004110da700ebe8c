// SPDX-License-Identifier: GPL-2.0

//! What must hold of all views that were installed anywhere, on nodes that crashed too. (That a view
//! has its node and that numbers grow at each node is looked at where a node tells of its view.)

use super::local::Installed;
use super::world::World;
use crate::protocol::identity::Identity;

/// Looks at all views. `Err` says which promise is broken.
///
/// In a partitionable cluster there is one chain of primary views, in which consecutive ones share a node, in
/// whatever lives; and a view that is not primary is the only one of its number and issuer.
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
            nobody_comes_back(before, *member)?;
        }
    }
    Ok(())
}

/// Two views that must not have the same number, if they are `of_one` issuer or chain.
fn different(one: &Installed, other: &Installed, of_one: bool) -> Result<(), String> {
    if of_one && one.number == other.number {
        return Err(format!(
            "M4, M5: two views of one number: {one:?} and {other:?}"
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

/// Of an incarnation that is a member now: once in, it was in ever since, and no later incarnation was.
fn nobody_comes_back(before: &[&Installed], member: Identity) -> Result<(), String> {
    let mut was_in = false;
    for view in before {
        let is_in = has(view, member);
        let is_later_in = view
            .members
            .iter()
            .any(|(other, _)| other.node == member.node && *other > member);
        if is_later_in || (was_in && !is_in) {
            return Err(format!("M7: {member:?} comes back after {view:?}"));
        }
        was_in |= is_in;
    }
    Ok(())
}
