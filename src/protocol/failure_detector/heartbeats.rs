// SPDX-License-Identifier: GPL-2.0

//! Signs of life on the rings: a heartbeat to each successor in every interval, which they await.

use super::target::{aligned_after, Target};
use super::DetectorPeer;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::NodeId;
use crate::protocol::limits::WATCHED_MAX;
use crate::protocol::time::{Duration, Instant};

/// Whom this node sends heartbeats to, and when.
pub(super) struct Heartbeats {
    interval: Duration,
    slack: Duration,
    /// The moment that phases of targets count from.
    phase: Instant,
    rings: u64,
    targets: [Option<Target>; WATCHED_MAX],
}

impl Heartbeats {
    /// Nobody to send to.
    pub(super) fn new(configuration: &ValidConfiguration, phase: Instant) -> Self {
        let settings = configuration.settings();
        Self {
            interval: configuration.heartbeat_interval(),
            slack: configuration.heartbeat_slack(),
            phase,
            rings: u64::from(settings.rings),
            targets: [None; WATCHED_MAX],
        }
    }

    /// Another view. Who stays gets its heartbeats as before.
    pub(super) fn install(&mut self, now: Instant, peers: &[Option<DetectorPeer>; WATCHED_MAX]) {
        let old_targets = self.targets;
        for (place, (slot, peer)) in self.targets.iter_mut().zip(peers).enumerate() {
            *slot =
                peer.map(
                    |peer| match old_targets.iter().flatten().find(|old| old.peer == peer) {
                        Some(old) => Target { place, ..*old },
                        None => Target {
                            peer,
                            number: 0,
                            next_send: now,
                            place,
                        },
                    },
                );
        }
    }

    /// The time between two heartbeats to one watcher.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long after a heartbeat the next one counts as missed.
    pub(super) fn wait(&self) -> Duration {
        self.interval.plus(self.slack)
    }

    /// The one with this number that heartbeats go to.
    pub(super) fn target(&self, node: NodeId) -> Option<DetectorPeer> {
        let mut peers = self.targets.iter().flatten().map(|target| target.peer);
        peers.find(|peer| peer.identity.node == node)
    }

    /// When the next heartbeat is due.
    pub(super) fn next_send(&self) -> Option<Instant> {
        let sends = self.targets.iter().flatten().map(|target| target.next_send);
        sends.min()
    }

    /// A heartbeat that is due: to whom, the how manieth, and how late it is.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(DetectorPeer, u32, Duration)> {
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let target = self
            .targets
            .iter_mut()
            .flatten()
            .find(|target| target.next_send <= now)?;
        target.number = target.number.wrapping_add(1);
        let lateness = now.since(target.next_send);
        target.next_send = aligned_after(now, phase, interval, target.place, rings);
        Some((target.peer, target.number, lateness))
    }

    /// Leaves out all heartbeats that are due; says how many.
    pub(super) fn skip_due(&mut self, now: Instant) -> u64 {
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let mut skipped = 0;
        for target in self.targets.iter_mut().flatten() {
            if target.next_send <= now {
                target.next_send = aligned_after(now, phase, interval, target.place, rings);
                skipped = u64::saturating_add(skipped, 1);
            }
        }
        skipped
    }
}
