// SPDX-License-Identifier: GPL-2.0

//! Finding the cluster: a node without a view asks its peers, and forms a first view with others that have none.
//!
//! ```text
//!            round after round: Join to the peers
//!   Looking ------------------------------------+--> a coordinator admits this node: the view comes in parts
//!      |                                        |
//!      | enough candidates, nobody knows of a cluster, and this node has the lowest address
//!      +--> propose a first view to the candidates (the same two phases as for any other view)
//! ```
//!
//! A *candidate* is another node that looks for its cluster: it may vote for a first view.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::configuration::ValidConfiguration;
use crate::protocol::identity::{Identity, PeerAddress, ViewNumber};
use crate::protocol::limits::{NODES_MAX, REJOIN_PAUSE_ROUNDS_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::random::Random;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{write_join, JoinRequest, Seat};
use crate::protocol::wire::Kind;

/// With more peers than this a round does not ask all of them.
const PEERS_ASKED_MAX: usize = 64;
/// It then asks so many of the first ones, the same at all nodes, and so many of the others by turns.
const PEERS_ASKED_EACH: usize = 16;
/// A candidate that is silent for so many rounds no longer counts.
const FRESH_ROUNDS: u64 = 3;
/// A node believes in a cluster that others told of for so many rounds.
const KNOWN_ROUNDS: u64 = 4;
/// After a membership of so many times the longest pause, earlier losses of a view are forgotten.
const FORGIVEN_PAUSES: u64 = 4;
/// A node follows so many redirections to a coordinator in each round. Members that are not in the same view yet may
/// name each other: without a limit a node would go from one to the other for ever.
const REDIRECTS_MAX: u32 = 3;
/// After so many rounds a quorum of the expected nodes is enough.
const PATIENCE_ROUNDS: u32 = 3;

/// Another node that looks for its cluster.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Candidate {
    /// Which node.
    pub(super) identity: Identity,
    /// Where it listens.
    pub(super) address: PeerAddress,
    /// The latest view that it knows of.
    last_view: ViewNumber,
    /// The last primary view whose members it knows.
    primary: ViewNumber,
    heard_at: Instant,
}

/// The search for the cluster.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Formation {
    round: u32,
    next_round: Instant,
    round_length: Duration,
    candidates: BoundedVec<Candidate>,
    /// The coordinator of a cluster that others told of, and when.
    known: Option<(PeerAddress, Instant)>,
    /// Another one, told of before that.
    known_before: Option<(PeerAddress, Instant)>,
    /// How often this node has lost its view lately.
    losses: u32,
    /// How many redirections were followed in this round.
    redirects: u32,
    /// The latest view that this node knows of, in all its incarnations: the next first view comes after it.
    last_view: ViewNumber,
}

impl Formation {
    /// A search that begins at `now`.
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
            known_before: None,
            losses: 0,
            redirects: 0,
            last_view: ViewNumber::default(),
        })
    }

    /// Start the search anew. `stayed` is how long this node was a member, if it was one. A node that is excluded again and
    /// again, by a link that comes and goes, waits longer each time.
    pub(super) fn restart(&mut self, now: Instant, stayed: Option<Duration>) {
        self.round = 0;
        self.next_round = now;
        self.candidates.clear();
        self.known = None;
        self.known_before = None;
        self.redirects = 0;
        let Some(stayed) = stayed else {
            return;
        };
        if stayed
            >= self
                .round_length
                .times(REJOIN_PAUSE_ROUNDS_MAX.saturating_mul(FORGIVEN_PAUSES))
        {
            self.losses = 0;
        }
        let rounds = match self.losses {
            0 => 0,
            losses => 1_u64
                .checked_shl(losses)
                .unwrap_or(u64::MAX)
                .min(REJOIN_PAUSE_ROUNDS_MAX),
        };
        self.losses = self.losses.saturating_add(1);
        self.next_round = now.after(self.round_length.times(rounds));
    }

    /// When the next round begins.
    pub(super) fn next_deadline(&self) -> Instant {
        self.next_round
    }

    /// Take in that another node looks for its cluster. Returns whether that is news.
    pub(super) fn add_candidate(
        &mut self,
        now: Instant,
        identity: Identity,
        address: PeerAddress,
        last_view: ViewNumber,
        primary: ViewNumber,
    ) -> bool {
        let fresh = self.freshness();
        self.candidates
            .retain(|candidate| now < candidate.heard_at.after(fresh));
        // A node that looks for a cluster is in none, whatever it said before. Others may be.
        let is_other = |(known, _): &(PeerAddress, Instant)| *known != address;
        self.known_before = self.known_before.filter(is_other);
        self.known = self.known.filter(is_other).or(self.known_before);
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
                known.last_view = known.last_view.max(last_view);
                // A node that was started anew remembers none, and leads nobody.
                known.primary = if news {
                    primary
                } else {
                    known.primary.max(primary)
                };
                known.heard_at = now;
                news
            }
            None => self
                .candidates
                .push(Candidate {
                    identity,
                    address,
                    last_view,
                    primary,
                    heard_at: now,
                })
                .is_ok(),
        }
    }

    /// Take in that somebody knows of a cluster. Returns whether its coordinator is to be asked at once.
    pub(super) fn learn(&mut self, now: Instant, coordinator: PeerAddress) -> bool {
        let news = self.known.is_none_or(|(address, _)| address != coordinator);
        if news {
            self.known_before = self.known;
        }
        self.known = Some((coordinator, now));
        if !news || self.redirects >= REDIRECTS_MAX {
            return false;
        }
        self.redirects = self.redirects.saturating_add(1);
        true
    }

    /// Whether somebody lately told of a cluster.
    pub(super) fn knows_cluster(&self, now: Instant) -> bool {
        let fresh = self.round_length.times(KNOWN_ROUNDS);
        self.known.is_some_and(|(_, at)| now < at.after(fresh))
    }

    /// The request that this node sends to its peers. `known` is the number of the last primary view whose members it
    /// knows, and its seat.
    pub(super) fn request(
        &self,
        now: Instant,
        configuration: &ValidConfiguration,
        known: (ViewNumber, Seat),
    ) -> JoinRequest {
        JoinRequest {
            settings: configuration.shared(),
            has_heard: self.knows_cluster(now),
            last_view: self.last_view,
            primary: known.0,
            seat: known.1,
        }
    }

    /// Note that there is, or was, a view of this number.
    pub(super) fn note_view(&mut self, number: ViewNumber) {
        self.last_view = self.last_view.max(number);
    }

    /// The latest view that this node knows of.
    pub(super) fn last_view(&self) -> ViewNumber {
        self.last_view
    }

    /// The number for a first view: later than any that a candidate knows of.
    pub(super) fn first_number(&self, now: Instant) -> ViewNumber {
        let known = self.candidates(now).map(|candidate| candidate.last_view);
        known.fold(self.last_view, ViewNumber::max).next()
    }

    fn freshness(&self) -> Duration {
        self.round_length.times(FRESH_ROUNDS)
    }

    /// The candidates that were heard lately.
    pub(super) fn candidates(&self, now: Instant) -> impl Iterator<Item = &Candidate> + '_ {
        let fresh = self.freshness();
        self.candidates
            .iter()
            .filter(move |candidate| now < candidate.heard_at.after(fresh))
    }

    /// Begin a round, if that is due: ask the peers. Returns whether a round began.
    pub(super) fn begin_round(
        &mut self,
        now: Instant,
        configuration: &ValidConfiguration,
        known: (ViewNumber, Seat),
        random: &mut Random,
        outbox: &mut Outbox,
    ) -> bool {
        if now < self.next_round {
            return false;
        }
        let request = self.request(now, configuration, known);
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
        outbox.send(asked, Kind::Join, |writer| write_join(writer, &request));
        self.round = self.round.saturating_add(1);
        self.redirects = 0;
        // An eighth more or less, so that nodes that start together do not stay in step.
        let eighth = self.round_length.divided_by(8);
        let spread = random.below(eighth.as_nanoseconds().saturating_mul(2));
        self.next_round = now
            .after(self.round_length.times(7).divided_by(8))
            .after(Duration::from_nanoseconds(spread));
        true
    }

    /// Whether this node is the one to propose a first view, and may do so now.
    pub(super) fn may_form(
        &self,
        now: Instant,
        own_address: PeerAddress,
        own_primary: ViewNumber,
        configuration: &ValidConfiguration,
    ) -> bool {
        if self.knows_cluster(now) {
            return false;
        }
        // A node that knows the latest primary view comes first, since no other can go on from it.
        let comes_first = |candidate: &Candidate| {
            candidate.primary > own_primary
                || candidate.primary == own_primary && candidate.address < own_address
        };
        if self.candidates(now).any(comes_first) {
            return false;
        }
        let present = self.candidates(now).count().saturating_add(1);
        present >= configuration.expected_nodes()
            || self.round > PATIENCE_ROUNDS
                && (present >= configuration.formation_quorum()
                    || own_primary != ViewNumber::default())
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_formation))]
mod tests {
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::identity::{Incarnation, ViewName};
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, node, outbox, TestResult, Unexpected,
    };

    const NO_VIEW: ViewNumber = ViewNumber(0);

    /// The seat of a node that remembers nothing.
    const SEAT: Seat = Seat {
        first_incarnation: Incarnation(1),
        electorate: ViewName {
            number: ViewNumber(0),
            issuer: node(1),
        },
    };

    /// With rounds of 250 ms and as many peers as there are addresses from 1 on, node 1's own
    /// among them.
    fn configuration(peers: u16, expected: u32) -> Result<ValidConfiguration, Unexpected> {
        let settings = Configuration {
            expected_nodes: expected,
            ..Configuration::DEFAULT
        };
        let mut addresses = BoundedVec::with_capacity(usize::from(peers))?;
        for number in 1..=peers {
            addresses.push(address(number)).map_err(|_| Unexpected)?;
        }
        Ok(ValidConfiguration::new(
            settings,
            b"test",
            address(1),
            &addresses,
        )?)
    }

    /// Whether it is news that another node, which knows of no view, looks for its cluster.
    fn hear(formation: &mut Formation, now_ms: u64, candidate: Identity) -> bool {
        let address = address(candidate.node.number());
        formation.add_candidate(at(now_ms), candidate, address, NO_VIEW, NO_VIEW)
    }

    /// Whether node `number` may form a view.
    fn may_form(
        formation: &Formation,
        now_ms: u64,
        number: u16,
        configuration: &ValidConfiguration,
    ) -> bool {
        formation.may_form(at(now_ms), address(number), ViewNumber(0), configuration)
    }

    /// Begins a round, if that is due. Returns how many peers were asked.
    fn round(
        formation: &mut Formation,
        now: Instant,
        configuration: &ValidConfiguration,
        asked: &mut [u32],
    ) -> Result<Option<usize>, Unexpected> {
        let mut outbox = outbox()?;
        let random = &mut Random::new(3);
        let known = (ViewNumber(0), SEAT);
        let has_begun = formation.begin_round(now, configuration, known, random, &mut outbox);
        let mut count = 0;
        while let Some(transmit) = outbox.poll_transmit(&mut [0; DATAGRAM_BYTES_MAX]) {
            let [high, low] = *transmit.to.octets.last_chunk().ok_or(Unexpected)?;
            if let Some(place) = asked.get_mut(usize::from(u16::from_be_bytes([high, low]))) {
                *place += 1;
            }
            count += 1;
        }
        Ok(has_begun.then_some(count))
    }

    #[test]
    fn a_round_asks_all_peers_and_the_next_one_begins_later() -> TestResult {
        let configuration = configuration(5, 0)?;
        let mut formation = Formation::new(at(1000), &configuration)?;
        assert_eq!(formation.next_deadline(), at(1000));
        assert_eq!(
            round(&mut formation, at(999), &configuration, &mut [])?,
            None
        );
        let mut asked = [0; 6];
        assert_eq!(
            round(&mut formation, at(1000), &configuration, &mut asked)?,
            Some(4)
        );
        assert_eq!(asked, [0, 0, 1, 1, 1, 1]);
        // 250 ms, an eighth more or less.
        let next = formation.next_deadline();
        assert!(next >= at(1218) && next <= at(1282));
        assert_eq!(
            round(&mut formation, at(1200), &configuration, &mut [])?,
            None
        );
        assert_eq!(
            round(&mut formation, next, &configuration, &mut [])?,
            Some(4)
        );
        formation.restart(at(5000), None);
        assert_eq!(formation.next_deadline(), at(5000));
        Ok(())
    }

    #[test]
    fn each_round_asks_some_of_many_peers_and_all_are_asked_in_turn() -> TestResult {
        let configuration = configuration(200, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        let mut asked = [0; 201];
        for _ in 0..12 {
            let now = formation.next_deadline();
            let count = round(&mut formation, now, &configuration, &mut asked)?;
            assert_eq!(count, Some(2 * PEERS_ASKED_EACH));
        }
        let first = asked.get(2..2 + PEERS_ASKED_EACH).ok_or(Unexpected)?;
        assert!(first.iter().all(|times| *times == 12));
        assert!(asked.iter().skip(2).all(|times| *times > 0));
        assert_eq!(asked.first_chunk(), Some(&[0, 0]));
        Ok(())
    }

    #[test]
    fn a_node_follows_few_redirections_in_a_round() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        for now in [0, 1000, 2000] {
            round(&mut formation, at(now), &configuration, &mut [])?;
            let mut asked = 0;
            for turn in 0..100 {
                asked += u32::from(formation.learn(at(now), address(2 + turn % 2)));
            }
            assert_eq!(asked, REDIRECTS_MAX);
        }
        Ok(())
    }

    #[test]
    fn a_coordinator_that_a_peer_named_is_asked_too() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        assert!(formation.learn(at(0), address(77)));
        assert!(!formation.learn(at(1), address(77)));
        let mut asked = [0; 100];
        assert_eq!(
            round(&mut formation, at(2), &configuration, &mut asked)?,
            Some(3)
        );
        assert_eq!(asked.get(77), Some(&1));
        // One of the peers is not asked twice.
        assert!(formation.learn(at(3), address(2)));
        let now = formation.next_deadline();
        assert_eq!(
            round(&mut formation, now, &configuration, &mut [])?,
            Some(2)
        );
        Ok(())
    }

    #[test]
    fn a_node_without_peers_forms_a_view_at_once() -> TestResult {
        let configuration = configuration(1, 0)?;
        let formation = Formation::new(at(0), &configuration)?;
        assert!(may_form(&formation, 0, 1, &configuration));
        Ok(())
    }

    #[test]
    fn the_node_with_the_lowest_address_forms_a_view_as_soon_as_all_are_there() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        assert!(hear(&mut formation, 10, identity(2)));
        assert!(!may_form(&formation, 10, 1, &configuration));
        assert!(hear(&mut formation, 10, identity(3)));
        assert!(may_form(&formation, 10, 1, &configuration));
        // Seen from node 9 there are lower ones.
        assert!(!may_form(&formation, 10, 9, &configuration));
        Ok(())
    }

    #[test]
    fn after_some_rounds_a_quorum_of_the_expected_nodes_is_enough() -> TestResult {
        let configuration = configuration(5, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        for begun in 1..=PATIENCE_ROUNDS + 1 {
            let now = formation.next_deadline();
            assert!(round(&mut formation, now, &configuration, &mut [])?.is_some());
            formation.add_candidate(now, identity(2), address(2), NO_VIEW, NO_VIEW);
            assert!(!formation.may_form(now, address(1), ViewNumber(0), &configuration));
            formation.add_candidate(now, identity(3), address(3), NO_VIEW, NO_VIEW);
            let may_form = formation.may_form(now, address(1), ViewNumber(0), &configuration);
            assert_eq!(may_form, begun > PATIENCE_ROUNDS);
            formation.candidates.clear();
        }
        Ok(())
    }

    #[test]
    fn no_node_forms_a_view_while_there_is_a_cluster() -> TestResult {
        let configuration = configuration(1, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        formation.learn(at(100), address(7));
        assert!(!may_form(&formation, 100, 1, &configuration));
        assert!(!may_form(&formation, 1099, 1, &configuration));
        // Nobody has told of it for four rounds.
        assert!(may_form(&formation, 1100, 1, &configuration));
        Ok(())
    }

    #[test]
    fn a_node_that_looks_for_a_cluster_withdraws_only_its_own_word() -> TestResult {
        let configuration = configuration(1, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        formation.learn(at(100), address(7));
        formation.learn(at(101), address(5));
        formation.learn(at(102), address(5));
        hear(&mut formation, 103, identity(5));
        assert!(formation.knows_cluster(at(104)));
        hear(&mut formation, 105, identity(7));
        assert!(!formation.knows_cluster(at(106)));
        Ok(())
    }

    #[test]
    fn silent_candidates_do_not_count() -> TestResult {
        let configuration = configuration(2, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        assert!(hear(&mut formation, 0, identity(2)));
        assert!(!hear(&mut formation, 100, identity(2)));
        assert!(may_form(&formation, 849, 1, &configuration));
        assert!(!may_form(&formation, 850, 1, &configuration));
        assert_eq!(formation.candidates(at(850)).count(), 0);
        assert!(hear(&mut formation, 851, identity(2)));
        Ok(())
    }

    #[test]
    fn the_later_incarnation_of_a_candidate_counts() -> TestResult {
        let configuration = configuration(2, 0)?;
        let mut formation = Formation::new(at(0), &configuration)?;
        assert!(hear(&mut formation, 0, identity_in(2, 2)));
        assert!(!hear(&mut formation, 1, identity_in(2, 1)));
        assert!(hear(&mut formation, 2, identity_in(2, 3)));
        let mut candidates = formation.candidates(at(3));
        assert_eq!(
            candidates.next().map(|one| one.identity),
            Some(identity_in(2, 3))
        );
        assert!(candidates.next().is_none());
        Ok(())
    }
}
