// SPDX-License-Identifier: GPL-2.0

//! L3: a message that anybody delivers in a view is delivered by all members of the view that stay in
//! it. Whoever goes on to another view is D5's to look at, and the sender L2's.

use std::collections::{HashMap, HashSet};

use crate::index::{Index, Phase, CLUSTER};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L3", "multicast liveness");

/// Looks at each message of a view that somebody is in to the end.
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
        let (deliverer, delivery) = (
            &index.processes[deliverer],
            &index.processes[deliverer].actions[action],
        );
        let Some(view) = index.view_at(deliverer, delivery) else {
            continue;
        };
        let got: HashSet<usize> = message.deliveries.iter().map(|(who, _)| *who).collect();
        for number in stayed.get(&view).into_iter().flatten() {
            let process = &index.processes[*number];
            // A cluster that begins anew may use the view's name again.
            let is_meant = process.installs.last().is_some_and(|last| {
                let members = &index.view_event(last.event).members;
                members.binary_search(&message.sender).is_ok()
            });
            if !is_meant || got.contains(number) || process.is(&message.sender) {
                continue;
            }
            let text = format!(
                "message {} of {:?} was delivered in view {:?} of {}, and never to node {}, which stayed in that view",
                message.sequence,
                message.sender,
                index.views[view].id,
                index.scope_name(process.scope),
                process.node,
            );
            found.add(NAME, &[&index.events[delivery.event]], text);
        }
    }
}
