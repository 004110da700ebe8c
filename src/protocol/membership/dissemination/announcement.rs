// SPDX-License-Identifier: GPL-2.0

//! Announcing a decided view until each member reports that it has installed it.
//!
//! Voters get a short commit, joining nodes get the whole view. A member that does not answer after some attempts is left
//! to the heartbeats: they carry the number of the view, and a neighbour that sees an older number sends the view.

use super::view_transfer::Transfers;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{write_commit, Ballot};
use crate::protocol::wire::Kind;

/// How often a member is told before it is left to the heartbeats.
const ATTEMPTS_MAX: u32 = 7;

#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Receiver {
    identity: Identity,
    address: PeerAddress,
    /// It did not vote: it gets the whole view.
    is_new: bool,
}

/// The announcement of one decided view.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Announcement {
    receivers: BoundedVec<Receiver>,
    ballot: Option<(Ballot, ViewNumber)>,
    attempts: u32,
    send_at: Instant,
    first_interval: Duration,
}

impl Announcement {
    /// Nothing to announce.
    pub(super) fn new(first_interval: Duration) -> Result<Self, OutOfMemory> {
        Ok(Self {
            receivers: BoundedVec::with_capacity(NODES_MAX)?,
            ballot: None,
            attempts: 0,
            send_at: Instant::ZERO,
            first_interval,
        })
    }

    /// End the announcement.
    pub(super) fn clear(&mut self) {
        self.receivers.clear();
        self.ballot = None;
    }

    /// Begin to announce view `number`, decided under `ballot`.
    pub(super) fn begin(&mut self, now: Instant, ballot: Ballot, number: ViewNumber) {
        self.clear();
        self.ballot = Some((ballot, number));
        self.attempts = 0;
        self.send_at = now;
    }

    /// Add a member to be told. A new member gets the whole view.
    pub(super) fn add(&mut self, identity: Identity, address: PeerAddress, is_new: bool) {
        let _ = self.receivers.push(Receiver {
            identity,
            address,
            is_new,
        });
    }

    /// Note that `from` has installed view `number`.
    pub(super) fn take_installed(&mut self, from: Identity, number: ViewNumber) {
        if self
            .ballot
            .is_some_and(|(_, announced)| number >= announced)
        {
            self.receivers.retain(|receiver| receiver.identity != from);
        }
    }

    /// When members are told again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.receivers.is_empty()).then_some(self.send_at)
    }

    /// Tell the members that have not answered, if that is due.
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

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_announcement))]
mod tests {
    use super::*;
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, node, outbox, span, view, TestResult, Unexpected,
        CLUSTER,
    };
    use crate::protocol::wire::membership::parse_commit;
    use crate::protocol::wire::Datagram;

    const BALLOT: Ballot = Ballot {
        round: 3,
        coordinator: node(1),
    };
    const NUMBER: ViewNumber = ViewNumber(7);

    /// An announcement to voters 2 and 3 and to node 4, which joins, begun at 0 ms.
    fn announcement() -> Result<Announcement, Unexpected> {
        let mut announcement = Announcement::new(span(30))?;
        announcement.begin(at(0), BALLOT, NUMBER);
        for number in 2..=4 {
            announcement.add(identity(number), address(number), number == 4);
        }
        Ok(announcement)
    }

    /// Sends what is due at `now`; which nodes got a commit and which the view, as bits.
    fn told(announcement: &mut Announcement, now: Instant) -> Result<(u32, u32), Unexpected> {
        let (mut outbox, mut transfers) = (outbox()?, Transfers::new()?);
        announcement.send_due(now, &mut transfers, &mut outbox);
        let departures = super::super::departures::Departures::new()?;
        transfers.pump(&view(1..=4)?, &departures, &mut outbox);
        let (mut commits, mut views) = (0, 0);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
            let bytes = buffer.get(..transmit.length).ok_or(Unexpected)?;
            let datagram = Datagram::parse(bytes, CLUSTER)?;
            let bit = 1 << transmit.to.octets.last().ok_or(Unexpected)?;
            if datagram.header.kind == Kind::Commit {
                if parse_commit(datagram.body)? != (BALLOT, NUMBER) {
                    return Err(Unexpected);
                }
                commits |= bit;
            } else if datagram.header.kind == Kind::ViewPart {
                views |= bit;
            }
        }
        Ok((commits, views))
    }

    #[test]
    fn voters_get_a_commit_and_new_members_the_view() -> TestResult {
        let mut announcement = announcement()?;
        assert_eq!(announcement.next_deadline(), Some(at(0)));
        assert_eq!(told(&mut announcement, at(0))?, (1 << 2 | 1 << 3, 1 << 4));
        assert_eq!(told(&mut announcement, at(1))?, (0, 0));
        Ok(())
    }

    #[test]
    fn a_member_that_has_answered_is_not_told_again() -> TestResult {
        let mut announcement = announcement()?;
        told(&mut announcement, at(0))?;
        // An older view, an earlier incarnation: not yet. A later view is as good as this one.
        announcement.take_installed(identity(2), ViewNumber(6));
        announcement.take_installed(identity_in(3, 9), NUMBER);
        announcement.take_installed(identity(4), ViewNumber(8));
        assert_eq!(told(&mut announcement, at(30))?, (1 << 2 | 1 << 3, 0));
        announcement.take_installed(identity(2), NUMBER);
        announcement.take_installed(identity(3), NUMBER);
        assert_eq!(announcement.next_deadline(), None);
        assert_eq!(told(&mut announcement, at(10_000))?, (0, 0));
        Ok(())
    }

    #[test]
    fn pauses_grow_and_after_some_attempts_the_announcement_ends() -> TestResult {
        let mut announcement = announcement()?;
        let mut now = at(0);
        for pause_ms in [30, 60, 120, 240, 240, 240, 240] {
            assert!(told(&mut announcement, now)?.0 != 0);
            let next = announcement.next_deadline().ok_or(Unexpected)?;
            assert_eq!(next.since(now), span(pause_ms));
            now = next;
        }
        assert_eq!(told(&mut announcement, now)?, (0, 0));
        assert_eq!(announcement.next_deadline(), None);
        Ok(())
    }

    #[test]
    fn a_new_announcement_replaces_the_old_one() -> TestResult {
        let mut announcement = announcement()?;
        announcement.begin(at(50), BALLOT, NUMBER);
        assert_eq!(announcement.next_deadline(), None);
        announcement.add(identity(9), address(9), false);
        assert_eq!(told(&mut announcement, at(50))?, (1 << 9, 0));
        announcement.clear();
        assert_eq!(announcement.next_deadline(), None);
        Ok(())
    }
}
