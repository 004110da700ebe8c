// SPDX-License-Identifier: GPL-2.0

//! L3: if a process delivers a message in a view, all members that stay in the view deliver it. D5 checks the members
//! that go on to another view, and L2 the sender.

use std::collections::{HashMap, HashSet};

use crate::index::{Index, Phase, CLUSTER};
use crate::sorted::has;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L3", "multicast liveness");

/// Check each message of a view that some process is in at the end of the trace.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut stayed: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, process) in index.processes.iter().enumerate() {
        let is_there = process.scope != CLUSTER
            && matches!(process.phase, Phase::InView)
            && !index.ended(process);
        if let Some(last) = process.installs.last().filter(|_| is_there) {
            stayed.entry(last.view).or_default().push(number);
        }
    }
    for message in &index.messages {
        let Some(&(deliverer, action)) = message.deliveries.first() else {
            continue;
        };
        let deliverer = &index.processes[deliverer];
        let delivery = &deliverer.actions[action];
        let Some(view) = index.view_at(deliverer, delivery) else {
            continue;
        };
        let receivers: HashSet<usize> = message.deliveries.iter().map(|(who, _)| *who).collect();
        for number in stayed.get(&view).into_iter().flatten() {
            let process = &index.processes[*number];
            // A cluster that forms anew may use the identity of an old view again.
            let is_meant = process
                .installs
                .last()
                .is_some_and(|last| has(&index.view_event(last.event).members, &message.sender));
            if !is_meant || receivers.contains(number) || process.is(&message.sender) {
                continue;
            }
            let text = format!(
                "{process} stayed in view {:?} of {} and never delivered {message}, which {deliverer} delivered in it",
                index.views[view].id,
                index.scope_name(process.scope),
            );
            found.add(NAME, &[&index.events[delivery.event]], text);
        }
    }
}
