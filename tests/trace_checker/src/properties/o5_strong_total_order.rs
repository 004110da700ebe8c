// SPDX-License-Identifier: GPL-2.0

//! O5: one order of all agreed and safe messages of a group exists that agrees with the deliveries of every process: of
//! those that crash, too, and of those in other components.
//!
//! The messages are the nodes of a graph. An edge leads from each message that a process delivers to the next one that it
//! delivers. Such an order exists exactly if the graph has no circle. The search takes messages away that nothing leads to
//! (Kahn 1962); what is left then has a circle.

use std::collections::BTreeMap;

use crate::index::{Index, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O5", "strong total order");

/// The number of steps of a circle that are told.
const TOLD_STEPS_MAX: usize = 6;

/// That a process delivered one message just before another one.
struct Edge {
    from: usize,
    to: usize,
    process: usize,
}

/// Build the graph, and look for a circle in each group.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let edges = edges(index);
    let left = left_over(index.messages.len(), &edges);
    // An edge that leads to each message which is left from another one which is left. Every one has such an edge.
    let mut before: BTreeMap<usize, &Edge> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| left[edge.from] && left[edge.to]) {
        before.entry(edge.to).or_insert(edge);
    }
    let mut groups: BTreeMap<usize, usize> = BTreeMap::new();
    for message in before.keys() {
        groups
            .entry(index.messages[*message].scope)
            .or_insert(*message);
    }
    for (scope, start) in groups {
        report(index, scope, &circle(&before, start), found);
    }
}

/// All edges, each once at least.
fn edges(index: &Index<'_>) -> Vec<Edge> {
    let mut edges = Vec::new();
    // The first edge from each message. Nearly all processes have the same.
    let mut first: Vec<usize> = vec![usize::MAX; index.messages.len()];
    // The last process that delivered each message. D2 reports a message that came twice; its first place counts here.
    let mut deliverer: Vec<usize> = vec![usize::MAX; index.messages.len()];
    for (process, owner) in index.processes.iter().enumerate() {
        if owner.scope == CLUSTER {
            continue;
        }
        let mut previous: Option<usize> = None;
        for to in owner.deliveries().filter(|message| index.is_agreed(*message)) {
            if std::mem::replace(&mut deliverer[to], process) == process {
                continue;
            }
            let Some(from) = previous.replace(to) else {
                continue;
            };
            if first[from] == usize::MAX {
                first[from] = to;
            } else if first[from] == to {
                continue;
            }
            edges.push(Edge { from, to, process });
        }
    }
    edges
}

/// Which messages are left when those that nothing leads to are taken away, again and again.
fn left_over(count: usize, edges: &[Edge]) -> Vec<bool> {
    let mut incoming = vec![0_usize; count];
    let mut outgoing: Vec<Vec<usize>> = vec![Vec::new(); count];
    for edge in edges {
        incoming[edge.to] += 1;
        outgoing[edge.from].push(edge.to);
    }
    let mut left = vec![true; count];
    let mut free: Vec<usize> = (0..count).filter(|message| incoming[*message] == 0).collect();
    while let Some(message) = free.pop() {
        left[message] = false;
        for &to in &outgoing[message] {
            incoming[to] -= 1;
            if incoming[to] == 0 {
                free.push(to);
            }
        }
    }
    left
}

/// The edges of a circle that is found on the way back from `start`, in the order of the way forward.
fn circle<'e>(before: &BTreeMap<usize, &'e Edge>, start: usize) -> Vec<&'e Edge> {
    let mut way: Vec<&Edge> = Vec::new();
    let mut visited: BTreeMap<usize, usize> = BTreeMap::new();
    let mut message = start;
    while let Some(edge) = before.get(&message) {
        if let Some(place) = visited.insert(message, way.len()) {
            way.drain(..place);
            way.reverse();
            return way;
        }
        way.push(edge);
        message = edge.from;
    }
    Vec::new()
}

fn report(index: &Index<'_>, scope: usize, circle: &[&Edge], found: &mut Violations) {
    let (Some(first), Some(last)) = (circle.first(), circle.last()) else {
        return;
    };
    let steps = circle.iter().take(TOLD_STEPS_MAX).map(|edge| {
        format!(
            "{} delivered {} before {}",
            index.processes[edge.process], index.messages[edge.from], index.messages[edge.to]
        )
    });
    let text = format!(
        "no order of the messages of {} agrees with all deliveries: {}{}",
        index.scope_name(scope),
        steps.collect::<Vec<_>>().join(", "),
        if circle.len() > TOLD_STEPS_MAX { ", …" } else { "" },
    );
    let shown = [(first.from, first.process), (last.to, last.process)];
    let events: Vec<_> = shown
        .iter()
        .filter_map(|(message, process)| {
            let deliveries = &index.messages[*message].deliveries;
            let own = deliveries.iter().find(|(other, _)| other == process)?;
            Some(&index.events[index.delivery(*own)])
        })
        .collect();
    found.add(NAME, &events, text);
}
