// SPDX-License-Identifier: GPL-2.0

//! What must hold of the journals of all members, also of those whose nodes have crashed.

use std::collections::HashMap;

use super::super::local::{payload, GroupViewSeen, Heard};
use super::super::state::DOWN;
use super::super::world::World;
use super::run::Run;
use crate::protocol::identity::Identity;
use crate::protocol::outputs::Order;

/// A message: its sender and that one's number of it.
type Id = (Identity, u64);

/// A message that a member has got.
#[derive(Clone, Copy)]
struct Got {
    id: Id,
    order: Order,
    /// The view that it was delivered in, by its number.
    view: u64,
}

/// What one member has done and seen, taken apart.
struct Member<'a> {
    number: usize,
    views: Vec<&'a GroupViewSeen>,
    got: Vec<Got>,
    /// The messages that it had got or sent before each of its own.
    past: HashMap<Id, Vec<Id>>,
}

fn is_total(order: Order) -> bool {
    matches!(order, Order::Agreed | Order::Safe)
}

/// Read the journal of a member.
fn read<'a>(number: usize, journal: &[&'a Heard]) -> Result<Member<'a>, String> {
    let mut member = Member {
        number,
        views: Vec::new(),
        got: Vec::new(),
        past: HashMap::new(),
    };
    let mut past = Vec::new();
    for heard in journal {
        match heard {
            Heard::Excluded => return Err(format!("L6: {number} was excluded")),
            Heard::View(view) => {
                let is_in = |identity: &Identity| usize::from(identity.node.number()) == number;
                if !view.members.iter().any(is_in) {
                    return Err(format!("M1: {number} is not in {view:?}"));
                }
                if member
                    .views
                    .last()
                    .is_some_and(|last| last.number >= view.number)
                {
                    return Err(format!(
                        "M2: {number} gets {view:?} after {:?}",
                        member.views
                    ));
                }
                member.views.push(view);
            }
            Heard::Multicast(sequence, _) => {
                let identity = member.views.last().and_then(|view| {
                    let mut members = view.members.iter();
                    members.find(|identity| usize::from(identity.node.number()) == number)
                });
                let Some(identity) = identity else {
                    return Err(format!("M3: {number} sends before its first view"));
                };
                let id = (*identity, *sequence);
                member.past.insert(id, past.clone());
                past.push(id);
            }
            Heard::Deliver {
                sender,
                sequence,
                order,
                view,
                payload: bytes,
            } => {
                let id = (*sender, *sequence);
                if *bytes != payload(sender.node.number(), *sequence) {
                    return Err(format!("D1: {number} gets {bytes:?} as {id:?}"));
                }
                if member.views.last().map(|last| last.number) != Some(*view) {
                    return Err(format!(
                        "D4: {number} gets {id:?} of view {view} in another view"
                    ));
                }
                if member.got.iter().any(|got| got.id == id) {
                    return Err(format!("D2: {number} gets {id:?} twice"));
                }
                member.got.push(Got {
                    id,
                    order: *order,
                    view: *view,
                });
                past.push(id);
            }
        }
    }
    Ok(member)
}

impl Member<'_> {
    fn place(&self, id: Id) -> Option<usize> {
        self.got.iter().position(|got| got.id == id)
    }

    /// What it has got in a view, as a set.
    fn got_in(&self, view: u64) -> Vec<Id> {
        let got = self.got.iter().filter(|got| got.view == view);
        let mut ids: Vec<_> = got.map(|got| got.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The view before the one with this number, if it has got that.
    fn view_before(&self, view: u64) -> Option<Option<u64>> {
        let place = self.views.iter().position(|seen| seen.number == view)?;
        Some(place.checked_sub(1).map(|before| self.views[before].number))
    }

    fn identity(&self) -> Option<Identity> {
        let mut members = self.views.first()?.members.iter();
        members
            .find(|m| usize::from(m.node.number()) == self.number)
            .copied()
    }
}

/// Check what must hold at all times.
///
/// # Errors
///
/// The broken promise.
pub fn check(world: &World, run: &Run) -> Result<(), String> {
    let journals: Vec<_> = run
        .journals
        .iter()
        .map(|journal| world.journal(*journal))
        .collect();
    let members = journals.iter().enumerate();
    let members = members.map(|(place, journal)| read(place + 1, journal));
    let members: Vec<_> = members.collect::<Result<_, _>>()?;
    for member in &members {
        sent_before(member, &members)?;
        in_fifo_order(member)?;
        in_causal_order(member, &members)?;
    }
    for one in &members {
        for other in members.iter().filter(|other| other.number != one.number) {
            same_views(one, other)?;
            same_deliveries(one, other)?;
            same_order(one, other)?;
        }
    }
    no_circle(&members)
}

/// D1: what is delivered was sent before.
fn sent_before(member: &Member<'_>, all: &[Member<'_>]) -> Result<(), String> {
    let is_sent = |id: Id| all.iter().any(|other| other.past.contains_key(&id));
    match member.got.iter().find(|got| !is_sent(got.id)) {
        Some(got) => Err(format!(
            "D1: {} gets {:?}, which nobody sent",
            member.number, got.id
        )),
        None => Ok(()),
    }
}

/// O1, O2: the messages of one sender come in their order, without a gap.
fn in_fifo_order(member: &Member<'_>) -> Result<(), String> {
    for (place, got) in member.got.iter().enumerate() {
        let mut earlier = member.got[..place].iter();
        let before = (got.id.0, got.id.1 - 1);
        if before.1 > 0 && !earlier.any(|earlier| earlier.id == before) {
            return Err(format!(
                "O1, O2: {} gets {:?} before {before:?}",
                member.number, got.id
            ));
        }
    }
    Ok(())
}

/// O3, O4: a causal message comes after all that its sender had got or sent before it. So does an agreed or safe one,
/// after those of its kinds.
fn in_causal_order(member: &Member<'_>, all: &[Member<'_>]) -> Result<(), String> {
    for (place, got) in member.got.iter().enumerate() {
        let past = all.iter().find_map(|other| other.past.get(&got.id));
        let orders = |id: &Id| {
            let mut all = all.iter().flat_map(|other| other.got.iter());
            all.find(|other| other.id == *id).map(|other| other.order)
        };
        let binds = |id: &&Id| match got.order {
            Order::Fifo => false,
            Order::Causal => true,
            Order::Agreed | Order::Safe => orders(id).is_some_and(is_total),
        };
        for before in past.into_iter().flatten().filter(binds) {
            if !member.got[..place]
                .iter()
                .any(|earlier| earlier.id == *before)
            {
                let number = member.number;
                return Err(format!(
                    "O3, O4: {number} gets {:?} without {before:?}",
                    got.id
                ));
            }
        }
    }
    Ok(())
}

/// M4 and D6, for the views that both have.
fn same_views(one: &Member<'_>, other: &Member<'_>) -> Result<(), String> {
    for view in &one.views {
        let Some(theirs) = other
            .views
            .iter()
            .find(|theirs| theirs.number == view.number)
        else {
            continue;
        };
        if theirs.members != view.members {
            return Err(format!("M4: {view:?} and {theirs:?}"));
        }
        let before = one.view_before(view.number).flatten();
        let comes_along = before.is_some() && other.view_before(view.number).flatten() == before;
        let is_first = before.is_none() && one.views[0].number == view.number;
        let is_named = other
            .identity()
            .is_some_and(|id| view.transitional.contains(&id));
        // All begin in one view, whose transitional sets are of the time before.
        if !is_first && is_named != comes_along {
            return Err(format!(
                "D6: {} in {view:?}: comes from the same view is {comes_along} for {}",
                one.number, other.number
            ));
        }
    }
    Ok(())
}

/// D4: a message is delivered in the same view by both. D5: if they go together to another view, they deliver the same.
fn same_deliveries(one: &Member<'_>, other: &Member<'_>) -> Result<(), String> {
    let (number, another) = (one.number, other.number);
    for got in &one.got {
        let theirs = other.got.iter().find(|theirs| theirs.id == got.id);
        if let Some(theirs) = theirs.filter(|theirs| theirs.view != got.view) {
            return Err(format!(
                "D4: {:?} was delivered by {number} in {} and by {another} in {}",
                got.id, got.view, theirs.view
            ));
        }
    }
    for pair in one.views.windows(2) {
        let (from, to) = (pair[0].number, pair[1].number);
        if other.view_before(to) == Some(Some(from)) && one.got_in(from) != other.got_in(from) {
            return Err(format!(
                "D5: {number} and {another} go from {from} to {to}, and deliver {:?} and {:?}",
                one.got_in(from),
                other.got_in(from)
            ));
        }
    }
    Ok(())
}

/// O7: whoever delivers an agreed message has delivered before it, in its view, what anybody has delivered before it.
fn same_order(one: &Member<'_>, other: &Member<'_>) -> Result<(), String> {
    for (place, got) in one
        .got
        .iter()
        .enumerate()
        .filter(|(_, got)| is_total(got.order))
    {
        let Some(theirs) = other.place(got.id) else {
            continue;
        };
        let earlier = one.got[..place].iter();
        for before in earlier.filter(|before| is_total(before.order) && before.view == got.view) {
            if other.place(before.id).is_none_or(|place| place > theirs) {
                return Err(format!(
                    "O7: {} delivers {:?} before {:?}, {} does not",
                    one.number, before.id, got.id, other.number
                ));
            }
        }
    }
    Ok(())
}

/// O5: one order of all agreed and safe messages agrees with that of each member.
fn no_circle(members: &[Member<'_>]) -> Result<(), String> {
    let mut left: Vec<Vec<Id>> = members
        .iter()
        .map(|member| {
            let total = member.got.iter().filter(|got| is_total(got.order));
            total.map(|got| got.id).collect()
        })
        .collect();
    loop {
        let Some(some) = left.iter().find(|ids| !ids.is_empty()) else {
            return Ok(());
        };
        let is_next = |id: &Id| left.iter().all(|ids| !ids.contains(id) || ids[0] == *id);
        let mut first = left.iter().filter_map(|ids| ids.first());
        let Some(next) = first.find(|id| is_next(id)).copied() else {
            return Err(format!(
                "O5: no order agrees with all deliveries of {some:?}"
            ));
        };
        for ids in &mut left {
            ids.retain(|id| *id != next);
        }
    }
}

/// Check what must hold when the nodes that are up have come to rest with a quorum: S1, S2 and S3. What any member has
/// delivered as safe, each that is up and was in that view has delivered, and all that it delivered before.
///
/// # Errors
///
/// The broken promise.
pub fn check_at_rest(world: &World, run: &Run) -> Result<(), String> {
    let journals: Vec<_> = run
        .journals
        .iter()
        .map(|journal| world.journal(*journal))
        .collect();
    let members = journals.iter().enumerate();
    let members = members.map(|(place, journal)| read(place + 1, journal));
    let members: Vec<_> = members.collect::<Result<_, _>>()?;
    let is_up = |member: &&Member<'_>| run.nodes[member.number - 1] != DOWN;
    for one in &members {
        for (place, got) in one
            .got
            .iter()
            .enumerate()
            .filter(|(_, got)| got.order == Order::Safe)
        {
            let was_in =
                |other: &&Member<'_>| other.views.iter().any(|view| view.number == got.view);
            for other in members.iter().filter(is_up).filter(was_in) {
                let mut needed = one.got[..=place].iter().filter(|got| is_total(got.order));
                if let Some(lacks) = needed.find(|got| other.place(got.id).is_none()) {
                    return Err(format!(
                        "S1, S2, S3: {} has delivered {:?} as safe, {} has not delivered {:?}",
                        one.number, got.id, other.number, lacks.id
                    ));
                }
            }
        }
    }
    Ok(())
}
