// SPDX-License-Identifier: GPL-2.0

//! D10: a message that was accepted is delivered at every member of its view that goes on to the next one, unless its
//! sender crashes, or is told how many of its messages were lost. What follows a lost message of a sender is not delivered
//! either, at any member that has been there since the view in which the sender called.
//!
//! A sender is told when it has left, or when it is excluded: the line then has the number (`lost`), and the lost messages
//! are the last ones that it sent. A line without a number says nothing of them, and they are not judged. A message counts
//! as part of the view in which somebody delivered it, or else of the view that its line names, or else of the last view
//! of its sender. L2 and L3 judge members that stay in the view.

use std::collections::{HashMap, HashSet};

use crate::index::{Index, Phase, Process, CLUSTER};
use crate::sorted::has;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D10", "nothing lost silently");

/// Check what each process sent.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (number, process) in index.processes.iter().enumerate() {
        if process.scope == CLUSTER {
            continue;
        }
        let sent: Vec<usize> = process
            .actions
            .iter()
            .filter_map(|action| {
                let message = action.sent()?;
                let is_first = index.messages[message].send == Some((action.event, number));
                is_first.then_some(message)
            })
            .collect();
        if sent.is_empty() {
            continue;
        }
        nothing_follows_a_lost_message(index, &sent, found);
        let told = told(index, process).map(|told| usize::try_from(told).unwrap_or(usize::MAX));
        let owed = told.map_or(0, |told| sent.len().saturating_sub(told));
        for (place, &message) in sent.iter().enumerate() {
            delivered_by_those_who_go_on(index, (number, message), place < owed, found);
        }
    }
}

/// The number of its messages that the process was told were lost: 0 if it is alive, and `None` if nothing is known of
/// them, because it crashed, stopped, or its last line has no number.
fn told(index: &Index<'_>, process: &Process) -> Option<u64> {
    let key = (process.node, process.incarnation);
    let incarnation = index.incarnations.get(&key);
    if incarnation.is_some_and(|incarnation| incarnation.crash.is_some()) {
        return None;
    }
    if index.ended(process) {
        return process.lost;
    }
    Some(process.lost.unwrap_or(0))
}

/// Report messages that nobody delivered, if a member delivered a later one of the same sender.
fn nothing_follows_a_lost_message(index: &Index<'_>, sent: &[usize], found: &mut Violations) {
    let is_lost = |message: &&usize| index.messages[**message].deliveries.is_empty();
    if !sent.iter().any(|message| is_lost(&message)) {
        return;
    }
    // The last delivery of each member that delivers anything of this sender later than the message that is looked at.
    let mut later: HashMap<usize, (usize, usize)> = HashMap::new();
    for &message in sent.iter().rev() {
        let record = &index.messages[message];
        for &(who, action) in &record.deliveries {
            later.entry(who).or_insert((message, action));
        }
        let Some((sending, _)) = record.send.filter(|_| is_lost(&&message)) else {
            continue;
        };
        let line = index.message_event(sending);
        let named = line.call_view.or(line.view);
        let Some(view) = named.and_then(|named| index.view_named(record.scope, named)) else {
            continue;
        };
        let witness = index.views[view].installs.iter().find_map(|(who, _)| {
            let &(message, action) = later.get(who)?;
            Some((*who, message, index.delivery((*who, action))))
        });
        if let Some((who, message, delivery)) = witness {
            let text = format!(
                "nobody delivered {record}, and {} delivered the later {}",
                index.processes[who], index.messages[message]
            );
            found.add(NAME, &[&index.events[sending], &index.events[delivery]], text);
        }
    }
}

/// Report members that went on from the view of the message without delivering it. If the sender went on with them, it
/// does not matter how it ended later. If it did not, it is judged only if the message is owed: it is not among those of
/// which the sender was told that they are lost.
fn delivered_by_those_who_go_on(
    index: &Index<'_>,
    (number, message): (usize, usize),
    is_owed: bool,
    found: &mut Violations,
) {
    let process = &index.processes[number];
    let record = &index.messages[message];
    let Some((sending, _)) = record.send else {
        return;
    };
    let delivered_in = record.deliveries.iter().find_map(|&(who, action)| {
        let who = &index.processes[who];
        index.view_at(who, &who.actions[action])
    });
    let named = index.message_event(sending).view;
    let named = named.and_then(|named| index.view_named(process.scope, named));
    let is_gone = process.phase != Phase::InView;
    let last = process.installs.last().map(|install| install.view);
    let Some(view) = delivered_in.or(named).or(last.filter(|_| is_gone)) else {
        return;
    };
    let own = record.sender;
    let Some(place) = process.installs.iter().position(|install| install.view == view) else {
        return;
    };
    let next = process.installs.get(place + 1).map(|install| install.view);
    let who: HashSet<usize> = record.deliveries.iter().map(|(who, _)| *who).collect();
    for &(other, from) in &index.views[view].installs {
        let other_process = &index.processes[other];
        let Some(install) = other_process.installs.get(from + 1) else {
            continue;
        };
        let event = index.view_event(install.event);
        let must_deliver = match next {
            Some(next) => install.view == next,
            None => is_owed && is_gone && event.primary && !has(&event.members, &own),
        };
        if !must_deliver || who.contains(&other) {
            continue;
        }
        let text = format!(
            "{process} had {record} accepted, and {other_process} went on from view {:?} of {} to view {:?} without it",
            index.views[view].id,
            index.scope_name(process.scope),
            index.views[install.view].id,
        );
        found.add(NAME, &[&index.events[sending], &index.events[install.event]], text);
    }
}
