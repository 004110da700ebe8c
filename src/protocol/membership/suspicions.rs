// SPDX-License-Identifier: GPL-2.0

//! What a coordinator has been told about members that may be dead, and when that is enough.
//!
//! ```text
//!  (nothing) --a watcher suspects--> Suspected --enough watchers accuse it--> Confirmed
//!      ^                                 |
//!      +-----all of them take it back----+
//! ```
//!
//! While too few accuse it, the subject is asked itself ([`super::indirect_probe`]): if it answers it is
//! *contradicted* that it is dead, and all of its watchers would have to say so.
//!
//! A subject that is suspected but not yet confirmed is *unsettled*: the proposal of other changes
//! waits a short while for it, so that nodes that died together go in one view (the idea of Rapid's
//! cut detection, Suresh et al. 2018).

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

use super::indirect_probe::IndirectProbe;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::limits::{NODES_MAX, RINGS_MAX};
use crate::protocol::time::{Duration, Instant};

/// An accusation that nobody has repeated for so many times the time to confirm it is forgotten.
const FORGOTTEN_TIMEOUTS: u64 = 8;

/// A small set of watchers.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Watchers([Option<NodeId>; RINGS_MAX]);

impl Watchers {
    fn insert(&mut self, watcher: NodeId) {
        if self.has(watcher) {
            return;
        }
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(watcher);
        }
    }

    fn remove(&mut self, watcher: NodeId) {
        for place in self.0.iter_mut() {
            if *place == Some(watcher) {
                *place = None;
            }
        }
    }

    fn has(&self, watcher: NodeId) -> bool {
        self.0.contains(&Some(watcher))
    }

    fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// What is known about one subject.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Suspicion {
    subject: Identity,
    suspecting: Watchers,
    accusing: Watchers,
    /// First time that anything was said, or that anything new was.
    since: Instant,
    accused_since: Option<Instant>,
    /// When an accuser last said so.
    accused_at: Instant,
    indirect_probe: IndirectProbe,
    confirmed: bool,
}

/// All suspicions of one node.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Suspicions {
    suspicions: BoundedVec<Suspicion>,
    /// After this time those who merely suspect count as accusing. Also the pause between two times that
    /// an accused subject is asked.
    confirmation_timeout: Duration,
    /// The pause between two questions to a subject that does not answer.
    question_interval: Duration,
    /// A suspicion that became nothing is forgotten after this time.
    suspicion_timeout: Duration,
    /// When all suspicions were looked at last.
    looked_at: Instant,
}

impl Suspicions {
    /// No suspicions.
    pub(super) fn new(
        confirmation_timeout: Duration,
        suspicion_timeout: Duration,
        question_interval: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            suspicions: BoundedVec::with_capacity(NODES_MAX)?,
            confirmation_timeout,
            question_interval,
            suspicion_timeout,
            looked_at: Instant::ZERO,
        })
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.suspicions.clear();
    }

    fn entry(&mut self, subject: Identity, now: Instant) -> Option<&mut Suspicion> {
        let place = match self
            .suspicions
            .iter()
            .position(|suspicion| suspicion.subject == subject)
        {
            Some(place) => place,
            None => {
                let place = self.suspicions.len();
                self.suspicions
                    .push(Suspicion {
                        subject,
                        suspecting: Watchers::default(),
                        accusing: Watchers::default(),
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

    /// `watcher` does not hear the subject. Returns whether this is news.
    pub(super) fn suspect(&mut self, now: Instant, subject: Identity, watcher: NodeId) -> bool {
        let Some(suspicion) = self.entry(subject, now) else {
            return false;
        };
        let news = !suspicion.suspecting.has(watcher) && !suspicion.accusing.has(watcher);
        if news {
            suspicion.suspecting.insert(watcher);
            suspicion.since = now;
        }
        news
    }

    /// `watcher` accuses the subject. Returns whether this is news.
    pub(super) fn accuse(&mut self, now: Instant, subject: Identity, watcher: NodeId) -> bool {
        let Some(suspicion) = self.entry(subject, now) else {
            return false;
        };
        let news = !suspicion.accusing.has(watcher);
        suspicion.accused_at = now;
        if news {
            suspicion.suspecting.remove(watcher);
            suspicion.accusing.insert(watcher);
            suspicion.since = now;
            if suspicion.accused_since.is_none() {
                suspicion.accused_since = Some(now);
                suspicion.indirect_probe = IndirectProbe::new(now);
            }
        }
        news
    }

    // ---- asking the subject -------------------------------------------------------------------

    /// The next accused subject that is to be asked now, and whether its silence has just become one
    /// that counts.
    pub(super) fn next_question(&mut self, now: Instant) -> Option<(Identity, bool)> {
        let (interval, pause) = (self.question_interval, self.confirmation_timeout);
        let suspicion = self
            .suspicions
            .as_mut_slice()
            .iter_mut()
            .find(|suspicion| {
                !suspicion.confirmed
                    && suspicion.accused_since.is_some()
                    && suspicion.indirect_probe.ask_at() <= now
            })?;
        Some((
            suspicion.subject,
            suspicion.indirect_probe.advance(now, interval, pause),
        ))
    }

    /// The subject has answered this node. Says whether its silence counted before; `None` if nobody
    /// accuses it, or enough do.
    pub(super) fn take_answer(&mut self, now: Instant, subject: Identity) -> Option<bool> {
        let pause = self.confirmation_timeout;
        let suspicion = self.accused(subject)?;
        Some(suspicion.indirect_probe.answer(now, pause))
    }

    /// Another node has had an answer of the subject.
    pub(super) fn contradict(&mut self, now: Instant, subject: Identity) {
        let pause = self.confirmation_timeout;
        if let Some(suspicion) = self.accused(subject) {
            suspicion.indirect_probe.contradict(now, pause);
        }
    }

    fn accused(&mut self, subject: Identity) -> Option<&mut Suspicion> {
        self.suspicions.as_mut_slice().iter_mut().find(|suspicion| {
            suspicion.subject == subject
                && !suspicion.confirmed
                && suspicion.accused_since.is_some()
        })
    }

    /// Whether somebody has heard the subject lately although it is accused.
    pub(super) fn is_contradicted(&self, subject: Identity) -> bool {
        self.suspicions
            .iter()
            .any(|suspicion| suspicion.subject == subject && self.contradicts(suspicion))
    }

    fn contradicts(&self, suspicion: &Suspicion) -> bool {
        suspicion.indirect_probe.is_contradicted(self.looked_at)
    }

    /// Who accuses the subject.
    pub(super) fn accusers(&self, subject: Identity) -> impl Iterator<Item = NodeId> + '_ {
        self.suspicions
            .iter()
            .filter(move |suspicion| suspicion.subject == subject)
            .flat_map(|suspicion| suspicion.accusing.0.iter().flatten().copied())
    }

    /// Who accuses the subject or suspects it.
    pub(super) fn suspecters(&self, subject: Identity) -> impl Iterator<Item = NodeId> + '_ {
        self.suspicions
            .iter()
            .filter(move |suspicion| suspicion.subject == subject)
            .flat_map(|suspicion| suspicion.accusing.0.iter().chain(&suspicion.suspecting.0))
            .flatten()
            .copied()
    }

    // ---- what is known ------------------------------------------------------------------------

    /// `watcher` takes back what it said. A confirmed subject stays confirmed: others may have
    /// begun to act on it.
    pub(super) fn take_back(&mut self, subject: Identity, watcher: NodeId) {
        if let Some(suspicion) = self
            .suspicions
            .as_mut_slice()
            .iter_mut()
            .find(|suspicion| suspicion.subject == subject)
        {
            suspicion.suspecting.remove(watcher);
            suspicion.accusing.remove(watcher);
            if suspicion.accusing.count() == 0 {
                suspicion.accused_since = None;
            }
        }
        self.suspicions.retain(|suspicion| {
            suspicion.confirmed
                || suspicion.suspecting.count() > 0
                || suspicion.accusing.count() > 0
        });
    }

    /// Whether `watcher`, who might speak up about `subject`, cannot: it is to be excluded itself, or
    /// somebody accuses it who is not the subject nor among the accusers of the subject. (One deaf node
    /// accuses all that it watches; that must not silence those who hear them, nor those who hear it.)
    pub(super) fn is_silenced(&self, watcher: Identity, subject: Identity) -> bool {
        let Some(suspicion) = self
            .suspicions
            .iter()
            .find(|suspicion| suspicion.subject == watcher && !self.contradicts(suspicion))
        else {
            return false;
        };
        let accusers = self
            .suspicions
            .iter()
            .find(|suspicion| suspicion.subject == subject);
        suspicion.confirmed
            || suspicion
                .accusing
                .0
                .iter()
                .flatten()
                .filter(|accuser| **accuser != subject.node)
                .any(|accuser| accusers.is_none_or(|of_subject| !of_subject.accusing.has(*accuser)))
    }

    /// Whether the subject is to be excluded.
    pub(super) fn is_confirmed(&self, subject: Identity) -> bool {
        self.suspicions
            .iter()
            .any(|suspicion| suspicion.subject == subject && suspicion.confirmed)
    }

    /// Whether the subject is to be excluded, or is accused and nobody contradicts: not somebody to wait
    /// for.
    pub(super) fn is_accused(&self, subject: Identity) -> bool {
        self.suspicions.iter().any(|suspicion| {
            suspicion.subject == subject
                && (suspicion.confirmed
                    || suspicion.accusing.count() > 0 && !self.contradicts(suspicion))
        })
    }

    /// Whether some subject is suspected and not settled yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.suspicions
            .iter()
            .any(|suspicion| !suspicion.confirmed && !self.contradicts(suspicion))
    }

    /// Whether any subject is to be excluded.
    pub(super) fn has_confirmed(&self) -> bool {
        self.suspicions.iter().any(|suspicion| suspicion.confirmed)
    }

    /// The next subject that has become one to be excluded by now: `needed` of its watchers accuse it,
    /// or after a while accuse or suspect it. It is marked as confirmed.
    pub(super) fn next_confirmed(
        &mut self,
        now: Instant,
        mut needed: impl FnMut(&Self, Identity) -> usize,
    ) -> Option<Identity> {
        for place in 0..self.suspicions.len() {
            let suspicion = *self.suspicions.get(place)?;
            let Some(accused_since) = suspicion.accused_since else {
                continue;
            };
            if suspicion.confirmed {
                continue;
            }
            let needed = needed(self, suspicion.subject).max(1);
            let mut accusers = suspicion.accusing.count();
            if now >= accused_since.after(self.confirmation_timeout) {
                accusers = accusers.saturating_add(suspicion.suspecting.count());
            }
            if accusers >= needed {
                if let Some(suspicion) = self.suspicions.as_mut_slice().get_mut(place) {
                    suspicion.confirmed = true;
                }
                return Some(suspicion.subject);
            }
        }
        None
    }

    /// Forgets what was said long ago and not repeated (the message that took it back was lost).
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.looked_at = now;
        let (suspicion_timeout, accusation_timeout) =
            (self.suspicion_timeout, self.accusation_timeout());
        self.suspicions.retain(|suspicion| {
            suspicion.confirmed
                || now
                    < match suspicion.accused_since {
                        Some(_) => suspicion.accused_at.after(accusation_timeout),
                        None => suspicion.since.after(suspicion_timeout),
                    }
        });
    }

    fn accusation_timeout(&self) -> Duration {
        self.confirmation_timeout.times(FORGOTTEN_TIMEOUTS)
    }

    /// When something here changes by itself.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.suspicions
            .iter()
            .filter(|suspicion| !suspicion.confirmed)
            .flat_map(|suspicion| match suspicion.accused_since {
                Some(since) => [
                    Some(since.after(self.confirmation_timeout)).filter(|at| *at > self.looked_at),
                    suspicion.indirect_probe.contradicted_until(self.looked_at),
                    Some(suspicion.indirect_probe.ask_at()),
                    Some(suspicion.accused_at.after(self.accusation_timeout())),
                ],
                None => [
                    Some(suspicion.since.after(self.suspicion_timeout)),
                    None,
                    None,
                    None,
                ],
            })
            .flatten()
            .min()
    }
}
