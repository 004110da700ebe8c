// SPDX-License-Identifier: GPL-2.0

//! Signs of life by gossip (van Renesse, Minsky and Hayden 1998).
//!
//! Each node has a counter, which grows in each of its rounds, and a table of the counters of all members,
//! as far as it has heard. In each round it sends its table to a member that it draws. Whoever gets it
//! keeps of each counter the larger value. A node is well as long as its counter grows, however the news
//! of it came: a link that works one way only, or not at all, is no silence.
//!
//! ```text
//!   round: own counter + 1, (part of the) table --> a random member: table = max(table, what came)
//!                                                      |
//!                       counter of a watched node has grown: it is heard, its deadline moves
//! ```
//!
//! The members are numbered by their places in the view, which are the same at all that hold it; a table of
//! another view is worth nothing but that there is one. A view too large for one datagram is told in
//! parts, one in each round. Counters go on from view to view.
//!
//! That a counter stands still is one node's opinion, and may be bad luck of the draw. Ranganathan, George,
//! Todd and Chidester (2001) therefore have all live nodes agree before one counts as dead. Here all see all
//! counters, but only the nodes that watch a member by the rings speak of it, so that a death costs no more
//! reports than with the rings, and `confirmations` of them must: that is the consensus. They were told
//! by others on different ways, and each asks directly before it speaks (unless `probe_count` is 0).

use super::target::aligned_after;
use super::DetectorPeer;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::configuration::GossipTiming;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::{GOSSIP_ENTRIES_MAX, NODES_MAX, WATCHED_MAX};
use crate::protocol::random::Random;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::MemberRecord;
use crate::protocol::wire::gossip::{write_gossip, GossipBody};
use crate::protocol::wire::Writer;

/// A member and how far its counter has come; zero: not heard of.
#[derive(Clone, Copy, Debug)]
struct Entry {
    peer: DetectorPeer,
    counter: u32,
}

/// A watched member: its place, and its counter when it was last looked at.
#[derive(Clone, Copy, Debug)]
struct Watched {
    place: usize,
    counter: u32,
}

/// The table of one node, and when it is told.
pub(super) struct Gossip {
    timing: GossipTiming,
    /// The moment that rounds count from.
    phase: Instant,
    random: Random,
    own: Option<Identity>,
    own_counter: u32,
    /// All members in the order of the view.
    table: BoundedVec<Entry>,
    /// Room to make the table of the next view.
    next: BoundedVec<Entry>,
    /// In the order of the failure detector's sources.
    watched: [Option<Watched>; WATCHED_MAX],
    next_round: Instant,
    /// How long a counter may stand still in this view.
    silence: Duration,
    /// The part of the table that the present round tells: first place.
    first: usize,
}

/// Whether a counter is later than another one. They wrap around; zero is earlier than all.
const fn is_later(counter: u32, than: u32) -> bool {
    let step = counter.wrapping_sub(than);
    counter != 0 && (than == 0 || (step != 0 && step <= u32::MAX / 2))
}

impl Gossip {
    /// Nobody to tell. Allocates room for the largest view.
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
            watched: [None; WATCHED_MAX],
            next_round: phase,
            silence: timing.silence(0),
            first: 0,
        })
    }

    /// Another view. Who stays keeps its counter.
    pub(super) fn install(
        &mut self,
        now: Instant,
        own: Identity,
        members: &[MemberRecord],
        sources: &[Option<DetectorPeer>; WATCHED_MAX],
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
        for (place, source) in self.watched.iter_mut().zip(sources) {
            *place = source.and_then(|peer| {
                let place = Self::place(&self.table, peer.identity.node)?;
                let counter = self.table.get(place)?.counter;
                Some(Watched { place, counter })
            });
        }
        self.silence = self.timing.silence(self.table.len());
        self.first = 0;
        self.next_round = now;
    }

    fn place(table: &[Entry], node: NodeId) -> Option<usize> {
        table
            .binary_search_by_key(&node, |entry| entry.peer.identity.node)
            .ok()
    }

    /// How long a counter may stand still.
    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    /// How often a counter should grow.
    pub(super) fn round(&self) -> Duration {
        self.timing.round
    }

    /// The member with this number.
    pub(super) fn member(&self, node: NodeId) -> Option<DetectorPeer> {
        let place = Self::place(&self.table, node)?;
        self.table.get(place).map(|entry| entry.peer)
    }

    /// When the next round is, if there is anybody to tell.
    pub(super) fn next_send(&self) -> Option<Instant> {
        (self.table.len() > 1).then_some(self.next_round)
    }

    /// Begins a round, if it is time: draws who is told. Says how late it is.
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

    /// Lets a round pass in which nobody is told anything.
    pub(super) fn skip_round(&mut self, now: Instant) {
        self.next_round = aligned_after(now, self.phase, self.timing.round, 0, 1);
    }

    /// What this round tells.
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

    /// Another node's table, or a part of it, has come. An error says that nothing changed.
    pub(super) fn merge(
        &mut self,
        sender: Identity,
        from: PeerAddress,
        body: &GossipBody<'_>,
    ) -> Result<(), Counter> {
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
        if from != known.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if usize::from(body.members) != self.table.len() {
            return Err(Counter::DroppedValue);
        }
        let own = self.own;
        let told = self
            .table
            .as_mut_slice()
            .iter_mut()
            .skip(usize::from(body.first))
            .zip(body.counters());
        for (entry, counter) in told {
            // Nobody knows this node's own counter better than itself.
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

    /// Whether the counter of the watched node in this place of the failure detector's sources has grown since this
    /// was last asked.
    pub(super) fn has_grown(&mut self, source: usize) -> bool {
        let Some(Some(watched)) = self.watched.get_mut(source) else {
            return false;
        };
        let Some(entry) = self.table.get(watched.place) else {
            return false;
        };
        let has_grown = entry.counter != watched.counter;
        watched.counter = entry.counter;
        has_grown
    }
}
