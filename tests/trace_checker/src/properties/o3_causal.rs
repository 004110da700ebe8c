// SPDX-License-Identifier: GPL-2.0

//! O3: a process does not deliver a message of causal, agreed or safe order before one of its causal past. O4 reports
//! messages of the causal past that the process never delivers.

use super::causal_past::each_missed;
use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O3", "causal");

/// Report what was delivered after a message that depends on it.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    each_missed(index, |missed| {
        let Some(late) = missed.late else { return };
        let later = &index.messages[missed.message];
        let text = format!(
            "{} delivered {later} before {}, which {:?} had delivered before it sent {later}",
            index.processes[missed.process],
            index.messages[missed.earlier],
            later.sender,
        );
        let events = [missed.sender_event, missed.event, late];
        found.add(NAME, &events.map(|event| &index.events[event]), text);
    });
}
