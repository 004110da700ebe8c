// SPDX-License-Identifier: GPL-2.0

//! The proposer of Paxos: one ballot of this node, from the request for promises to the decision.
//!
//! ```text
//!           start                  a quorum has promised, and         a quorum has accepted
//!   Idle ----------> Preparing ---- nobody is awaited any more ----> Proposing ----------> decided
//!    ^                   |  ^                                           |
//!    |                   |  +-- held while a failed node is fenced      |
//!    +-- stop: a higher ballot, or another view ------------------------+
//! ```

#[cfg(kcgcs_exploration)]
mod exploration;

use core::cmp::Ordering;

use super::proposal::Proposal;
use crate::platform::{BoundedVec, OutOfMemory};
use crate::protocol::identity::{Identity, NodeId, PeerAddress, Slot, ViewName, ViewNumber};
use crate::protocol::limits::{NODES_MAX, TRANSMIT_BYTES_MAX};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{is_quorum, MemberRecord};
use crate::protocol::wire::membership::{
    write_ballot, write_hold, write_prepare, Ballot, Change, Prepare, Promise,
};
use crate::protocol::wire::Kind;
#[cfg(kcgcs_exploration)]
use crate::seeded_faults::{is_seeded, Fault};

/// Room that proposals leave to other datagrams in the transmit queue.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 2;
/// An unanswered message is sent again after at most so many first intervals.
const BACK_OFF_MAX: u64 = 8;
/// [`Patience::Short`] in first intervals.
const SHORT_INTERVALS: u64 = 3;

/// One voter, as the proposer sees it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(crate) struct Voter {
    /// Which node.
    pub(crate) identity: Identity,
    /// Where it listens.
    pub(crate) address: PeerAddress,
    /// It has promised under the present ballot.
    pub(crate) promised: bool,
    /// It may hold messages of groups that others lack.
    pub(crate) has_groups: bool,
    /// What its vote about the successor of the last primary view is worth.
    pub(crate) vote: Vote,
    accepted: bool,
    /// It is up, although it may not promise: views are pinned there.
    is_there: bool,
}

impl Voter {
    /// Whether it has answered since the ballot began: it is not dead.
    pub(crate) fn has_answered(&self) -> bool {
        self.promised || self.is_there
    }
}

/// What a voter without a view has to say about the successor of the last primary view ([`crate::protocol::membership::partitions`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(crate) enum Vote {
    /// Nothing: it was not in that view, or knows of a later one.
    None,
    /// It was in that view and was started anew since: its vote is lost for ever.
    Forgotten,
    /// It was in that view and remembers its promises.
    Counts,
}

/// How many votes decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(crate) enum QuorumRule {
    /// The quorum of a view, whose members are the voters: more than half, or exactly half with the lowest.
    OfView,
    /// More than half of the voters.
    MoreThanHalf,
    /// At least so many: the first view.
    AtLeast(usize),
    /// All that have promised: a component of a partitioned cluster.
    Unanimous,
    /// The quorum of a view of so many members, of which the voters whose vote counts are some. Exactly half is enough
    /// with this node among them.
    OfPrimary(usize, Option<NodeId>),
}

/// What a ballot is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The ballot.
    pub(crate) ballot: Ballot,
    /// How many votes decide.
    pub(crate) rule: QuorumRule,
    /// The view whose successor is to be decided.
    pub(crate) electorate: ViewName,
    /// The number of the next view, if the voters have no view now.
    pub(crate) number: ViewNumber,
}

/// Where a proposer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub(crate) enum Stage {
    /// No ballot.
    Idle,
    /// Collects promises.
    Preparing,
    /// Collects acceptances.
    Proposing,
}

/// How long the proposer waits for a promise that it does not need for a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: the voter is known to be dead.
    None,
    /// For a few transmissions after a quorum has promised: the network may have kept it away, like others.
    Settling,
    /// For a few transmissions: the voter is accused, or not known yet.
    Short,
    /// For as long as its monitors need to find it dead.
    Long,
}

/// One ballot of this node.
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub(crate) struct Proposer {
    stage: Stage,
    ballot: Ballot,
    rule: QuorumRule,
    electorate: ViewName,
    number: ViewNumber,
    /// A voter knows of a later primary view than this node.
    is_behind: bool,
    voters: BoundedVec<Voter>,
    /// The value accepted under the highest ballot that the promises told of.
    found: Proposal,
    /// When to send again to voters that have not answered, and how long to wait after that.
    send_at: Instant,
    interval: Duration,
    first_interval: Duration,
    /// How long voters are awaited that nobody suspects.
    detection: Duration,
    /// Until then voters with [`Patience::Short`] are awaited.
    short_until: Instant,
    /// Until then voters with [`Patience::Long`] are awaited. Afterwards a quorum is enough.
    long_until: Instant,
    /// Until then voters with [`Patience::Settling`] are awaited, once a quorum has promised.
    settled_at: Option<Instant>,
    /// The first of the three that has not come yet.
    look_at: Instant,
    started_at: Instant,
    /// The next voter and part to send, while a proposal is on its way.
    cursor: Option<(usize, u16)>,
    /// The node that must be fenced before anything is proposed, although a quorum has promised.
    held: Option<Identity>,
}

impl Proposer {
    /// No ballot. `any` is any node. Unanswered messages are sent again after `first_interval`. Monitors find a crash
    /// within `detection`.
    pub(crate) fn new(
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

    /// Where the ballot stands.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// The present ballot.
    pub(crate) fn ballot(&self) -> Ballot {
        self.ballot
    }

    /// Give the ballot up: the view has changed, or a higher ballot was seen.
    pub(crate) fn stop(&mut self) {
        self.stage = Stage::Idle;
        self.cursor = None;
        self.held = None;
        self.voters.clear();
        self.found.clear();
    }

    /// Start a ballot among `voters`. `accepted` is what this node has accepted before. The first ballot of this view was
    /// heard of at `since`: patience is counted from then on, so that ballots that follow each other do not wait anew.
    pub(crate) fn start(
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

    /// The voters, sorted by node.
    pub(crate) fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// Take in this node's own promise.
    pub(crate) fn promise_own(&mut self, own: Identity, has_groups: bool, vote: Vote) {
        if let Some(voter) = self.voter(own) {
            voter.promised = true;
            voter.vote = vote;
            voter.has_groups = has_groups;
        }
    }

    /// Take in a promise for the present ballot. `vote` is what it is worth. `order` compares the view whose successor it is
    /// about with the one that this node knows.
    pub(crate) fn take_promise(
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

    /// Whether a voter knows of a later primary view than this node.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The number of the next view, if the voters have no view now.
    pub(crate) fn number(&self) -> ViewNumber {
        self.number
    }

    /// Let another rule decide from now on.
    pub(crate) fn set_rule(&mut self, rule: QuorumRule) {
        self.rule = rule;
    }

    /// Whether enough voters have promised for this rule.
    pub(crate) fn is_promised_by(&self, rule: QuorumRule) -> bool {
        self.is_met(rule, |voter| voter.promised)
    }

    /// Note that a voter is up.
    pub(crate) fn take_presence(&mut self, from: Identity) {
        if let Some(voter) = self.voter(from) {
            voter.is_there = true;
        }
    }

    /// Take in that a voter has accepted the proposal of `ballot`.
    pub(crate) fn take_accepted(&mut self, from: Identity, ballot: Ballot) {
        if self.stage == Stage::Proposing && ballot == self.ballot {
            if let Some(voter) = self.voter(from) {
                voter.accepted = true;
            }
        }
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

    /// Whether the promises are enough to propose: a quorum has promised, and no other voter that may be alive is awaited
    /// any more.
    ///
    /// Nodes that die together with others often show it only by not answering. Waiting until their monitors would have
    /// reported them costs no more time than a second view change, and saves it.
    pub(crate) fn is_prepared(
        &mut self,
        now: Instant,
        patience: impl Fn(Identity) -> Patience,
    ) -> bool {
        if self.settled_at.is_none() && self.is_met(self.rule, |voter| voter.promised) {
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
            && self.is_met(self.rule, |voter| voter.promised)
            && !self.voters.iter().any(is_awaited)
    }

    /// Whether this ballot has waited for as long as monitors need to find a voter dead.
    pub(crate) fn has_waited_long(&self, now: Instant) -> bool {
        now >= self.short_until && now >= self.started_at.after(self.detection)
    }

    /// Whether parts of a value that others accepted have been missing for too long: its holder is gone, and the ballot has
    /// to be started anew.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.stage == Stage::Preparing
            && self.found.ballot.is_some()
            && !self.found.is_complete()
            && now
                >= self
                    .short_until
                    .after(self.first_interval.times(BACK_OFF_MAX))
    }

    /// Whether the ballot was started longer than `span` ago and is not decided.
    pub(crate) fn is_older(&self, now: Instant, span: Duration) -> bool {
        self.stage != Stage::Idle && now >= self.started_at.after(span)
    }

    /// Propose nothing yet, since `subject` is not fenced. Look again at `until`.
    pub(crate) fn hold(&mut self, subject: Identity, until: Instant) {
        self.held = Some(subject);
        self.look_at = until;
    }

    /// Until when even accused voters are awaited.
    pub(crate) fn short_until(&self) -> Instant {
        self.short_until
    }

    /// Whether the ballot waits until a node is fenced.
    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Wait for no fencing any more.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// The value that must be proposed again, since a promise told of it.
    pub(crate) fn found(&self) -> Option<&Proposal> {
        #[cfg(kcgcs_exploration)]
        if is_seeded(Fault::IgnoredValue) {
            return None;
        }
        self.found.is_complete().then_some(&self.found)
    }

    /// Add all voters that have promised to a view that follows none. Slots are given in their order, from 1.
    pub(crate) fn add_promised(&self, proposal: &mut Proposal) {
        for (voter, slot) in self.voters.iter().filter(|voter| voter.promised).zip(1..) {
            proposal.add(Change::Add(MemberRecord {
                identity: voter.identity,
                address: voter.address,
                slot: Slot(slot),
            }));
        }
    }

    /// Mark the voters that may hold messages of groups that others lack: those that say so, and those that have not
    /// answered.
    pub(crate) fn add_reporters(&self, proposal: &mut Proposal) {
        for eight in self.voters.chunks(8) {
            let bits = eight.iter().enumerate().fold(0, |bits, (place, voter)| {
                let is_reporter = !voter.promised || voter.has_groups;
                bits | (u8::from(is_reporter) << place)
            });
            proposal.add_reporters(bits);
        }
    }

    /// Go on to the second phase. This node has accepted its own proposal.
    pub(crate) fn propose(&mut self, now: Instant, own: Identity) {
        self.stage = Stage::Proposing;
        self.interval = self.first_interval;
        self.send_at = now;
        if let Some(voter) = self.voter(own) {
            voter.accepted = true;
        }
    }

    /// Whether the value is decided.
    pub(crate) fn is_decided(&self) -> bool {
        self.stage == Stage::Proposing && self.is_met(self.rule, |voter| voter.accepted)
    }

    /// Send again what was not answered, if that is due.
    pub(crate) fn send_due(
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
                        write_hold(writer, ballot, subject)
                    });
                }
                // While voters are awaited for long, those that have promised are told that the ballot goes on. Otherwise
                // the next in line would take over.
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
                outbox.send(asked, Kind::Prepare, |writer| {
                    write_prepare(writer, &prepare)
                });
            } else {
                self.cursor = Some((0, 0));
            }
        }
        self.pump(own, proposal, outbox);
    }

    /// Send as many parts of the proposal as there is room for.
    pub(crate) fn pump(&mut self, own: Identity, proposal: Option<&Proposal>, outbox: &mut Outbox) {
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
                write_ballot(writer, ballot)?;
                proposal.write_part(writer, part)
            });
            self.cursor = Some((place, part.saturating_add(1)));
        }
    }

    /// When the ballot goes on although nothing comes in.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Idle => None,
            Stage::Preparing
                if (self.found.ballot.is_none() || self.found.is_complete())
                    && self.is_met(self.rule, |voter| voter.promised) =>
            {
                Some(self.send_at.min(self.look_at))
            }
            _ => Some(self.send_at),
        }
    }
}
