// SPDX-License-Identifier: GPL-2.0

//! What this node reports of the members that it monitors, repeated until the view changes: in the next view the failure
//! detector finds out anew who is silent.
//!
//! ```text
//!                Silent                        Dead
//!  (nothing) -------------> Suspected -------------------> Accused <--------> Disputed
//!      ^                        |                              |   somebody      |
//!      | reported a few times   | Heard                        |   hears it      | Heard
//!      +------ Cleared <--------+------------------------------+-----------------+
//! ```
//!
//! Suspicions go to all coordinators, which call the roll ([`super::roll_call`]). The first accusation goes to the
//! coordinator of the subject's arc. If no view follows, that coordinator may be dead itself. So further accusations go
//! to all coordinators and, with each attempt, to a few other members: the loss of all coordinators at once is survived
//! too. This node also tells everybody whom it sent an accusation when it withdraws it. Otherwise they would start
//! ballots of their own.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId};
use crate::protocol::limits::{COORDINATORS_MAX, MONITORED_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::ReportRecord;
use crate::protocol::wire::Kind;

/// How often "cleared" is reported to each member that is told.
const CLEAR_REPEATS: u32 = 3;
/// A contradiction that nobody repeats for so many disputed intervals no longer holds.
const DISPUTED_INTERVALS: u64 = 4;
/// The pause between two accusations grows up to this many times the first one.
const BACK_OFF_MAX: u64 = 8;

/// What this node reports of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
enum Statement {
    Suspected,
    Accused,
    /// Accused, but another member hears the subject. Reported rarely, and taken only as a sign that the link does not
    /// work.
    Disputed,
    Cleared,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Observation {
    subject: Identity,
    statement: Statement,
    attempts: u32,
    /// How many times in this view an accusation went to members that are no coordinators, each time to others, until
    /// all were told.
    spread: u32,
    send_at: Instant,
    /// When the last contradiction came.
    disputed_at: Instant,
}

/// Observations of all monitored members that are not simply well.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Observations {
    observations: BoundedVec<Observation>,
    interval: Duration,
    disputed_interval: Duration,
}

impl Observations {
    /// No observation. Accusations are repeated after `interval`, disputed ones after `disputed_interval`.
    pub(super) fn new(
        interval: Duration,
        disputed_interval: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            observations: BoundedVec::with_capacity(2 * MONITORED_MAX)?,
            interval,
            disputed_interval,
        })
    }

    /// Forget all observations.
    pub(super) fn clear(&mut self) {
        self.observations.clear();
    }

    fn observe(&mut self, now: Instant, subject: Identity, statement: Statement) {
        let observation = Observation {
            subject,
            statement,
            attempts: 0,
            spread: 0,
            send_at: now,
            disputed_at: now,
        };
        match self.find(subject) {
            Some(known) => {
                *known = Observation {
                    spread: known.spread,
                    ..observation
                };
            }
            None => {
                let _ = self.observations.push(observation);
            }
        }
    }

    fn find(&mut self, subject: Identity) -> Option<&mut Observation> {
        let mut observations = self.observations.as_mut_slice().iter_mut();
        observations.find(|known| known.subject == subject)
    }

    /// Report that the subject is silent and is being probed.
    pub(super) fn suspect(&mut self, now: Instant, subject: Identity) {
        self.observe(now, subject, Statement::Suspected);
    }

    /// Report that the subject did not answer the probes.
    pub(super) fn accuse(&mut self, now: Instant, subject: Identity) {
        self.observe(now, subject, Statement::Accused);
    }

    /// Report that the subject was heard again.
    pub(super) fn clear_subject(&mut self, now: Instant, subject: Identity) {
        self.observe(now, subject, Statement::Cleared);
    }

    /// Note that another member hears the subject. Returns whether that is news.
    pub(super) fn dispute(&mut self, now: Instant, subject: Identity) -> bool {
        let disputed_interval = self.disputed_interval;
        let Some(observation) = self.find(subject) else {
            return false;
        };
        observation.disputed_at = now;
        let is_news = observation.statement == Statement::Accused;
        if is_news {
            observation.statement = Statement::Disputed;
            observation.send_at = now.after(disputed_interval);
        }
        is_news
    }

    /// Whether this node suspects or accuses the member: no report is sent to it.
    pub(super) fn suspects(&self, member: NodeId) -> bool {
        self.observations.iter().any(|observation| {
            observation.subject.node == member
                && matches!(
                    observation.statement,
                    Statement::Suspected | Statement::Accused
                )
        })
    }

    /// Whether this node does not hear the member although others do.
    pub(super) fn disputes(&self, member: NodeId) -> bool {
        self.observations.iter().any(|observation| {
            observation.subject.node == member && observation.statement == Statement::Disputed
        })
    }

    /// Whether this node accuses any member.
    pub(super) fn accuses_anybody(&self) -> bool {
        self.observations
            .iter()
            .any(|observation| observation.statement == Statement::Accused)
    }

    /// When the next report is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.observations
            .iter()
            .filter(|observation| observation.is_open())
            .map(|observation| observation.send_at)
            .min()
    }

    /// Send the reports that are due. Where this node is one of the receivers, the record goes to `report_own`.
    pub(super) fn send_due(
        &mut self,
        now: Instant,
        own: NodeId,
        view: &ClusterView,
        coordinators: u32,
        outbox: &mut Outbox,
        mut report_own: impl FnMut(ReportRecord),
    ) {
        let turns = u32::try_from(view.count().div_ceil(COORDINATORS_MAX)).unwrap_or(u32::MAX);
        for place in 0..self.observations.len() {
            let Some(mut observation) = self.observations.get(place).copied() else {
                return;
            };
            let contradicted_until = observation
                .disputed_at
                .after(self.disputed_interval.times(DISPUTED_INTERVALS));
            if observation.statement == Statement::Disputed && now >= contradicted_until {
                observation.statement = Statement::Accused;
                observation.attempts = 0;
            }
            if !observation.is_open() || now < observation.send_at {
                continue;
            }
            let record = observation.record(own);
            let mut addresses = [None; 2 * COORDINATORS_MAX + 1];
            let to = self.receivers(&observation, own, view, coordinators);
            let mut is_own = false;
            for (address, member) in addresses.iter_mut().zip(to) {
                if member.identity.node == own {
                    is_own = true;
                } else {
                    *address = Some(member.address);
                }
            }
            outbox.send(addresses.iter().flatten(), Kind::Report, |writer| {
                writer.write(&record)
            });
            if is_own {
                report_own(record);
            }
            let pause = match observation.statement {
                // Soon, so that nobody acts on the accusation any more.
                Statement::Cleared => self.interval,
                Statement::Disputed => self.disputed_interval,
                _ => {
                    let factor = 1_u64
                        .checked_shl(observation.attempts.saturating_sub(1))
                        .unwrap_or(BACK_OFF_MAX);
                    self.interval.times(factor.min(BACK_OFF_MAX))
                }
            };
            if observation.statement == Statement::Accused {
                observation.spread = observation.spread.max(observation.attempts).min(turns);
            }
            observation.send_at = now.after(pause);
            observation.attempts = observation.attempts.saturating_add(1);
            if let Some(place) = self.observations.as_mut_slice().get_mut(place) {
                *place = observation;
            }
        }
        self.observations.retain(|observation| {
            observation.is_open() || observation.statement != Statement::Cleared
        });
    }

    /// The members that the present attempt goes to.
    fn receivers<'v>(
        &self,
        observation: &Observation,
        own: NodeId,
        view: &'v ClusterView,
        coordinators: u32,
    ) -> impl Iterator<Item = &'v MemberRecord> + use<'v, '_> {
        let subject = observation.subject.node;
        let everybody = match observation.statement {
            Statement::Disputed => false,
            Statement::Accused => observation.attempts > 0,
            Statement::Suspected | Statement::Cleared => true,
        };
        let wanted = if everybody { usize::MAX } else { 1 };
        let others = view.count().max(1);
        let turn = match observation.statement {
            Statement::Cleared => observation
                .attempts
                .checked_rem(observation.spread)
                .unwrap_or(0),
            _ => observation.attempts.saturating_sub(1),
        };
        let start = (turn as usize)
            .saturating_mul(COORDINATORS_MAX)
            .checked_rem(others)
            .unwrap_or(0);
        let further = match observation.statement {
            Statement::Accused if everybody => COORDINATORS_MAX,
            Statement::Cleared if observation.spread > 0 => COORDINATORS_MAX,
            Statement::Disputed => 1,
            _ => 0,
        };
        // Only another member can go on disputing it.
        let excluded = (observation.statement == Statement::Disputed).then_some(own);
        let is_useful =
            move |node: NodeId| node != subject && Some(node) != excluded && !self.suspects(node);
        view.coordinators_for(subject, coordinators)
            .filter(move |member| is_useful(member.identity.node))
            .take(wanted)
            .chain(
                view.members()
                    .iter()
                    .cycle()
                    .skip(start)
                    .take(others)
                    .filter(move |member| {
                        is_useful(member.identity.node)
                            && !view.is_coordinator(member.identity.node, coordinators)
                    })
                    .take(further),
            )
    }
}

impl Observation {
    /// Whether it is to be reported again.
    fn is_open(&self) -> bool {
        match self.statement {
            // If it gets worse an accusation follows, else "cleared".
            Statement::Suspected => self.attempts == 0,
            Statement::Accused | Statement::Disputed => true,
            Statement::Cleared => self.attempts < CLEAR_REPEATS.saturating_mul(self.spread.max(1)),
        }
    }

    fn record(&self, own: NodeId) -> ReportRecord {
        match self.statement {
            Statement::Suspected => ReportRecord::Suspect(self.subject, own),
            Statement::Accused | Statement::Disputed => ReportRecord::Accuse(self.subject, own),
            Statement::Cleared => ReportRecord::Clear(self.subject, own),
        }
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_observations))]
mod tests {
    use super::*;
    use crate::protocol::limits::DATAGRAM_BYTES_MAX;
    use crate::protocol::test_support::{
        at, identity, node, outbox, span, view, TestResult, Unexpected, CLUSTER,
    };
    use crate::protocol::wire::membership::Reports;
    use crate::protocol::wire::Datagram;

    const OWN: NodeId = node(10);
    const SUBJECT: Identity = identity(7);
    const COORDINATORS: u32 = 3;

    fn observations() -> Result<Observations, Unexpected> {
        Ok(Observations::new(span(30), span(500))?)
    }

    /// What is reported at `now` in a view of 12 nodes (coordinators 1, 5 and 9) by node `own`: to whom,
    /// as bits (its own too), and what.
    fn reported(
        observations: &mut Observations,
        now: Instant,
        own: NodeId,
    ) -> Result<(u32, Option<ReportRecord>), Unexpected> {
        let (view, mut outbox) = (view(1..=12)?, outbox()?);
        let (mut set, mut told) = (0, None);
        observations.send_due(now, own, &view, COORDINATORS, &mut outbox, |record| {
            set |= 1 << own.number();
            told = Some(record);
        });
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
            let bytes = buffer.get(..transmit.length).ok_or(Unexpected)?;
            told = Reports::parse(Datagram::parse(bytes, CLUSTER)?.body)?.next();
            set |= 1 << transmit.to.octets.last().ok_or(Unexpected)?;
        }
        Ok((set, told))
    }

    #[test]
    fn a_suspicion_goes_once_to_all_coordinators() -> TestResult {
        let mut observations = observations()?;
        observations.suspect(at(0), SUBJECT);
        assert!(observations.suspects(SUBJECT.node) && !observations.accuses_anybody());
        assert_eq!(observations.next_deadline(), Some(at(0)));
        let coordinators = 1 << 1 | 1 << 5 | 1 << 9;
        let expected = (coordinators, Some(ReportRecord::Suspect(SUBJECT, OWN)));
        assert_eq!(reported(&mut observations, at(0), OWN)?, expected);
        assert_eq!(observations.next_deadline(), None);
        assert_eq!(reported(&mut observations, at(10_000), OWN)?, (0, None));
        assert!(observations.suspects(SUBJECT.node));
        Ok(())
    }

    #[test]
    fn an_accusation_is_repeated_to_more_and_more_members() -> TestResult {
        let mut observations = observations()?;
        observations.accuse(at(0), SUBJECT);
        assert!(observations.accuses_anybody());
        let accusation = Some(ReportRecord::Accuse(SUBJECT, OWN));
        assert_eq!(
            reported(&mut observations, at(0), OWN)?,
            (1 << 5, accusation)
        );
        let coordinators = 1 << 1 | 1 << 5 | 1 << 9;
        let mut everybody = 0;
        let mut now = at(0);
        for pause_ms in [30, 30, 60, 120, 240, 240] {
            let next = observations.next_deadline().ok_or(Unexpected)?;
            assert_eq!(next.since(now), span(pause_ms));
            let (told, record) = reported(&mut observations, next, OWN)?;
            assert_eq!(record, accusation);
            assert_eq!(told & coordinators, coordinators);
            everybody |= told;
            now = next;
        }
        // All but the subject and node 10 itself: the death of all coordinators is survived too.
        let others = 0b1_1111_1111_1110 & !(1 << 7) & !(1 << 10);
        assert_eq!(everybody & others, others);
        assert_eq!(everybody & (1 << 7), 0);
        Ok(())
    }

    #[test]
    fn reports_skip_suspected_coordinators() -> TestResult {
        let mut observations = observations()?;
        // The subject is a coordinator itself, and so is another one that is suspected.
        observations.accuse(at(0), identity(5));
        observations.suspect(at(100), identity(9));
        assert_eq!(reported(&mut observations, at(0), OWN)?.0, 1 << 1);
        Ok(())
    }

    #[test]
    fn a_coordinator_reports_to_itself() -> TestResult {
        let mut observations = observations()?;
        observations.accuse(at(0), SUBJECT);
        let expected = (1 << 5, Some(ReportRecord::Accuse(SUBJECT, node(5))));
        assert_eq!(reported(&mut observations, at(0), node(5))?, expected);
        Ok(())
    }

    #[test]
    fn a_cleared_subject_is_reported_a_few_times_to_all_coordinators_and_then_forgotten(
    ) -> TestResult {
        let mut observations = observations()?;
        observations.accuse(at(0), SUBJECT);
        reported(&mut observations, at(0), OWN)?;
        observations.clear_subject(at(5), SUBJECT);
        assert!(!observations.suspects(SUBJECT.node) && !observations.accuses_anybody());
        for _ in 0..CLEAR_REPEATS {
            let now = observations.next_deadline().ok_or(Unexpected)?;
            let (told, record) = reported(&mut observations, now, OWN)?;
            assert_eq!(told, 1 << 1 | 1 << 5 | 1 << 9);
            assert_eq!(record, Some(ReportRecord::Clear(SUBJECT, OWN)));
        }
        assert_eq!(observations.next_deadline(), None);
        assert!(observations.observations.is_empty());
        Ok(())
    }

    #[test]
    fn every_receiver_of_an_accusation_is_told_when_it_is_withdrawn() -> TestResult {
        // However long it was kept up, what it takes to say so is bounded.
        for (accusations, repeats) in [
            (2, CLEAR_REPEATS),
            (3, 2 * CLEAR_REPEATS),
            (99, 2 * CLEAR_REPEATS),
        ] {
            let mut observations = observations()?;
            observations.accuse(at(0), SUBJECT);
            let (mut accused, mut cleared) = (0, 0);
            for _ in 0..accusations {
                let now = observations.next_deadline().ok_or(Unexpected)?;
                accused |= reported(&mut observations, now, OWN)?.0;
            }
            observations.clear_subject(at(90_000), SUBJECT);
            for _ in 0..repeats {
                let now = observations.next_deadline().ok_or(Unexpected)?;
                let (told, record) = reported(&mut observations, now, OWN)?;
                assert_eq!(record, Some(ReportRecord::Clear(SUBJECT, OWN)));
                cleared |= told;
            }
            assert_eq!(accused & !cleared, 0);
            assert_eq!(observations.next_deadline(), None);
        }
        Ok(())
    }

    #[test]
    fn a_disputed_accusation_is_repeated_rarely_and_is_no_suspicion() -> TestResult {
        let mut observations = observations()?;
        assert!(!observations.dispute(at(0), SUBJECT));
        observations.accuse(at(0), SUBJECT);
        reported(&mut observations, at(0), OWN)?;
        assert!(observations.dispute(at(5), SUBJECT) && !observations.dispute(at(6), SUBJECT));
        assert!(observations.disputes(SUBJECT.node));
        assert!(!observations.suspects(SUBJECT.node) && !observations.accuses_anybody());
        // A coordinator and somebody else hear of it, also from a node that is the coordinator itself.
        for (own, coordinator) in [(OWN, 1 << 5), (node(5), 1 << 9)] {
            let now = observations.next_deadline().ok_or(Unexpected)?;
            observations.dispute(now, SUBJECT);
            let (told, record) = reported(&mut observations, now, own)?;
            assert_eq!(record, Some(ReportRecord::Accuse(SUBJECT, own)));
            assert_eq!((told & coordinator, told.count_ones()), (coordinator, 2));
            assert_eq!(told & (1 << own.number() | 1 << 7), 0);
            assert_eq!(observations.next_deadline(), Some(now.after(span(500))));
        }
        Ok(())
    }

    #[test]
    fn a_dispute_that_nobody_repeats_is_an_accusation_again() -> TestResult {
        let mut observations = observations()?;
        observations.accuse(at(0), SUBJECT);
        assert!(observations.dispute(at(0), SUBJECT));
        let mut now = at(0);
        while observations.disputes(SUBJECT.node) {
            now = observations.next_deadline().ok_or(Unexpected)?;
            reported(&mut observations, now, OWN)?;
        }
        assert_eq!(now, at(500 * DISPUTED_INTERVALS));
        assert!(observations.accuses_anybody() && observations.dispute(now, SUBJECT));
        observations.clear();
        assert_eq!(observations.next_deadline(), None);
        Ok(())
    }

    #[test]
    fn the_latest_observation_of_a_node_replaces_the_one_before() -> TestResult {
        let mut observations = observations()?;
        for _ in 0..100 {
            observations.suspect(at(0), SUBJECT);
            observations.clear_subject(at(0), SUBJECT);
            observations.accuse(at(0), SUBJECT);
        }
        assert_eq!(observations.observations.len(), 1);
        assert!(observations.accuses_anybody());
        Ok(())
    }
}
