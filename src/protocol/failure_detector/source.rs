// SPDX-License-Identifier: GPL-2.0

//! A node that is watched: how missed heartbeats become suspicion, silence and death (see the drawing in
//! [`super`]).

use super::{DetectorPeer, DetectorReport};
use crate::protocol::configuration::{DetectorKind, ValidConfiguration};
use crate::protocol::time::{Duration, Instant};

/// Where the silence of a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Heartbeats come.
    Watching,
    /// Nothing is missing, but somebody else may be dead: the first probes are out.
    Checked,
    /// Too many are missing; the first probe is out.
    Suspected,
    /// A probe was not answered; the engine knows.
    Silent,
    /// No probe was answered; the engine knows.
    Dead,
}

/// A node that we watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) peer: DetectorPeer,
    /// Counter of its latest datagram: older ones and copies do not count.
    pub(super) last_counter: u64,
    pub(super) last_heard: Instant,
    /// When a heartbeat of it came, in whatever view; answers to probes do not count here.
    pub(super) last_heartbeat: Option<Instant>,
    /// One bit for each of the latest heartbeats that were due, the newest lowest; 1 is a miss.
    pub(super) misses: u32,
    pub(super) silence: Silence,
    /// The next miss (watching) or the end of the wait for the probe that is out.
    pub(super) deadline: Instant,
    pub(super) probes_sent: u32,
    /// A probe is to be sent now.
    pub(super) probe_due: bool,
}

/// The settings that turn silence into an accusation.
#[derive(Clone, Copy, Debug)]
pub(super) struct SilenceRules {
    pub(super) interval: Duration,
    pub(super) window_mask: u32,
    pub(super) window_misses: u32,
    pub(super) probe_count: u32,
    pub(super) probe_interval: Duration,
}

impl SilenceRules {
    /// What an operator set. By gossip there is no window of misses: a counter that stands still for as long as
    /// is waited has been missed in many rounds.
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
}

impl Source {
    /// A node that has not been watched before, to be missed at `deadline`.
    pub(super) fn new(peer: DetectorPeer, now: Instant, deadline: Instant) -> Self {
        Self {
            peer,
            last_counter: 0,
            last_heard: now,
            last_heartbeat: None,
            misses: 0,
            silence: Silence::Watching,
            deadline,
            probes_sent: 0,
            probe_due: false,
        }
    }

    /// The same node in the next view: if it was found silent, that has to be found out again.
    pub(super) fn in_new_view(self, now: Instant, probe_interval: Duration) -> Self {
        match self.silence {
            Silence::Watching | Silence::Checked | Silence::Suspected => self,
            Silence::Silent | Silence::Dead => Self {
                silence: Silence::Suspected,
                probes_sent: 0,
                probe_due: true,
                deadline: now.after(probe_interval),
                ..self
            },
        }
    }

    /// Somebody is suspected: whether this one is there is found out at once, as after a miss.
    pub(super) fn check(&mut self, now: Instant, rules: &SilenceRules) {
        if self.silence == Silence::Watching {
            self.silence = Silence::Checked;
            self.begin_probing(now, rules);
        }
    }

    fn begin_probing(&mut self, now: Instant, rules: &SilenceRules) {
        self.probes_sent = 0;
        self.probe_due = true;
        self.deadline = now.after(rules.probe_interval);
    }

    /// The node was heard: back to watching.
    pub(super) fn hear(&mut self) -> Option<DetectorReport> {
        let told = matches!(self.silence, Silence::Silent | Silence::Dead);
        self.silence = Silence::Watching;
        self.probe_due = false;
        told.then_some(DetectorReport::Heard {
            subject: self.peer.identity,
        })
    }

    /// The deadline has passed without a sign of life.
    pub(super) fn wait_is_over(
        &mut self,
        now: Instant,
        rules: &SilenceRules,
    ) -> Option<DetectorReport> {
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
                    return Some(DetectorReport::Dead {
                        subject,
                        silence_ms,
                    });
                }
                self.silence = Silence::Suspected;
                self.begin_probing(now, rules);
                None
            }
            // One lost probe says little of a node that was heard not long ago.
            Silence::Checked if self.probes_sent.saturating_add(1) < rules.probe_count => {
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                None
            }
            Silence::Checked | Silence::Suspected if self.probes_sent < rules.probe_count => {
                self.silence = Silence::Silent;
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                Some(DetectorReport::Silent {
                    subject,
                    silence_ms,
                })
            }
            Silence::Silent if self.probes_sent < rules.probe_count => {
                self.probe_due = true;
                self.deadline = now.after(rules.probe_interval);
                None
            }
            Silence::Checked | Silence::Suspected | Silence::Silent => {
                self.silence = Silence::Dead;
                Some(DetectorReport::Dead {
                    subject,
                    silence_ms,
                })
            }
            Silence::Dead => None,
        }
    }
}
