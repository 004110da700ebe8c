// SPDX-License-Identifier: GPL-2.0

//! What this node has to say about the nodes that it watches, said again until the view changes: in the next
//! one the failure detector finds out anew who is silent.
//!
//! ```text
//!                Silent                        Dead
//!  (nothing) -------------> Suspected -------------------> Accused <--------> Disputed
//!      ^                        |                              |   somebody      |
//!      | said a few times       | Heard                        |   hears it      | Heard
//!      +------ Heard again <----+------------------------------+-----------------+
//! ```
//!
//! Suspicions go to all coordinators, who look into it ([`super::roll_call`]). The first accusation goes to the coordinator of the subject's arc. If no view follows, that
//! coordinator may be dead itself: further ones go to all coordinators and, a few with each attempt,
//! to other members, so that the loss of all coordinators at once is survived too. Whoever was told an
//! accusation is also told that it is taken back: else it would look into the matter itself, by a ballot.

use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId, PeerAddress};
use crate::protocol::limits::{COORDINATORS_MAX, WATCHED_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::ReportRecord;
use crate::protocol::wire::Kind;

/// How often "heard again" is said to each that is told it.
const CLEAR_REPEATS: u32 = 3;
/// A contradiction that was not repeated for so many times the pause between two accusations that are
/// disputed holds no more.
const DISPUTED_INTERVALS: u64 = 4;
/// The pause between two accusations grows up to this many times the first one.
const BACK_OFF_MAX: u64 = 8;

/// What is said of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
enum Statement {
    Suspected,
    Accused,
    /// As `Accused`, but another member hears the subject: it is said now and then only, and counts for
    /// nothing but that the link does not work.
    Disputed,
    HeardAgain,
}

#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
struct Watched {
    subject: Identity,
    statement: Statement,
    attempts: u32,
    /// How many times in this view an accusation went to other members than coordinators, each time to
    /// further ones, until all were told.
    spread: u32,
    send_at: Instant,
    /// When the last contradiction came.
    disputed_at: Instant,
}

/// Statements about all watched nodes that are not simply well.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub(super) struct Watch {
    watched: BoundedVec<Watched>,
    interval: Duration,
    disputed_interval: Duration,
}

impl Watch {
    /// Nothing to say.
    pub(super) fn new(
        interval: Duration,
        disputed_interval: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            watched: BoundedVec::with_capacity(2 * WATCHED_MAX)?,
            interval,
            disputed_interval,
        })
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.watched.clear();
    }

    fn say(&mut self, now: Instant, subject: Identity, statement: Statement) {
        let watched = Watched {
            subject,
            statement,
            attempts: 0,
            spread: 0,
            send_at: now,
            disputed_at: now,
        };
        match self
            .watched
            .as_mut_slice()
            .iter_mut()
            .find(|known| known.subject == subject)
        {
            Some(known) => {
                *known = Watched {
                    spread: known.spread,
                    ..watched
                };
            }
            None => {
                let _ = self.watched.push(watched);
            }
        }
    }

    /// The subject is silent and probed.
    pub(super) fn suspect(&mut self, now: Instant, subject: Identity) {
        self.say(now, subject, Statement::Suspected);
    }

    /// The subject did not answer the probes.
    pub(super) fn accuse(&mut self, now: Instant, subject: Identity) {
        self.say(now, subject, Statement::Accused);
    }

    /// Another member hears the subject. Says whether that is news.
    pub(super) fn dispute(&mut self, now: Instant, subject: Identity) -> bool {
        let Some(watched) = self
            .watched
            .as_mut_slice()
            .iter_mut()
            .find(|watched| watched.subject == subject)
        else {
            return false;
        };
        watched.disputed_at = now;
        let is_news = watched.statement == Statement::Accused;
        if is_news {
            watched.statement = Statement::Disputed;
            watched.send_at = now.after(self.disputed_interval);
        }
        is_news
    }

    /// The subject was heard again.
    pub(super) fn heard(&mut self, now: Instant, subject: Identity) {
        self.say(now, subject, Statement::HeardAgain);
    }

    /// Whether this node suspects or accuses the node: not somebody to turn to.
    pub(super) fn suspects(&self, node: NodeId) -> bool {
        self.watched.iter().any(|watched| {
            watched.subject.node == node
                && matches!(watched.statement, Statement::Suspected | Statement::Accused)
        })
    }

    /// Whether this node does not hear the node although others do.
    pub(super) fn disputes(&self, node: NodeId) -> bool {
        self.watched
            .iter()
            .any(|watched| watched.subject.node == node && watched.statement == Statement::Disputed)
    }

    /// Whether this node accuses anybody.
    pub(super) fn accuses_anybody(&self) -> bool {
        self.watched
            .iter()
            .any(|watched| watched.statement == Statement::Accused)
    }

    /// When something has to be said.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.watched
            .iter()
            .filter(|watched| watched.is_open())
            .map(|watched| watched.send_at)
            .min()
    }

    /// Says what is due: to others by datagrams, and to this node itself, where it is one of those
    /// that collect, through `tell_own`.
    pub(super) fn send_due(
        &mut self,
        now: Instant,
        own: NodeId,
        view: &ClusterView,
        coordinators: u32,
        outbox: &mut Outbox,
        mut tell_own: impl FnMut(ReportRecord),
    ) {
        let turns = u32::try_from(view.count().div_ceil(COORDINATORS_MAX)).unwrap_or(u32::MAX);
        for place in 0..self.watched.len() {
            let Some(mut watched) = self.watched.get(place).copied() else {
                return;
            };
            let forgotten_at = watched
                .disputed_at
                .after(self.disputed_interval.times(DISPUTED_INTERVALS));
            if watched.statement == Statement::Disputed && now >= forgotten_at {
                watched.statement = Statement::Accused;
                watched.attempts = 0;
            }
            if !watched.is_open() || now < watched.send_at {
                continue;
            }
            let record = watched.record(own);
            let mut addresses = [None; 2 * COORDINATORS_MAX + 1];
            let to = self.receivers(&watched, own, view, coordinators);
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
                tell_own(record);
            }
            let pause = match watched.statement {
                // Soon, so that nobody acts on it any more.
                Statement::HeardAgain => self.interval,
                Statement::Disputed => self.disputed_interval,
                _ => {
                    let factor = 1_u64
                        .checked_shl(watched.attempts.saturating_sub(1))
                        .unwrap_or(BACK_OFF_MAX);
                    self.interval.times(factor.min(BACK_OFF_MAX))
                }
            };
            if watched.statement == Statement::Accused {
                watched.spread = watched.spread.max(watched.attempts).min(turns);
            }
            watched.send_at = now.after(pause);
            watched.attempts = watched.attempts.saturating_add(1);
            if let Some(place) = self.watched.as_mut_slice().get_mut(place) {
                *place = watched;
            }
        }
        self.watched
            .retain(|watched| watched.is_open() || watched.statement != Statement::HeardAgain);
    }

    /// Who is told with the present attempt.
    fn receivers<'v>(
        &self,
        watched: &Watched,
        own: NodeId,
        view: &'v ClusterView,
        coordinators: u32,
    ) -> impl Iterator<Item = &'v crate::protocol::view::MemberRecord> + use<'v, '_> {
        let subject = watched.subject.node;
        let everybody = match watched.statement {
            Statement::Disputed => false,
            Statement::Accused => watched.attempts > 0,
            Statement::Suspected | Statement::HeardAgain => true,
        };
        let wanted = if everybody { usize::MAX } else { 1 };
        let others = view.count().max(1);
        let turn = match watched.statement {
            Statement::HeardAgain => watched.attempts.checked_rem(watched.spread).unwrap_or(0),
            _ => watched.attempts.saturating_sub(1),
        };
        let start = (turn as usize)
            .saturating_mul(COORDINATORS_MAX)
            .checked_rem(others)
            .unwrap_or(0);
        let further = match watched.statement {
            Statement::Accused if everybody => COORDINATORS_MAX,
            Statement::HeardAgain if watched.spread > 0 => COORDINATORS_MAX,
            Statement::Disputed => 1,
            _ => 0,
        };
        // Only another one can go on disputing it.
        let excluded = (watched.statement == Statement::Disputed).then_some(own);
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

impl Watched {
    /// Whether it is to be said again.
    fn is_open(&self) -> bool {
        match self.statement {
            // If it gets worse an accusation follows, else "heard again".
            Statement::Suspected => self.attempts == 0,
            Statement::Accused | Statement::Disputed => true,
            Statement::HeardAgain => {
                self.attempts < CLEAR_REPEATS.saturating_mul(self.spread.max(1))
            }
        }
    }

    fn record(&self, own: NodeId) -> ReportRecord {
        match self.statement {
            Statement::Suspected => ReportRecord::Suspect(self.subject, own),
            Statement::Accused | Statement::Disputed => ReportRecord::Accuse(self.subject, own),
            Statement::HeardAgain => ReportRecord::Clear(self.subject, own),
        }
    }
}

/// Sends one record to one address.
pub(super) fn send_report(to: &[PeerAddress], record: &ReportRecord, outbox: &mut Outbox) {
    outbox.send(to, Kind::Report, |writer| writer.write(record));
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_watch))]
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

    fn watch() -> Result<Watch, Unexpected> {
        Ok(Watch::new(span(30), span(500))?)
    }

    /// What is said at `now` in a view of 12 nodes (coordinators 1, 5 and 9) by node `own`: to whom,
    /// as bits (its own too), and what.
    fn said(
        watch: &mut Watch,
        now: Instant,
        own: NodeId,
    ) -> Result<(u32, Option<ReportRecord>), Unexpected> {
        let (view, mut outbox) = (view(1..=12)?, outbox()?);
        let (mut set, mut said) = (0, None);
        watch.send_due(now, own, &view, COORDINATORS, &mut outbox, |record| {
            set |= 1 << own.number();
            said = Some(record);
        });
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
            let bytes = buffer.get(..transmit.length).ok_or(Unexpected)?;
            said = Reports::parse(Datagram::parse(bytes, CLUSTER)?.body)?.next();
            set |= 1 << transmit.to.octets.last().ok_or(Unexpected)?;
        }
        Ok((set, said))
    }

    #[test]
    fn a_suspicion_goes_once_to_all_coordinators() -> TestResult {
        let mut watch = watch()?;
        watch.suspect(at(0), SUBJECT);
        assert!(watch.suspects(SUBJECT.node) && !watch.accuses_anybody());
        assert_eq!(watch.next_deadline(), Some(at(0)));
        let coordinators = 1 << 1 | 1 << 5 | 1 << 9;
        let expected = (coordinators, Some(ReportRecord::Suspect(SUBJECT, OWN)));
        assert_eq!(said(&mut watch, at(0), OWN)?, expected);
        assert_eq!(watch.next_deadline(), None);
        assert_eq!(said(&mut watch, at(10_000), OWN)?, (0, None));
        assert!(watch.suspects(SUBJECT.node));
        Ok(())
    }

    #[test]
    fn an_accusation_is_said_again_to_more_and_more() -> TestResult {
        let mut watch = watch()?;
        watch.accuse(at(0), SUBJECT);
        assert!(watch.accuses_anybody());
        let accusation = Some(ReportRecord::Accuse(SUBJECT, OWN));
        assert_eq!(said(&mut watch, at(0), OWN)?, (1 << 5, accusation));
        let coordinators = 1 << 1 | 1 << 5 | 1 << 9;
        let mut everybody = 0;
        let mut now = at(0);
        for pause_ms in [30, 30, 60, 120, 240, 240] {
            let next = watch.next_deadline().ok_or(Unexpected)?;
            assert_eq!(next.since(now), span(pause_ms));
            let (told, record) = said(&mut watch, next, OWN)?;
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
    fn suspected_coordinators_are_not_turned_to() -> TestResult {
        let mut watch = watch()?;
        // The subject is a coordinator itself, and so is another one that is suspected.
        watch.accuse(at(0), identity(5));
        watch.suspect(at(100), identity(9));
        assert_eq!(said(&mut watch, at(0), OWN)?.0, 1 << 1);
        Ok(())
    }

    #[test]
    fn a_coordinator_tells_itself() -> TestResult {
        let mut watch = watch()?;
        watch.accuse(at(0), SUBJECT);
        let expected = (1 << 5, Some(ReportRecord::Accuse(SUBJECT, node(5))));
        assert_eq!(said(&mut watch, at(0), node(5))?, expected);
        Ok(())
    }

    #[test]
    fn heard_again_is_said_a_few_times_to_all_coordinators_and_then_forgotten() -> TestResult {
        let mut watch = watch()?;
        watch.accuse(at(0), SUBJECT);
        said(&mut watch, at(0), OWN)?;
        watch.heard(at(5), SUBJECT);
        assert!(!watch.suspects(SUBJECT.node) && !watch.accuses_anybody());
        for _ in 0..CLEAR_REPEATS {
            let now = watch.next_deadline().ok_or(Unexpected)?;
            let (told, record) = said(&mut watch, now, OWN)?;
            assert_eq!(told, 1 << 1 | 1 << 5 | 1 << 9);
            assert_eq!(record, Some(ReportRecord::Clear(SUBJECT, OWN)));
        }
        assert_eq!(watch.next_deadline(), None);
        assert!(watch.watched.is_empty());
        Ok(())
    }

    #[test]
    fn whoever_was_told_an_accusation_is_told_that_it_is_taken_back() -> TestResult {
        // However long it was kept up, what it takes to say so is bounded.
        for (accusations, repeats) in [
            (2, CLEAR_REPEATS),
            (3, 2 * CLEAR_REPEATS),
            (99, 2 * CLEAR_REPEATS),
        ] {
            let mut watch = watch()?;
            watch.accuse(at(0), SUBJECT);
            let (mut accused, mut cleared) = (0, 0);
            for _ in 0..accusations {
                let now = watch.next_deadline().ok_or(Unexpected)?;
                accused |= said(&mut watch, now, OWN)?.0;
            }
            watch.heard(at(90_000), SUBJECT);
            for _ in 0..repeats {
                let now = watch.next_deadline().ok_or(Unexpected)?;
                let (told, record) = said(&mut watch, now, OWN)?;
                assert_eq!(record, Some(ReportRecord::Clear(SUBJECT, OWN)));
                cleared |= told;
            }
            assert_eq!(accused & !cleared, 0);
            assert_eq!(watch.next_deadline(), None);
        }
        Ok(())
    }

    #[test]
    fn a_disputed_accusation_is_said_now_and_then_and_counts_for_nothing_else() -> TestResult {
        let mut watch = watch()?;
        assert!(!watch.dispute(at(0), SUBJECT));
        watch.accuse(at(0), SUBJECT);
        said(&mut watch, at(0), OWN)?;
        assert!(watch.dispute(at(5), SUBJECT) && !watch.dispute(at(6), SUBJECT));
        assert!(watch.disputes(SUBJECT.node));
        assert!(!watch.suspects(SUBJECT.node) && !watch.accuses_anybody());
        // A coordinator and somebody else hear of it, also from a node that is the coordinator itself.
        for (own, coordinator) in [(OWN, 1 << 5), (node(5), 1 << 9)] {
            let now = watch.next_deadline().ok_or(Unexpected)?;
            watch.dispute(now, SUBJECT);
            let (told, record) = said(&mut watch, now, own)?;
            assert_eq!(record, Some(ReportRecord::Accuse(SUBJECT, own)));
            assert_eq!((told & coordinator, told.count_ones()), (coordinator, 2));
            assert_eq!(told & (1 << own.number() | 1 << 7), 0);
            assert_eq!(watch.next_deadline(), Some(now.after(span(500))));
        }
        Ok(())
    }

    #[test]
    fn what_nobody_contradicts_any_more_is_an_accusation_again() -> TestResult {
        let mut watch = watch()?;
        watch.accuse(at(0), SUBJECT);
        assert!(watch.dispute(at(0), SUBJECT));
        let mut now = at(0);
        while watch.disputes(SUBJECT.node) {
            now = watch.next_deadline().ok_or(Unexpected)?;
            said(&mut watch, now, OWN)?;
        }
        assert_eq!(now, at(500 * DISPUTED_INTERVALS));
        assert!(watch.accuses_anybody() && watch.dispute(now, SUBJECT));
        watch.clear();
        assert_eq!(watch.next_deadline(), None);
        Ok(())
    }

    #[test]
    fn the_latest_statement_about_a_node_replaces_the_one_before() -> TestResult {
        let mut watch = watch()?;
        for _ in 0..100 {
            watch.suspect(at(0), SUBJECT);
            watch.heard(at(0), SUBJECT);
            watch.accuse(at(0), SUBJECT);
        }
        assert_eq!(watch.watched.len(), 1);
        assert!(watch.accuses_anybody());
        Ok(())
    }
}
