// SPDX-License-Identifier: GPL-2.0

//! L8: in a settled view a send that is refused is accepted again within the bound. The trace says who tried
//! to send, since when, and with which bound; what was accepted is a send.

use crate::index::{Index, What};
use crate::trace::{EventKind, Expectation};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("L8", "progress");

/// Looks at each expectation.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for event in index.events {
        let EventKind::Expect(Expectation::Sending {
            group,
            members,
            since,
            bound,
        }) = &event.kind
        else {
            continue;
        };
        let is_in_time = |number: usize| {
            let t = index.events[number].t;
            *since <= t && t <= since.saturating_add(*bound)
        };
        for member in members {
            let has_sent = (index.processes.iter())
                .filter(|process| index.scopes[process.scope] == group.as_ref())
                .filter(|process| process.is(member))
                .flat_map(|process| &process.actions)
                .any(|action| matches!(action.what, What::Send(_)) && is_in_time(action.event));
            if !has_sent {
                let text = format!("{member:?} of group {group:?} was not allowed to send");
                found.add(NAME, &[event], text);
            }
        }
    }
}
