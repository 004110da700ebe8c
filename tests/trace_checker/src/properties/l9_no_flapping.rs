// SPDX-License-Identifier: GPL-2.0

//! L9: a steady fault does not make views come and go. The trace says since when nothing changed, and how
//! many cluster views the fault may cost.

use std::collections::BTreeSet;

use crate::index::{Index, CLUSTER};
use crate::trace::{EventKind, Expectation};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L9", "no flapping");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (place, event) in index.events.iter().enumerate() {
        let EventKind::Expect(Expectation::Steady { since, views }) = &event.kind else {
            continue;
        };
        let installs: BTreeSet<(usize, usize)> = (index.processes.iter())
            .filter(|process| process.scope == CLUSTER)
            .flat_map(|process| &process.installs)
            .filter(|install| *since < index.events[install.event].t && install.event < place)
            .map(|install| (install.view, install.event))
            .collect();
        let different: BTreeSet<usize> = installs.iter().map(|(view, _)| *view).collect();
        if different.len() as u64 > *views {
            let last = installs.last().map_or(event, |(_, e)| &index.events[*e]);
            let text = format!(
                "{} views came of a steady fault that may cost {views}",
                different.len()
            );
            found.add(NAME, &[event, last], text);
        }
    }
}
