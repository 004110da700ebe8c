// SPDX-License-Identifier: GPL-2.0

//! A node without a view: looking for its cluster, and finding others to form the first view with.
//!
//! ```text
//!            round after round: Join to the peers
//!   Looking ------------------------------------+--> a coordinator adds us: the view comes in parts
//!      |                                        |
//!      | enough candidates, nobody knows of a cluster, and ours is the lowest address
//!      +--> propose view 1 to the candidates (the same two phases as any other view)
//! ```

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::{Identity, PeerAddress};
use crate::protocol::limits::NODES_MAX;
use crate::protocol::outbox::Outbox;
use crate::protocol::random::Random;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::write_join;
use crate::protocol::wire::Kind;

/// With more peers than this not all of them are asked in each round.
const PEERS_ASKED_MAX: usize = 64;
/// Then so many of the first ones are asked, the same for all nodes, and so many others in turn.
const PEERS_ASKED_EACH: usize = 16;
/// A candidate that was not heard for so many rounds is none any more.
const FRESH_ROUNDS: u64 = 3;
/// A cluster that somebody told of is believed in for so many rounds.
const KNOWN_ROUNDS: u64 = 4;
/// Rounds after which a quorum of the expected nodes is enough.
const PATIENCE_ROUNDS: u32 = 3;

/// A node that looks for its cluster too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Who.
    pub(super) identity: Identity,
    /// Where.
    pub(super) address: PeerAddress,
    heard_at: Instant,
}

/// The search for a cluster.
pub(super) struct Joining {
    round: u32,
    next_round: Instant,
    round_length: Duration,
    candidates: BoundedVec<Candidate>,
    /// Where a cluster was told of, and when.
    known: Option<(PeerAddress, Instant)>,
}

impl Joining {
    /// The search begins at `now`.
    pub(super) fn new(
        now: Instant,
        configuration: &ValidConfiguration,
    ) -> Result<Self, OutOfMemory> {
        let settings = configuration.settings();
        Ok(Self {
            round: 0,
            next_round: now,
            round_length: Duration::from_milliseconds(u64::from(settings.formation_ms)),
            candidates: BoundedVec::with_capacity(NODES_MAX)?,
            known: None,
        })
    }

    /// Starts the search anew.
    pub(super) fn restart(&mut self, now: Instant) {
        self.round = 0;
        self.next_round = now;
        self.candidates.clear();
        self.known = None;
    }

    /// When the next round begins.
    pub(super) fn next_deadline(&self) -> Instant {
        self.next_round
    }

    /// Another node looks for its cluster too. Whether that is news.
    pub(super) fn add_candidate(
        &mut self,
        now: Instant,
        identity: Identity,
        address: PeerAddress,
    ) -> bool {
        let fresh = self.freshness();
        self.candidates
            .retain(|candidate| now < candidate.heard_at.after(fresh));
        match self
            .candidates
            .as_mut_slice()
            .iter_mut()
            .find(|candidate| candidate.identity.node == identity.node)
        {
            Some(known) if known.identity.incarnation > identity.incarnation => false,
            Some(known) => {
                let news = known.identity != identity;
                known.identity = identity;
                known.address = address;
                known.heard_at = now;
                news
            }
            None => self
                .candidates
                .push(Candidate {
                    identity,
                    address,
                    heard_at: now,
                })
                .is_ok(),
        }
    }

    /// Somebody knows of a cluster. Whether its coordinator is to be asked at once.
    pub(super) fn learn(&mut self, now: Instant, coordinator: PeerAddress) -> bool {
        let news = self.known.is_none_or(|(address, _)| address != coordinator);
        self.known = Some((coordinator, now));
        news
    }

    fn freshness(&self) -> Duration {
        self.round_length.times(FRESH_ROUNDS)
    }

    /// Those who may vote for a first view now, this node left out.
    pub(super) fn candidates(&self, now: Instant) -> impl Iterator<Item = &Candidate> + '_ {
        let fresh = self.freshness();
        self.candidates
            .iter()
            .filter(move |candidate| now < candidate.heard_at.after(fresh))
    }

    /// Begins a round if it is time: asks the peers. Whether a round began.
    pub(super) fn begin_round(
        &mut self,
        now: Instant,
        configuration: &ValidConfiguration,
        random: &mut Random,
        outbox: &mut Outbox,
    ) -> bool {
        if now < self.next_round {
            return false;
        }
        let settings = configuration.shared();
        let peers = configuration.peers();
        let known = self
            .known
            .map(|(address, _)| address)
            .filter(|address| !peers.contains(address));
        let first = if peers.len() <= PEERS_ASKED_MAX {
            peers.len()
        } else {
            PEERS_ASKED_EACH
        };
        let others = peers.get(first..).unwrap_or_default();
        let turn = (self.round as usize).saturating_mul(PEERS_ASKED_EACH);
        let start = turn.checked_rem(others.len()).unwrap_or(0);
        let asked = peers
            .iter()
            .take(first)
            .chain(
                others
                    .iter()
                    .cycle()
                    .skip(start)
                    .take(PEERS_ASKED_EACH.min(others.len())),
            )
            .chain(known.iter());
        outbox.send(asked, Kind::Join, |writer| write_join(writer, &settings));
        self.round = self.round.saturating_add(1);
        // An eighth more or less, so that nodes that start together do not stay in step.
        let eighth = self.round_length.divided_by(8);
        let spread = random.below(eighth.as_nanoseconds().saturating_mul(2));
        self.next_round = now
            .after(self.round_length.times(7).divided_by(8))
            .after(Duration::from_nanoseconds(spread));
        true
    }

    /// Whether this node is to propose a first view now.
    pub(super) fn may_form(
        &self,
        now: Instant,
        own_address: PeerAddress,
        configuration: &ValidConfiguration,
    ) -> bool {
        let fresh_knowledge = self.round_length.times(KNOWN_ROUNDS);
        if self
            .known
            .is_some_and(|(_, at)| now < at.after(fresh_knowledge))
        {
            return false;
        }
        if self
            .candidates(now)
            .any(|candidate| candidate.address < own_address)
        {
            return false;
        }
        let present = self.candidates(now).count().saturating_add(1);
        let expected = match configuration.settings().expected_nodes {
            0 => configuration.peers().len().saturating_add(1),
            given => given as usize,
        };
        present >= expected
            || (self.round > PATIENCE_ROUNDS && present >= configuration.formation_quorum())
    }
}
