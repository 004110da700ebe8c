// SPDX-License-Identifier: GPL-2.0

//! Telling everybody what was decided, until each has said that it has installed it.
//!
//! Those who voted get a short commit, those who join get the whole view. Whoever does not answer
//! after some attempts is left to the heartbeats: they carry the view's number, and a neighbour that
//! sees an older one sends the view.

use super::transfer::Transfers;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{write_commit, Ballot};
use crate::protocol::wire::Kind;

/// How often a node is told before it is left to the heartbeats.
const ATTEMPTS_MAX: u32 = 7;

#[derive(Clone, Copy, Debug)]
struct Receiver {
    identity: Identity,
    address: PeerAddress,
    /// It did not vote: it gets the whole view.
    is_new: bool,
}

/// The announcement of one decided view.
pub(super) struct Announcement {
    receivers: BoundedVec<Receiver>,
    ballot: Option<(Ballot, ViewNumber)>,
    attempts: u32,
    send_at: Instant,
    first_interval: Duration,
}

impl Announcement {
    /// Nothing to tell.
    pub(super) fn new(first_interval: Duration) -> Result<Self, OutOfMemory> {
        Ok(Self {
            receivers: BoundedVec::with_capacity(NODES_MAX)?,
            ballot: None,
            attempts: 0,
            send_at: Instant::ZERO,
            first_interval,
        })
    }

    /// Nothing to tell any more.
    pub(super) fn clear(&mut self) {
        self.receivers.clear();
        self.ballot = None;
    }

    /// Begins to tell of view `number`, decided under `ballot`.
    pub(super) fn begin(&mut self, now: Instant, ballot: Ballot, number: ViewNumber) {
        self.clear();
        self.ballot = Some((ballot, number));
        self.attempts = 0;
        self.send_at = now;
    }

    /// Adds somebody to be told.
    pub(super) fn add(&mut self, identity: Identity, address: PeerAddress, is_new: bool) {
        let _ = self.receivers.push(Receiver {
            identity,
            address,
            is_new,
        });
    }

    /// Somebody has installed view `number`.
    pub(super) fn take_installed(&mut self, from: Identity, number: ViewNumber) {
        if self
            .ballot
            .is_some_and(|(_, announced)| number >= announced)
        {
            self.receivers.retain(|receiver| receiver.identity != from);
        }
    }

    /// When to tell again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.receivers.is_empty()).then_some(self.send_at)
    }

    /// Tells those who have not answered, if it is time for that.
    pub(super) fn send_due(
        &mut self,
        now: Instant,
        transfers: &mut Transfers,
        outbox: &mut Outbox,
    ) {
        let Some((ballot, number)) = self.ballot else {
            return;
        };
        if self.receivers.is_empty() || now < self.send_at {
            return;
        }
        if self.attempts >= ATTEMPTS_MAX {
            self.clear();
            return;
        }
        let voters = self.receivers.iter().filter(|receiver| !receiver.is_new);
        outbox.send(
            voters.map(|receiver| &receiver.address),
            Kind::Commit,
            |writer| write_commit(writer, ballot, number),
        );
        for receiver in self.receivers.iter().filter(|receiver| receiver.is_new) {
            transfers.begin(receiver.address);
        }
        let factor = 1_u64.checked_shl(self.attempts).unwrap_or(1).min(8);
        self.send_at = now.after(self.first_interval.times(factor));
        self.attempts = self.attempts.saturating_add(1);
    }
}
