// SPDX-License-Identifier: GPL-2.0

//! Who must deliver what is given as safe, which S1 and S2 look at.

use std::collections::{BTreeMap, HashSet};

use crate::index::{Index, Phase, CLUSTER};
use crate::sorted::has;
use crate::trace::Order;

/// The members of views that must deliver what stays in these views: those that did not end before the trace does.
#[derive(Default)]
pub(super) struct Obliged(BTreeMap<usize, Vec<usize>>);

impl Obliged {
    /// The members of the view that did not crash, stop, leave, or learn that they are excluded. Members of which the
    /// trace has nothing are not judged.
    pub(super) fn of(&mut self, index: &Index<'_>, view: usize) -> &[usize] {
        self.0.entry(view).or_insert_with(|| {
            let record = &index.views[view];
            let members = index.members(view).iter();
            let mut obliged: Vec<usize> = members
                .filter_map(|member| index.process_of(record.scope, member))
                .filter(|number| {
                    let process = &index.processes[*number];
                    process.phase == Phase::InView && !index.ended(process)
                })
                .collect();
            obliged.sort_unstable();
            obliged.dedup();
            obliged
        })
    }

    /// The processes that must deliver the message, because it belongs to the view, and never do.
    pub(super) fn without(&mut self, index: &Index<'_>, view: usize, message: usize) -> Vec<usize> {
        let message = &index.messages[message];
        let who: HashSet<usize> = message.deliveries.iter().map(|(who, _)| *who).collect();
        let obliged = self.of(index, view).iter().copied();
        obliged
            .filter(|number| !who.contains(number))
            .filter(|number| is_meant(index, *number, view, message.sender))
            .collect()
    }
}

/// Whether the process, if it installed the view, found the sender in it. A cluster that forms anew may use the identity
/// of an old view again.
fn is_meant(index: &Index<'_>, process: usize, view: usize, sender: crate::trace::Member) -> bool {
    let mut installs = index.processes[process].installs.iter();
    installs
        .find(|install| install.view == view)
        .is_none_or(|install| has(&index.view_event(install.event).members, &sender))
}

/// All safe messages that were delivered: the message, the view, and the event of the first delivery.
pub(super) fn delivered_as_safe<'i>(
    index: &'i Index<'_>,
) -> impl Iterator<Item = (usize, usize, usize)> + 'i {
    let messages = index.messages.iter().enumerate();
    messages
        .filter(|(_, message)| message.order == Order::Safe && message.scope != CLUSTER)
        .filter_map(|(number, message)| {
            message.deliveries.iter().find_map(|&(process, action)| {
                let process = &index.processes[process];
                let action = &process.actions[action];
                Some((number, index.view_at(process, action)?, action.event))
            })
        })
}
