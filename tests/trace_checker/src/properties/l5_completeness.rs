// SPDX-License-Identifier: GPL-2.0

//! L5: who crashed is out of the views of all survivors within the bound, and those who crashed at once
//! are gone in one view change. The trace says who, when and with which bound.

use crate::index::{Index, Process, CLUSTER};
use crate::trace::{EventKind, Expectation, Member};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L5", "completeness");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for event in index.events {
        let EventKind::Expect(Expectation::Gone {
            members,
            since,
            bound,
            at_once,
        }) = &event.kind
        else {
            continue;
        };
        let deadline = since.saturating_add(*bound);
        for process in index.processes.iter().filter(|p| p.scope == CLUSTER) {
            if lived_until(index, process) < deadline {
                continue;
            }
            if let Some((install, what)) = wrong(index, process, members, deadline, *at_once) {
                found.add(NAME, &[event, &index.events[install]], what);
            }
        }
    }
}

/// The time at which the process ended, if it did.
fn lived_until(index: &Index<'_>, process: &Process) -> u64 {
    index
        .incarnations
        .get(&(process.node, process.incarnation))
        .and_then(|incarnation| incarnation.end())
        .map_or(u64::MAX, |event| index.events[event].t)
}

fn wrong(
    index: &Index<'_>,
    process: &Process,
    gone: &[Member],
    deadline: u64,
    at_once: bool,
) -> Option<(usize, String)> {
    let has = |install: usize| {
        let members = &index.view_event(process.installs[install].event).members;
        gone.iter()
            .filter(|m| members.binary_search(m).is_ok())
            .count()
    };
    let until = process
        .installs
        .partition_point(|install| index.events[install.event].t <= deadline);
    let last = until.checked_sub(1)?;
    let event = process.installs[last].event;
    if has(last) > 0 {
        let text = format!(
            "{gone:?} crashed, and node {} still has {} of them in its view at the bound",
            process.node,
            has(last)
        );
        return Some((event, text));
    }
    if at_once {
        let counts: Vec<usize> = (0..until).map(has).collect();
        let drops = counts.windows(2).filter(|pair| pair[1] < pair[0]).count();
        if drops > 1 {
            let text = format!(
                "{gone:?} crashed at once, and node {} saw them go in {drops} view changes",
                process.node
            );
            return Some((event, text));
        }
    }
    None
}
