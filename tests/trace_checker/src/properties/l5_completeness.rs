// SPDX-License-Identifier: GPL-2.0

//! L5: a node that crashed leaves the views of all survivors within the bound, and nodes that crashed at once leave in
//! one view change. An expectation names the nodes, the time and the bound.

use crate::index::{Index, Process};
use crate::sorted::has;
use crate::trace::{Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L5", "completeness");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (_, event, expectation) in index.expectations() {
        let Expectation::Gone {
            members,
            since,
            bound,
            at_once,
        } = expectation
        else {
            continue;
        };
        let deadline = since.saturating_add(*bound);
        let survivors = index.nodes().filter(|node| {
            let end = index.end_of(node.node, node.incarnation);
            end.is_none_or(|end| index.events[end].t >= deadline)
        });
        for process in survivors {
            if let Some((install, what)) = wrong(index, process, members, deadline, *at_once) {
                found.add(NAME, &[event, &index.events[install]], what);
            }
        }
    }
}

fn wrong(
    index: &Index<'_>,
    process: &Process,
    crashed: &[Member],
    deadline: u64,
    at_once: bool,
) -> Option<(usize, String)> {
    let count = |install: usize| {
        let members = &index.view_event(process.installs[install].event).members;
        crashed
            .iter()
            .filter(|member| has(members, member))
            .count()
    };
    let until = process
        .installs
        .partition_point(|install| index.events[install.event].t <= deadline);
    let last = until.checked_sub(1)?;
    let event = process.installs[last].event;
    let left = count(last);
    if left > 0 {
        let text = format!(
            "{crashed:?} crashed, and at the bound view {:?} of {process} still has {left} of them",
            index.view_event(event).view
        );
        return Some((event, text));
    }
    if at_once {
        let counts: Vec<usize> = (0..until).map(count).collect();
        let drops = counts.windows(2).filter(|pair| pair[1] < pair[0]).count();
        if drops > 1 {
            let text = format!(
                "{crashed:?} crashed at once, and left the views of {process} in {drops} view changes"
            );
            return Some((event, text));
        }
    }
    None
}
