// SPDX-License-Identifier: GPL-2.0

//! Deciding on the next view: single-decree Paxos (Lamport, 1998) among the members of the present
//! view, one instance for each view.
//!
//! ```text
//!  coordinator                         every member of the view (the coordinator is one of them)
//!      | ---- Prepare(ballot) -------------------> | promises: nothing of a lower ballot any more;
//!      | <--- Promise(ballot, accepted before?) -- | its groups stop (the flush begins)
//!      |                                           |
//!      | a quorum has promised: take the value accepted under the highest ballot,
//!      | or, where there is none, what was collected
//!      |                                           |
//!      | ---- Propose(ballot, changes) ----------> | accepts, unless it promised a higher ballot
//!      | <--- Accepted(ballot) ------------------- |
//!      | a quorum has accepted: the value is decided for ever
//!      | ---- Commit(ballot) --------------------> | installs the view
//! ```
//!
//! Two quorums of a view share a member, so two ballots cannot decide on different views. A member
//! that crashes comes back under another incarnation and is no member of that view any more, so
//! nothing has to be written to disk. Whoever finds the coordinator silent may start a higher ballot
//! in any phase: it takes up what may have been decided.

mod acceptor;
#[cfg(kcgcs_exploration)]
mod exploration;
#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
mod whole_tests;

use core::cmp::Ordering;

pub(super) use self::acceptor::Acceptor;
use super::proposal::Proposal;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId, PeerAddress, ViewName, ViewNumber};
use crate::protocol::limits::{NODES_MAX, TRANSMIT_BYTES_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::is_quorum;
use crate::protocol::wire::membership::{Ballot, Hold, Prepare, Promise};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// Room that proposals leave to others in the transmit queue.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 2;
/// An unanswered message is sent again after at most this many times the first interval.
const BACK_OFF_MAX: u64 = 8;
/// [`Patience::Short`] in first intervals.
const SHORT_INTERVALS: u64 = 3;

/// One voter as the proposer sees it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) struct Voter {
    /// Who.
    pub(super) identity: Identity,
    /// Where.
    pub(super) address: PeerAddress,
    /// It has promised under the present ballot.
    pub(super) promised: bool,
    /// It said that it may hold messages of groups that others lack.
    pub(super) has_groups: bool,
    /// Whether it votes about the successor of the last primary view.
    pub(super) vote: Vote,
    accepted: bool,
    /// It has said that it is there, though it may not promise: views are pinned where it is.
    is_there: bool,
}

impl Voter {
    /// Whether it has been heard since the ballot began: it is not dead.
    pub(super) fn has_answered(&self) -> bool {
        self.promised || self.is_there
    }
}

/// Whether a voter without a view votes about who follows the last primary view ([`super::parts`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum Vote {
    /// It was not in that view, or knows of a later one.
    None,
    /// It was in that view and has begun anew since then: its vote is lost for ever.
    Forgotten,
    /// It was in that view and remembers.
    Counts,
}

/// How many votes decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum QuorumRule {
    /// The quorum of a view, whose members are the voters: more than half, or exactly half with the lowest.
    OfView,
    /// More than half of the voters.
    MoreThanHalf,
    /// At least so many: the first view.
    AtLeast(usize),
    /// All that have promised: a part of a cluster.
    Unanimous,
    /// The quorum of a view of so many, whose members are the voters that have a vote; exactly half is enough
    /// if this node is among them.
    OfPrimary(usize, Option<NodeId>),
}

/// What a ballot is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// Its name.
    pub(super) ballot: Ballot,
    /// How many votes decide.
    pub(super) rule: QuorumRule,
    /// The view whose successor is to be decided.
    pub(super) electorate: ViewName,
    /// The number that the next view has, if its voters have no view now.
    pub(super) number: ViewNumber,
}

/// Where a proposer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(super) enum Stage {
    /// Proposes nothing.
    Idle,
    /// Collects promises.
    Preparing,
    /// Collects acceptances.
    Proposing,
}

/// How long a proposer waits for a promise that it does not need for a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all: the voter is known to be dead.
    None,
    /// For a few transmissions since a quorum was there: the network may have kept it away, as others.
    Settling,
    /// For a few transmissions: the voter is accused, or nobody knows it yet.
    Short,
    /// For as long as it takes to find out that the voter is dead.
    Long,
}

/// A coordinator's attempt to decide.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(super) struct Proposer {
    stage: Stage,
    ballot: Ballot,
    rule: QuorumRule,
    electorate: ViewName,
    number: ViewNumber,
    /// A voter knows of a later primary view than this node does.
    is_behind: bool,
    voters: BoundedVec<Voter>,
    /// The value accepted under the highest ballot that promises told of.
    found: Proposal,
    /// When to send again to those who have not answered, and how long to wait then.
    send_at: Instant,
    interval: Duration,
    first_interval: Duration,
    /// How long voters are awaited of whom nobody says that they are dead.
    detection: Duration,
    /// Until then voters with [`Patience::Short`] are awaited.
    short_until: Instant,
    /// Until then voters with [`Patience::Long`] are awaited; afterwards a quorum is enough.
    long_until: Instant,
    /// Until then voters with [`Patience::Settling`] are awaited, once a quorum has promised.
    settled_at: Option<Instant>,
    /// The first of the three that has not come yet.
    look_at: Instant,
    started_at: Instant,
    /// The next voter and part to send, while a proposal is on its way.
    cursor: Option<(usize, u16)>,
    /// Whose fencing is awaited before anything is proposed, though a quorum has promised.
    held: Option<Identity>,
}

impl Proposer {
    /// Idle; `any` is any node. Unanswered messages are sent again after `first_interval`, and a
    /// crash is found by the watchers within `detection`.
    pub(super) fn new(
        any: NodeId,
        first_interval: Duration,
        detection: Duration,
    ) -> Result<Self, OutOfMemory> {
        Ok(Self {
            stage: Stage::Idle,
            ballot: Ballot {
                round: 0,
                coordinator: any,
            },
            rule: QuorumRule::OfView,
            electorate: ViewName {
                number: ViewNumber::default(),
                issuer: any,
            },
            number: ViewNumber::default(),
            is_behind: false,
            voters: BoundedVec::with_capacity(NODES_MAX)?,
            found: Proposal::empty(any)?,
            send_at: Instant::ZERO,
            interval: first_interval,
            first_interval,
            detection,
            short_until: Instant::ZERO,
            long_until: Instant::ZERO,
            settled_at: None,
            look_at: Instant::ZERO,
            started_at: Instant::ZERO,
            cursor: None,
            held: None,
        })
    }

    /// Where it stands.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// The present ballot.
    pub(super) fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Gives up: the view has changed, or a higher ballot was seen.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Idle;
        self.cursor = None;
        self.held = None;
        self.voters.clear();
        self.found.clear();
    }

    /// Starts a ballot among `voters`; `accepted` is what this node has accepted itself before.
    /// The first ballot of this view was heard of at `since`: patience is counted from then on, so
    /// that ballots which follow each other do not wait anew.
    pub(super) fn start(
        &mut self,
        now: Instant,
        since: Instant,
        attempt: Attempt,
        voters: impl Iterator<Item = (Identity, PeerAddress)>,
        accepted: Option<&Proposal>,
    ) {
        self.stop();
        self.ballot = attempt.ballot;
        self.rule = attempt.rule;
        self.electorate = attempt.electorate;
        self.number = attempt.number;
        self.is_behind = false;
        for (identity, address) in voters {
            let _ = self.voters.push(Voter {
                identity,
                address,
                promised: false,
                has_groups: false,
                vote: Vote::None,
                accepted: false,
                is_there: false,
            });
        }
        self.voters
            .as_mut_slice()
            .sort_unstable_by_key(|voter| voter.identity.node);
        if let Some((proposal, before)) = accepted.and_then(|p| Some((p, p.ballot?))) {
            self.found.copy_from(proposal, before);
        }
        self.stage = Stage::Preparing;
        self.started_at = now;
        self.interval = self.first_interval;
        self.send_at = now;
        self.short_until = now.after(self.first_interval.times(SHORT_INTERVALS));
        self.long_until = self.short_until.max(since.after(self.detection));
        self.settled_at = None;
        self.look_at = self.short_until;
    }

    fn voter(&mut self, identity: Identity) -> Option<&mut Voter> {
        let place = self
            .voters
            .binary_search_by_key(&identity.node, |voter| voter.identity.node)
            .ok()?;
        self.voters
            .as_mut_slice()
            .get_mut(place)
            .filter(|voter| voter.identity == identity)
    }

    /// Those who vote, sorted by node.
    pub(super) fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// This node's own promise.
    pub(super) fn promise_own(&mut self, own: Identity, has_groups: bool, vote: Vote) {
        if let Some(voter) = self.voter(own) {
            voter.promised = true;
            voter.vote = vote;
            voter.has_groups = has_groups;
        }
    }

    /// A promise for the present ballot came in. `vote` is what it is worth, `order` how the view whose
    /// successor it is about compares to the one that this node knows.
    pub(super) fn take_promise(
        &mut self,
        from: Identity,
        promise: &Promise<'_>,
        vote: Vote,
        order: Ordering,
    ) {
        if self.stage != Stage::Preparing || promise.ballot != self.ballot {
            return;
        }
        self.is_behind |= order == Ordering::Greater;
        let accepted = promise.accepted.as_ref();
        if let Some((before, part)) = accepted.filter(|_| order == Ordering::Equal) {
            self.found.add_part(*before, part);
            if !self.found.is_complete() {
                return;
            }
        }
        let has_groups = promise.has_groups;
        if let Some(voter) = self.voter(from) {
            voter.promised = true;
            voter.has_groups = has_groups;
            voter.vote = vote;
        }
    }

    /// Whether a voter knows of a later primary view than this node does.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The number that the next view has, if its voters have no view now.
    pub(super) fn number(&self) -> ViewNumber {
        self.number
    }

    /// From now on these votes decide.
    pub(super) fn set_rule(&mut self, rule: QuorumRule) {
        self.rule = rule;
    }

    /// Whether so many as the rule asks for have promised.
    pub(super) fn is_promised_by(&self, rule: QuorumRule) -> bool {
        self.is_met(rule, |voter| voter.promised)
    }

    /// A voter says that it is there.
    pub(super) fn take_presence(&mut self, from: Identity) {
        if let Some(voter) = self.voter(from) {
            voter.is_there = true;
        }
    }

    /// An acceptance came in.
    pub(super) fn take_accepted(&mut self, from: Identity, ballot: Ballot) {
        if self.stage == Stage::Proposing && ballot == self.ballot {
            if let Some(voter) = self.voter(from) {
                voter.accepted = true;
            }
        }
    }

    fn is_quorum(&self, counts: impl Fn(&Voter) -> bool) -> bool {
        self.is_met(self.rule, counts)
    }

    fn is_met(&self, rule: QuorumRule, counts: impl Fn(&Voter) -> bool) -> bool {
        let votes = self.voters.iter().filter(|voter| counts(voter)).count();
        #[cfg(kcgcs_exploration)]
        let votes = votes.saturating_add(usize::from(is_seeded(Fault::SmallQuorum)));
        match rule {
            QuorumRule::Unanimous => self
                .voters
                .iter()
                .all(|voter| !voter.promised || counts(voter)),
            QuorumRule::OfPrimary(all, decider) => {
                let voting = |voter: &&Voter| voter.vote == Vote::Counts && counts(voter);
                let votes = self.voters.iter().filter(voting).count();
                let mut voting = self.voters.iter().filter(voting);
                let with_decider = voting.any(|voter| Some(voter.identity.node) == decider);
                is_quorum(votes, all, with_decider)
            }
            QuorumRule::AtLeast(needed) => votes >= needed,
            QuorumRule::MoreThanHalf => is_quorum(votes, self.voters.len(), false),
            QuorumRule::OfView => {
                let with_lowest = self.voters.first().is_some_and(&counts);
                is_quorum(votes, self.voters.len(), with_lowest)
            }
        }
    }

    /// Whether the promises are enough to propose: a quorum, and nobody is awaited any more that
    /// may be alive. Who dies together with others often shows it only by not answering; waiting
    /// for the watchers to say so costs no more time than a second view change would, and saves it.
    pub(super) fn is_prepared(
        &mut self,
        now: Instant,
        patience: impl Fn(Identity) -> Patience,
    ) -> bool {
        if self.settled_at.is_none() && self.is_quorum(|voter| voter.promised) {
            let settled_at = now.after(self.first_interval.times(SHORT_INTERVALS));
            self.settled_at = Some(settled_at);
        }
        let moments = [
            Some(self.short_until),
            Some(self.long_until),
            self.settled_at,
        ];
        let ahead = moments.into_iter().flatten().filter(|at| *at > now);
        self.look_at = ahead.min().unwrap_or(self.long_until);
        let is_awaited = |voter: &Voter| {
            !voter.promised
                && match patience(voter.identity) {
                    Patience::None => false,
                    Patience::Settling => self.settled_at.is_some_and(|at| now < at),
                    Patience::Short => now < self.short_until,
                    Patience::Long => now < self.long_until,
                }
        };
        self.stage == Stage::Preparing
            && (self.found.ballot.is_none() || self.found.is_complete())
            && self.is_quorum(|voter| voter.promised)
            && !self.voters.iter().any(is_awaited)
    }

    /// Whether this ballot has awaited a voter that has not answered for as long as its watchers
    /// would have needed to find it dead.
    pub(super) fn has_waited_long(&self, now: Instant) -> bool {
        now >= self.short_until && now >= self.started_at.after(self.detection)
    }

    /// Whether a value that others accepted is known, but only in parts, for too long: its holder
    /// is gone and the ballot has to be started anew.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.stage == Stage::Preparing
            && self.found.ballot.is_some()
            && !self.found.is_complete()
            && now
                >= self
                    .short_until
                    .after(self.first_interval.times(BACK_OFF_MAX))
    }

    /// Whether the ballot was started longer than `span` ago and is not decided.
    pub(super) fn is_older(&self, now: Instant, span: Duration) -> bool {
        self.stage != Stage::Idle && now >= self.started_at.after(span)
    }

    /// Proposes nothing yet, since `subject` is not fenced; to be looked at again at `until`.
    pub(super) fn hold(&mut self, subject: Identity, until: Instant) {
        self.held = Some(subject);
        self.look_at = until;
    }

    /// Until when even those are awaited that are accused.
    pub(super) fn short_until(&self) -> Instant {
        self.short_until
    }

    /// Whether a fencing is awaited.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Nothing is awaited any more.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// The value that has to be proposed again, if a promise told of one.
    pub(super) fn found(&self) -> Option<&Proposal> {
        #[cfg(kcgcs_exploration)]
        if is_seeded(Fault::IgnoredValue) {
            return None;
        }
        self.found.is_complete().then_some(&self.found)
    }

    /// Goes on to the second phase; this node has accepted its own proposal.
    pub(super) fn propose(&mut self, now: Instant, own: Identity) {
        self.stage = Stage::Proposing;
        self.interval = self.first_interval;
        self.send_at = now;
        if let Some(voter) = self.voter(own) {
            voter.accepted = true;
        }
    }

    /// Whether the value is decided.
    pub(super) fn is_decided(&self) -> bool {
        self.stage == Stage::Proposing && self.is_quorum(|voter| voter.accepted)
    }

    /// Sends again what was not answered, if it is time for that.
    pub(super) fn send_due(
        &mut self,
        now: Instant,
        own: Identity,
        proposal: Option<&Proposal>,
        outbox: &mut Outbox,
    ) {
        if self.stage == Stage::Idle {
            return;
        }
        if now >= self.send_at {
            self.send_at = now.after(self.interval);
            let is_gathering = self.stage == Stage::Preparing && now < self.long_until;
            let longest = self
                .first_interval
                .times(if is_gathering || self.held.is_some() {
                    SHORT_INTERVALS
                } else {
                    BACK_OFF_MAX
                });
            self.interval = self.interval.times(2).min(longest);
            if self.stage == Stage::Preparing {
                let ballot = self.ballot;
                if let Some(subject) = self.held {
                    let waiting = self.voters.iter().filter(|voter| voter.promised);
                    let waiting = waiting.filter(|voter| voter.identity != own);
                    outbox.send(waiting.map(|voter| &voter.address), Kind::Hold, |writer| {
                        writer.write(&Hold { ballot, subject })
                    });
                }
                // While voters are awaited for long, those who have promised hear that it goes on:
                // else the next in line would take over.
                let is_slow = is_gathering && now >= self.short_until && self.held.is_none();
                let asked = self
                    .voters
                    .iter()
                    .filter(|voter| (is_slow || !voter.promised) && voter.identity != own)
                    .map(|voter| &voter.address);
                let prepare = Prepare {
                    ballot,
                    electorate: self.electorate,
                    number: self.number,
                };
                outbox.send(asked, Kind::Prepare, |writer| writer.write(&prepare));
            } else {
                self.cursor = Some((0, 0));
            }
        }
        self.pump(own, proposal, outbox);
    }

    /// Sends as many parts of the proposal as there is room for.
    pub(super) fn pump(&mut self, own: Identity, proposal: Option<&Proposal>, outbox: &mut Outbox) {
        let (Some(proposal), ballot) = (proposal, self.ballot) else {
            return;
        };
        while let Some((place, part)) = self.cursor {
            if outbox.transmit_room() <= ROOM_KEPT_BYTES {
                return;
            }
            let Some(voter) = self.voters.get(place) else {
                self.cursor = None;
                return;
            };
            if voter.accepted || voter.identity == own || part >= proposal.parts() {
                self.cursor = Some((place.saturating_add(1), 0));
                continue;
            }
            outbox.send([&voter.address], Kind::Propose, |writer| {
                writer.write(&ballot)?;
                proposal.write_part(writer, part)
            });
            self.cursor = Some((place, part.saturating_add(1)));
        }
    }

    /// When something is to be done although nothing comes in.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle => None,
            Stage::Preparing
                if (self.found.ballot.is_none() || self.found.is_complete())
                    && self.is_quorum(|voter| voter.promised) =>
            {
                Some(self.send_at.min(self.look_at))
            }
            _ => Some(self.send_at),
        }
    }
}
