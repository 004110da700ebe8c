// SPDX-License-Identifier: GPL-2.0

//! S3: what anybody delivers as safe in a view, also one that crashes later, every member of that view delivers which
//! comes to a later primary view. Unlike S1 this also judges those that crash after they came to the later view.

use super::safe_messages::delivered_as_safe;
use crate::index::Index;
use crate::sorted::has;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("S3", "uniform");

/// Check each safe message that some process delivered.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut deliverer: Vec<usize> = vec![usize::MAX; index.processes.len()];
    for (message, view, event) in delivered_as_safe(index) {
        for (process, _) in &index.messages[message].deliveries {
            deliverer[*process] = message;
        }
        for &(number, place) in &index.views[view].installs {
            let process = &index.processes[number];
            if deliverer[number] == message {
                continue;
            }
            let own = index.view_event(process.installs[place].event);
            let mut later = process.installs[place + 1..].iter();
            let primary = later.find(|install| index.view_event(install.event).primary);
            // A cluster that forms anew may use the identity of an old view again.
            let is_meant = has(&own.members, &index.messages[message].sender);
            let Some(install) = primary.filter(|_| is_meant) else {
                continue;
            };
            let text = format!(
                "node {} was given safe {} in view {:?} of {}, and {process} came from it to the primary view {:?} without it",
                index.events[event].node,
                index.messages[message],
                index.views[view].id,
                index.scope_name(index.views[view].scope),
                index.views[install.view].id,
            );
            found.add(NAME, &[&index.events[event], &index.events[install.event]], text);
        }
    }
}
