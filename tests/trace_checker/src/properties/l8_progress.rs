// SPDX-License-Identifier: GPL-2.0

//! L8: in a settled view a member whose send was refused can send again within the bound. An expectation names the
//! members that tried to send, the time and the bound. A send that was accepted is in the trace.

use crate::index::{Action, Index};
use crate::trace::Expectation;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L8", "progress");

/// Check each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for (_, event, expectation) in index.expectations() {
        let Expectation::Sending {
            group,
            members,
            since,
            bound,
        } = expectation
        else {
            continue;
        };
        let allowed = *since..=since.saturating_add(*bound);
        let is_send_in_time = |action: &Action| {
            action.sent().is_some() && allowed.contains(&index.events[action.event].t)
        };
        let scope = index.group_scope(group);
        for member in members {
            let has_sent = (index.processes.iter())
                .filter(|process| Some(process.scope) == scope && process.is(member))
                .flat_map(|process| &process.actions)
                .any(is_send_in_time);
            if !has_sent {
                let text = format!(
                    "{member:?} of group {group:?} had something to send, and sent nothing in {} ms",
                    bound / 1_000_000
                );
                found.add(NAME, &[event], text);
            }
        }
    }
}
