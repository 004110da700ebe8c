// SPDX-License-Identifier: GPL-2.0

//! What a check found: which promise was broken, when, where, and the lines that show it.

use std::collections::BTreeMap;
use std::fmt;

use crate::line::to_json;
use crate::trace::TraceEvent;

/// Violations of one property that are kept; more of the same tell nothing new.
const KEPT_PER_PROPERTY_MAX: usize = 20;
/// Characters of one event that are shown.
const SHOWN_CHARACTERS_MAX: usize = 300;

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The property's short name, such as `D2`.
    pub property: &'static str,
    /// The property's long name.
    pub title: &'static str,
    /// When it was broken, in nanoseconds of the trace.
    pub t: u64,
    /// The node at which it was broken.
    pub node: u16,
    /// What happened, in words.
    pub text: String,
    /// The lines of the trace that show it.
    pub evidence: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}) at {}.{:06} ms, node {}: {}",
            self.property,
            self.title,
            self.t / 1_000_000,
            self.t % 1_000_000,
            self.node,
            self.text
        )?;
        for line in &self.evidence {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// Collects violations, a bounded number for each property.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    counts: BTreeMap<&'static str, usize>,
}

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, shown by `events`; the last of them says when and where.
    pub fn add(
        &mut self,
        (property, title): (&'static str, &'static str),
        events: &[&TraceEvent],
        text: String,
    ) {
        let count = self.counts.entry(property).or_insert(0);
        *count += 1;
        if *count > KEPT_PER_PROPERTY_MAX {
            return;
        }
        let (t, node) = events.last().map_or((0, 0), |event| (event.t, event.node));
        self.found.push(Violation {
            property,
            title,
            t,
            node,
            text,
            evidence: events.iter().map(|event| shown(event)).collect(),
        });
    }

    /// All, by time.
    pub fn into_sorted(mut self) -> Vec<Violation> {
        self.found
            .sort_by(|a, b| (a.t, a.property, a.node).cmp(&(b.t, b.property, b.node)));
        self.found
    }
}

fn shown(event: &TraceEvent) -> String {
    let mut line = to_json(event);
    if line.len() > SHOWN_CHARACTERS_MAX {
        let mut end = SHOWN_CHARACTERS_MAX;
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}
