// SPDX-License-Identifier: GPL-2.0

//! D6: the transitional set that a process gets with a view is the set of members that came to it from the same
//! previous view. Members that never wrote that they installed the view are not judged.

use std::collections::HashMap;

use crate::index::{Index, Process};
use crate::sorted::{has, only_in};
use crate::trace::Member;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D6", "transitional set");

/// Check each install whose line has a transitional set.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for view in &index.views {
        let mut came_from: HashMap<(u16, u64, Option<u32>), Option<usize>> = HashMap::new();
        for &(process, place) in &view.installs {
            let process = &index.processes[process];
            let key = (process.node, process.incarnation, process.endpoint);
            came_from.insert(key, process.installs[place].previous);
        }
        let previous_of = |member: &Member| {
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
            let wrong = event.members.iter().find(|member| {
                if is_new(process, install.previous, member) {
                    return false;
                }
                let together = match (install.previous, previous_of(member)) {
                    (_, None) => return false,
                    (None, Some(_)) => false,
                    (Some(own), Some(other)) => *other == Some(own),
                };
                has(set, member) != together
            });
            let stranger = only_in(set, &event.members).next();
            if let Some(member) = wrong.or(stranger) {
                let text = format!(
                    "the transitional set of view {:?} of {} at {process} {} {member:?}, which {} with it",
                    view.id,
                    index.scope_name(view.scope),
                    if has(set, member) { "has" } else { "lacks" },
                    if has(set, member) { "did not come" } else { "came" },
                );
                found.add(NAME, &[&index.events[install.event]], text);
            }
        }
    }
}

/// Whether `member` is the process itself in its first view, where it may or may not count itself.
fn is_new(process: &Process, previous: Option<usize>, member: &Member) -> bool {
    previous.is_none() && process.is(member)
}
