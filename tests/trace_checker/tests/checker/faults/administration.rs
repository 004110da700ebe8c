// SPDX-License-Identifier: GPL-2.0

//! Faults of evictions, pinned views and fencing: the properties A1 to A3.

use super::Fault;
use crate::story::{MS, NODE_1, NODE_2, NODE_2_AGAIN, NODE_3_AGAIN};
use trace_checker::trace::{EventKind, Expectation, Reason};

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a node is evicted, and no administrator asked for it",
        spoil: |story| {
            let fewer = [NODE_1, NODE_3_AGAIN];
            story.cluster_view(5, &fewer, &[], &[(NODE_2, Reason::Evicted)]);
            story.add(NODE_2, EventKind::Evicted);
            story.add(NODE_2, EventKind::Stop);
        },
        violates: &["A1"],
    },
    Fault {
        what: "an evicted node comes back by itself",
        spoil: |story| {
            story.evict_node_2(5);
            story.restart_at_once(NODE_2, NODE_2_AGAIN);
            let again = [NODE_1, NODE_2_AGAIN, NODE_3_AGAIN];
            story.cluster_view(6, &again, &[NODE_2_AGAIN], &[]);
        },
        violates: &["A1"],
    },
    Fault {
        what: "an evicted node comes back by itself in the same incarnation",
        spoil: |story| {
            story.evict_node_2(5);
            story.restart_at_once(NODE_2, NODE_2);
        },
        violates: &["M7"],
    },
    Fault {
        what: "an evicted node learns of it after the bound",
        spoil: |story| {
            let since = story.now();
            story.evict_node_2(5);
            story.add(NODE_2, EventKind::Evicted);
            story.add(NODE_2, EventKind::Stop);
            story.expect(Expectation::Out {
                members: vec![NODE_2],
                since,
                bound: 3 * MS,
            });
        },
        violates: &["A1"],
    },
    Fault {
        what: "a view is installed while all nodes are pinned",
        spoil: |story| {
            story.pin_all();
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
        },
        violates: &["A2"],
    },
    Fault {
        what: "a view is installed with the promise of a pinned node",
        spoil: |story| {
            story.add(NODE_2, EventKind::Block { scope: None });
            story.pin_all();
            story.add(NODE_1, EventKind::Block { scope: None });
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
        },
        violates: &["A2"],
    },
    Fault {
        what: "a failed node is excluded that was fenced in an earlier view",
        spoil: |story| {
            let subject = NODE_3_AGAIN;
            let again = [NODE_1, NODE_2, NODE_3_AGAIN];
            story.add(NODE_1, EventKind::Guard);
            story.add(NODE_1, EventKind::Fenced { subject });
            story.cluster_view(5, &again, &[], &[]);
            story.fail_node_3(6);
        },
        violates: &["A3"],
    },
    Fault {
        what: "a failed node is excluded that only another handler fenced",
        spoil: |story| {
            let subject = NODE_3_AGAIN;
            story.add(NODE_1, EventKind::Guard);
            story.cluster_view(5, &[NODE_1, NODE_2, NODE_3_AGAIN], &[], &[]);
            story.add(NODE_2, EventKind::Fenced { subject });
            story.fail_node_3(6);
        },
        violates: &["A3"],
    },
];
