// SPDX-License-Identifier: GPL-2.0

//! Counter gossip (van Renesse, Minsky and Hayden 1998).
//!
//! Each node has a counter, which grows in each of its rounds, and a table with the latest known counters of all
//! members. In each round it sends its table to a random member. The receiver keeps the larger value of each
//! counter. A node is alive as long as its counter grows, on whatever way the news travels: a single link that
//! works in one direction only, or not at all, is no silence.
//!
//! ```text
//!   round: own counter + 1, (a part of the) table --> a random member: table = max(table, received)
//!                                                       |
//!                       counter of a monitored node has grown: it is heard, its deadline moves
//! ```
//!
//! Counters are identified by the places of the members in the view, which are the same at all members. A table
//! of another view proves only that there is another view. A table too large for one datagram is sent in parts,
//! one in each round. Counters continue from view to view.
//!
//! That a counter stands still is the opinion of one node, and may be bad luck of the draw. Ranganathan, George,
//! Todd and Chidester (2001) therefore let a node count as dead only when all live nodes agree. Here every node
//! sees all counters, but only the ring monitors of a node accuse it, so that a crash costs no more reports than
//! with ring heartbeats. `confirmations` of them must agree: that is the consensus. News of the node reached them
//! on different ways, and each probes the node itself before it accuses (unless `probe_count` is 0).

use super::headers::Received;
use super::phase::next_in_phase;
use super::values::DetectorPeer;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::configuration::GossipTiming;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::{GOSSIP_ENTRIES_MAX, MONITORED_MAX, NODES_MAX};
use crate::protocol::random::Random;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::gossip::{write_gossip, GossipBody};
use crate::protocol::wire::Writer;

/// A member and its latest known counter. Zero: nothing is known.
#[derive(Clone, Copy, Debug)]
struct Entry {
    peer: DetectorPeer,
    counter: u32,
}

/// A monitored member: its place in the table, and its counter when [`Gossip::take_grown`] last looked.
#[derive(Clone, Copy, Debug)]
struct Tracked {
    place: usize,
    counter: u32,
}

/// The table of this node, and when it is sent.
pub(super) struct Gossip {
    timing: GossipTiming,
    /// The moment that rounds count from.
    phase: Instant,
    random: Random,
    own: Option<Identity>,
    own_counter: u32,
    /// All members in the order of the view.
    table: BoundedVec<Entry>,
    /// Memory for the table of the next view.
    next: BoundedVec<Entry>,
    /// The monitored members, in the order of the assignment.
    tracked: [Option<Tracked>; MONITORED_MAX],
    next_round: Instant,
    /// How long a counter may stand still in this view.
    timeout: Duration,
    /// The first place of the part of the table that the present round sends.
    first: usize,
}

/// Whether a counter is later than another one. Counters wrap around; zero is earlier than all others.
const fn is_later(counter: u32, than: u32) -> bool {
    let step = counter.wrapping_sub(than);
    counter != 0 && (than == 0 || (step != 0 && step <= u32::MAX / 2))
}

impl Gossip {
    /// Gossip without members. Allocates room for the largest view.
    pub(super) fn new(
        timing: GossipTiming,
        phase: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            timing,
            phase,
            random: Random::new(seed),
            own: None,
            own_counter: 0,
            table: BoundedVec::with_capacity(NODES_MAX)?,
            next: BoundedVec::with_capacity(NODES_MAX)?,
            tracked: [None; MONITORED_MAX],
            next_round: phase,
            timeout: timing.silence(0),
            first: 0,
        })
    }

    /// Move to another view. A member that stays keeps its counter.
    pub(super) fn install(
        &mut self,
        now: Instant,
        own: Identity,
        members: &[MemberRecord],
        monitored: &[Option<DetectorPeer>; MONITORED_MAX],
    ) {
        if self.own != Some(own) {
            self.own = Some(own);
            self.own_counter = 0;
        }
        self.next.clear();
        // Both are sorted by node.
        let mut old = self.table.iter().copied().peekable();
        for member in members {
            let identity = member.identity;
            let is_before = |entry: &Entry| entry.peer.identity.node < identity.node;
            while old.next_if(is_before).is_some() {}
            let counter = old
                .next_if(|entry| entry.peer.identity == identity)
                .map_or(0, |entry| entry.counter);
            let peer = DetectorPeer {
                identity,
                address: member.address,
            };
            // A view has no more members than there is room for.
            let _ = self.next.push(Entry { peer, counter });
        }
        core::mem::swap(&mut self.table, &mut self.next);
        for (slot, peer) in self.tracked.iter_mut().zip(monitored) {
            *slot = peer.and_then(|peer| {
                let place = Self::place(&self.table, peer.identity.node)?;
                let counter = self.table.get(place)?.counter;
                Some(Tracked { place, counter })
            });
        }
        self.timeout = self.timing.silence(self.table.len());
        self.first = 0;
        self.next_round = now;
    }

    fn place(table: &[Entry], node: NodeId) -> Option<usize> {
        table
            .binary_search_by_key(&node, |entry| entry.peer.identity.node)
            .ok()
    }

    /// How long a counter may stand still.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The time between two rounds, in each of which a healthy node's counter grows.
    pub(super) fn round(&self) -> Duration {
        self.timing.round
    }

    /// The member with this number.
    pub(super) fn member(&self, node: NodeId) -> Option<DetectorPeer> {
        let place = Self::place(&self.table, node)?;
        self.table.get(place).map(|entry| entry.peer)
    }

    /// When the next round is, if there is another member.
    pub(super) fn next_send(&self) -> Option<Instant> {
        (self.table.len() > 1).then_some(self.next_round)
    }

    /// Begin a round if it is time: increment the own counter and draw a member. Returns its address, and how late
    /// the round is.
    pub(super) fn begin_round(&mut self, now: Instant) -> Option<(PeerAddress, Duration)> {
        let due = self.next_send().filter(|at| *at <= now)?;
        self.skip_round(now);
        self.own_counter = self.own_counter.wrapping_add(1).max(1);
        let own = Self::place(&self.table, self.own?.node)?;
        if let Some(entry) = self.table.as_mut_slice().get_mut(own) {
            entry.counter = self.own_counter;
        }
        let parts = self.table.len().div_ceil(GOSSIP_ENTRIES_MAX);
        self.first = self.first.saturating_add(GOSSIP_ENTRIES_MAX);
        if parts.saturating_mul(GOSSIP_ENTRIES_MAX) <= self.first {
            self.first = 0;
        }
        let others = self.table.len().saturating_sub(1);
        let drawn = usize::try_from(self.random.below(others as u64)).unwrap_or(0);
        let place = drawn.saturating_add(usize::from(drawn >= own));
        let to = self.table.get(place)?.peer.address;
        Some((to, now.since(due)))
    }

    /// Let a round pass without sending.
    pub(super) fn skip_round(&mut self, now: Instant) {
        self.next_round = next_in_phase(now, self.phase, self.timing.round, 0, 1);
    }

    /// Write the part of the table that the present round sends.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Option<()> {
        let counters = self.table.get(self.first..)?.iter();
        write_gossip(
            writer,
            u16::try_from(self.table.len()).ok()?,
            u16::try_from(self.first).ok()?,
            self.own_counter,
            counters.take(GOSSIP_ENTRIES_MAX).map(|entry| entry.counter),
        )
    }

    /// Merge the table of another member, or a part of it.
    ///
    /// # Errors
    ///
    /// Nothing has changed. The counter says why: the sender is no member, or in another incarnation, or sent from
    /// a wrong address, or its view has another size.
    pub(super) fn merge(
        &mut self,
        received: &Received,
        body: &GossipBody<'_>,
    ) -> Result<(), Counter> {
        let sender = received.sender();
        let place = Self::place(&self.table, sender.node).ok_or(Counter::DroppedNonMember)?;
        let entry = self
            .table
            .as_mut_slice()
            .get_mut(place)
            .ok_or(Counter::DroppedNonMember)?;
        let known = entry.peer;
        if sender.incarnation < known.identity.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if sender != known.identity {
            return Err(Counter::DroppedNonMember);
        }
        if received.from != known.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if usize::from(body.members) != self.table.len() {
            return Err(Counter::DroppedValue);
        }
        let own = self.own;
        let entries = self
            .table
            .as_mut_slice()
            .iter_mut()
            .skip(usize::from(body.first))
            .zip(body.counters());
        for (entry, counter) in entries {
            // No other node knows this node's own counter better.
            if is_later(counter, entry.counter) && Some(entry.peer.identity) != own {
                entry.counter = counter;
            }
        }
        if let Some(entry) = self.table.as_mut_slice().get_mut(place) {
            if is_later(body.own_counter, entry.counter) {
                entry.counter = body.own_counter;
            }
        }
        Ok(())
    }

    /// Whether the counter of the monitored member in this place of the assignment has grown since this was last
    /// asked.
    pub(super) fn take_grown(&mut self, monitored: usize) -> bool {
        let Some(Some(tracked)) = self.tracked.get_mut(monitored) else {
            return false;
        };
        let Some(entry) = self.table.get(tracked.place) else {
            return false;
        };
        let has_grown = entry.counter != tracked.counter;
        tracked.counter = entry.counter;
        has_grown
    }
}
