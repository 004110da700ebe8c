// SPDX-License-Identifier: GPL-2.0

//! D3: a message is delivered in the view that its sender had been shown when it called, or in a later one, and never in an
//! earlier one. In a group that asked for sending view delivery it is delivered in exactly that view.
//!
//! The line of a sending may name that view (`call_view`), and the view that the message became part of (`view`), in which
//! it must be delivered. For a group that asked for sending view delivery a line without `call_view` means the view that
//! its sender was in. The line of a delivery must name the view that the process is in.

use crate::index::{Index, Message, Process};
use crate::trace::ViewId;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D3", "sending view");

/// Compare the view of each delivery with that of the sending.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            let Some(message) = action.delivered() else {
                continue;
            };
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let message = &index.messages[message];
            let own = index.views[view].id;
            let event = &index.events[action.event];
            let named = index.message_event(action.event).view;
            if let Some(named) = named.filter(|named| *named != own) {
                let text = format!(
                    "{process} delivered {message} in view {own:?}, and its line names view {named:?}"
                );
                found.add(NAME, &[event], text);
                continue;
            }
            let Some((sending, _)) = message.send else {
                continue;
            };
            let sent_in = index.message_event(sending).view;
            if let Some(sent_in) = sent_in.filter(|sent_in| *sent_in != own) {
                let text = format!(
                    "{process} delivered {message} in view {own:?}, and it was sent in view {sent_in:?}"
                );
                found.add(NAME, &[&index.events[sending], event], text);
                continue;
            }
            let is_exact = index.view_event(index.first_install(view)).sending_view;
            let Some(called_in) = called_in(index, message, is_exact) else {
                continue;
            };
            let is_early = own != called_in && own.number <= called_in.number;
            if is_early || is_exact && own != called_in {
                let text = format!(
                    "{process} delivered {message} in view {own:?}, and its sender was in view {called_in:?} when it called{}",
                    if is_exact { "; the group asked for sending view delivery" } else { "" }
                );
                found.add(NAME, &[&index.events[sending], event], text);
            }
        }
    }
}

/// The view that the sender had been shown when it called. If the line does not name it and `from_views` is set, it is the
/// view that the sender had installed last.
fn called_in(index: &Index<'_>, message: &Message, from_views: bool) -> Option<ViewId> {
    let (sending, sender) = message.send?;
    let named = index.message_event(sending).call_view;
    let sender: &Process = &index.processes[sender];
    named.or_else(|| {
        let after = sender.installs.partition_point(|install| install.event < sending);
        let last = sender.installs[..after].last().filter(|_| from_views)?;
        Some(index.views[last.view].id)
    })
}
