// SPDX-License-Identifier: GPL-2.0

//! D3: a message is delivered in the view in which it was sent.
//!
//! The line of a delivery must also name the view that the process is in. The line of a sending names the view that the
//! message became part of, which may be later than the one that its sender was in.

use crate::index::Index;
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
            }
        }
    }
}
