// SPDX-License-Identifier: GPL-2.0

//! The nodes that each node knows, according to the reports to it.

use std::collections::BTreeSet;

use super::Notice;

/// The nodes that each node of a cluster knows.
pub(super) struct Watch {
    known: Vec<BTreeSet<u16>>,
}

impl Watch {
    pub(super) fn new(nodes: u16) -> Self {
        Self {
            known: vec![BTreeSet::new(); usize::from(nodes)],
        }
    }

    pub(super) fn add(&mut self, notice: &Notice) {
        let nodes = self.known.len();
        let is_of_cluster = |node: u16| (1..=nodes).contains(&usize::from(node));
        let place = usize::from(notice.observer).wrapping_sub(1);
        if let Some(known) = self.known.get_mut(place) {
            known.retain(|node| !notice.lost.contains(node));
            let gained = notice.gained.iter().copied();
            known.extend(gained.filter(|&node| node != notice.observer && is_of_cluster(node)));
        }
    }

    /// Whether every node knows every other one.
    pub(super) fn is_whole(&self) -> bool {
        let nodes = self.known.len();
        self.known.iter().all(|known| known.len() + 1 == nodes)
    }

    /// A summary of the nodes that do not know all others.
    pub(super) fn missing(&self) -> String {
        let nodes = self.known.len();
        let whole = self.known.iter().filter(|known| known.len() + 1 == nodes);
        let least = self.known.iter().map(BTreeSet::len).min().unwrap_or(0);
        format!(
            "{} of {nodes} nodes know all others, and some node knows only {least}",
            whole.count()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_when_every_node_knows_every_other_one() {
        let mut watch = Watch::new(2);
        let notice = |observer, gained: &[u16], lost: &[u16]| Notice {
            at_ns: 0,
            observer,
            gained: gained.to_vec(),
            lost: lost.to_vec(),
        };
        watch.add(&notice(1, &[1, 2, 7], &[]));
        assert!(!watch.is_whole(), "{}", watch.missing());
        watch.add(&notice(2, &[1], &[]));
        assert!(watch.is_whole(), "{}", watch.missing());
        watch.add(&notice(2, &[], &[1]));
        assert!(!watch.is_whole(), "{}", watch.missing());
    }
}
