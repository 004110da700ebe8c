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
use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewNumber};
use crate::protocol::limits::{NODES_MAX, REJOIN_PAUSE_ROUNDS_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::random::Random;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::wire::membership::{JoinRequest, Seat};
use crate::protocol::wire::Kind;

/// With more peers than this not all of them are asked in each round.
const PEERS_ASKED_MAX: usize = 64;
/// Then so many of the first ones are asked, the same for all nodes, and so many others in turn.
const PEERS_ASKED_EACH: usize = 16;
/// A candidate that was not heard for so many rounds is none any more.
const FRESH_ROUNDS: u64 = 3;
/// A cluster that somebody told of is believed in for so many rounds.
const KNOWN_ROUNDS: u64 = 4;
/// Who has stayed in for so many times the longest pause starts with a clean slate.
const FORGIVEN_PAUSES: u64 = 4;
/// So many coordinators that somebody told of are asked at once in each round. Members that are not in
/// the same view yet may name each other: without an end a node would go from one to the other.
const REDIRECTS_MAX: u32 = 3;
/// Rounds after which a quorum of the expected nodes is enough.
const PATIENCE_ROUNDS: u32 = 3;

/// A node that looks for its cluster too.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Candidate {
    /// Who.
    pub(super) identity: Identity,
    /// Where.
    pub(super) address: PeerAddress,
    /// The latest view that it knows of.
    last_view: ViewNumber,
    /// The last primary view whose members it knows.
    primary: ViewNumber,
    heard_at: Instant,
}

/// The search for a cluster.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Joining {
    round: u32,
    next_round: Instant,
    round_length: Duration,
    candidates: BoundedVec<Candidate>,
    /// Where a cluster was told of, and when.
    known: Option<(PeerAddress, Instant)>,
    /// The same of somebody else before that.
    known_before: Option<(PeerAddress, Instant)>,
    /// How often this node has lost its view lately.
    losses: u32,
    /// How many coordinators were asked at once in this round.
    redirects: u32,
    /// The latest view that this node knows of, in all its incarnations: the next first view comes after it.
    last_view: ViewNumber,
    /// The incarnation in which this node was started.
    first_incarnation: Incarnation,
}

impl Joining {
    /// The search begins at `now`.
    pub(super) fn new(
        now: Instant,
        configuration: &ValidConfiguration,
        first_incarnation: Incarnation,
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
            first_incarnation,
        })
    }

    /// Starts the search anew. `stayed` is how long this node has been a member, if it was one: who is
    /// put out again and again, by a link that comes and goes, comes back later each time.
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

    /// Another node looks for its cluster too. Whether that is news.
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
        // Who looks for a cluster is in none, whoever has said so before; others may be.
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

    /// Somebody knows of a cluster. Whether its coordinator is to be asked at once.
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

    /// Whether somebody told of a cluster lately.
    pub(super) fn knows_cluster(&self, now: Instant) -> bool {
        let fresh = self.round_length.times(KNOWN_ROUNDS);
        self.known.is_some_and(|(_, at)| now < at.after(fresh))
    }

    /// What this node has to say to those that it asks. `known` is the number of the last primary view whose
    /// members it knows, and what it remembers.
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

    /// There is, or was, such a view.
    pub(super) fn note_view(&mut self, number: ViewNumber) {
        self.last_view = self.last_view.max(number);
    }

    /// The incarnation in which this node was started: all later ones it has begun by itself.
    pub(super) fn first_incarnation(&self) -> Incarnation {
        self.first_incarnation
    }

    /// The latest view that this node knows of.
    pub(super) fn last_view(&self) -> ViewNumber {
        self.last_view
    }

    /// The number of a first view: later than any that a candidate knows of.
    pub(super) fn first_number(&self, now: Instant) -> ViewNumber {
        let known = self.candidates(now).map(|candidate| candidate.last_view);
        known.fold(self.last_view, ViewNumber::max).next()
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
        outbox.send(asked, Kind::Join, |writer| writer.write(&request));
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

    /// Whether this node is to propose a first view now.
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
        // Who knows the latest primary view comes first, since nobody else can go on from it.
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
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_joining))]
mod tests {
    use super::*;
    use crate::protocol::configuration::Configuration;
    use crate::protocol::identity::{Incarnation, ViewName};
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, node, outbox, TestResult, Unexpected,
    };

    /// Of a node that remembers nothing.
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

    /// Whether `joining` may form a view, as node `number`.
    fn may_form(
        joining: &Joining,
        now_ms: u64,
        number: u16,
        configuration: &ValidConfiguration,
    ) -> bool {
        joining.may_form(at(now_ms), address(number), ViewNumber(0), configuration)
    }

    /// Begins a round if it is time; how many were asked, `None` if it was not time.
    fn round(
        joining: &mut Joining,
        now: Instant,
        configuration: &ValidConfiguration,
        asked: &mut [u32],
    ) -> Result<Option<usize>, Unexpected> {
        let mut outbox = outbox()?;
        let random = &mut Random::new(3);
        let known = (ViewNumber(0), SEAT);
        let has_begun = joining.begin_round(now, configuration, known, random, &mut outbox);
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
    fn a_round_asks_all_peers_and_the_next_one_comes_after_a_while() -> TestResult {
        let configuration = configuration(5, 0)?;
        let mut joining = Joining::new(at(1000), &configuration, Incarnation(1))?;
        assert_eq!(joining.next_deadline(), at(1000));
        assert_eq!(round(&mut joining, at(999), &configuration, &mut [])?, None);
        let mut asked = [0; 6];
        assert_eq!(
            round(&mut joining, at(1000), &configuration, &mut asked)?,
            Some(4)
        );
        assert_eq!(asked, [0, 0, 1, 1, 1, 1]);
        // 250 ms, an eighth more or less.
        let next = joining.next_deadline();
        assert!(next >= at(1218) && next <= at(1282));
        assert_eq!(
            round(&mut joining, at(1200), &configuration, &mut [])?,
            None
        );
        assert_eq!(round(&mut joining, next, &configuration, &mut [])?, Some(4));
        joining.restart(at(5000), None);
        assert_eq!(joining.next_deadline(), at(5000));
        Ok(())
    }

    #[test]
    fn of_many_peers_some_are_asked_in_each_round_and_all_in_turn() -> TestResult {
        let configuration = configuration(200, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        let mut asked = [0; 201];
        for _ in 0..12 {
            let now = joining.next_deadline();
            let count = round(&mut joining, now, &configuration, &mut asked)?;
            assert_eq!(count, Some(2 * PEERS_ASKED_EACH));
        }
        let first = asked.get(2..2 + PEERS_ASKED_EACH).ok_or(Unexpected)?;
        assert!(first.iter().all(|times| *times == 12));
        assert!(asked.iter().skip(2).all(|times| *times > 0));
        assert_eq!(asked.first_chunk(), Some(&[0, 0]));
        Ok(())
    }

    #[test]
    fn members_that_name_each_other_are_asked_a_few_times_in_a_round() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        for now in [0, 1000, 2000] {
            round(&mut joining, at(now), &configuration, &mut [])?;
            let mut asked = 0;
            for turn in 0..100 {
                asked += u32::from(joining.learn(at(now), address(2 + turn % 2)));
            }
            assert_eq!(asked, REDIRECTS_MAX);
        }
        Ok(())
    }

    #[test]
    fn the_coordinator_somebody_told_of_is_asked_too() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        assert!(joining.learn(at(0), address(77)));
        assert!(!joining.learn(at(1), address(77)));
        let mut asked = [0; 100];
        assert_eq!(
            round(&mut joining, at(2), &configuration, &mut asked)?,
            Some(3)
        );
        assert_eq!(asked.get(77), Some(&1));
        // One of the peers is not asked twice.
        assert!(joining.learn(at(3), address(2)));
        let now = joining.next_deadline();
        assert_eq!(round(&mut joining, now, &configuration, &mut [])?, Some(2));
        Ok(())
    }

    #[test]
    fn a_node_without_peers_forms_a_view_at_once() -> TestResult {
        let configuration = configuration(1, 0)?;
        let joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        assert!(may_form(&joining, 0, 1, &configuration));
        Ok(())
    }

    #[test]
    fn the_lowest_address_forms_as_soon_as_all_are_there() -> TestResult {
        let configuration = configuration(3, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        assert!(joining.add_candidate(
            at(10),
            identity(2),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(!may_form(&joining, 10, 1, &configuration));
        assert!(joining.add_candidate(
            at(10),
            identity(3),
            address(3),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(may_form(&joining, 10, 1, &configuration));
        // Seen from node 9 there are lower ones.
        assert!(!may_form(&joining, 10, 9, &configuration));
        Ok(())
    }

    #[test]
    fn after_some_rounds_a_quorum_of_the_expected_is_enough() -> TestResult {
        let configuration = configuration(5, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        for begun in 1..=PATIENCE_ROUNDS + 1 {
            let now = joining.next_deadline();
            assert!(round(&mut joining, now, &configuration, &mut [])?.is_some());
            joining.add_candidate(now, identity(2), address(2), ViewNumber(0), ViewNumber(0));
            assert!(!joining.may_form(now, address(1), ViewNumber(0), &configuration));
            joining.add_candidate(now, identity(3), address(3), ViewNumber(0), ViewNumber(0));
            let may_form = joining.may_form(now, address(1), ViewNumber(0), &configuration);
            assert_eq!(may_form, begun > PATIENCE_ROUNDS);
            joining.candidates.clear();
        }
        Ok(())
    }

    #[test]
    fn nobody_forms_a_view_while_there_is_a_cluster() -> TestResult {
        let configuration = configuration(1, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        joining.learn(at(100), address(7));
        assert!(!may_form(&joining, 100, 1, &configuration));
        assert!(!may_form(&joining, 1099, 1, &configuration));
        // Nobody has told of it for four rounds.
        assert!(may_form(&joining, 1100, 1, &configuration));
        Ok(())
    }

    #[test]
    fn who_looks_for_a_cluster_itself_takes_only_its_own_word_back() -> TestResult {
        let configuration = configuration(1, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        joining.learn(at(100), address(7));
        joining.learn(at(101), address(5));
        joining.learn(at(102), address(5));
        joining.add_candidate(
            at(103),
            identity(5),
            address(5),
            ViewNumber(0),
            ViewNumber(0),
        );
        assert!(joining.knows_cluster(at(104)));
        joining.add_candidate(
            at(105),
            identity(7),
            address(7),
            ViewNumber(0),
            ViewNumber(0),
        );
        assert!(!joining.knows_cluster(at(106)));
        Ok(())
    }

    #[test]
    fn candidates_that_fall_silent_do_not_count() -> TestResult {
        let configuration = configuration(2, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        assert!(joining.add_candidate(
            at(0),
            identity(2),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(!joining.add_candidate(
            at(100),
            identity(2),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(may_form(&joining, 849, 1, &configuration));
        assert!(!may_form(&joining, 850, 1, &configuration));
        assert_eq!(joining.candidates(at(850)).count(), 0);
        assert!(joining.add_candidate(
            at(851),
            identity(2),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        Ok(())
    }

    #[test]
    fn of_two_incarnations_of_a_candidate_the_later_one_counts() -> TestResult {
        let configuration = configuration(2, 0)?;
        let mut joining = Joining::new(at(0), &configuration, Incarnation(1))?;
        assert!(joining.add_candidate(
            at(0),
            identity_in(2, 2),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(!joining.add_candidate(
            at(1),
            identity_in(2, 1),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        assert!(joining.add_candidate(
            at(2),
            identity_in(2, 3),
            address(2),
            ViewNumber(0),
            ViewNumber(0)
        ));
        let mut candidates = joining.candidates(at(3));
        assert_eq!(
            candidates.next().map(|one| one.identity),
            Some(identity_in(2, 3))
        );
        assert!(candidates.next().is_none());
        Ok(())
    }
}
