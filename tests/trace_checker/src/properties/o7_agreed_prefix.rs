// SPDX-License-Identifier: GPL-2.0

//! O7: if a process delivers an agreed or safe message before another one in a view, then no process delivers the second
//! in that view without having delivered the first before it.
//!
//! This holds for every two processes of a view exactly if each message has the same predecessor at all of them: two lists
//! that share a message are then the same up to it. So one look at each delivery compares all pairs.

use std::collections::HashMap;

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O7", "agreed prefix");

/// A process and what it delivered, in order.
type List = (usize, Vec<usize>);

/// The first process that delivered a message in a view, and the message that it delivered just before.
#[derive(Clone, Copy)]
struct First {
    view: usize,
    list: usize,
    previous: Option<usize>,
}

/// Compare the deliveries in each view.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut first: Vec<Option<First>> = vec![None; index.messages.len()];
    for (view, mut lists) in index.deliveries_by_view() {
        let mut deliverer: HashMap<usize, usize> = HashMap::new();
        for (list, (_, messages)) in lists.iter_mut().enumerate() {
            // D2 reports a message that came twice; here its first place counts.
            messages.retain(|message| {
                index.is_agreed(*message) && deliverer.insert(*message, list) != Some(list)
            });
        }
        for (list, (_, messages)) in lists.iter().enumerate() {
            let mut previous = None;
            for &message in messages {
                let known = first[message].filter(|known| known.view == view);
                let known = *first[message].insert(known.unwrap_or(First {
                    view,
                    list,
                    previous,
                }));
                if known.previous != previous {
                    let lists = (&lists[known.list], &lists[list]);
                    report(index, view, lists, message, found);
                    break;
                }
                previous = Some(message);
            }
        }
    }
}

/// Report the first place where two lists differ, which both have `common` behind it.
fn report(
    index: &Index<'_>,
    view: usize,
    (one, other): (&List, &List),
    common: usize,
    found: &mut Violations,
) {
    let before = |list: &[usize]| -> Vec<usize> {
        list.iter().copied().take_while(|message| *message != common).collect()
    };
    let (own, others) = (before(&one.1), before(&other.1));
    let split = own.iter().zip(&others).take_while(|(a, b)| a == b).count();
    // If the list before `common` is at its end here, the other one has one more.
    let (ahead, with, without) = match (own.get(split), others.get(split)) {
        (Some(&ahead), None) => (ahead, one.0, other.0),
        (Some(&ahead), _) if !others.contains(&ahead) => (ahead, one.0, other.0),
        (_, Some(&ahead)) => (ahead, other.0, one.0),
        (_, None) => return,
    };
    // The message that the other process delivered without the first one before it.
    let second = if without == one.0 { own.get(split) } else { others.get(split) };
    let with_list = if with == one.0 { &own } else { &others };
    let second = second.filter(|message| with_list.contains(message));
    let second = second.copied().unwrap_or(common);
    let text = format!(
        "in view {:?} of {}, {} delivered {} before {}, and {} did not",
        index.views[view].id,
        index.scope_name(index.views[view].scope),
        index.processes[with],
        index.messages[ahead],
        index.messages[second],
        index.processes[without],
    );
    let events: Vec<_> = [ahead, second]
        .iter()
        .filter_map(|message| delivery(index, *message, without))
        .map(|event| &index.events[event])
        .collect();
    found.add(NAME, &events, text);
}

fn delivery(index: &Index<'_>, message: usize, process: usize) -> Option<usize> {
    let deliveries = &index.messages[message].deliveries;
    let own = deliveries.iter().find(|(other, _)| *other == process)?;
    Some(index.delivery(*own))
}
