// SPDX-License-Identifier: GPL-2.0

//! The promises about views in an honest cluster, all of whose nodes follow the protocol: the membership section of
//! `docs/guarantees.md` for partitionable clusters.

use std::collections::BTreeMap;

use kcgcs_protocol::protocol::identity::{Identity, ViewName, ViewNumber};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::Event;

/// A view that a node has installed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Installed {
    is_primary: bool,
    members: Vec<Identity>,
}

/// The views installed so far.
#[derive(Default)]
pub(crate) struct Promises {
    views: BTreeMap<ViewName, Installed>,
    last: BTreeMap<Identity, ViewNumber>,
    /// Whether a node has restarted. It remembers no view and has no vote in the last primary one, so restarted nodes
    /// may form a cluster anew, and views are no longer compared.
    has_forgotten: bool,
}

impl Promises {
    /// Note that a node has restarted and lost its memory.
    pub(crate) fn note_restart(&mut self) {
        self.has_forgotten = true;
    }

    /// Whether there was a view that is not primary.
    pub(crate) fn has_components(&self) -> bool {
        self.views.values().any(|view| !view.is_primary)
    }

    /// Check an event that a node has reported.
    pub(crate) fn hear(&mut self, node: &Node, event: &Event) {
        let Event::ClusterView { number } = event else {
            return;
        };
        let Some(view) = node.view().filter(|view| view.number == *number) else {
            panic!("view {number:?} was reported, but the node does not have it");
        };
        let own = node.identity();
        assert!(view.has(own), "M1: {own:?} is not in its view {number:?}");
        let last = self.last.insert(own, *number);
        assert!(last < Some(*number), "M2: view {number:?} after {last:?}");
        let members = view.members().iter().map(|member| member.identity);
        let installed = Installed {
            is_primary: view.is_primary,
            members: members.collect(),
        };
        let known = self
            .views
            .entry(view.name())
            .or_insert_with(|| installed.clone());
        if self.has_forgotten {
            return;
        }
        let name = view.name();
        assert_eq!(*known, installed, "M4: two views are named {name:?}");
        if view.is_primary {
            self.check_chain();
        }
    }

    /// Check that the primary views form one chain.
    fn check_chain(&self) {
        let mut before: Option<(&ViewName, &Installed)> = None;
        for (name, view) in self.views.iter().filter(|(_, view)| view.is_primary) {
            if let Some((earlier, other)) = before {
                let (one, two) = (earlier.number, name.number);
                assert!(one < two, "M5: {other:?} and {view:?} are both {one:?}");
                let mut nodes = view.members.iter().map(|member| member.node);
                let has = |node| other.members.iter().any(|member| member.node == node);
                assert!(
                    nodes.any(has),
                    "M6: {earlier:?} {other:?} and {name:?} {view:?} share no node"
                );
            }
            before = Some((name, view));
        }
    }
}
