// SPDX-License-Identifier: GPL-2.0

//! L9: a steady fault does not cause an endless series of views. An expectation names the time since which nothing
//! changed, and the number of cluster views that the fault may cost.

use std::collections::BTreeSet;

use crate::index::Index;
use crate::trace::Expectation;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L9", "no flapping");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (place, event, expectation) in index.expectations() {
        let Expectation::Steady { since, views } = expectation else {
            continue;
        };
        let installs: BTreeSet<(usize, usize)> = index
            .nodes()
            .flat_map(|node| &node.installs)
            .filter(|install| *since < index.events[install.event].t && install.event < place)
            .map(|install| (install.view, install.event))
            .collect();
        let different: BTreeSet<usize> = installs.iter().map(|(view, _)| *view).collect();
        if different.len() as u64 > *views {
            let last = installs.last().map_or(event, |(_, e)| &index.events[*e]);
            let text = format!(
                "a steady fault caused {} cluster views, and may cause {views}",
                different.len()
            );
            found.add(NAME, &[event, last], text);
        }
    }
}
