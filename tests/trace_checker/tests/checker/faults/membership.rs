// SPDX-License-Identifier: GPL-2.0

//! Faults of views: the properties M1 to M8.

use std::sync::Arc;

use super::Fault;
use crate::story::{
    change, member, view, A, B, C_AGAIN, NODE_1, NODE_2, NODE_3, NODE_3_AGAIN, NODE_4,
};
use trace_checker::trace::{EventKind, Reason};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a node installs a view that it is not in",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            story.add(stranger, EventKind::Start);
            let theirs = view(None, (5, 1), &[NODE_1, NODE_2], &[], &[]);
            story.add(stranger, EventKind::View(theirs));
        },
        violates: &["M1"],
    },
    Fault {
        what: "a node installs its view a second time",
        spoil: |story| {
            let again = view(None, (4, 1), &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
            story.add(NODE_1, EventKind::View(again));
        },
        violates: &["M2"],
    },
    Fault {
        what: "a member sends and delivers a message before its first view",
        spoil: |story| {
            let second = member(1, 2, 10);
            story.message(4, second, 1, &[second]);
        },
        violates: &["M3"],
    },
    Fault {
        what: "a new node finds other members in its first view",
        spoil: |story| {
            let members = [NODE_1, NODE_3_AGAIN, NODE_4];
            story.view_mut(NODE_3_AGAIN, 3).members = Arc::from(members);
        },
        violates: &["M4"],
    },
    Fault {
        what: "a view is not primary at one of its members",
        spoil: |story| story.view_mut(NODE_2, 2).primary = false,
        violates: &["M4"],
    },
    Fault {
        what: "two nodes disagree on why a third one left",
        spoil: |story| {
            story.view_mut(NODE_2, 2).left = Some(vec![change(NODE_3, Reason::Leave)]);
        },
        violates: &["M4", "M8"],
    },
    Fault {
        what: "two nodes issue views of the same number",
        spoil: |story| story.view_mut(NODE_2, 2).view.coordinator = 2,
        violates: &["M5"],
    },
    Fault {
        what: "a node issues a primary view that shares no member with the one before",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            story.add(stranger, EventKind::Start);
            story.cluster_view(9, &[stranger], &[stranger], &[]);
        },
        violates: &["M6"],
    },
    Fault {
        what: "a member sends in a primary view after a later one that shares no member with it",
        spoil: |story| {
            let stranger = member(9, 0, 90);
            let bridge = [NODE_1, NODE_2, NODE_3_AGAIN, stranger];
            story.add(stranger, EventKind::Start);
            let ours = view(None, (5, 1), &bridge, &[stranger], &[]);
            story.add(stranger, EventKind::View(ours));
            let left = [NODE_1, NODE_2, NODE_3_AGAIN].map(|m| (m, Reason::Failed));
            for who in [1, 2, 3] {
                story.add(stranger, EventKind::Suspect { subject: who });
            }
            let alone = view(None, (6, 9), &[stranger], &[], &left);
            story.add(stranger, EventKind::View(alone));
            story.message(4, A, 7, &[A, C_AGAIN]);
        },
        violates: &["M6rt"],
    },
    Fault {
        what: "a crashed node suspects another one",
        spoil: |story| story.add(NODE_3, EventKind::Suspect { subject: 1 }),
        violates: &["M7"],
    },
    Fault {
        what: "a node starts again with a smaller incarnation",
        spoil: |story| story.add(member(4, 0, 39), EventKind::Start),
        violates: &["M7"],
    },
    Fault {
        what: "a node that left the view comes back in the same incarnation",
        spoil: |story| {
            let all = [NODE_1, NODE_2, NODE_3_AGAIN, NODE_4];
            let back = view(None, (5, 1), &all, &[NODE_4], &[]);
            story.add(NODE_1, EventKind::View(back));
        },
        violates: &["M7"],
    },
    Fault {
        what: "a view does not list the member that joined",
        spoil: |story| story.view_mut(NODE_1, 3).joined = Some(Vec::new()),
        violates: &["M8"],
    },
    Fault {
        what: "a view does not list the member that left",
        spoil: |story| {
            for who in [NODE_1, NODE_2, NODE_4] {
                story.view_mut(who, 2).left = Some(Vec::new());
            }
        },
        violates: &["M8"],
    },
    Fault {
        what: "a view gives \"leave\" as the reason of a crash",
        spoil: |story| {
            for who in [NODE_1, NODE_2, NODE_4] {
                story.view_mut(who, 2).left = Some(vec![change(NODE_3, Reason::Leave)]);
            }
        },
        violates: &["M8"],
    },
    Fault {
        what: "a view gives \"failed\" as the reason of a leave",
        spoil: |story| {
            for who in [A, C_AGAIN] {
                story.view_mut(who, 4).left = Some(vec![change(B, Reason::Failed)]);
            }
        },
        violates: &["M8"],
    },
];
