// SPDX-License-Identifier: GPL-2.0

//! What must have happened, as lines: `"event":"expect"`, the `"property"` that is promised, `"since"`, and
//!
//! - L1, L5: `"members"`, `"bound"`; for L5 also `"at_once"`, for L1 a `"group"` unless it is the cluster,
//! - A1: `"members"`, `"bound"`,
//! - L6: `"members"`,
//! - L7: `"members"`, `"bound"`, and as `"subject"` the node that must not accuse them,
//! - L8: `"group"`, `"members"`, `"bound"`,
//! - L9: `"views"`.

use std::borrow::Cow;

use super::{needed, sorted_members, subject, triple, Line, SubjectField};
use crate::trace::{Expectation, GroupScope, Member};

/// What the line expects.
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
            by: subject(line)?,
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
        other => Err(format!("nothing is expected for {other:?}")),
    }
}

/// Writes the expectation into the line.
pub(super) fn fill<'a>(line: &mut Line<'a>, expectation: &'a Expectation) {
    let property = match expectation {
        Expectation::Together {
            group,
            members,
            since,
            bound,
        } => {
            line.group = group.as_deref().map(Cow::Borrowed);
            fill_who_and_when(line, members, *since, Some(*bound));
            "L1"
        }
        Expectation::Gone {
            members,
            since,
            bound,
            at_once,
        } => {
            line.at_once = Some(*at_once);
            fill_who_and_when(line, members, *since, Some(*bound));
            "L5"
        }
        Expectation::Out {
            members,
            since,
            bound,
        } => {
            fill_who_and_when(line, members, *since, Some(*bound));
            "A1"
        }
        Expectation::Kept { members, since } => {
            fill_who_and_when(line, members, *since, None);
            "L6"
        }
        Expectation::Unaccused {
            by,
            members,
            since,
            bound,
        } => {
            line.subject = Some(SubjectField::Node(*by));
            fill_who_and_when(line, members, *since, Some(*bound));
            "L7"
        }
        Expectation::Sending {
            group,
            members,
            since,
            bound,
        } => {
            line.group = Some(Cow::Borrowed(group));
            fill_who_and_when(line, members, *since, Some(*bound));
            "L8"
        }
        Expectation::Steady { since, views } => {
            line.since = Some(*since);
            line.views = Some(*views);
            "L9"
        }
    };
    line.property = Some(Cow::Borrowed(property));
}

fn fill_who_and_when(line: &mut Line<'_>, members: &[Member], since: u64, bound: Option<u64>) {
    line.members = Some(members.iter().map(triple).collect());
    line.since = Some(since);
    line.bound = bound;
}
