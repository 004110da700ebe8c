// SPDX-License-Identifier: GPL-2.0

//! S2: a process is given a safe message only if every member of the view, unless it crashes, also delivers all that is
//! ordered before that message. S1 checks the safe messages among these.

use std::collections::HashSet;

use super::safe_messages::Obliged;
use crate::index::Index;
use crate::trace::Order;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("S2", "safe prefix");

/// Check what each process delivered in each view before its last safe message there.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let mut obliged = Obliged::default();
    for (view, lists) in index.deliveries_by_view() {
        let mut checked: HashSet<usize> = HashSet::new();
        for (process, list) in lists {
            let is_safe = |message: &usize| index.messages[*message].order == Order::Safe;
            let Some(last) = list.iter().rposition(is_safe) else {
                continue;
            };
            for &message in &list[..last] {
                if !index.is_agreed(message) || is_safe(&message) || !checked.insert(message) {
                    continue;
                }
                for without in obliged.without(index, view, message) {
                    let text = format!(
                        "{} was given safe {} in view {:?} of {} after {}, which {} never delivered",
                        index.processes[process],
                        index.messages[list[last]],
                        index.views[view].id,
                        index.scope_name(index.views[view].scope),
                        index.messages[message],
                        index.processes[without],
                    );
                    let deliveries = index.messages[list[last]].deliveries.iter();
                    let own = deliveries.filter(|(who, _)| *who == process);
                    let events: Vec<_> = own
                        .map(|delivery| &index.events[index.delivery(*delivery)])
                        .collect();
                    found.add(NAME, &events, text);
                }
            }
        }
    }
}
