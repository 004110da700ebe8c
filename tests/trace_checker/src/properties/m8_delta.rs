// SPDX-License-Identifier: GPL-2.0

//! M8: the members of a view are those of the one before, with those who joined and without those who
//! left, and each reason matches what happened: who "left" asked to, who "failed" was suspected, had
//! crashed, or was put out before.

use std::collections::{BTreeMap, BTreeSet};

use crate::index::{Index, Process, CLUSTER};
use crate::trace::{Change, EventKind, Member, Reason, ViewEvent};
use crate::violation::Violations;

/// The property's names.
pub const NAME: (&str, &str) = ("M8", "delta");

/// Compares each install with the one before it.
pub fn check(index: &Index<'_>, found: &mut Violations) {
    let facts = Facts::new(index);
    for process in &index.processes {
        for install in &process.installs {
            let event = &index.events[install.event];
            let after = index.view_event(install.event);
            let before = match process.continues {
                // In a new incarnation all are new but those who came along.
                Some(_) if install.event == process.installs[0].event => {
                    after.transitional.as_deref()
                }
                _ => install.previous.map(|view| index.members(view)),
            };
            if let Some(what) = wrong_lists(before, after) {
                found.add(NAME, &[event], what);
                continue;
            }
            let left = || after.left.iter().flatten();
            // Of nodes that fail together some are found so only because none of their watchers answers either.
            let has_known_failure = left().any(|change| facts.is_known_failure(change, event.t));
            for change in left() {
                let what = facts.wrong_reason(process, change, event.t, has_known_failure);
                if let Some(what) = what {
                    found.add(NAME, &[event], what);
                }
            }
        }
    }
}

fn wrong_lists(before: Option<&[Member]>, after: &ViewEvent) -> Option<String> {
    let sorted = |changes: &Option<Vec<Change>>| -> Option<Vec<Member>> {
        let mut list: Vec<Member> = changes.as_ref()?.iter().map(|c| c.member).collect();
        list.sort_unstable();
        Some(list)
    };
    let is_member = |list: &[Member], member: &Member| list.binary_search(member).is_ok();
    for change in after.joined.iter().flatten() {
        if matches!(change.reason, Some(Reason::Leave | Reason::Failed | Reason::Evicted)) {
            return Some(format!(
                "{:?} joined, with the reason of who left",
                change.member
            ));
        }
    }
    for change in after.left.iter().flatten() {
        if matches!(change.reason, Some(Reason::Join)) {
            return Some(format!(
                "{:?} left, with the reason of who joined",
                change.member
            ));
        }
    }
    let (joined, left) = (sorted(&after.joined), sorted(&after.left));
    let Some(before) = before else {
        let stranger = joined?
            .into_iter()
            .find(|m| !is_member(&after.members, m))?;
        return Some(format!("{stranger:?} joined and is no member"));
    };
    let came: Vec<Member> = after
        .members
        .iter()
        .filter(|m| !is_member(before, m))
        .copied()
        .collect();
    let went: Vec<Member> = before
        .iter()
        .filter(|m| !is_member(&after.members, m))
        .copied()
        .collect();
    if let Some(joined) = joined.filter(|joined| *joined != came) {
        return Some(format!("joined says {joined:?}, the members say {came:?}"));
    }
    if let Some(left) = left.filter(|left| *left != went) {
        return Some(format!("left says {left:?}, the members say {went:?}"));
    }
    None
}

/// What happened to whom.
struct Facts {
    /// First time that somebody suspected or accused the node.
    suspected: BTreeMap<u16, u64>,
    /// Lives that crashed or stopped.
    ended: BTreeSet<(u16, u64)>,
    /// Lives that asked to leave the cluster.
    node_left: BTreeSet<(u16, u64)>,
    /// Members of groups that asked to leave: scope, node, incarnation, endpoint if known.
    member_left: BTreeSet<(usize, u16, u64, Option<u32>)>,
    /// Incarnations that nodes started with.
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

    /// Whether somebody went as failed who had ended or was suspected before.
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
                "{member:?} is said to have left and never asked to"
            )),
            Reason::Failed
                if !self.suspected.is_empty()
                    && !has_known_failure
                    && !self.is_known_failure(change, t) =>
            {
                Some(format!(
                    "{member:?} is said to have failed and nobody ever suspected it"
                ))
            }
            // Who was evicted is A1's to look at.
            Reason::Join
            | Reason::Leave
            | Reason::Failed
            | Reason::Evicted
            | Reason::Merged => None,
        }
    }
}
