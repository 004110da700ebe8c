// SPDX-License-Identifier: GPL-2.0

//! What the two ways to find out about silence have in common for the failure detector: when this node gives a sign of
//! incarnation and to whom, and how long it waits for those of others. What silence leads to is the same for both
//! ([`super::source`]).

use super::delays::Delays;
use super::gossip::Gossip;
use super::heartbeats::Heartbeats;
use super::{DetectorAssignment, DetectorPeer};
use crate::platform::OutOfMemory;
use crate::protocol::configuration::{DetectorKind, ValidConfiguration};
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::heartbeat::DetectorBody;
use crate::protocol::wire::{Kind, Writer};

/// How signs of life go out, and which ones count.
#[expect(
    clippy::large_enum_variant,
    reason = "a node has one of them, in the memory of its failure_detector"
)]
pub(super) enum Detector {
    /// To the successors on the rings.
    Ring(Heartbeats),
    /// To anybody, of everybody.
    Gossip(Gossip),
}

/// A sign of life that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignOfLife {
    pub(super) to: PeerAddress,
    /// Whom its lateness is counted for.
    pub(super) counted_for: Identity,
    pub(super) lateness: Duration,
    /// With rings: whom it goes to, and the how manieth it is.
    heartbeat: Option<(DetectorPeer, u32)>,
}

impl SignOfLife {
    pub(super) fn kind(&self) -> Kind {
        match self.heartbeat {
            Some(_) => Kind::Heartbeat,
            None => Kind::Gossip,
        }
    }
}

impl Detector {
    /// Nobody to give signs to. `phase` is the moment that they are counted from.
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

    /// Another view, or none. `delays` shall count for those that the lateness of signs is counted for.
    pub(super) fn install(
        &mut self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
        delays: &mut Delays,
    ) {
        let identity = |peer: &DetectorPeer| peer.identity;
        let sources = assignment.sources.iter().flatten().map(identity);
        match self {
            Self::Ring(heartbeats) => {
                heartbeats.install(now, &assignment.targets);
                let targets = assignment.targets.iter().flatten().map(identity);
                delays.install(sources, targets);
            }
            Self::Gossip(gossip) => {
                gossip.install(now, assignment.own, members, &assignment.sources);
                // Everybody is told in turn: only the node's own lateness means anything.
                let is_silent = members.is_empty();
                let own = (!is_silent).then_some(assignment.own);
                delays.install(sources, own.into_iter());
            }
        }
    }

    /// When a node that has just come to be watched is missed, if nothing is heard of it.
    pub(super) fn first_deadline(&self, now: Instant) -> Instant {
        match self {
            Self::Ring(heartbeats) => now.after(heartbeats.interval()).after(heartbeats.wait()),
            Self::Gossip(gossip) => now.after(gossip.silence()),
        }
    }

    /// When a node that was watched before is missed in a new view. While views change, the gossip of some
    /// is in the old one and that of others in the new one, and news comes slower.
    pub(super) fn deadline_in_new_view(&self, now: Instant, deadline: Instant) -> Instant {
        match self {
            Self::Ring(_) => deadline,
            Self::Gossip(gossip) => deadline.max(now.after(gossip.silence().divided_by(2))),
        }
    }

    /// When a node that gave a sign of life just now is missed.
    pub(super) fn next_miss(&self, now: Instant) -> Instant {
        match self {
            Self::Ring(heartbeats) => now.after(heartbeats.wait()),
            Self::Gossip(gossip) => now.after(gossip.silence()),
        }
    }

    /// The time between two signs of life of a node that is well.
    pub(super) fn period(&self) -> Duration {
        match self {
            Self::Ring(heartbeats) => heartbeats.interval(),
            Self::Gossip(gossip) => gossip.round(),
        }
    }

    /// One of those who may ask this node whether it is there.
    pub(super) fn peer(&self, node: NodeId) -> Option<DetectorPeer> {
        match self {
            Self::Ring(heartbeats) => heartbeats.target(node),
            Self::Gossip(gossip) => gossip.member(node),
        }
    }

    /// When the next sign of life is due.
    pub(super) fn next_send(&self) -> Option<Instant> {
        match self {
            Self::Ring(heartbeats) => heartbeats.next_send(),
            Self::Gossip(gossip) => gossip.next_send(),
        }
    }

    /// A sign of life that is due.
    pub(super) fn take_due(&mut self, now: Instant, own: Identity) -> Option<SignOfLife> {
        match self {
            Self::Ring(heartbeats) => {
                let (peer, number, lateness) = heartbeats.take_due(now)?;
                Some(SignOfLife {
                    to: peer.address,
                    counted_for: peer.identity,
                    lateness,
                    heartbeat: Some((peer, number)),
                })
            }
            Self::Gossip(gossip) => {
                let (to, lateness) = gossip.begin_round(now)?;
                Some(SignOfLife {
                    to,
                    counted_for: own,
                    lateness,
                    heartbeat: None,
                })
            }
        }
    }

    /// The body of what [`Self::take_due`] gave. `age_ms` tells how long ago a node was heard here.
    pub(super) fn write(
        &self,
        sign: &SignOfLife,
        age_ms: impl FnOnce(Identity) -> u16,
        writer: &mut Writer<'_>,
    ) -> Option<()> {
        match (self, sign.heartbeat) {
            (Self::Gossip(gossip), _) => gossip.write(writer),
            (Self::Ring(_), Some((peer, number))) => {
                let heard_age_ms = age_ms(peer.identity);
                let body = DetectorBody {
                    number,
                    heard_age_ms,
                };
                body.write(writer)
            }
            (Self::Ring(_), None) => None,
        }
    }

    /// Leaves out all signs of life that are due; says how many.
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
}
