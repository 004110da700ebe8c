// SPDX-License-Identifier: GPL-2.0

//! All nodes that this node monitors, by their places in the assignment.

use super::headers::Received;
use super::monitored::{Monitored, SuspicionRules};
use super::values::{DetectorPeer, DetectorReport};
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::MONITORED_MAX;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::heartbeat::{DetectorBody, NEVER_HEARD};

/// The nodes that this node monitors.
pub(super) struct MonitoredSet {
    rules: SuspicionRules,
    nodes: [Option<Monitored>; MONITORED_MAX],
    /// [`Self::probe_all`] does nothing before this time.
    probe_all_after: Instant,
    probe_all_pause: Duration,
}

impl MonitoredSet {
    /// An empty set.
    pub(super) fn new(configuration: &ValidConfiguration, now: Instant) -> Self {
        Self {
            rules: SuspicionRules::new(configuration),
            nodes: [None; MONITORED_MAX],
            probe_all_after: now,
            probe_all_pause: configuration.roll_call_pause(),
        }
    }

    /// Monitor `peers` from now on. A node that was monitored before keeps its state (see
    /// [`Monitored::in_new_view`] for `earliest`); a new one misses its first heartbeat at `first_deadline`.
    pub(super) fn install(
        &mut self,
        now: Instant,
        peers: &[Option<DetectorPeer>; MONITORED_MAX],
        first_deadline: Instant,
        earliest: Instant,
    ) {
        let old_nodes = self.nodes;
        let rules = &self.rules;
        for (slot, peer) in self.nodes.iter_mut().zip(peers) {
            *slot = peer.map(|peer| {
                let mut old_nodes = old_nodes.iter().flatten();
                match old_nodes.find(|old| old.peer() == peer) {
                    Some(old) => old.in_new_view(now, earliest, rules),
                    None => Monitored::new(peer, now, first_deadline),
                }
            });
        }
        self.probe_all_after = now;
    }

    fn iter(&self) -> impl Iterator<Item = &Monitored> {
        self.nodes.iter().flatten()
    }

    /// The place of the node with this number, in whatever incarnation.
    pub(super) fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.iter().position(|known| {
            known
                .as_ref()
                .is_some_and(|known| known.peer().identity.node == node)
        })
    }

    /// The node in this place.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Monitored> {
        self.nodes.get_mut(place)?.as_mut()
    }

    /// The node with this number, in whatever incarnation.
    pub(super) fn find(&mut self, node: NodeId) -> Option<&mut Monitored> {
        let mut nodes = self.nodes.iter_mut().flatten();
        nodes.find(|known| known.peer().identity.node == node)
    }

    /// The address and incarnation of the node with this number.
    pub(super) fn peer(&self, node: NodeId) -> Option<DetectorPeer> {
        let mut peers = self.iter().map(Monitored::peer);
        peers.find(|peer| peer.identity.node == node)
    }

    /// Whether this incarnation of a node is monitored.
    pub(super) fn has(&self, identity: Identity) -> bool {
        self.iter().any(|known| known.peer().identity == identity)
    }

    /// Check the header of a heartbeat of the node in this place (see [`Monitored::accept_heartbeat`]).
    pub(super) fn accept_heartbeat(
        &mut self,
        place: usize,
        received: &Received,
    ) -> Result<(), Counter> {
        let known = self.at(place).ok_or(Counter::DroppedUnwatched)?;
        known.accept_heartbeat(received)
    }

    /// Milliseconds since the node was last heard, or [`NEVER_HEARD`].
    pub(super) fn age_ms(&self, now: Instant, identity: Identity) -> u16 {
        self.iter()
            .find(|known| known.peer().identity == identity)
            .map_or(NEVER_HEARD, |known| known.age_ms(now))
    }

    /// Whether there are nodes to monitor and all of them are dead.
    pub(super) fn are_all_dead(&self) -> bool {
        let mut nodes = self.iter().peekable();
        nodes.peek().is_some() && nodes.all(Monitored::is_dead)
    }

    /// Call `each` with every node and the time since it was last heard.
    pub(super) fn for_each(&self, now: Instant, each: &mut dyn FnMut(DetectorPeer, Duration)) {
        for known in self.iter() {
            each(known.peer(), known.silence(now));
        }
    }

    /// Probe all nodes at once, since a member of the view is suspected. Returns whether there is anything to send
    /// for it. Where the network loses datagrams some member is suspected all the time, so this does nothing if it
    /// was done a short time ago.
    pub(super) fn probe_all(&mut self, now: Instant) -> bool {
        if now < self.probe_all_after || !self.rules.has_probes() {
            return false;
        }
        self.probe_all_after = now.after(self.probe_all_pause);
        for known in self.nodes.iter_mut().flatten() {
            known.probe(now, &self.rules);
        }
        true
    }

    /// Take a probe that is due: where it goes, and its body.
    pub(super) fn take_probe(&mut self, now: Instant) -> Option<(PeerAddress, DetectorBody)> {
        let mut nodes = self.nodes.iter_mut().flatten();
        nodes.find_map(|known| known.take_probe(now))
    }

    /// Move all deadlines: this node could not have heard anything for so long.
    pub(super) fn postpone(&mut self, by: Duration) {
        for known in self.nodes.iter_mut().flatten() {
            known.postpone(by);
        }
    }

    /// Act on the deadline of the node in this place if it has passed. Returns what to report.
    pub(super) fn expire(&mut self, now: Instant, place: usize) -> Option<DetectorReport> {
        let known = self.nodes.get_mut(place)?.as_mut()?;
        known.expire(now, &self.rules)
    }

    /// When [`Self::expire`] has something to do for some node.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.iter().filter_map(Monitored::deadline).min()
    }
}
