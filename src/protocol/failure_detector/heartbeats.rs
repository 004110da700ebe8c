// SPDX-License-Identifier: GPL-2.0

//! Ring heartbeats: in every interval one to each target, which are the monitors of this node (its successors on
//! the rings).

use super::phase::next_in_phase;
use super::values::DetectorPeer;
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::NodeId;
use crate::protocol::limits::MONITORED_MAX;
use crate::protocol::time::{Duration, Instant};

/// A node that this node sends heartbeats to.
#[derive(Clone, Copy, Debug)]
struct Target {
    peer: DetectorPeer,
    /// Heartbeats sent to it.
    number: u32,
    next_send: Instant,
    /// Its place in the list of targets, which decides its phase.
    place: usize,
}

/// A heartbeat to send now.
#[derive(Clone, Copy, Debug)]
pub(super) struct DueHeartbeat {
    pub(super) to: DetectorPeer,
    /// How many heartbeats this node has sent to the target, this one included.
    pub(super) number: u32,
    pub(super) lateness: Duration,
}

/// The targets of this node's heartbeats, and when each gets its next one.
pub(super) struct Heartbeats {
    interval: Duration,
    slack: Duration,
    /// The moment that the phases of targets count from.
    phase: Instant,
    rings: u64,
    targets: [Option<Target>; MONITORED_MAX],
}

impl Heartbeats {
    /// Heartbeats without targets.
    pub(super) fn new(configuration: &ValidConfiguration, phase: Instant) -> Self {
        let settings = configuration.settings();
        Self {
            interval: configuration.heartbeat_interval(),
            slack: configuration.heartbeat_slack(),
            phase,
            rings: u64::from(settings.rings),
            targets: [None; MONITORED_MAX],
        }
    }

    /// Send to the targets of another view. A target that stays gets its heartbeats as before; a new one gets its
    /// first one now.
    pub(super) fn install(&mut self, now: Instant, peers: &[Option<DetectorPeer>; MONITORED_MAX]) {
        let old_targets = self.targets;
        for (place, (slot, peer)) in self.targets.iter_mut().zip(peers).enumerate() {
            *slot = peer.map(|peer| {
                let mut old_targets = old_targets.iter().flatten();
                match old_targets.find(|old| old.peer == peer) {
                    Some(old) => Target { place, ..*old },
                    None => Target {
                        peer,
                        number: 0,
                        next_send: now,
                        place,
                    },
                }
            });
        }
    }

    /// The time between two heartbeats to one target.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// How long after a heartbeat the next one counts as missed.
    pub(super) fn timeout(&self) -> Duration {
        self.interval.plus(self.slack)
    }

    /// The target with this number.
    pub(super) fn target(&self, node: NodeId) -> Option<DetectorPeer> {
        let mut peers = self.targets.iter().flatten().map(|target| target.peer);
        peers.find(|peer| peer.identity.node == node)
    }

    /// When the next heartbeat is due.
    pub(super) fn next_send(&self) -> Option<Instant> {
        let sends = self.targets.iter().flatten().map(|target| target.next_send);
        sends.min()
    }

    /// Take a heartbeat that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<DueHeartbeat> {
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let target = self
            .targets
            .iter_mut()
            .flatten()
            .find(|target| target.next_send <= now)?;
        target.number = target.number.wrapping_add(1);
        let lateness = now.since(target.next_send);
        target.next_send = next_in_phase(now, phase, interval, target.place, rings);
        Some(DueHeartbeat {
            to: target.peer,
            number: target.number,
            lateness,
        })
    }

    /// Leave out all heartbeats that are due. Returns how many.
    pub(super) fn skip_due(&mut self, now: Instant) -> u64 {
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let mut skipped = 0;
        for target in self.targets.iter_mut().flatten() {
            if target.next_send <= now {
                target.next_send = next_in_phase(now, phase, interval, target.place, rings);
                skipped = u64::saturating_add(skipped, 1);
            }
        }
        skipped
    }
}
