// SPDX-License-Identifier: GPL-2.0

//! The pulse of a node: heartbeats out, heartbeats in, probes, and the silence between them.
//!
//! This half of the protocol runs in soft-interrupt context and shares nothing with the engine but
//! three small values: the engine hands it a [`PulseAssignment`] for each view, it hands the engine
//! [`PulseReport`]s, and it sorts out which datagrams are the engine's. It is of fixed size, never
//! allocates, and every call costs O([`WATCHED_MAX`]).
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

use super::configuration::ValidConfiguration;
use super::errors::{Counter, Counters};
use super::identity::{Identity, PeerAddress, ViewNumber};
use super::limits::{HEARTBEAT_BYTES, WATCHED_MAX};
use super::outputs::Transmit;
use super::random::Random;
use super::time::{Duration, Instant};
use super::wire::pulse::{PulseBody, NEVER_HEARD};
use super::wire::{write_datagram, Datagram, Header, Kind};

/// Answers to probes that wait to be sent.
const ANSWERS_MAX: usize = 16;
/// Reports that wait for the engine: all that the sources can have to say at once, and some others.
const REPORTS_MAX: usize = 2 * WATCHED_MAX + 8;

/// A node that heartbeats go to, or come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulsePeer {
    /// Who.
    pub identity: Identity,
    /// Where.
    pub address: PeerAddress,
}

/// Whom to send to and whom to watch in one view. Plain data, under 1 kB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulseAssignment {
    /// This node in this view (the incarnation may have changed).
    pub own: Identity,
    /// The view; zero: no view, be silent.
    pub view: ViewNumber,
    /// Heartbeats go to these. The place in the list decides the phase within the interval.
    pub targets: [Option<PulsePeer>; WATCHED_MAX],
    /// Heartbeats are awaited from these.
    pub sources: [Option<PulsePeer>; WATCHED_MAX],
}

impl PulseAssignment {
    /// No view: be silent.
    pub const fn silent(own: Identity) -> Self {
        Self {
            own,
            view: ViewNumber(0),
            targets: [None; WATCHED_MAX],
            sources: [None; WATCHED_MAX],
        }
    }
}

/// What the pulse tells the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PulseReport {
    /// Heartbeats of a watched node are missing and a first probe was not answered.
    Silent {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A node reported as silent was heard again.
    Heard {
        /// The node.
        subject: Identity,
    },
    /// None of the probes was answered, or a later life of the node answered.
    Dead {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A heartbeat or probe came from a node whose view number is not ours.
    OtherView {
        /// Who sent it.
        sender: Identity,
        /// From where.
        from: PeerAddress,
        /// Its view.
        view: ViewNumber,
    },
}

/// What became of a datagram in the soft interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PulseVerdict {
    /// It was a heartbeat, a probe or an answer, and is done with.
    Consumed,
    /// Its header is sound and its kind is the engine's: queue it for `Node::handle_datagram`.
    ForEngine,
    /// Refused and counted.
    Dropped(Counter),
}

/// A node that gets our heartbeats.
#[derive(Clone, Copy, Debug)]
struct Target {
    peer: PulsePeer,
    /// Heartbeats sent to it.
    number: u32,
    last_sent: Instant,
    next_send: Instant,
    /// Its place in the list of targets, which fixes its phase.
    place: usize,
}

/// Where the silence of a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// Heartbeats come.
    Watching,
    /// Too many are missing; the first probe is out.
    Doubted,
    /// A probe was not answered; the engine knows.
    Silent,
    /// No probe was answered; the engine knows.
    Dead,
}

/// A node that we watch.
#[derive(Clone, Copy, Debug)]
struct Source {
    peer: PulsePeer,
    /// Counter of its latest datagram: older ones and copies do not count.
    last_counter: u64,
    last_heard: Instant,
    /// One bit for each of the latest heartbeats that were due, the newest lowest; 1 is a miss.
    misses: u32,
    silence: Silence,
    /// The next miss (watching) or the end of the wait for the probe that is out.
    deadline: Instant,
    probes_sent: u32,
    /// A probe is to be sent now.
    probe_due: bool,
}

/// Heartbeats and probes of one node. No allocation; every call is O(WATCHED_MAX).
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
    /// Not before this time is another view reported again.
    other_view_after: Instant,
}

impl Pulse {
    /// A silent pulse. Nothing is allocated. `seed` places the first heartbeat in its interval.
    pub fn new(own: Identity, configuration: &ValidConfiguration, now: Instant, seed: u64) -> Self {
        let settings = configuration.settings();
        let interval = configuration.heartbeat_interval();
        let offset = Random::new(seed).below(interval.as_nanoseconds());
        Self {
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
            other_view_after: now,
        }
    }

    /// Starts, changes or ends (view zero) the pulse of a view. Peers that stay keep their state.
    pub fn install(&mut self, now: Instant, assignment: &PulseAssignment) {
        if self.own != assignment.own {
            self.own = assignment.own;
            self.counter = 0;
        }
        self.view = assignment.view;
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
                        Some(old) => *old,
                        None => Source {
                            peer,
                            last_counter: 0,
                            last_heard: now,
                            misses: 0,
                            silence: Silence::Watching,
                            deadline: first_deadline,
                            probes_sent: 0,
                            probe_due: false,
                        },
                    },
                );
        }
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

    /// A datagram came in, of whatever kind: called for each one, in the receive soft interrupt.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> PulseVerdict {
        self.counters.count(Counter::DatagramsReceived);
        match self.receive(now, from, bytes) {
            Ok(verdict) => verdict,
            Err(counter) => {
                self.counters.count(counter);
                PulseVerdict::Dropped(counter)
            }
        }
    }

    fn receive(
        &mut self,
        now: Instant,
        from: PeerAddress,
        bytes: &[u8],
    ) -> Result<PulseVerdict, Counter> {
        let datagram = Datagram::parse(bytes, self.cluster)?;
        let header = datagram.header;
        if header.sender == self.own {
            return Err(Counter::DroppedFromSelf);
        }
        if !header.kind.is_pulse() {
            return Ok(PulseVerdict::ForEngine);
        }
        let body = PulseBody::parse(datagram.body)?;
        if self.view == ViewNumber::default() {
            // Without a view there is nobody to listen to.
            return Err(Counter::DroppedNonMember);
        }
        if header.view != self.view {
            self.report_other_view(now, &header, from);
        }
        match header.kind {
            Kind::Heartbeat => self.receive_heartbeat(now, &header, from)?,
            Kind::Probe => self.receive_probe(&header, from, body.number)?,
            _ => self.receive_answer(now, &header, from, body.number)?,
        }
        Ok(PulseVerdict::Consumed)
    }

    fn receive_heartbeat(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
    ) -> Result<(), Counter> {
        let other_view = header.view != self.view;
        let next_miss = now.after(self.interval).after(self.slack);
        let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.peer.identity.node == header.sender.node)
        else {
            return Err(if other_view {
                Counter::DroppedOtherView
            } else {
                Counter::DroppedUnwatched
            });
        };
        if header.sender.incarnation < source.peer.identity.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if header.sender.incarnation > source.peer.identity.incarnation {
            return Err(Counter::DroppedOtherView);
        }
        if from != source.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if header.counter <= source.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        source.last_counter = header.counter;
        source.last_heard = now;
        source.misses = source.misses.wrapping_shl(1);
        source.deadline = next_miss;
        let heard = source.hear();
        self.counters.count(Counter::HeartbeatsReceived);
        if let Some(report) = heard {
            self.report(report);
        }
        Ok(())
    }

    /// Somebody doubts us. Whoever watches us by its view gets an answer, also while the views of
    /// both ends differ.
    fn receive_probe(
        &mut self,
        header: &Header,
        from: PeerAddress,
        number: u32,
    ) -> Result<(), Counter> {
        let known = self
            .targets
            .iter()
            .flatten()
            .map(|target| target.peer)
            .chain(self.sources.iter().flatten().map(|source| source.peer))
            .find(|peer| peer.identity.node == header.sender.node);
        match known {
            Some(peer) if peer.identity.incarnation > header.sender.incarnation => {
                return Err(Counter::DroppedStaleIncarnation);
            }
            Some(peer) if peer.identity == header.sender && peer.address != from => {
                return Err(Counter::DroppedWrongAddress);
            }
            Some(_) => {}
            None if header.view != self.view => {}
            None => return Err(Counter::DroppedNonMember),
        }
        match self.answers.iter_mut().find(|answer| answer.is_none()) {
            Some(free) => {
                *free = Some((from, number));
                Ok(())
            }
            None => Err(Counter::DroppedNoRoom),
        }
    }

    fn receive_answer(
        &mut self,
        now: Instant,
        header: &Header,
        from: PeerAddress,
        number: u32,
    ) -> Result<(), Counter> {
        let next_miss = now.after(self.interval).after(self.slack);
        let Some(source) = self
            .sources
            .iter_mut()
            .flatten()
            .find(|source| source.peer.identity.node == header.sender.node)
        else {
            return Err(Counter::DroppedUnwatched);
        };
        if from != source.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if header.sender.incarnation < source.peer.identity.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if number == 0 || number > source.probes_sent || source.silence == Silence::Watching {
            return Err(Counter::DroppedUnexpected);
        }
        if header.sender.incarnation > source.peer.identity.incarnation {
            // A later life answers: the one that we watch is gone for certain.
            if source.silence != Silence::Dead {
                source.silence = Silence::Dead;
                let report = PulseReport::Dead {
                    subject: source.peer.identity,
                    silence_ms: now.since(source.last_heard).as_milliseconds(),
                };
                self.report(report);
            }
            return Ok(());
        }
        if header.counter <= source.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        source.last_counter = header.counter;
        source.last_heard = now;
        source.deadline = next_miss;
        if let Some(report) = source.hear() {
            self.report(report);
        }
        Ok(())
    }

    fn report_other_view(&mut self, now: Instant, header: &Header, from: PeerAddress) {
        if now >= self.other_view_after {
            self.other_view_after = now.after(self.other_view_pause);
            self.report(PulseReport::OtherView {
                sender: header.sender,
                from,
                view: header.view,
            });
        }
    }

    /// Queues a report. There is room for what all sources can say; an `OtherView` without room is
    /// lost, the next heartbeat repeats it.
    fn report(&mut self, report: PulseReport) {
        if let Some(free) = self.reports.iter_mut().find(|place| place.is_none()) {
            *free = Some(report);
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
        let (interval, phase, rings) = (self.interval, self.phase, self.rings);
        let target = self
            .targets
            .iter_mut()
            .flatten()
            .find(|target| target.next_send <= now)?;
        target.number = target.number.wrapping_add(1);
        target.last_sent = now;
        target.next_send = aligned_after(now, phase, interval, target.place, rings);
        let (peer, number) = (target.peer, target.number);
        let age = self
            .sources
            .iter()
            .flatten()
            .find(|source| source.peer.identity == peer.identity)
            .map_or(NEVER_HEARD, |source| age_ms(now, source.last_heard));
        self.counters.count(Counter::HeartbeatsSent);
        self.write(buffer, peer.address, Kind::Heartbeat, number, age)
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
}

/// The settings that turn silence into an accusation.
struct SilenceRules {
    interval: Duration,
    window_mask: u32,
    window_misses: u32,
    probe_count: u32,
    probe_interval: Duration,
}

impl Source {
    /// The node was heard: back to watching.
    fn hear(&mut self) -> Option<PulseReport> {
        let told = matches!(self.silence, Silence::Silent | Silence::Dead);
        self.silence = Silence::Watching;
        self.probe_due = false;
        told.then_some(PulseReport::Heard {
            subject: self.peer.identity,
        })
    }

    /// The deadline has passed without a sign of life.
    fn wait_is_over(&mut self, now: Instant, rules: &SilenceRules) -> Option<PulseReport> {
        let subject = self.peer.identity;
        let silence_ms = now.since(self.last_heard).as_milliseconds();
        match self.silence {
            Silence::Watching => {
                self.misses = self.misses.wrapping_shl(1) | 1;
                let missed = (self.misses & rules.window_mask).count_ones();
                if missed < rules.window_misses {
                    self.deadline = self.deadline.after(rules.interval);
                    return None;
                }
                if rules.probe_count == 0 {
                    self.silence = Silence::Dead;
                    return Some(PulseReport::Dead {
                        subject,
                        silence_ms,
                    });
                }
                self.silence = Silence::Doubted;
                self.probes_sent = 0;
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                None
            }
            Silence::Doubted if rules.probe_count > 1 => {
                self.silence = Silence::Silent;
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                Some(PulseReport::Silent {
                    subject,
                    silence_ms,
                })
            }
            Silence::Silent if self.probes_sent < rules.probe_count => {
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                None
            }
            Silence::Doubted | Silence::Silent => {
                self.silence = Silence::Dead;
                Some(PulseReport::Dead {
                    subject,
                    silence_ms,
                })
            }
            Silence::Dead => None,
        }
    }
}

/// The first moment after `now` that has the phase of the target at `place`: the targets of a node
/// share out the interval evenly, so that the watchers of a node do not all wait equally long.
fn aligned_after(
    now: Instant,
    phase: Instant,
    interval: Duration,
    place: usize,
    rings: u64,
) -> Instant {
    let offset = interval
        .times(place as u64)
        .divided_by(rings)
        .as_nanoseconds();
    let origin = phase.as_nanoseconds().wrapping_add(offset);
    let length = interval.as_nanoseconds().max(1);
    let behind = now
        .as_nanoseconds()
        .wrapping_sub(origin)
        .checked_rem(length)
        .unwrap_or(0);
    let wait = length.saturating_sub(behind);
    // Hardly any time after the last one it would be a needless one.
    let wait = if wait < length / 8 { length } else { wait };
    now.after(Duration::from_nanoseconds(wait))
}

fn age_ms(now: Instant, heard: Instant) -> u16 {
    u16::try_from(now.since(heard).as_milliseconds())
        .unwrap_or(NEVER_HEARD.saturating_sub(1))
        .min(NEVER_HEARD.saturating_sub(1))
}
