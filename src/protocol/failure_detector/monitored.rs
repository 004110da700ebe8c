// SPDX-License-Identifier: GPL-2.0

//! A monitored node: how missed heartbeats and unanswered probes become suspicion and death.
//!
//! ```text
//!             m misses in a window of n            first probe unanswered
//!    Alive ------------------------------> Suspected ------------------> Silent (report: Silent)
//!     ^                                       |                           |
//!     | heartbeat or probe reply              |                           | all probes unanswered
//!     +---------------------------------------+---------------------------+
//!     ^                                                                   v
//!     +------- heartbeat or probe reply (report: Heard) -------------- Dead (report: Dead)
//!
//!             another member is suspected           all probes but the last unanswered
//!    Alive ------------------------------> Probed ------------------------------------> Silent (report: Silent)
//! ```
//!
//! `Probed` is the state of a node that has missed nothing: this node was asked to probe all nodes that it
//! monitors.

use super::headers::Received;
use super::values::{DetectorPeer, DetectorReport};
use crate::protocol::configuration::{DetectorKind, ValidConfiguration};
use crate::protocol::errors::Counter;
use crate::protocol::identity::PeerAddress;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::heartbeat::{DetectorBody, NEVER_HEARD};

/// Where the suspicion of a node stands (see the drawing above).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Heartbeats arrive.
    Alive,
    /// No heartbeat is missing, but the node is being probed since another member is suspected.
    Probed,
    /// Too many heartbeats are missing; the first probe is out.
    Suspected,
    /// A probe was not answered, and the engine knows it.
    Silent,
    /// No probe was answered, and the engine knows it.
    Dead,
}

/// The settings that turn silence into an accusation.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuspicionRules {
    interval: Duration,
    window_mask: u32,
    window_misses: u32,
    probe_count: u32,
    probe_interval: Duration,
}

impl SuspicionRules {
    /// The configured rules. Gossip has no window of misses: by the time that a counter is missed it has stood
    /// still for many rounds.
    pub(super) fn new(configuration: &ValidConfiguration) -> Self {
        let settings = configuration.settings();
        let (window_heartbeats, window_misses) = match settings.detector {
            DetectorKind::Ring => (settings.window_heartbeats, settings.window_misses),
            DetectorKind::Gossip => (1, 1),
        };
        Self {
            interval: configuration.heartbeat_interval(),
            window_mask: u32::MAX
                .checked_shr(32_u32.saturating_sub(window_heartbeats))
                .unwrap_or(1),
            window_misses,
            probe_count: settings.probe_count,
            probe_interval: Duration::from_milliseconds(u64::from(settings.probe_interval_ms)),
        }
    }

    /// Whether nodes are probed at all before they are reported.
    pub(super) fn has_probes(&self) -> bool {
        self.probe_count > 0
    }
}

/// A node that this node monitors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monitored {
    peer: DetectorPeer,
    /// The sequence number of its latest datagram. Older ones and copies do not count.
    last_counter: u64,
    last_heard: Instant,
    /// When its latest heartbeat arrived, in whatever view. Probe replies do not count here.
    last_heartbeat: Option<Instant>,
    /// One bit for each of the latest heartbeats that were due, the newest lowest; 1 is a miss.
    misses: u32,
    state: State,
    /// When the next heartbeat is missed (`Alive`), or the end of the wait for the reply to the latest probe.
    deadline: Instant,
    probes_sent: u32,
    /// A probe is to be sent now.
    probe_due: bool,
}

impl Monitored {
    /// A node that was not monitored before. It misses its first heartbeat at `deadline`.
    pub(super) fn new(peer: DetectorPeer, now: Instant, deadline: Instant) -> Self {
        Self {
            peer,
            last_counter: 0,
            last_heard: now,
            last_heartbeat: None,
            misses: 0,
            state: State::Alive,
            deadline,
            probes_sent: 0,
            probe_due: false,
        }
    }

    /// The same node in the next view. If it was reported as silent or dead it is probed again: a report in the
    /// new view must be true in the new view. If it is alive, its next miss is not before `earliest`.
    pub(super) fn in_new_view(
        mut self,
        now: Instant,
        earliest: Instant,
        rules: &SuspicionRules,
    ) -> Self {
        match self.state {
            State::Alive => self.deadline = self.deadline.max(earliest),
            State::Probed | State::Suspected => {}
            State::Silent | State::Dead => {
                self.state = State::Suspected;
                self.begin_probing(now, rules);
            }
        }
        self
    }

    /// The node and its address.
    pub(super) fn peer(&self) -> DetectorPeer {
        self.peer
    }

    /// Whether the node is reported as dead.
    pub(super) fn is_dead(&self) -> bool {
        self.state == State::Dead
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.is_dead()).then_some(self.deadline)
    }

    /// The time since the node was last heard.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_heard)
    }

    /// [`Self::silence`] in milliseconds as heartbeats and probes carry it.
    pub(super) fn age_ms(&self, now: Instant) -> u16 {
        let longest = NEVER_HEARD.saturating_sub(1);
        u16::try_from(self.silence(now).as_milliseconds()).map_or(longest, |age| age.min(longest))
    }

    /// Move the deadline: this node could not have heard anything for so long.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.deadline = self.deadline.after(by);
    }

    /// Probe the node although it has missed nothing.
    pub(super) fn probe(&mut self, now: Instant, rules: &SuspicionRules) {
        if self.state == State::Alive {
            self.state = State::Probed;
            self.begin_probing(now, rules);
        }
    }

    fn begin_probing(&mut self, now: Instant, rules: &SuspicionRules) {
        self.probes_sent = 0;
        self.probe_again(now, rules);
    }

    fn probe_again(&mut self, now: Instant, rules: &SuspicionRules) {
        self.probe_due = true;
        self.deadline = now.after(rules.probe_interval);
    }

    /// Take the probe that is due: where it goes, and its body.
    pub(super) fn take_probe(&mut self, now: Instant) -> Option<(PeerAddress, DetectorBody)> {
        if !self.probe_due {
            return None;
        }
        self.probe_due = false;
        self.probes_sent = self.probes_sent.saturating_add(1);
        let body = DetectorBody {
            number: self.probes_sent,
            heard_age_ms: self.age_ms(now),
        };
        Some((self.peer.address, body))
    }

    /// Check the header of a heartbeat and note its sequence number. [`Self::hear_heartbeat`] follows.
    ///
    /// # Errors
    ///
    /// The counter of a heartbeat that does not count: of another incarnation, from a wrong address, or a copy.
    pub(super) fn accept_heartbeat(&mut self, received: &Received) -> Result<(), Counter> {
        let monitored = self.peer.identity;
        if received.sender().incarnation < monitored.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if received.sender().incarnation > monitored.incarnation {
            return Err(Counter::DroppedOtherView);
        }
        if received.from != self.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if received.header.counter <= self.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        self.last_counter = received.header.counter;
        Ok(())
    }

    /// A heartbeat arrived, or the gossiped counter has grown: expect the next one by `next_miss`. Returns when the
    /// heartbeat before arrived. [`Self::recover`] follows.
    pub(super) fn hear_heartbeat(&mut self, now: Instant, next_miss: Instant) -> Option<Instant> {
        self.last_heard = now;
        self.misses = self.misses.wrapping_shl(1);
        self.deadline = next_miss;
        self.last_heartbeat.replace(now)
    }

    /// Return to `Alive`. Returns a report if the node was reported as silent or dead.
    pub(super) fn recover(&mut self) -> Option<DetectorReport> {
        let was_reported = matches!(self.state, State::Silent | State::Dead);
        self.state = State::Alive;
        self.probe_due = false;
        was_reported.then_some(DetectorReport::Heard {
            subject: self.peer.identity,
        })
    }

    /// The reply to the probe with this number arrived. Returns what to report.
    ///
    /// # Errors
    ///
    /// The counter of a reply that does not count: of an earlier incarnation, from a wrong address, to a probe
    /// that was not sent, or a copy.
    pub(super) fn hear_reply(
        &mut self,
        received: &Received,
        number: u32,
        next_miss: Instant,
    ) -> Result<Option<DetectorReport>, Counter> {
        let monitored = self.peer.identity;
        if received.from != self.peer.address {
            return Err(Counter::DroppedWrongAddress);
        }
        if received.sender().incarnation < monitored.incarnation {
            return Err(Counter::DroppedStaleIncarnation);
        }
        if number == 0 || number > self.probes_sent || self.state == State::Alive {
            return Err(Counter::DroppedUnexpected);
        }
        if received.sender().incarnation > monitored.incarnation {
            // A later incarnation replies: the monitored one is gone for certain.
            let is_news = !self.is_dead();
            return Ok(is_news.then(|| self.die(received.now)));
        }
        if received.header.counter <= self.last_counter {
            return Err(Counter::DroppedDuplicate);
        }
        self.last_counter = received.header.counter;
        self.last_heard = received.now;
        self.deadline = next_miss;
        Ok(self.recover())
    }

    fn die(&mut self, now: Instant) -> DetectorReport {
        self.state = State::Dead;
        DetectorReport::Dead {
            subject: self.peer.identity,
            silence_ms: self.silence(now).as_milliseconds(),
        }
    }

    /// Act on the deadline if it has passed: count a miss, or a probe without a reply. Returns what to report.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        rules: &SuspicionRules,
    ) -> Option<DetectorReport> {
        if now < self.deadline {
            return None;
        }
        match self.state {
            State::Alive => {
                self.misses = self.misses.wrapping_shl(1) | 1;
                let missed = (self.misses & rules.window_mask).count_ones();
                if missed < rules.window_misses {
                    self.deadline = self.deadline.after(rules.interval);
                    return None;
                }
                if !rules.has_probes() {
                    return Some(self.die(now));
                }
                self.state = State::Suspected;
                self.begin_probing(now, rules);
                None
            }
            // A node in this state was heard not long ago, so one lost probe is weak evidence.
            State::Probed if self.probes_sent.saturating_add(1) < rules.probe_count => {
                self.probe_again(now, rules);
                None
            }
            State::Probed | State::Suspected if self.probes_sent < rules.probe_count => {
                self.state = State::Silent;
                self.probe_again(now, rules);
                Some(DetectorReport::Silent {
                    subject: self.peer.identity,
                    silence_ms: self.silence(now).as_milliseconds(),
                })
            }
            State::Silent if self.probes_sent < rules.probe_count => {
                self.probe_again(now, rules);
                None
            }
            State::Probed | State::Suspected | State::Silent => Some(self.die(now)),
            State::Dead => None,
        }
    }
}
