// SPDX-License-Identifier: GPL-2.0

//! M8: `joined` and `left` of a view are the difference to the view before, and each reason matches what happened.
//!
//! A member that "left" asked to leave. A member that "failed" had crashed or stopped, or some node had suspected it.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Process, CLUSTER};
use crate::sorted::{has, only_in};
use crate::trace::{Change, EventKind, Member, Reason, ViewEvent};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M8", "delta");

/// Compare each install with the one before it.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let facts = Facts::new(index);
    for process in &index.processes {
        for install in &process.installs {
            let event = &index.events[install.event];
            let after = index.view_event(install.event);
            let mut report = |what: String| {
                let text = format!(
                    "view {:?} of {} at {process}: {what}",
                    after.view,
                    index.scope_name(process.scope)
                );
                found.add(NAME, &[event], text);
            };
            let before = match process.continues {
                // To a new incarnation all members are new but those of the transitional set.
                Some(_) if install.event == process.installs[0].event => {
                    after.transitional.as_deref()
                }
                _ => install.previous.map(|view| index.members(view)),
            };
            if let Some(what) = wrong_lists(before, after) {
                report(what);
                continue;
            }
            let left = || after.left.iter().flatten();
            // When several nodes fail together, no node may be left that monitors one of them and could suspect it.
            let has_known_failure = left().any(|change| facts.is_known_failure(change, event.t));
            for change in left() {
                let what = facts.wrong_reason(process, change, event.t, has_known_failure);
                what.into_iter().for_each(&mut report);
            }
        }
    }
}

fn wrong_lists(before: Option<&[Member]>, after: &ViewEvent) -> Option<String> {
    for change in after.joined.iter().flatten() {
        let reason = change.reason;
        if let Some(Reason::Leave | Reason::Failed | Reason::Evicted) = reason {
            return Some(wrong_kind(change, "joined"));
        }
    }
    for change in after.left.iter().flatten() {
        if let Some(Reason::Join) = change.reason {
            return Some(wrong_kind(change, "left"));
        }
    }
    let (joined, left) = (sorted(&after.joined), sorted(&after.left));
    let Some(before) = before else {
        let stranger = joined?.into_iter().find(|m| !has(&after.members, m))?;
        return Some(format!("{stranger:?} joined and is no member"));
    };
    let arrived: Vec<Member> = only_in(&after.members, before).copied().collect();
    let departed: Vec<Member> = only_in(before, &after.members).copied().collect();
    if let Some(joined) = joined.filter(|joined| *joined != arrived) {
        return Some(format!(
            "\"joined\" has {joined:?}, and the members that are new are {arrived:?}"
        ));
    }
    if let Some(left) = left.filter(|left| *left != departed) {
        return Some(format!(
            "\"left\" has {left:?}, and the members that are gone are {departed:?}"
        ));
    }
    None
}

fn wrong_kind(change: &Change, list: &str) -> String {
    let word = change.reason.map_or("none", Reason::word);
    format!("{:?} {list} with the reason {word:?}", change.member)
}

fn sorted(changes: &Option<Vec<Change>>) -> Option<Vec<Member>> {
    let mut list: Vec<Member> = changes.as_ref()?.iter().map(|c| c.member).collect();
    list.sort_unstable();
    Some(list)
}

/// What happened to nodes and members, as far as reasons depend on it.
struct Facts {
    /// The first time that some node suspected or accused this one.
    suspected: BTreeMap<u16, u64>,
    /// Incarnations that crashed or stopped.
    ended: BTreeSet<(u16, u64)>,
    /// Incarnations that asked to leave the cluster.
    node_left: BTreeSet<(u16, u64)>,
    /// Members of groups that asked to leave: scope, node, incarnation, and endpoint if the trace names it.
    member_left: BTreeSet<(usize, u16, u64, Option<u32>)>,
    /// Incarnations that the trace knows of.
    incarnations: BTreeSet<(u16, u64)>,
}

impl Facts {
    fn new(index: &Index<'_>) -> Self {
        let mut facts = Self {
            suspected: BTreeMap::new(),
            ended: BTreeSet::new(),
            node_left: BTreeSet::new(),
            member_left: BTreeSet::new(),
            incarnations: index.incarnations.keys().copied().collect(),
        };
        for event in index.events {
            if let EventKind::Suspect { subject } | EventKind::Accuse { subject } = event.kind {
                facts.suspected.entry(subject).or_insert(event.t);
            }
        }
        for (key, incarnation) in &index.incarnations {
            if incarnation.crash.is_some() || incarnation.stop.is_some() {
                facts.ended.insert(*key);
            }
            if incarnation.asked_to_leave.is_some() {
                facts.node_left.insert(*key);
            }
        }
        for process in &index.processes {
            if process.scope != CLUSTER && process.asked_to_leave.is_some() {
                facts.member_left.insert((
                    process.scope,
                    process.node,
                    process.incarnation,
                    process.endpoint,
                ));
            }
        }
        facts
    }

    /// Whether the member left as failed, and had ended or was suspected before.
    fn is_known_failure(&self, change: &Change, t: u64) -> bool {
        let member = change.member;
        let suspected = self.suspected.get(&member.node);
        change.reason == Some(Reason::Failed)
            && (self.ended.contains(&(member.node, member.incarnation))
                || suspected.is_some_and(|at| *at <= t))
    }

    fn wrong_reason(
        &self,
        process: &Process,
        change: &Change,
        t: u64,
        has_known_failure: bool,
    ) -> Option<String> {
        let member = change.member;
        let incarnation = (member.node, member.incarnation);
        // Nothing is known of a node that wrote no trace.
        if !self.incarnations.contains(&incarnation) {
            return None;
        }
        let left = self.node_left.contains(&incarnation)
            || [None, Some(member.endpoint)].iter().any(|endpoint| {
                let key = (process.scope, member.node, member.incarnation, *endpoint);
                process.scope != CLUSTER && self.member_left.contains(&key)
            });
        match change.reason? {
            Reason::Leave if !left => Some(format!(
                "{member:?} has the reason \"leave\" and never asked to leave"
            )),
            Reason::Failed
                if !self.suspected.is_empty()
                    && !has_known_failure
                    && !self.is_known_failure(change, t) =>
            {
                Some(format!(
                    "{member:?} has the reason \"failed\", and no node suspected it"
                ))
            }
            // A1 checks evictions.
            Reason::Join
            | Reason::Leave
            | Reason::Failed
            | Reason::Evicted
            | Reason::Merged => None,
        }
    }
}
