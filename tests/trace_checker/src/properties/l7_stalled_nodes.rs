// SPDX-License-Identifier: GPL-2.0

//! L7: a node that stood still, and goes on, accuses nobody of a silence that was its own. The trace says
//! which node, when it went on, and who was up and connected to it all the time.

use crate::index::Index;
use crate::trace::{EventKind, Expectation};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L7", "a stalled node accuses nobody");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for event in index.events {
        let EventKind::Expect(Expectation::Unaccused {
            by,
            members,
            since,
            bound,
        }) = &event.kind
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
                let text = format!("node {by} had stood still, and accuses node {subject}");
                found.add(NAME, &[event, other], text);
            }
        }
    }
}
