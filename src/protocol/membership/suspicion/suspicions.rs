// SPDX-License-Identifier: GPL-2.0

//! What monitors have reported to this node about members that may be dead, and when that is enough.
//!
//! ```text
//!  (nothing) --a monitor suspects--> Suspected --enough monitors accuse it--> Confirmed
//!      ^                                 |
//!      +----- all of them withdraw ------+
//! ```
//!
//! While too few accuse the subject, this node probes it ([`super::indirect_probe`]). An answer *contradicts* the
//! accusers: then all monitors of the subject would have to accuse it.
//!
//! A subject that is suspected and not yet confirmed is *unsettled*. The proposal of other changes waits a short while
//! for it, so that nodes that died together go in one view (the idea of Rapid's cut detection, Suresh et al. 2018).

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

use super::indirect_probe::IndirectProbe;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::limits::{NODES_MAX, RINGS_MAX};
use crate::protocol::time::{Duration, Instant};

/// An accusation that nobody repeats for so many confirmation timeouts is forgotten.
const FORGOTTEN_TIMEOUTS: u64 = 8;

/// A small set of monitors.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Monitors([Option<NodeId>; RINGS_MAX]);

impl Monitors {
    fn insert(&mut self, monitor: NodeId) {
        if self.has(monitor) {
            return;
        }
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(monitor);
        }
    }

    fn remove(&mut self, monitor: NodeId) {
        for place in self.0.iter_mut() {
            if *place == Some(monitor) {
                *place = None;
            }
        }
    }

    fn has(&self, monitor: NodeId) -> bool {
        self.0.contains(&Some(monitor))
    }

    fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// What monitors have reported about one subject.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Entry {
    subject: Identity,
    suspecting: Monitors,
    accusing: Monitors,
    /// When the last new report came.
    since: Instant,
    accused_since: Option<Instant>,
    /// When the last accusation came, new or repeated.
    accused_at: Instant,
    indirect_probe: IndirectProbe,
    confirmed: bool,
}

/// All suspicions that this node knows of.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Suspicions {
    suspicions: BoundedVec<Entry>,
    /// After this time monitors that merely suspect count as accusers. Also the pause between two rounds of
    /// probes.
    confirmation_timeout: Duration,
    /// The pause between two probes of a subject that does not answer.
    probe_interval: Duration,
    /// A suspicion that no accusation follows is forgotten after this time.
    suspicion_timeout: Duration,
    /// When old suspicions were last forgotten: the time by which contradictions are judged.
    looked_at: Instant,
}

impl Suspicions {
    /// No suspicion.
    pub(super) fn new(
        confirmation_timeout: Duration,
        suspicion_timeout: Duration,
        probe_interval: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            suspicions: BoundedVec::with_capacity(NODES_MAX)?,
            confirmation_timeout,
            probe_interval,
            suspicion_timeout,
            looked_at: Instant::ZERO,
        })
    }

    /// Forget all suspicions.
    pub(super) fn clear(&mut self) {
        self.suspicions.clear();
    }

    fn entry(&mut self, subject: Identity, now: Instant) -> Option<&mut Entry> {
        let place = match self
            .suspicions
            .iter()
            .position(|entry| entry.subject == subject)
        {
            Some(place) => place,
            None => {
                let place = self.suspicions.len();
                self.suspicions
                    .push(Entry {
                        subject,
                        suspecting: Monitors::default(),
                        accusing: Monitors::default(),
                        since: now,
                        accused_since: None,
                        accused_at: now,
                        indirect_probe: IndirectProbe::new(now),
                        confirmed: false,
                    })
                    .ok()?;
                place
            }
        };
        self.suspicions.as_mut_slice().get_mut(place)
    }

    /// Note that `monitor` does not hear the subject. Returns whether that is news.
    pub(super) fn suspect(&mut self, now: Instant, subject: Identity, monitor: NodeId) -> bool {
        let Some(entry) = self.entry(subject, now) else {
            return false;
        };
        let news = !entry.suspecting.has(monitor) && !entry.accusing.has(monitor);
        if news {
            entry.suspecting.insert(monitor);
            entry.since = now;
        }
        news
    }

    /// Note that `monitor` accuses the subject. Returns whether that is news.
    pub(super) fn accuse(&mut self, now: Instant, subject: Identity, monitor: NodeId) -> bool {
        let Some(entry) = self.entry(subject, now) else {
            return false;
        };
        let news = !entry.accusing.has(monitor);
        entry.accused_at = now;
        if news {
            entry.suspecting.remove(monitor);
            entry.accusing.insert(monitor);
            entry.since = now;
            if entry.accused_since.is_none() {
                entry.accused_since = Some(now);
                entry.indirect_probe = IndirectProbe::new(now);
            }
        }
        news
    }

    // ---- probing the subject ------------------------------------------------------------------

    /// The next accused subject to probe now, and whether its silence has just become one that counts.
    pub(super) fn next_probe(&mut self, now: Instant) -> Option<(Identity, bool)> {
        let (interval, pause) = (self.probe_interval, self.confirmation_timeout);
        let entry = self.suspicions.as_mut_slice().iter_mut().find(|entry| {
            !entry.confirmed
                && entry.accused_since.is_some()
                && entry.indirect_probe.probe_at() <= now
        })?;
        Some((
            entry.subject,
            entry.indirect_probe.advance(now, interval, pause),
        ))
    }

    /// Take in the answer of the subject. Returns whether its silence counted before, or `None` if nobody accuses it or
    /// its failure is confirmed.
    pub(super) fn take_answer(&mut self, now: Instant, subject: Identity) -> Option<bool> {
        let pause = self.confirmation_timeout;
        let entry = self.accused(subject)?;
        Some(entry.indirect_probe.answer(now, pause))
    }

    /// Note that another node hears the subject.
    pub(super) fn contradict(&mut self, now: Instant, subject: Identity) {
        let pause = self.confirmation_timeout;
        if let Some(entry) = self.accused(subject) {
            entry.indirect_probe.contradict(now, pause);
        }
    }

    fn accused(&mut self, subject: Identity) -> Option<&mut Entry> {
        self.suspicions.as_mut_slice().iter_mut().find(|entry| {
            entry.subject == subject && !entry.confirmed && entry.accused_since.is_some()
        })
    }

    /// Whether somebody has lately heard the subject although it is accused.
    pub(super) fn is_contradicted(&self, subject: Identity) -> bool {
        self.suspicions
            .iter()
            .any(|entry| entry.subject == subject && self.contradicts(entry))
    }

    fn contradicts(&self, entry: &Entry) -> bool {
        entry.indirect_probe.is_contradicted(self.looked_at)
    }

    /// The monitors that accuse the subject.
    pub(super) fn accusers(&self, subject: Identity) -> impl Iterator<Item = NodeId> + '_ {
        self.suspicions
            .iter()
            .filter(move |entry| entry.subject == subject)
            .flat_map(|entry| entry.accusing.0.iter().flatten().copied())
    }

    /// The monitors that accuse or suspect the subject.
    pub(super) fn reporters(&self, subject: Identity) -> impl Iterator<Item = NodeId> + '_ {
        self.suspicions
            .iter()
            .filter(move |entry| entry.subject == subject)
            .flat_map(|entry| entry.accusing.0.iter().chain(&entry.suspecting.0))
            .flatten()
            .copied()
    }

    // ---- what is known ------------------------------------------------------------------------

    /// Withdraw what `monitor` reported. A confirmed subject stays confirmed: others may have begun to act on it.
    pub(super) fn withdraw(&mut self, subject: Identity, monitor: NodeId) {
        if let Some(entry) = self
            .suspicions
            .as_mut_slice()
            .iter_mut()
            .find(|entry| entry.subject == subject)
        {
            entry.suspecting.remove(monitor);
            entry.accusing.remove(monitor);
            if entry.accusing.count() == 0 {
                entry.accused_since = None;
            }
        }
        self.suspicions.retain(|entry| {
            entry.confirmed || entry.suspecting.count() > 0 || entry.accusing.count() > 0
        });
    }

    /// Whether the word of `monitor` about `subject` does not count, since it may be dead itself: its failure is
    /// confirmed, or it is accused by a member that is neither the subject nor an accuser of the subject. (One deaf
    /// node accuses all that it monitors. That must silence neither those who hear them nor those who hear it.)
    pub(super) fn is_silenced(&self, monitor: Identity, subject: Identity) -> bool {
        let Some(entry) = self
            .suspicions
            .iter()
            .find(|entry| entry.subject == monitor && !self.contradicts(entry))
        else {
            return false;
        };
        let accusers = self
            .suspicions
            .iter()
            .find(|entry| entry.subject == subject);
        entry.confirmed
            || entry
                .accusing
                .0
                .iter()
                .flatten()
                .filter(|accuser| **accuser != subject.node)
                .any(|accuser| accusers.is_none_or(|of_subject| !of_subject.accusing.has(*accuser)))
    }

    /// Whether the failure of the subject is confirmed.
    pub(super) fn is_confirmed(&self, subject: Identity) -> bool {
        self.suspicions
            .iter()
            .any(|entry| entry.subject == subject && entry.confirmed)
    }

    /// Whether the failure of the subject is confirmed, or it is accused and nobody contradicts: nobody waits for it.
    pub(super) fn is_accused(&self, subject: Identity) -> bool {
        self.suspicions.iter().any(|entry| {
            entry.subject == subject
                && (entry.confirmed || entry.accusing.count() > 0 && !self.contradicts(entry))
        })
    }

    /// Whether some subject is suspected and neither confirmed nor contradicted.
    pub(super) fn is_unsettled(&self) -> bool {
        self.suspicions
            .iter()
            .any(|entry| !entry.confirmed && !self.contradicts(entry))
    }

    /// Whether the failure of any subject is confirmed.
    pub(super) fn has_confirmed(&self) -> bool {
        self.suspicions.iter().any(|entry| entry.confirmed)
    }

    /// Confirm the next subject that `needed` monitors accuse, or after the confirmation timeout accuse or suspect.
    pub(super) fn next_confirmed(
        &mut self,
        now: Instant,
        mut needed: impl FnMut(&Self, Identity) -> usize,
    ) -> Option<Identity> {
        for place in 0..self.suspicions.len() {
            let entry = *self.suspicions.get(place)?;
            let Some(accused_since) = entry.accused_since else {
                continue;
            };
            if entry.confirmed {
                continue;
            }
            let needed = needed(self, entry.subject).max(1);
            let mut accusers = entry.accusing.count();
            if now >= accused_since.after(self.confirmation_timeout) {
                accusers = accusers.saturating_add(entry.suspecting.count());
            }
            if accusers >= needed {
                if let Some(entry) = self.suspicions.as_mut_slice().get_mut(place) {
                    entry.confirmed = true;
                }
                return Some(entry.subject);
            }
        }
        None
    }

    /// Forget reports that nobody has repeated for long: the message that withdrew them was lost.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.looked_at = now;
        let (suspicion_timeout, accusation_timeout) =
            (self.suspicion_timeout, self.accusation_timeout());
        self.suspicions.retain(|entry| {
            entry.confirmed
                || now
                    < match entry.accused_since {
                        Some(_) => entry.accused_at.after(accusation_timeout),
                        None => entry.since.after(suspicion_timeout),
                    }
        });
    }

    fn accusation_timeout(&self) -> Duration {
        self.confirmation_timeout.times(FORGOTTEN_TIMEOUTS)
    }

    /// When a suspicion changes by itself.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.suspicions
            .iter()
            .filter(|entry| !entry.confirmed)
            .flat_map(|entry| match entry.accused_since {
                Some(since) => [
                    Some(since.after(self.confirmation_timeout)).filter(|at| *at > self.looked_at),
                    entry.indirect_probe.contradicted_until(self.looked_at),
                    Some(entry.indirect_probe.probe_at()),
                    Some(entry.accused_at.after(self.accusation_timeout())),
                ],
                None => [
                    Some(entry.since.after(self.suspicion_timeout)),
                    None,
                    None,
                    None,
                ],
            })
            .flatten()
            .min()
    }
}
