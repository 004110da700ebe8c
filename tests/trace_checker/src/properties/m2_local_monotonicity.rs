// SPDX-License-Identifier: GPL-2.0

//! M2: the numbers of the views that a process installs grow.

use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M2", "local monotonicity");

/// Compare each install with the one before it.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for pair in process.installs.windows(2) {
            let (before, after) = (index.views[pair[0].view].id, index.views[pair[1].view].id);
            if after.number <= before.number {
                let text = format!(
                    "{process} installed view {after:?} of {} after view {before:?}",
                    index.scope_name(process.scope)
                );
                let events = [&index.events[pair[0].event], &index.events[pair[1].event]];
                found.add(NAME, &events, text);
            }
        }
    }
}
