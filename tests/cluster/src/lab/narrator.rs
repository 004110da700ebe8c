// SPDX-License-Identifier: GPL-2.0

//! Output on the terminal: headings, lines of the machines' kernel logs, and a note of what is being waited for during
//! long steps.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The interval of notes about a wait where the output is not a terminal.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Writes the output.
pub struct Narrator {
    start: Instant,
    is_terminal: bool,
    note_shown: bool,
    last_note: Instant,
}

impl Narrator {
    /// Begin the output, from whose time headings count.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            is_terminal: std::io::stdout().is_terminal(),
            note_shown: false,
            last_note: Instant::now(),
        }
    }

    fn clear_note(&mut self) {
        if self.note_shown {
            print!("\r\x1b[K");
            self.note_shown = false;
        }
    }

    /// Write plain text.
    pub fn say(&mut self, text: &str) {
        self.clear_note();
        println!("{text}");
        // An error means that the reader is gone. The run ends in order all the same.
        let _ = std::io::stdout().flush();
    }

    /// Write the heading of a step.
    pub fn heading(&mut self, text: &str) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.say(&format!("\n[{seconds:5.1} s] {text}"));
        self.last_note = Instant::now();
    }

    /// Write a line of a machine's kernel log.
    pub fn kernel_line(&mut self, machine: u16, text: &str) {
        self.say(&format!("    node {machine} | {text}"));
        self.last_note = Instant::now();
    }

    /// Write the result of a step.
    pub fn conclusion(&mut self, text: &str) {
        self.say(&format!("  => {text}"));
    }

    /// Note what is being waited for. This is called often.
    pub fn waiting(&mut self, text: &str) {
        let seconds = self.start.elapsed().as_secs();
        if self.is_terminal {
            print!("\r\x1b[K  ... {seconds} s: waiting: {text:.100}");
            let _ = std::io::stdout().flush();
            self.note_shown = true;
        } else if self.last_note.elapsed() >= NOTE_EVERY {
            self.last_note = Instant::now();
            self.say(&format!("  ... {seconds} s: waiting: {text}"));
        }
    }
}
