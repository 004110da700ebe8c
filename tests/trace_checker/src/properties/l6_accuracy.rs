// SPDX-License-Identifier: GPL-2.0

//! L6: a node that is up, and connected both ways to all but a few, is not put out. The trace says who was,
//! and since when.

use crate::index::{Index, Install, Process, CLUSTER};
use crate::trace::{EventKind, Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L6", "accuracy");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (place, event) in index.events.iter().enumerate() {
        let EventKind::Expect(Expectation::Kept { members, since }) = &event.kind else {
            continue;
        };
        let is_between = |number: usize| *since < index.events[number].t && number < place;
        for process in index.processes.iter().filter(|p| p.scope == CLUSTER) {
            for install in process.installs.iter().filter(|i| is_between(i.event)) {
                if let Some(member) = lost(index, process, install, members) {
                    let text = format!("{member:?} was up and connected, and was put out");
                    found.add(NAME, &[event, &index.events[install.event]], text);
                }
            }
        }
        for member in members {
            let incarnation = index.incarnations.get(&(member.node, member.incarnation));
            if let Some(end) = incarnation.and_then(|incarnation| incarnation.end()).filter(|e| is_between(*e)) {
                let text = format!("{member:?} was up and connected, and its incarnation ended");
                found.add(NAME, &[event, &index.events[end]], text);
            }
        }
    }
}

/// One of `members` that this install puts out.
fn lost<'m>(
    index: &Index<'_>,
    process: &Process,
    install: &Install,
    members: &'m [Member],
) -> Option<&'m Member> {
    let before = index.members(install.previous?);
    let after = &index.view_event(install.event).members;
    members
        .iter()
        .filter(|member| !process.is(member))
        .find(|m| before.binary_search(m).is_ok() && after.binary_search(m).is_err())
}
