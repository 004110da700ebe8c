// SPDX-License-Identifier: GPL-2.0

//! The pulse of a node: heartbeats out, heartbeats in, probes, and the silence between them.
//!
//! This half of the protocol runs in soft-interrupt context and shares nothing with the engine but
//! three small values: the engine hands it a [`PulseAssignment`] for each view, it hands the engine
//! [`PulseReport`]s, and it sorts out which datagrams are the engine's. All its memory is had when it is
//! made, and every call costs O([`WATCHED_MAX`]).
//!
//! Each watched node (a *source*) goes through
//!
//! ```text
//!             m misses in a window of n            probe unanswered
//!  Watching ----------------------------> Doubted ------------------> Silent (told: Silent)
//!     ^                                      |                          |
//!     |   heartbeat or answer to a probe     |                          | all probes unanswered
//!     +--------------------------------------+--------------------------+
//!     ^                                                                 v
//!     +------------- heartbeat or answer (told: Heard) ------------ Dead (told: Dead)
//! ```
//!
//! Silence counts only while this node itself is awake: when its timer fires late, every deadline
//! moves by as much as it was late, so that a machine that was stopped or starved accuses nobody
//! for what it could not have heard.

mod delays;
mod receiving;
mod source;
mod target;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod test_bench;
mod values;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

pub use delays::{DelayHistogram, NeighbourDelays};
pub use values::{PulseAssignment, PulsePeer, PulseReport, PulseVerdict};

use self::delays::Delays;
use self::source::{Silence, SilenceRules, Source};
use self::target::{aligned_after, Target};
use super::configuration::ValidConfiguration;
use super::errors::{Counter, Counters};
use super::identity::{Identity, PeerAddress, ViewNumber};
use super::limits::{HEARTBEAT_BYTES, WATCHED_MAX};
use super::outputs::Transmit;
use super::random::Random;
use super::time::{Duration, Instant};
use super::wire::pulse::{PulseBody, NEVER_HEARD};
use super::wire::{write_datagram, Header, Kind};
use crate::platform::OutOfMemory;

/// Answers to probes that wait to be sent: one for each node that watches this one.
const ANSWERS_MAX: usize = WATCHED_MAX;
/// Reports that wait for the engine: all that the sources can have to say at once, and some others.
const REPORTS_MAX: usize = 2 * WATCHED_MAX + 8;

/// Heartbeats and probes of one node. Allocates only when it is made; every call is O(WATCHED_MAX).
pub struct Pulse {
    counters: Counters,
    cluster: u32,
    own: Identity,
    view: ViewNumber,
    counter: u64,
    interval: Duration,
    slack: Duration,
    window_mask: u32,
    window_misses: u32,
    probe_count: u32,
    probe_interval: Duration,
    other_view_pause: Duration,
    /// The moment that phases of targets count from.
    phase: Instant,
    rings: u64,
    targets: [Option<Target>; WATCHED_MAX],
    sources: [Option<Source>; WATCHED_MAX],
    answers: [Option<(PeerAddress, u32)>; ANSWERS_MAX],
    reports: [Option<PulseReport>; REPORTS_MAX],
    delays: Delays,
    /// Not before this time is another view reported again.
    other_view_after: Instant,
    /// When anything came from anybody who has a view.
    heard_anybody_at: Instant,
    /// Who hears nobody for so long does not tell others that it is well.
    deafness: Duration,
}

impl Pulse {
    /// A silent pulse. `seed` places the first heartbeat in its interval. May sleep in the kernel.
    ///
    /// # Errors
    ///
    /// Memory could not be had: there is no pulse.
    pub fn new(
        own: Identity,
        configuration: &ValidConfiguration,
        now: Instant,
        seed: u64,
    ) -> Result<Self, OutOfMemory> {
        let settings = configuration.settings();
        let interval = configuration.heartbeat_interval();
        let offset = Random::new(seed).below(interval.as_nanoseconds());
        Ok(Self {
            counters: Counters::new(),
            cluster: configuration.cluster(),
            own,
            view: ViewNumber::default(),
            counter: 0,
            interval,
            slack: Duration::from_milliseconds(u64::from(settings.heartbeat_slack_ms)),
            window_mask: u32::MAX
                .checked_shr(32_u32.saturating_sub(settings.window_heartbeats))
                .unwrap_or(1),
            window_misses: settings.window_misses,
            probe_count: settings.probe_count,
            probe_interval: Duration::from_milliseconds(u64::from(settings.probe_interval_ms)),
            other_view_pause: configuration.retransmit(),
            phase: now.after(Duration::from_nanoseconds(offset)),
            rings: u64::from(settings.rings),
            targets: [None; WATCHED_MAX],
            sources: [None; WATCHED_MAX],
            answers: [None; ANSWERS_MAX],
            reports: [None; REPORTS_MAX],
            delays: Delays::new()?,
            other_view_after: now,
            heard_anybody_at: now,
            deafness: configuration.deafness(),
        })
    }

    /// Starts, changes or ends (view zero) the pulse of a view. Peers that stay keep their state, but who
    /// was found silent is probed anew: what is said of it in this view shall be true now.
    pub fn install(&mut self, now: Instant, assignment: &PulseAssignment) {
        if self.own != assignment.own {
            self.own = assignment.own;
            self.counter = 0;
        }
        self.view = assignment.view;
        self.heard_anybody_at = now;
        let old_targets = self.targets;
        for (place, (slot, peer)) in self
            .targets
            .iter_mut()
            .zip(assignment.targets.iter())
            .enumerate()
        {
            *slot =
                peer.map(
                    |peer| match old_targets.iter().flatten().find(|old| old.peer == peer) {
                        Some(old) => Target { place, ..*old },
                        None => Target {
                            peer,
                            number: 0,
                            last_sent: now,
                            next_send: now,
                            place,
                        },
                    },
                );
        }
        let first_deadline = now.after(self.interval.times(2)).after(self.slack);
        let old_sources = self.sources;
        for (slot, peer) in self.sources.iter_mut().zip(assignment.sources.iter()) {
            *slot =
                peer.map(
                    |peer| match old_sources.iter().flatten().find(|old| old.peer == peer) {
                        Some(old) => old.in_new_view(now, self.probe_interval),
                        None => Source {
                            peer,
                            last_counter: 0,
                            last_heard: now,
                            last_heartbeat: None,
                            misses: 0,
                            silence: Silence::Watching,
                            deadline: first_deadline,
                            probes_sent: 0,
                            probe_due: false,
                        },
                    },
                );
        }
        let identity = |peer: &PulsePeer| peer.identity;
        self.delays.install(
            assignment.sources.iter().flatten().map(identity),
            assignment.targets.iter().flatten().map(identity),
        );
        // What was said of nodes that are not watched any more does not matter any more.
        let sources = &self.sources;
        for report in self.reports.iter_mut() {
            let subject = match report {
                Some(
                    PulseReport::Silent { subject, .. }
                    | PulseReport::Heard { subject }
                    | PulseReport::Dead { subject, .. },
                ) => *subject,
                _ => continue,
            };
            if !sources
                .iter()
                .flatten()
                .any(|source| source.peer.identity == subject)
            {
                *report = None;
            }
        }
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
                    let rules = SilenceRules {
                        interval: self.interval,
                        window_mask: self.window_mask,
                        window_misses: self.window_misses,
                        probe_count: self.probe_count,
                        probe_interval: self.probe_interval,
                    };
                    source.wait_is_over(now, &rules)
                }
                _ => continue,
            };
            match report {
                Some(PulseReport::Silent { .. }) => self.counters.count(Counter::Suspicions),
                Some(PulseReport::Dead { .. }) => self.counters.count(Counter::Accusations),
                _ => {}
            }
            if let Some(report) = report {
                self.report(report);
            }
        }
    }

    /// The next heartbeat, probe or answer to send; to be polled after every input until `None`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buffer: &mut [u8; HEARTBEAT_BYTES],
    ) -> Option<Transmit> {
        if self.view == ViewNumber::default() {
            return None;
        }
        if let Some((to, number)) = self.answers.iter_mut().find_map(Option::take) {
            self.counters.count(Counter::ProbesAnswered);
            return self.write(buffer, to, Kind::ProbeReply, number, NEVER_HEARD);
        }
        if let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.probe_due)
        {
            source.probe_due = false;
            source.probes_sent = source.probes_sent.saturating_add(1);
            let (to, number) = (source.peer.address, source.probes_sent);
            let age = age_ms(now, source.last_heard);
            self.counters.count(Counter::ProbesSent);
            return self.write(buffer, to, Kind::Probe, number, age);
        }
        self.withhold_heartbeats_if_deaf(now);
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let target = self
            .targets
            .iter_mut()
            .flatten()
            .find(|target| target.next_send <= now)?;
        target.number = target.number.wrapping_add(1);
        target.last_sent = now;
        let lateness = now.since(target.next_send);
        target.next_send = aligned_after(now, phase, interval, target.place, rings);
        let (peer, number) = (target.peer, target.number);
        let age = self
            .sources
            .iter()
            .flatten()
            .find(|source| source.peer.identity == peer.identity)
            .map_or(NEVER_HEARD, |source| age_ms(now, source.last_heard));
        self.delays.sent(peer.identity, lateness);
        self.counters.count(Counter::HeartbeatsSent);
        self.write(buffer, peer.address, Kind::Heartbeat, number, age)
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
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        for target in self.targets.iter_mut().flatten() {
            if target.next_send <= now {
                target.next_send = aligned_after(now, phase, interval, target.place, rings);
                self.counters.count(Counter::HeartbeatsWithheld);
            }
        }
    }

    fn write(
        &mut self,
        buffer: &mut [u8; HEARTBEAT_BYTES],
        to: PeerAddress,
        kind: Kind,
        number: u32,
        heard_age_ms: u16,
    ) -> Option<Transmit> {
        self.counter = self.counter.wrapping_add(1);
        let header = Header {
            kind,
            cluster: self.cluster,
            sender: self.own,
            view: self.view,
            counter: self.counter,
        };
        let body = PulseBody {
            number,
            heard_age_ms,
        };
        let length = write_datagram(buffer, &header, |writer| body.write(writer))?;
        self.counters.count(Counter::DatagramsSent);
        self.counters.add(Counter::BytesSent, length as u64);
        Some(Transmit { to, length })
    }

    /// The next report for the engine; to be polled after every input until `None`.
    pub fn poll_report(&mut self) -> Option<PulseReport> {
        let report = self.reports.first_mut()?.take();
        // The oldest stands first.
        self.reports.rotate_left(1);
        if report.is_some() {
            return report;
        }
        let place = self.reports.iter().position(Option::is_some)?;
        self.reports.rotate_left(place);
        self.reports.first_mut()?.take()
    }

    /// Whether [`Self::poll_report`] has something.
    pub fn has_reports(&self) -> bool {
        self.reports.iter().any(Option::is_some)
    }

    /// When the timer shall fire; `None` while silent.
    pub fn next_deadline(&self) -> Option<Instant> {
        let sends = self.targets.iter().flatten().map(|target| target.next_send);
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
    pub fn for_each_source(&self, now: Instant, each: &mut dyn FnMut(PulsePeer, Duration)) {
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
