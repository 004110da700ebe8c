// SPDX-License-Identifier: GPL-2.0

//! L6: no view excludes a node that is up and connected in both directions to all but a few nodes. An expectation names
//! the nodes and the time.

use crate::index::{Index, Install, Process};
use crate::sorted::has;
use crate::trace::{Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L6", "accuracy");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (place, event, expectation) in index.expectations() {
        let Expectation::Kept { members, since } = expectation else {
            continue;
        };
        let is_between = |number: &usize| *since < index.events[*number].t && *number < place;
        for process in index.nodes() {
            for install in process.installs.iter().filter(|i| is_between(&i.event)) {
                if let Some(member) = excluded(index, process, install, members) {
                    let text = format!(
                        "view {:?} at {process} excludes {member:?}, which was up and connected",
                        index.views[install.view].id
                    );
                    found.add(NAME, &[event, &index.events[install.event]], text);
                }
            }
        }
        for member in members {
            let end = index.end_of(member.node, member.incarnation);
            if let Some(end) = end.filter(is_between) {
                let text = format!("{member:?} was up and connected, and its incarnation ended");
                found.add(NAME, &[event, &index.events[end]], text);
            }
        }
    }
}

/// One of `members` that was in the view of the process before this install and is no longer.
fn excluded<'m>(
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
        .find(|member| has(before, member) && !has(after, member))
}
