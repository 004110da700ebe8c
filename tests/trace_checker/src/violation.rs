// SPDX-License-Identifier: GPL-2.0

//! Violations: which property does not hold, when, at which node, and the lines of the trace that show it.

use std::collections::BTreeMap;
use std::fmt;

use crate::line::to_json;
use crate::trace::TraceEvent;

/// The number of violations kept for one property. More of the same tell nothing new.
const KEPT_PER_PROPERTY_MAX: usize = 20;
/// The number of characters shown of one event.
const SHOWN_CHARACTERS_MAX: usize = 300;

/// A property that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The property's short name, such as `D2`.
    pub property: &'static str,
    /// The property's long name.
    pub title: &'static str,
    /// The time of the last event of the evidence, in nanoseconds of the trace.
    pub t: u64,
    /// The node that wrote that event.
    pub node: u16,
    /// What happened, at which process and in which view.
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

/// The violations found so far: a bounded number for each property.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    counts: BTreeMap<&'static str, usize>,
}

impl Violations {
    /// Return an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a violation that `events` show. The last of them gives its time and its node.
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

    /// All violations, in the order of time.
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
