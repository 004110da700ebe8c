// SPDX-License-Identifier: GPL-2.0

//! What `join` and `watch` report as it happens.

use crate::failure::Failure;
use crate::show;
use crate::trace::Line;

/// Something that happened: a sentence for people, and a line of a trace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notice {
    /// The sentence, unless people need not know.
    pub(super) text: Option<String>,
    /// The line, if the trace format has an event for it.
    pub(super) line: Option<Line>,
}

impl Notice {
    /// Print the line as JSON, or the sentence. Prints nothing if the notice lacks it.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written to.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        match (&self.line, &self.text) {
            (Some(line), _) if json => show::print_json(line),
            (_, Some(text)) if !json => show::print_line(text),
            _ => Ok(()),
        }
    }
}
