// SPDX-License-Identifier: GPL-2.0

//! D3: a message is delivered in the view it was sent in.
//! A delivery also names the view that the process really is in. A sending names the view that the
//! message became part of, which may be later than the one that its sender was in.

use crate::index::{Index, What};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("D3", "sending view");

/// Compares the views of sendings and deliveries.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    for process in &index.processes {
        for action in &process.actions {
            let message = match action.what {
                What::Deliver(message) => message,
                What::Send(_) | What::Install(_) | What::Out | What::Block => continue,
            };
            let Some(view) = index.view_at(process, action) else {
                continue;
            };
            let own = index.views[view].id;
            let event = &index.events[action.event];
            let said = index.message_event(action.event).view;
            if let Some(said) = said.filter(|said| *said != own) {
                let text = format!("the line says view {said:?}, the process is in view {own:?}");
                found.add(NAME, &[event], text);
                continue;
            }
            let Some((sending, _)) = index.messages[message].send else {
                continue;
            };
            let sent_in = index.message_event(sending).view;
            if let Some(sent_in) = sent_in.filter(|sent_in| *sent_in != own) {
                let text = format!("sent in view {sent_in:?}, delivered in view {own:?}");
                found.add(NAME, &[&index.events[sending], event], text);
            }
        }
    }
}
