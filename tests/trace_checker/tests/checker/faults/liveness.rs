// SPDX-License-Identifier: GPL-2.0

//! Faults that show only against an expectation or at the end of the trace: the properties L1 to L9.

use std::sync::Arc;

use super::Fault;
use crate::story::{member, view, A, C_AGAIN, GROUP, MS, NODE_1, NODE_2, NODE_3_AGAIN};
use trace_checker::trace::{EventKind, Expectation, Reason};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a node does not install the last view",
        spoil: |story| story.remove(story.view_at(NODE_3_AGAIN, 4)),
        violates: &["L1"],
    },
    Fault {
        what: "a member never joins the group",
        spoil: |story| {
            story.expect_together(Some(GROUP), &[A, C_AGAIN, member(4, 1, 40)], 0);
        },
        violates: &["L1"],
    },
    Fault {
        what: "a node installs a view alone after all have settled",
        spoil: |story| {
            let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.add(NODE_1, EventKind::View(view(None, (5, 1), &rest, &[], &[])));
            story.expect_together(None, &rest, 10 * MS);
        },
        violates: &["L1"],
    },
    Fault {
        what: "the last view is installed after the bound",
        spoil: |story| {
            let place = story.find(|event| match &event.kind {
                EventKind::Expect(Expectation::Together { group, .. }) => group.is_none(),
                _ => false,
            });
            if let EventKind::Expect(Expectation::Together { since, .. }) =
                &mut story.events[place].kind
            {
                *since -= 20 * MS;
            }
        },
        violates: &["L1"],
    },
    Fault {
        what: "a sender never delivers its own message",
        spoil: |story| story.remove(story.deliver_at(A, A, 6)),
        violates: &["L2"],
    },
    Fault {
        what: "a member that stays never delivers the last message of another one",
        spoil: |story| story.remove(story.deliver_at(C_AGAIN, A, 6)),
        violates: &["L3"],
    },
    Fault {
        what: "a crashed node stays in the view beyond the bound",
        spoil: |story| {
            let place = story
                .find(|event| matches!(event.kind, EventKind::Expect(Expectation::Gone { .. })));
            if let EventKind::Expect(Expectation::Gone { bound, .. }) =
                &mut story.events[place].kind
            {
                *bound = 5 * MS;
            }
        },
        violates: &["L5"],
    },
    Fault {
        what: "two nodes that crash at once leave in two view changes",
        spoil: |story| {
            let now = story.now();
            story.add(NODE_2, EventKind::Crash);
            story.add(NODE_3_AGAIN, EventKind::Crash);
            for subject in [2, 3] {
                story.add(NODE_1, EventKind::Suspect { subject });
            }
            let fewer = [NODE_1, NODE_3_AGAIN];
            let one = view(None, (5, 1), &fewer, &[], &[(NODE_2, Reason::Failed)]);
            story.add(NODE_1, EventKind::View(one));
            story.cluster_view(6, &[NODE_1], &[], &[(NODE_3_AGAIN, Reason::Failed)]);
            story.expect_gone(&[NODE_2, NODE_3_AGAIN], now, 10 * MS, true);
        },
        violates: &["L5"],
    },
    Fault {
        what: "a node that is up and connected is excluded",
        spoil: |story| {
            story.add(NODE_1, EventKind::Suspect { subject: 2 });
            let fewer = [NODE_1, NODE_3_AGAIN];
            story.cluster_view(5, &fewer, &[], &[(NODE_2, Reason::Failed)]);
            story.expect(Expectation::Kept {
                members: vec![NODE_1, NODE_2, NODE_3_AGAIN],
                since: story.now() - 3 * MS,
            });
        },
        violates: &["L6"],
    },
    Fault {
        what: "a node that is up and connected begins a new incarnation",
        spoil: |story| {
            let since = story.now();
            story.add(NODE_2, EventKind::Stop);
            story.add(member(2, 0, 21), EventKind::Start);
            let members = vec![NODE_1, NODE_2, NODE_3_AGAIN];
            story.expect(Expectation::Kept { members, since });
        },
        violates: &["L6"],
    },
    Fault {
        what: "a stalled node goes on and accuses one that was connected to it",
        spoil: |story| {
            let since = story.now();
            story.add(NODE_2, EventKind::Accuse { subject: 1 });
            story.expect(Expectation::Unaccused {
                by: 2,
                members: vec![NODE_1, NODE_3_AGAIN],
                since,
                bound: MS,
            });
        },
        violates: &["L7"],
    },
    Fault {
        what: "a member of a settled view cannot send",
        spoil: |story| {
            let since = story.now();
            story.message(4, A, 7, &[A, C_AGAIN]);
            story.expect(Expectation::Sending {
                group: Arc::from(GROUP),
                members: vec![A, C_AGAIN],
                since,
                bound: 10 * MS,
            });
        },
        violates: &["L8"],
    },
    Fault {
        what: "a member of a settled view can send only after the bound",
        spoil: |story| {
            let since = story.now();
            story.message(4, A, 7, &[A, C_AGAIN]);
            story.message(4, A, 8, &[A, C_AGAIN]);
            story.message(4, C_AGAIN, 2, &[A, C_AGAIN]);
            story.expect(Expectation::Sending {
                group: Arc::from(GROUP),
                members: vec![A, C_AGAIN],
                since,
                bound: 5 * MS,
            });
        },
        violates: &["L8"],
    },
    Fault {
        what: "a steady fault causes more views than it may",
        spoil: |story| {
            let since = story.now();
            let rest = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.cluster_view(5, &rest, &[], &[]);
            story.cluster_view(6, &rest, &[], &[]);
            story.expect(Expectation::Steady { since, views: 1 });
        },
        violates: &["L9"],
    },
];
