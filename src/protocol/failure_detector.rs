// SPDX-License-Identifier: GPL-2.0

//! The failure detector: it sends heartbeats, monitors a few other nodes, and reports suspicions to the engine.
//!
//! A node monitors its predecessors on the rings, and its successors monitor it. A heartbeat goes to each monitor
//! directly, or travels as a gossiped counter ([`scheme`]). A monitored node whose heartbeats are missing is
//! suspected, probed, and reported if it does not reply ([`monitored`] has the states).
//!
//! ```text
//!                               FailureDetector
//!   timer ------------------> monitored_set: misses, probes ---> reports ---> engine
//!   datagram ---- check ----> monitored_set, scheme (table of counters), replies
//!   engine -- assignment ---> all of them
//!                             replies, probes, heartbeats of the scheme ---> datagrams, counted in delays
//! ```
//!
//! Several nodes may crash at once. A coordinator whose engine hears of a suspicion calls the roll: it sends an
//! indirect probe to every member, and each member that receives it probes all nodes that it monitors at once. So
//! nodes that crash together are found together, without waiting until the heartbeats of each are missed.
//!
//! Silence counts only while this node itself is awake. When its timer fires late, every deadline moves by as much,
//! so that a machine that was stopped or starved does not accuse other nodes for what it could not have heard.
//!
//! The failure detector runs in soft interrupts. It shares nothing with the engine but the plain data of [`values`],
//! and sorts out which datagrams are the engine's. It allocates only when it is made. Every call costs
//! O([`MONITORED_MAX`]), and for gossip as many steps as a datagram has counters.

mod delays;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod detector_tests;
mod gossip;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod gossip_tests;
mod headers;
mod heartbeats;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod indirect_probe_tests;
mod monitored;
mod monitored_set;
mod phase;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod receiving_tests;
mod replies;
mod reports;
mod scheme;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod test_bench;
mod values;

pub use delays::{DelayHistogram, NeighbourDelays};
pub use values::{DetectorAssignment, DetectorPeer, DetectorReport, DetectorVerdict};

use self::delays::Delays;
use self::headers::{OwnHeader, Received};
use self::monitored_set::MonitoredSet;
use self::replies::ProbeReplies;
use self::reports::Reports;
use self::scheme::Scheme;
use super::configuration::ValidConfiguration;
use super::errors::{Counter, Counters};
use super::identity::{Identity, PeerAddress, ViewNumber};
use super::limits::MONITORED_MAX;
use super::outputs::Transmit;
use super::random::Random;
use super::time::{Duration, Instant};
use super::view::MemberRecord;
use super::wire::gossip::GossipBody;
use super::wire::heartbeat::DetectorBody;
use super::wire::{write_datagram, Datagram, Kind, Writer};
use crate::platform::OutOfMemory;

/// The failure detector of one node.
///
/// Inputs are [`Self::install`], [`Self::handle_datagram`] and [`Self::handle_timer`]. After each of them, poll
/// [`Self::poll_transmit`] and [`Self::poll_report`] until they return `None`, and set the timer to
/// [`Self::next_deadline`].
pub struct FailureDetector {
    counters: Counters,
    header: OwnHeader,
    scheme: Scheme,
    monitored: MonitoredSet,
    replies: ProbeReplies,
    reports: Reports,
    delays: Delays,
    /// A timer that is later than this counts as late.
    slack: Duration,
    /// When a datagram of any node with a view last arrived.
    heard_at: Instant,
    /// A node that hears nothing for so long sends no heartbeats.
    deafness: Duration,
}

impl FailureDetector {
    /// A failure detector without a view, which sends nothing. `seed` decides the phase of the heartbeats within
    /// their interval. May sleep in the kernel.
    ///
    /// # Errors
    ///
    /// Memory is short: there is no failure detector.
    pub fn new(
        own: Identity,
        configuration: &ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let interval = configuration.heartbeat_interval();
        let mut random = Random::new(seed);
        let offset = random.below(interval.as_nanoseconds());
        let phase = now.after(Duration::from_nanoseconds(offset));
        Ok(Self {
            counters: Counters::new(),
            header: OwnHeader::new(configuration.cluster(), own),
            scheme: Scheme::new(configuration, phase, random.next_u64())?,
            monitored: MonitoredSet::new(configuration, now),
            replies: ProbeReplies::new(),
            reports: Reports::new(now, configuration.retransmit())?,
            delays: Delays::new()?,
            slack: configuration.heartbeat_slack(),
            heard_at: now,
            deafness: configuration.deafness(),
        })
    }

    /// Move to another view with these members, sorted by node; or to none (view zero). Neighbours that stay keep
    /// their state.
    pub fn install(
        &mut self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
    ) {
        self.header.install(assignment);
        self.heard_at = now;
        self.scheme
            .install(now, assignment, members, &mut self.delays);
        let first_deadline = self.scheme.first_deadline(now);
        let earliest = self.scheme.earliest_deadline_in_new_view(now);
        let monitored = &mut self.monitored;
        monitored.install(now, &assignment.monitored, first_deadline, earliest);
        self.reports.retain_about(|node| monitored.has(node));
    }

    // ---- datagrams that arrive ------------------------------------------------------------------

    /// Handle a datagram of whatever kind. Called for each one, in the receive soft interrupt.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> DetectorVerdict {
        self.counters.count(Counter::DatagramsReceived);
        match self.receive(now, from, bytes) {
            Ok(verdict) => verdict,
            Err(counter) => {
                self.counters.count(counter);
                DetectorVerdict::Dropped(counter)
            }
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> Result<DetectorVerdict, Counter> {
        let datagram = Datagram::parse(bytes, self.header.cluster())?;
        let header = datagram.header;
        if header.sender == self.header.own() {
            return Err(Counter::DroppedFromSelf);
        }
        if header.view != ViewNumber::default() {
            self.heard_at = now;
        }
        let received = Received { now, from, header };
        match header.kind {
            Kind::Gossip => {
                let body = GossipBody::parse(datagram.body)?;
                self.check_view(&received)?;
                self.merge_gossip(&received, &body)?;
            }
            Kind::Heartbeat | Kind::Probe | Kind::ProbeReply => {
                let number = DetectorBody::parse(datagram.body)?.number;
                self.check_view(&received)?;
                match header.kind {
                    Kind::Heartbeat => self.receive_heartbeat(&received)?,
                    Kind::Probe => self.receive_probe(&received, number)?,
                    _ => self.receive_reply(&received, number)?,
                }
            }
            Kind::IndirectProbe if self.receive_indirect_probe(&received) => {
                return Ok(DetectorVerdict::ForBoth);
            }
            _ => return Ok(DetectorVerdict::ForEngine),
        }
        Ok(DetectorVerdict::Consumed)
    }

    /// Probe all monitored nodes if the request is of this view. Returns whether there is anything to send.
    fn receive_indirect_probe(&mut self, received: &Received) -> bool {
        let is_other_view = !self.header.has_view() || self.header.is_other_view(received);
        !is_other_view && self.monitored.probe_all(received.now)
    }

    /// Report a sender in another view. Refuse its datagram if it is in another component, and all datagrams while
    /// this node has no view.
    fn check_view(&mut self, received: &Received) -> Result<(), Counter> {
        if !self.header.has_view() {
            return Err(Counter::DroppedNonMember);
        }
        if self.header.is_other_view(received) {
            self.reports.push_other_view(received);
        }
        if self.header.is_other_component(received) {
            return Err(Counter::DroppedOtherView);
        }
        Ok(())
    }

    /// Merge a table of counters. All monitored nodes whose counters have grown are alive.
    fn merge_gossip(&mut self, received: &Received, body: &GossipBody<'_>) -> Result<(), Counter> {
        self.scheme.merge(&self.header, received, body)?;
        self.counters.count(Counter::HeartbeatsReceived);
        for place in 0..MONITORED_MAX {
            if self.scheme.take_grown(place) {
                self.hear_heartbeat(received.now, place);
            }
        }
        Ok(())
    }

    fn receive_heartbeat(&mut self, received: &Received) -> Result<(), Counter> {
        if !self.scheme.is_ring() {
            return Err(Counter::DroppedUnexpected);
        }
        let Some(place) = self.monitored.place(received.sender().node) else {
            return Err(match self.header.is_other_view(received) {
                true => Counter::DroppedOtherView,
                false => Counter::DroppedUnwatched,
            });
        };
        self.monitored.accept_heartbeat(place, received)?;
        self.counters.count(Counter::HeartbeatsReceived);
        self.hear_heartbeat(received.now, place);
        Ok(())
    }

    /// The monitored node in this place is alive.
    fn hear_heartbeat(&mut self, now: Instant, place: usize) {
        let next_miss = self.scheme.next_miss(now);
        let Some(node) = self.monitored.at(place) else {
            return;
        };
        if let Some(before) = node.hear_heartbeat(now, next_miss) {
            let due = before.after(self.scheme.period());
            self.delays.received(node.peer().identity, now.since(due));
        }
        if let Some(report) = node.recover() {
            self.reports.push(report);
        }
    }

    /// Another node suspects this one, and gets a reply. A monitor that is in another view gets it too.
    fn receive_probe(&mut self, received: &Received, number: u32) -> Result<(), Counter> {
        let sender = received.sender();
        let known = self.scheme.peer(sender.node);
        match known.or_else(|| self.monitored.peer(sender.node)) {
            Some(peer) if peer.identity.incarnation > sender.incarnation => {
                Err(Counter::DroppedStaleIncarnation)
            }
            Some(peer) if peer.identity == sender && peer.address != received.from => {
                Err(Counter::DroppedWrongAddress)
            }
            None if !self.header.is_other_view(received) => Err(Counter::DroppedNonMember),
            _ => self.replies.push(received.from, number),
        }
    }

    fn receive_reply(&mut self, received: &Received, number: u32) -> Result<(), Counter> {
        let next_miss = self.scheme.next_miss(received.now);
        let node = self.monitored.find(received.sender().node);
        let node = node.ok_or(Counter::DroppedUnwatched)?;
        if let Some(report) = node.hear_reply(received, number, next_miss)? {
            self.reports.push(report);
        }
        Ok(())
    }

    // ---- time -----------------------------------------------------------------------------------

    /// Handle the timer. Calling it early is harmless.
    pub fn handle_timer(&mut self, now: Instant) {
        let Some(expected) = self.next_deadline() else {
            return;
        };
        let lateness = now.since(expected);
        if lateness > self.slack {
            self.counters.count(Counter::TimerLate);
            // Silence while this node slept does not count, and datagrams that have arrived are handled first.
            self.monitored.postpone(lateness.plus(self.slack));
        }
        for place in 0..MONITORED_MAX {
            let Some(report) = self.monitored.expire(now, place) else {
                continue;
            };
            match report {
                DetectorReport::Silent { .. } => self.counters.count(Counter::Suspicions),
                DetectorReport::Dead { .. } => self.counters.count(Counter::Accusations),
                _ => {}
            }
            self.reports.push(report);
        }
    }

    /// When the timer shall fire; `None` without a view.
    pub fn next_deadline(&self) -> Option<Instant> {
        let sends = self.scheme.next_send().into_iter();
        sends.chain(self.monitored.next_deadline()).min()
    }

    // ---- outputs --------------------------------------------------------------------------------

    /// The next reply, probe or heartbeat to send. Poll it after every input until `None`. `buffer` has room for
    /// `HEARTBEAT_BYTES` bytes with rings, for `DETECTOR_BYTES_MAX` with gossip.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        if !self.header.has_view() {
            return None;
        }
        if let Some((to, body)) = self.replies.take() {
            self.counters.count(Counter::ProbesAnswered);
            return self.send(buffer, to, Kind::ProbeReply, |_, writer| body.write(writer));
        }
        if let Some((to, body)) = self.monitored.take_probe(now) {
            self.counters.count(Counter::ProbesSent);
            return self.send(buffer, to, Kind::Probe, |_, writer| body.write(writer));
        }
        self.withhold_heartbeats_if_deaf(now);
        let outgoing = self.scheme.take_due(now, self.header.own())?;
        self.delays.sent(outgoing.counted_for, outgoing.lateness);
        self.counters.count(Counter::HeartbeatsSent);
        self.send(buffer, outgoing.to, outgoing.kind(), |this, writer| {
            let age_ms = |identity| this.monitored.age_ms(now, identity);
            this.scheme.write(&outgoing, age_ms, writer)
        })
    }

    /// Skip the heartbeats that are due if this node is deaf. A node that hears nothing at all takes no part in the
    /// cluster, but its heartbeats would keep it in views whose datagrams it does not get. So it sends none, and its
    /// monitors find it dead.
    fn withhold_heartbeats_if_deaf(&mut self, now: Instant) {
        if now >= self.heard_at.after(self.deafness) && self.monitored.are_all_dead() {
            let withheld = self.scheme.skip_due(now);
            self.counters.add(Counter::HeartbeatsWithheld, withheld);
        }
    }

    fn send(
        &mut self,
        buffer: &mut [u8],
        to: PeerAddress,
        kind: Kind,
        body: impl FnOnce(&Self, &mut Writer<'_>) -> Option<()>,
    ) -> Option<Transmit> {
        let header = self.header.next(kind);
        let length = write_datagram(buffer, &header, |writer| body(self, writer))?;
        self.counters.count(Counter::DatagramsSent);
        self.counters.add(Counter::BytesSent, length as u64);
        Some(Transmit { to, length })
    }

    /// The next report for the engine. Poll it after every input until `None`.
    pub fn poll_report(&mut self) -> Option<DetectorReport> {
        self.reports.take()
    }

    /// Whether [`Self::poll_report`] has a report.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    // ---- what operators see ---------------------------------------------------------------------

    /// The counters of this failure detector.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Call `each` with every monitored node and the time since it was last heard.
    pub fn for_each_monitored(&self, now: Instant, each: &mut dyn FnMut(DetectorPeer, Duration)) {
        self.monitored.for_each(now, each);
    }

    /// The delays of the neighbour in this place, `None` behind the last one. Places change with the view.
    pub fn neighbour_delays(&self, place: usize) -> Option<&NeighbourDelays> {
        self.delays.at(place)
    }
}
