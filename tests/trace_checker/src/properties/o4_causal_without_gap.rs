// SPDX-License-Identifier: GPL-2.0

//! O4: a process that delivers a message of causal, agreed or safe order delivers all of its causal past, as far as it
//! belongs to views that the process was in. O3 reports what is delivered too late.

use super::causal_past::each_missed;
use crate::index::Index;
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("O4", "causal without gap");

/// Report what was never delivered, although a message that depends on it was.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    each_missed(index, |missed| {
        if missed.late.is_some() {
            return;
        }
        let later = &index.messages[missed.message];
        let text = format!(
            "{} delivered {later} and never {}, which {:?} had delivered before it sent {later}",
            index.processes[missed.process],
            index.messages[missed.earlier],
            later.sender,
        );
        let events = [missed.sender_event, missed.event];
        found.add(NAME, &events.map(|event| &index.events[event]), text);
    });
}
