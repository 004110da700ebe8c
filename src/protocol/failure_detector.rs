// SPDX-License-Identifier: GPL-2.0

//! The failure detector of a node: signs of life out, signs of life in, probes, and the silence between them.
//!
//! This half of the protocol runs in soft-interrupt context and shares nothing with the engine but
//! three small values: the engine hands it a [`DetectorAssignment`] for each view, it hands the engine
//! [`DetectorReport`]s, and it sorts out which datagrams are the engine's. All its memory is had when it is
//! made, and every call costs O([`WATCHED_MAX`]), or where gossip comes in or goes out as many counters as
//! a datagram has. What a sign of life is, a heartbeat on a ring or a counter that grows, is the
//! detector's to know; all that silence leads to is here.
//!
//! Each watched node (a *source*) goes through
//!
//! ```text
//!             m misses in a window of n            probe unanswered
//!  Watching ----------------------------> Suspected ------------------> Silent (told: Silent)
//!     ^                                      |                          |
//!     | sign of life or answer to a probe    |                          | all probes unanswered
//!     +--------------------------------------+--------------------------+
//!     ^                                                                 v
//!     +----------- sign of life or answer (told: Heard) ----------- Dead (told: Dead)
//!
//!             somebody else is suspected            all probes but the last one unanswered
//!  Watching ----------------------------> Checked ---------------------------------------> Silent (told: Silent)
//! ```
//!
//! Who is suspected may not be the only one that has crashed: a coordinator that hears of a suspicion asks all members
//! whether they are there, and whoever is asked probes all that it watches at once. So what crashed together
//! is found together, without waiting for the heartbeats of each.
//!
//! Silence counts only while this node itself is awake: when its timer fires late, every deadline
//! moves by as much as it was late, so that a machine that was stopped or starved accuses nobody
//! for what it could not have heard.

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod check_tests;
mod delays;
mod detector;
mod gossip;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod gossip_tests;
mod heartbeats;
mod receiving;
mod source;
mod target;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod test_bench;
mod values;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

pub use delays::{DelayHistogram, NeighbourDelays};
pub use values::{DetectorAssignment, DetectorPeer, DetectorReport, DetectorVerdict};

use self::delays::Delays;
use self::detector::Detector;
use self::source::{Silence, SilenceRules, Source};
use super::configuration::ValidConfiguration;
use super::errors::{Counter, Counters};
use super::identity::{Identity, PeerAddress, ViewNumber};
use super::limits::WATCHED_MAX;
use super::outputs::Transmit;
use super::random::Random;
use super::time::{Duration, Instant};
use super::view::MemberRecord;
use super::wire::heartbeat::{DetectorBody, NEVER_HEARD};
use super::wire::{write_datagram, Header, Kind, Writer};
use crate::platform::{BoundedVec, OutOfMemory};

/// Answers to probes that wait to be sent: one for each node that watches this one.
const ANSWERS_MAX: usize = WATCHED_MAX;
/// Reports that wait for the engine: all that the sources can have to say at once, and some others.
const REPORTS_MAX: usize = 2 * WATCHED_MAX + 8;

/// Signs of life and probes of one node. Allocates only when it is made.
pub struct FailureDetector {
    counters: Counters,
    cluster: u32,
    own: Identity,
    view: ViewNumber,
    lineage: u16,
    counter: u64,
    slack: Duration,
    rules: SilenceRules,
    other_view_pause: Duration,
    detector: Detector,
    sources: [Option<Source>; WATCHED_MAX],
    answers: [Option<(PeerAddress, u32)>; ANSWERS_MAX],
    /// The oldest first.
    reports: BoundedVec<DetectorReport>,
    delays: Delays,
    /// Not before this time are all sources probed again because somebody is suspected.
    check_after: Instant,
    check_pause: Duration,
    /// Not before this time is another view reported again.
    other_view_after: Instant,
    /// When anything came from anybody who has a view.
    heard_anybody_at: Instant,
    /// Who hears nobody for so long does not tell others that it is well.
    deafness: Duration,
}

impl FailureDetector {
    /// A silent failure detector. `seed` places the first heartbeat in its interval. May sleep in the kernel.
    ///
    /// # Errors
    ///
    /// Memory could not be had: there is no failure detector.
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
            cluster: configuration.cluster(),
            own,
            view: ViewNumber::default(),
            lineage: 0,
            counter: 0,
            slack: configuration.heartbeat_slack(),
            rules: SilenceRules::new(configuration),
            other_view_pause: configuration.retransmit(),
            detector: Detector::new(configuration, phase, random.next_u64())?,
            sources: [None; WATCHED_MAX],
            answers: [None; ANSWERS_MAX],
            reports: BoundedVec::with_capacity(REPORTS_MAX)?,
            delays: Delays::new()?,
            check_after: now,
            check_pause: configuration.check_pause(),
            other_view_after: now,
            heard_anybody_at: now,
            deafness: configuration.deafness(),
        })
    }

    /// Starts, changes or ends (view zero) the failure detector of a view with these members, sorted by node. Peers
    /// that stay keep their state, but who was found silent is probed anew: what is said of it in this view
    /// shall be true now.
    pub fn install(
        &mut self,
        now: Instant,
        assignment: &DetectorAssignment,
        members: &[MemberRecord],
    ) {
        if self.own != assignment.own {
            self.own = assignment.own;
            self.counter = 0;
        }
        self.view = assignment.view;
        self.lineage = assignment.lineage;
        self.heard_anybody_at = now;
        self.check_after = now;
        self.detector
            .install(now, assignment, members, &mut self.delays);
        let old_sources = self.sources;
        for (slot, peer) in self.sources.iter_mut().zip(assignment.sources.iter()) {
            *slot = peer.map(|peer| {
                let Some(old) = old_sources.iter().flatten().find(|old| old.peer == peer) else {
                    return Source::new(peer, now, self.detector.first_deadline(now));
                };
                let mut source = old.in_new_view(now, self.rules.probe_interval);
                if source.silence == Silence::Watching {
                    source.deadline = self.detector.deadline_in_new_view(now, source.deadline);
                }
                source
            });
        }
        // What was said of nodes that are not watched any more does not matter any more.
        let sources = &self.sources;
        self.reports.retain(|report| match report {
            DetectorReport::Silent { subject, .. }
            | DetectorReport::Heard { subject }
            | DetectorReport::Dead { subject, .. } => sources
                .iter()
                .flatten()
                .any(|source| source.peer.identity == *subject),
            DetectorReport::OtherView { .. } => true,
        });
    }

    /// Somebody in the view is suspected: finds out who else may be dead. Not too often: where the network loses
    /// datagrams somebody is suspected all the time. Whether it does so now.
    fn check_sources(&mut self, now: Instant) -> bool {
        if now < self.check_after || self.rules.probe_count == 0 {
            return false;
        }
        self.check_after = now.after(self.check_pause);
        for source in self.sources.iter_mut().flatten() {
            source.check(now, &self.rules);
        }
        true
    }

    /// The timer fired, or might have: being early is harmless.
    pub fn handle_timer(&mut self, now: Instant) {
        let Some(expected) = self.next_deadline() else {
            return;
        };
        let lateness = now.since(expected);
        if lateness > self.slack {
            self.counters.count(Counter::TimerLate);
            // What was not heard while this node slept does not count, and what has come in
            // meanwhile is looked at first.
            let moved = lateness.plus(self.slack);
            for source in self.sources.iter_mut().flatten() {
                source.deadline = source.deadline.after(moved);
            }
        }
        for place in 0..WATCHED_MAX {
            let report = match self.sources.get_mut(place) {
                Some(Some(source)) if source.deadline <= now => {
                    source.wait_is_over(now, &self.rules)
                }
                _ => continue,
            };
            match report {
                Some(DetectorReport::Silent { .. }) => self.counters.count(Counter::Suspicions),
                Some(DetectorReport::Dead { .. }) => self.counters.count(Counter::Accusations),
                _ => {}
            }
            if let Some(report) = report {
                self.report(report);
            }
        }
    }

    /// The next sign of life, probe or answer to send; to be polled after every input until `None`. `buffer` has
    /// room for `HEARTBEAT_BYTES` bytes with rings, for `DETECTOR_BYTES_MAX` with gossip.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Transmit> {
        if self.view == ViewNumber::default() {
            return None;
        }
        if let Some((to, number)) = self.answers.iter_mut().find_map(Option::take) {
            self.counters.count(Counter::ProbesAnswered);
            let heard_age_ms = NEVER_HEARD;
            let body = DetectorBody {
                number,
                heard_age_ms,
            };
            let header = self.header(Kind::ProbeReply);
            return self.finish(buffer, to, &header, |writer| body.write(writer));
        }
        if let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.probe_due)
        {
            source.probe_due = false;
            source.probes_sent = source.probes_sent.saturating_add(1);
            let to = source.peer.address;
            let body = DetectorBody {
                number: source.probes_sent,
                heard_age_ms: age_ms(now, source.last_heard),
            };
            self.counters.count(Counter::ProbesSent);
            let header = self.header(Kind::Probe);
            return self.finish(buffer, to, &header, |writer| body.write(writer));
        }
        self.withhold_heartbeats_if_deaf(now);
        let sign = self.detector.take_due(now, self.own)?;
        self.delays.sent(sign.counted_for, sign.lateness);
        self.counters.count(Counter::HeartbeatsSent);
        let header = self.header(sign.kind());
        let age_of = |identity| {
            let mut sources = self.sources.iter().flatten();
            sources
                .find(|source| source.peer.identity == identity)
                .map_or(NEVER_HEARD, |source| age_ms(now, source.last_heard))
        };
        let detector = &self.detector;
        let length = write_datagram(buffer, &header, |writer| {
            detector.write(&sign, age_of, writer)
        })?;
        Some(self.count_sent(sign.to, length))
    }

    /// A node that hears nobody at all has no news of the cluster and takes no part in it: its heartbeats
    /// would only keep it in views whose datagrams it does not get. So it sends none, and its watchers
    /// find it dead.
    fn withhold_heartbeats_if_deaf(&mut self, now: Instant) {
        if now < self.heard_anybody_at.after(self.deafness) {
            return;
        }
        let mut sources = self.sources.iter().flatten().peekable();
        let is_deaf =
            sources.peek().is_some() && sources.all(|source| source.silence == Silence::Dead);
        if !is_deaf {
            return;
        }
        let withheld = self.detector.skip_due(now);
        self.counters.add(Counter::HeartbeatsWithheld, withheld);
    }

    fn header(&mut self, kind: Kind) -> Header {
        self.counter = self.counter.wrapping_add(1);
        Header {
            kind,
            cluster: self.cluster,
            sender: self.own,
            view: self.view,
            lineage: self.lineage,
            counter: self.counter,
        }
    }

    fn finish(
        &mut self,
        buffer: &mut [u8],
        to: PeerAddress,
        header: &Header,
        body: impl FnOnce(&mut Writer<'_>) -> Option<()>,
    ) -> Option<Transmit> {
        let length = write_datagram(buffer, header, body)?;
        Some(self.count_sent(to, length))
    }

    fn count_sent(&mut self, to: PeerAddress, length: usize) -> Transmit {
        self.counters.count(Counter::DatagramsSent);
        self.counters.add(Counter::BytesSent, length as u64);
        Transmit { to, length }
    }

    /// The next report for the engine; to be polled after every input until `None`.
    pub fn poll_report(&mut self) -> Option<DetectorReport> {
        self.reports.remove(0)
    }

    /// Whether [`Self::poll_report`] has something.
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// When the timer shall fire; `None` while silent.
    pub fn next_deadline(&self) -> Option<Instant> {
        let sends = self.detector.next_send().into_iter();
        let waits = self
            .sources
            .iter()
            .flatten()
            .filter(|source| source.silence != Silence::Dead)
            .map(|source| source.deadline);
        sends.chain(waits).min()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Calls `each` with every watched node and the time since it was last heard.
    pub fn for_each_source(&self, now: Instant, each: &mut dyn FnMut(DetectorPeer, Duration)) {
        for source in self.sources.iter().flatten() {
            each(source.peer, now.since(source.last_heard));
        }
    }

    /// How late the heartbeats of the neighbour in this place are, and those to it; `None` behind the last
    /// one. Places change with the view.
    pub fn neighbour_delays(&self, place: usize) -> Option<&NeighbourDelays> {
        self.delays.at(place)
    }
}

fn age_ms(now: Instant, heard: Instant) -> u16 {
    u16::try_from(now.since(heard).as_milliseconds())
        .unwrap_or(NEVER_HEARD.saturating_sub(1))
        .min(NEVER_HEARD.saturating_sub(1))
}
