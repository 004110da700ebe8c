// SPDX-License-Identifier: GPL-2.0

//! What ring heartbeats and gossip have in common for the failure detector: when this node sends a heartbeat and
//! to whom, and how long it waits for the heartbeats of others.
//!
//! A *heartbeat* is a datagram of its own with rings, and a counter that grows with gossip. What follows when
//! heartbeats are missing is the same for both ([`super::monitored`]).

use super::delays::Delays;
use super::gossip::Gossip;
use super::headers::{OwnHeader, Received};
use super::heartbeats::{DueHeartbeat, Heartbeats};
use super::values::{DetectorAssignment, DetectorPeer};
use crate::platform::OutOfMemory;
use crate::protocol::configuration::{DetectorKind, ValidConfiguration};
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::gossip::GossipBody;
use crate::protocol::wire::heartbeat::DetectorBody;
use crate::protocol::wire::{Kind, Writer};

/// How heartbeats travel.
#[expect(
    clippy::large_enum_variant,
    reason = "a node has one of them, in the memory of its failure detector"
)]
pub(super) enum Scheme {
    /// From each node directly to its monitors.
    Ring(Heartbeats),
    /// As counters in tables that each node sends to random members.
    Gossip(Gossip),
}

/// A datagram of heartbeats to send now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) to: PeerAddress,
    /// Whose histogram of delays counts the lateness.
    pub(super) counted_for: Identity,
    pub(super) lateness: Duration,
    /// With rings: the heartbeat.
    heartbeat: Option<DueHeartbeat>,
}

impl Outgoing {
    /// The kind of the datagram.
    pub(super) fn kind(&self) -> Kind {
        match self.heartbeat {
            Some(_) => Kind::Heartbeat,
            None => Kind::Gossip,
        }
    }
}

impl Scheme {
    /// The configured scheme, for a node without a view. Its sends count from `phase`. Allocates.
    pub(super) fn new(
        configuration: &ValidConfiguration,
        phase: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        Ok(match configuration.settings().detector {
            DetectorKind::Ring => Self::Ring(Heartbeats::new(configuration, phase)),
            DetectorKind::Gossip => {
                Self::Gossip(Gossip::new(configuration.gossip_timing(), phase, seed)?)
            }
        })
    }

    /// Move to another view, or to none. `delays` counts for the nodes of that view from now on.
    pub(super) fn install(
        &mut self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
        delays: &mut Delays,
    ) {
        let identity = |peer: &DetectorPeer| peer.identity;
        let monitored = assignment.monitored.iter().flatten().map(identity);
        match self {
            Self::Ring(heartbeats) => {
                heartbeats.install(now, &assignment.targets);
                let targets = assignment.targets.iter().flatten().map(identity);
                delays.install(monitored, targets);
            }
            Self::Gossip(gossip) => {
                gossip.install(now, assignment.own, members, &assignment.monitored);
                // Each round goes to another member, so the lateness is counted for this node itself.
                let is_silent = members.is_empty();
                let own = (!is_silent).then_some(assignment.own);
                delays.install(monitored, own.into_iter());
            }
        }
    }

    /// When a node that was not monitored before misses its first heartbeat.
    pub(super) fn first_deadline(&self, now: Instant) -> Instant {
        match self {
            Self::Ring(heartbeats) => now.after(heartbeats.interval()).after(heartbeats.timeout()),
            Self::Gossip(gossip) => now.after(gossip.timeout()),
        }
    }

    /// Before when no node that was monitored before misses a heartbeat in a new view. While a view change is
    /// under way some members gossip in the old view and some in the new one, so counters spread more slowly.
    pub(super) fn earliest_deadline_in_new_view(&self, now: Instant) -> Instant {
        match self {
            Self::Ring(_) => Instant::ZERO,
            Self::Gossip(gossip) => now.after(gossip.timeout().divided_by(2)),
        }
    }

    /// When a node whose heartbeat arrived now misses its next one.
    pub(super) fn next_miss(&self, now: Instant) -> Instant {
        match self {
            Self::Ring(heartbeats) => now.after(heartbeats.timeout()),
            Self::Gossip(gossip) => now.after(gossip.timeout()),
        }
    }

    /// The time between two heartbeats of a healthy node.
    pub(super) fn period(&self) -> Duration {
        match self {
            Self::Ring(heartbeats) => heartbeats.interval(),
            Self::Gossip(gossip) => gossip.round(),
        }
    }

    /// Whether heartbeats travel on the rings.
    pub(super) fn is_ring(&self) -> bool {
        matches!(self, Self::Ring(_))
    }

    /// The node with this number, if it may probe this node: a target of heartbeats, or with gossip any member.
    pub(super) fn peer(&self, node: NodeId) -> Option<DetectorPeer> {
        match self {
            Self::Ring(heartbeats) => heartbeats.target(node),
            Self::Gossip(gossip) => gossip.member(node),
        }
    }

    /// When the next heartbeat is due.
    pub(super) fn next_send(&self) -> Option<Instant> {
        match self {
            Self::Ring(heartbeats) => heartbeats.next_send(),
            Self::Gossip(gossip) => gossip.next_send(),
        }
    }

    /// Take a heartbeat that is due.
    pub(super) fn take_due(&mut self, now: Instant, own: Identity) -> Option<Outgoing> {
        match self {
            Self::Ring(heartbeats) => {
                let heartbeat = heartbeats.take_due(now)?;
                Some(Outgoing {
                    to: heartbeat.to.address,
                    counted_for: heartbeat.to.identity,
                    lateness: heartbeat.lateness,
                    heartbeat: Some(heartbeat),
                })
            }
            Self::Gossip(gossip) => {
                let (to, lateness) = gossip.begin_round(now)?;
                Some(Outgoing {
                    to,
                    counted_for: own,
                    lateness,
                    heartbeat: None,
                })
            }
        }
    }

    /// Write the body of what [`Self::take_due`] returned. `age_ms` returns how long ago a node was heard.
    pub(super) fn write(
        &self,
        outgoing: &Outgoing,
        age_ms: impl FnOnce(Identity) -> u16,
        writer: &mut Writer<'_>,
    ) -> Option<()> {
        match (self, outgoing.heartbeat) {
            (Self::Gossip(gossip), _) => gossip.write(writer),
            (Self::Ring(_), Some(heartbeat)) => {
                let body = DetectorBody {
                    number: heartbeat.number,
                    heard_age_ms: age_ms(heartbeat.to.identity),
                };
                body.write(writer)
            }
            (Self::Ring(_), None) => None,
        }
    }

    /// Leave out all heartbeats that are due. Returns how many.
    pub(super) fn skip_due(&mut self, now: Instant) -> u64 {
        match self {
            Self::Ring(heartbeats) => heartbeats.skip_due(now),
            Self::Gossip(gossip) => {
                let is_due = gossip.next_send().is_some_and(|at| at <= now);
                if is_due {
                    gossip.skip_round(now);
                }
                u64::from(is_due)
            }
        }
    }

    /// Merge another node's table of counters. [`Self::take_grown`] follows.
    ///
    /// # Errors
    ///
    /// Nothing has changed. `DroppedUnexpected`: this cluster does not gossip. `DroppedOtherView`: the table is of
    /// another view. Else see [`Gossip::merge`].
    pub(super) fn merge(
        &mut self,
        own: &OwnHeader,
        received: &Received,
        body: &GossipBody<'_>,
    ) -> Result<(), Counter> {
        match self {
            Self::Ring(_) => Err(Counter::DroppedUnexpected),
            Self::Gossip(_) if own.is_other_view(received) => Err(Counter::DroppedOtherView),
            Self::Gossip(gossip) => gossip.merge(received, body),
        }
    }

    /// Whether the counter of the monitored node in this place has grown since this was last asked.
    pub(super) fn take_grown(&mut self, place: usize) -> bool {
        match self {
            Self::Ring(_) => false,
            Self::Gossip(gossip) => gossip.take_grown(place),
        }
    }
}
