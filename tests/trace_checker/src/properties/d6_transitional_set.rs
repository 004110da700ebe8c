// SPDX-License-Identifier: GPL-2.0

//! D6: who is in the transitional set of a process is exactly who came to the view from the same one.
//! Of members that never wrote that they installed the view nothing is known.

use std::collections::HashMap;

use crate::index::{Index, Process};
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D6", "transitional set");

/// Looks at each install that tells its transitional set.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for view in &index.views {
        let mut came_from: HashMap<(u16, u64, Option<u32>), Option<usize>> = HashMap::new();
        for &(process, place) in &view.installs {
            let process = &index.processes[process];
            let key = (process.node, process.incarnation, process.endpoint);
            came_from.insert(key, process.installs[place].previous);
        }
        let origin = |member: &Member| {
            [Some(member.endpoint), None]
                .iter()
                .find_map(|endpoint| came_from.get(&(member.node, member.incarnation, *endpoint)))
        };
        for &(number, place) in &view.installs {
            let process = &index.processes[number];
            let install = &process.installs[place];
            let event = index.view_event(install.event);
            let Some(set) = &event.transitional else {
                continue;
            };
            let said = |member: &Member| set.binary_search(member).is_ok();
            let wrong = event.members.iter().find(|member| {
                if is_new(process, install.previous, member) {
                    return false;
                }
                let together = match (install.previous, origin(member)) {
                    (_, None) => return false,
                    (None, Some(_)) => false,
                    (Some(own), Some(other)) => *other == Some(own),
                };
                said(member) != together
            });
            let stranger = set.iter().find(|m| event.members.binary_search(m).is_err());
            if let Some(member) = wrong.or(stranger) {
                let verb = if said(member) { "is" } else { "is not" };
                let text = format!(
                    "{member:?} {verb} in the transitional set of view {:?} of {}, against what it did",
                    view.id,
                    index.scope_name(view.scope)
                );
                found.add(NAME, &[&index.events[install.event]], text);
            }
        }
    }
}

/// A process without a view before may or may not count itself.
fn is_new(process: &Process, previous: Option<usize>, member: &Member) -> bool {
    previous.is_none() && process.is(member)
}
