// SPDX-License-Identifier: GPL-2.0

//! Expectations as lines: `"event":"expect"` with the `"property"` that a test requires, the time `"since"`, and
//!
//! - L1, L5: `"members"`, `"bound"`; for L5 also `"at_once"`, for L1 a `"group"` unless it is about the cluster,
//! - A1: `"members"`, `"bound"`,
//! - L6: `"members"`,
//! - L7: `"members"`, `"bound"`, and as `"subject"` the node that must not accuse them,
//! - L8: `"group"`, `"members"`, `"bound"`,
//! - L9: `"views"`.

use std::borrow::Cow;

use super::fields::{needed, sorted_members, subject_node, triples, Line, SubjectField};
use crate::trace::{Expectation, GroupScope};

/// The expectation of a line.
///
/// # Errors
///
/// The line lacks a field, or no expectation belongs to its property.
pub(super) fn read(line: Line<'_>, scope: Option<GroupScope>) -> Result<Expectation, String> {
    let mut line = line;
    let since = needed(line.since, "since")?;
    let property = needed(line.property.take(), "property")?;
    if property == "L9" {
        let views = needed(line.views, "views")?;
        return Ok(Expectation::Steady { since, views });
    }
    let members = sorted_members(needed(line.members.take(), "members")?);
    if property == "L6" {
        return Ok(Expectation::Kept { members, since });
    }
    let bound = needed(line.bound, "bound")?;
    match property.as_ref() {
        "L1" => Ok(Expectation::Together {
            group: scope.map(|scope| scope.group),
            members,
            since,
            bound,
        }),
        "A1" => Ok(Expectation::Out {
            members,
            since,
            bound,
        }),
        "L5" => Ok(Expectation::Gone {
            members,
            since,
            bound,
            at_once: line.at_once.unwrap_or(false),
        }),
        "L7" => Ok(Expectation::Unaccused {
            by: subject_node(line)?,
            members,
            since,
            bound,
        }),
        "L8" => Ok(Expectation::Sending {
            group: needed(scope, "group")?.group,
            members,
            since,
            bound,
        }),
        other => Err(format!("no expectation belongs to property {other:?}")),
    }
}

/// Write the expectation into the line.
pub(super) fn fill<'a>(line: &mut Line<'a>, expectation: &'a Expectation) {
    let (property, members, since, bound) = match expectation {
        Expectation::Together {
            group,
            members,
            since,
            bound,
        } => {
            line.group = group.as_deref().map(Cow::Borrowed);
            ("L1", Some(members), since, Some(*bound))
        }
        Expectation::Gone {
            members,
            since,
            bound,
            at_once,
        } => {
            line.at_once = Some(*at_once);
            ("L5", Some(members), since, Some(*bound))
        }
        Expectation::Out {
            members,
            since,
            bound,
        } => ("A1", Some(members), since, Some(*bound)),
        Expectation::Kept { members, since } => ("L6", Some(members), since, None),
        Expectation::Unaccused {
            by,
            members,
            since,
            bound,
        } => {
            line.subject = Some(SubjectField::Node(*by));
            ("L7", Some(members), since, Some(*bound))
        }
        Expectation::Sending {
            group,
            members,
            since,
            bound,
        } => {
            line.group = Some(Cow::Borrowed(group));
            ("L8", Some(members), since, Some(*bound))
        }
        Expectation::Steady { since, views } => {
            line.views = Some(*views);
            ("L9", None, since, None)
        }
    };
    line.property = Some(Cow::Borrowed(property));
    line.members = members.map(|members| triples(members));
    line.since = Some(*since);
    line.bound = bound;
}
