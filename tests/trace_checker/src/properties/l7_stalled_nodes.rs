// SPDX-License-Identifier: GPL-2.0

//! L7: a node that was stalled and goes on does not accuse others because of its own silence. An expectation names the
//! node, the time at which it went on, and the members that were up and connected to it all the time.

use crate::index::Index;
use crate::trace::{EventKind, Expectation};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L7", "a stalled node accuses nobody");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (_, event, expectation) in index.expectations() {
        let Expectation::Unaccused {
            by,
            members,
            since,
            bound,
        } = expectation
        else {
            continue;
        };
        let first = index.events.partition_point(|other| other.t < *since);
        let until = since.saturating_add(*bound);
        for other in index.events[first..].iter().take_while(|e| e.t <= until) {
            let EventKind::Accuse { subject } = other.kind else {
                continue;
            };
            if other.node == *by && members.iter().any(|member| member.node == subject) {
                let text = format!(
                    "node {by} was stalled, and then accused node {subject}, which was connected to it"
                );
                found.add(NAME, &[event, other], text);
            }
        }
    }
}
