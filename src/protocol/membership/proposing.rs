// SPDX-License-Identifier: GPL-2.0

//! When a node starts a ballot for the next view, and what it proposes.
//!
//! The right of way: coordinators in their order, then all other members; who is suspected or leaving
//! is left out. The first acts as soon as the changes were collected, each further one a takeover
//! time later, and also where somebody else's ballot has fallen silent.

use super::agreement::{Acceptor, Attempt, Patience, QuorumRule, Stage, Voter};
use super::parts::Memory;
use super::proposal::Proposal;
use super::roll_call::RollCall;
use super::{Membership, Phase};
use crate::protocol::identity::{Identity, Slot, ViewNumber};
use crate::protocol::outbox::Outbox;
use crate::protocol::ring::Rings;
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::{ClusterView, MemberRecord};
use crate::protocol::wire::membership::{Ballot, Change, Prepare, ProposalKind};

impl Membership {
    pub(super) fn advance_ballot(&mut self, now: Instant, outbox: &mut Outbox) {
        let is_forming = self.phase == Phase::Joining;
        if self.proposer.is_stuck(now)
            || (is_forming && self.proposer.is_older(now, self.forming_timeout()))
        {
            self.proposer.stop();
        }
        if self.proposer.stage() == Stage::Idle {
            let is_due = match self.phase {
                Phase::Joining => self.may_form(now),
                _ => self.act_at().is_some_and(|at| now >= at),
            };
            if !is_due {
                return;
            }
            self.start_ballot(now, outbox);
        }
        let is_formation = self.memory_without_view().is_some();
        if is_formation && self.is_prepared(now) && self.knows_better() {
            self.proposer.stop();
            return;
        }
        if is_formation && self.is_prepared(now) {
            self.fill_formation();
            self.proposer.propose(now, self.own);
        } else if self.is_prepared(now) {
            let is_new = self.proposer.found().is_none();
            self.fill_proposal(now);
            if !is_new || self.may_propose(now, outbox) {
                self.grant_reprieves(now);
                self.proposer.propose(now, self.own);
            }
        }
        if self.proposer.is_decided() {
            self.decide(now, outbox);
            return;
        }
        let memory = self.memory.as_deref().filter(|_| is_formation);
        let accepted = accepted(memory, &self.acceptor, self.proposer.ballot());
        self.proposer.send_due(now, self.own, accepted, outbox);
    }

    /// How long an attempt to form a first view is kept up among the same voters.
    pub(super) fn forming_timeout(&self) -> Duration {
        self.configuration.formation_round().times(3)
    }

    pub(super) fn may_form(&self, now: Instant) -> bool {
        // Another one's attempt gets its time.
        let patience = self.forming_timeout();
        now >= self.not_before
            && self
                .acceptor
                .promised()
                .is_none_or(|(_, at)| now >= at.after(patience))
            && self
                .joining
                .may_form(now, self.address, self.last_primary(), &self.configuration)
    }

    /// Whether this node should not be counted on: itself or a coordinator has heard that it may be
    /// dead.
    pub(super) fn is_suspected(&self, identity: Identity) -> bool {
        self.changes.suspicions.is_accused(identity)
            || self.watch.suspects(identity.node)
            || is_absent_with_its_watchers(&self.view, &self.rings, &self.roll_call, identity)
    }

    /// How many nodes have the right to act before this one: coordinators first, then the others,
    /// without those that are suspected or leaving.
    pub(super) fn rank(&self) -> u64 {
        let acts = |member: &&MemberRecord| {
            !self.is_suspected(member.identity) && !self.changes.is_leaving(member.identity)
        };
        let wanted = self.coordinators_wanted();
        let own = self.own.node;
        let is_leaving = self.changes.is_leaving(self.own);
        let is_coordinator = self.view.is_coordinator(own, wanted);
        let before = |member: &&MemberRecord| is_leaving || member.identity.node < own;
        let first = self
            .view
            .coordinators(wanted)
            .filter(|member| member.identity.node != own)
            .filter(|member| !is_coordinator || before(member))
            .filter(acts)
            .count();
        let then = if is_coordinator && !is_leaving {
            0
        } else {
            self.view
                .members()
                .iter()
                .filter(|member| member.identity.node != own)
                .filter(before)
                .filter(|member| !self.view.is_coordinator(member.identity.node, wanted))
                .filter(acts)
                .count()
        };
        first.saturating_add(then) as u64
    }

    /// A coordinator that collects promises is heard more often than this.
    fn asleep(&self) -> Duration {
        self.configuration.retransmit().times(4)
    }

    /// When this member is to start a ballot.
    pub(super) fn act_at(&self) -> Option<Instant> {
        if self.proposer.stage() != Stage::Idle
            || !matches!(self.phase, Phase::Member | Phase::Leaving)
            || self.parting.is_some()
        {
            return None;
        }
        let pinned_until = self.pinning.until();
        let due = self
            .changes
            .due_at()
            .map(|due| due.max(pinned_until.unwrap_or(due)));
        let promised = self.acceptor.promised();
        if due.is_none() && promised.is_none() {
            return None;
        }
        let rank = self.rank();
        let due = due.map(|due| due.after(self.takeover().times(rank)));
        let at = match promised {
            None => due?,
            Some((ballot, heard_at)) => {
                let silent = heard_at.after(self.takeover().times(rank.saturating_add(1)));
                let coordinator = self.view.member(ballot.coordinator);
                let is_dead = coordinator.is_none_or(|member| self.is_suspected(member.identity));
                match due {
                    // One that was heard just now is not dead yet, whoever says so: two that accuse
                    // each other would outbid each other without end.
                    Some(due) if is_dead => due.max(heard_at.after(self.asleep())).min(silent),
                    _ => silent,
                }
            }
        };
        Some(at.max(self.not_before))
    }

    /// The number of the view that follows the present one.
    fn next_number(&self) -> ViewNumber {
        let next = self.view.number.next();
        // Who comes from another part may know of later views.
        match self.memory.as_deref() {
            Some(_) => next.max(self.changes.joiners_view().next()),
            None => next,
        }
    }

    pub(super) fn start_ballot(&mut self, now: Instant, outbox: &mut Outbox) {
        let promised = self
            .acceptor
            .promised()
            .map_or(0, |(ballot, _)| ballot.round);
        let ballot = Ballot {
            round: promised.max(self.highest_round).saturating_add(1),
            coordinator: self.own.node,
        };
        self.highest_round = ballot.round;
        if !self.acceptor.promise(now, ballot) {
            return;
        }
        let is_first = self.phase == Phase::Joining;
        self.choose_electorate();
        let prepare = Prepare {
            ballot,
            electorate: match is_first {
                true => self.seat().electorate,
                false => self.view.name(),
            },
            number: match is_first {
                true => self.joining.first_number(now),
                false => self.next_number(),
            },
        };
        self.note_promised(now, &prepare);
        let (vote, _) = self.judge(self.own, &self.seat());
        let attempt = |rule| Attempt {
            ballot,
            rule,
            electorate: prepare.electorate,
            number: prepare.number,
        };
        let since = self.acceptor.promised_since().unwrap_or(now);
        let accepted = match self.memory.as_deref() {
            Some(memory) if is_first => memory.accepted(),
            _ => self.acceptor.accepted(),
        };
        if is_first {
            // Who knows a primary view finds out by the promises what can be formed.
            let rule = match self.last_primary() {
                ViewNumber(0) => QuorumRule::AtLeast(self.configuration.formation_quorum()),
                _ => QuorumRule::Unanimous,
            };
            let own = core::iter::once((self.own, self.address));
            let others = self.joining.candidates(now);
            self.proposer.start(
                now,
                since,
                attempt(rule),
                own.chain(others.map(|candidate| (candidate.identity, candidate.address))),
                accepted,
            );
        } else {
            let members = self.view.members().iter();
            let rule = match self.configuration.settings().even_split {
                0 => QuorumRule::MoreThanHalf,
                _ => QuorumRule::OfView,
            };
            self.proposer.start(
                now,
                since,
                attempt(rule),
                members.map(|member| (member.identity, member.address)),
                accepted,
            );
        }
        self.proposer.promise_own(self.own, self.has_groups, vote);
        self.freeze(outbox);
    }

    pub(super) fn is_prepared(&mut self, now: Instant) -> bool {
        let (changes, watch) = (&self.changes, &self.watch);
        let (view, rings, roll_call) = (&self.view, &self.rings, &self.roll_call);
        let suspicions = &changes.suspicions;
        let is_first = self.phase == Phase::Joining;
        let quorum_lost = self.quorum_lost;
        self.proposer.is_prepared(now, |voter| {
            if suspicions.is_confirmed(voter) && quorum_lost {
                Patience::Settling
            } else if suspicions.is_confirmed(voter)
                || is_absent_with_its_watchers(view, rings, roll_call, voter)
            {
                Patience::None
            } else if is_first
                || suspicions.is_accused(voter)
                || watch.disputes(voter.node)
                || changes.is_evicted(voter)
            {
                Patience::Short
            } else {
                Patience::Long
            }
        })
    }

    /// A proposal is made: whoever would go by it and has answered stays this time.
    fn grant_reprieves(&mut self, now: Instant) {
        let memory = self.blocked_timeout();
        let suspicions = &self.changes.suspicions;
        let voters = self.proposer.voters().iter();
        let answering =
            voters.filter(|voter| voter.has_answered() && suspicions.is_confirmed(voter.identity));
        self.reprieves
            .remember(now, memory, answering.map(|voter| voter.identity));
    }

    /// Accepts, as the first, the value that this node proposes: one that may have been decided
    /// already, or what was collected.
    pub(super) fn fill_proposal(&mut self, now: Instant) {
        let ballot = self.proposer.ballot();
        if let Some(found) = self.proposer.found() {
            self.acceptor
                .accept_own(|proposal| proposal.copy_from(found, ballot));
            return;
        }
        let is_first = self.phase == Phase::Joining;
        let (view, rings, roll_call) = (&self.view, &self.rings, &self.roll_call);
        let (proposer, changes) = (&self.proposer, &self.changes);
        let own = self.own.node;
        let quorum_lost = self.quorum_lost;
        let has_answered = |subject: Identity| {
            let mut voters = proposer.voters().iter();
            voters.any(|voter| voter.identity == subject && voter.has_answered())
        };
        let memory = self.blocked_timeout();
        let reprieves = &self.reprieves;
        // Who has asked to come in since the ballot began may know of later views.
        let (number, kind) = match is_first {
            true => (proposer.number(), ProposalKind::First),
            false => (self.next_number(), ProposalKind::Successor),
        };
        self.acceptor.accept_own(|proposal| {
            proposal.begin(ballot, own, number, kind);
            if is_first {
                add_all(proposer.voters(), proposal);
            } else {
                for eight in proposer.voters().chunks(8) {
                    let bits = eight.iter().enumerate().fold(0, |bits, (place, voter)| {
                        let is_reporter = !voter.promised || voter.has_groups;
                        bits | (u8::from(is_reporter) << place)
                    });
                    proposal.add_reporters(bits);
                }
                changes.fill(view, proposal, |subject| {
                    // Whom too few accuse to be sure is dead if it does not answer this node
                    // either.
                    if changes.suspicions.is_confirmed(subject) {
                        let may_spare = quorum_lost || !reprieves.has(now, memory, subject);
                        !(may_spare && has_answered(subject))
                    } else if changes.suspicions.is_accused(subject)
                        || is_absent_with_its_watchers(view, rings, roll_call, subject)
                    {
                        !has_answered(subject)
                    } else {
                        proposer.has_waited_long(now)
                            && is_dead_with_its_watchers(view, rings, proposer.voters(), subject)
                    }
                });
            }
            proposal.close();
        });
    }
}

/// What was accepted under `ballot`. `memory` is that of a node without a view: while it has one, its seat is
/// about another, whose ballots have the same names.
pub(super) fn accepted<'a>(
    memory: Option<&'a Memory>,
    acceptor: &'a Acceptor,
    ballot: Ballot,
) -> Option<&'a Proposal> {
    memory
        .and_then(|memory| memory.accepted_under(ballot))
        .or(acceptor.accepted_under(ballot))
}

/// Adds all who have promised to a view that comes from none.
pub(super) fn add_all(voters: &[Voter], proposal: &mut Proposal) {
    for (voter, slot) in voters.iter().filter(|voter| voter.promised).zip(1..) {
        proposal.add(Change::Add(MemberRecord {
            identity: voter.identity,
            address: voter.address,
            slot: Slot(slot),
        }));
    }
}

/// Whether a member that nobody accuses must be dead all the same: it was absent when the roll was called, and
/// so were all of those who would accuse it.
fn is_absent_with_its_watchers(
    view: &ClusterView,
    rings: &Rings,
    roll_call: &RollCall,
    subject: Identity,
) -> bool {
    let is_absent = |position: usize| roll_call.is_absent(position);
    view.position(subject.node)
        .is_some_and(|position| is_absent(position) && rings.successors(position).all(is_absent))
}

/// The same by a ballot that has waited for them: it has not answered, and none of
/// those who would accuse it has. `voters` stand in the order of the view's members.
fn is_dead_with_its_watchers(
    view: &ClusterView,
    rings: &Rings,
    voters: &[Voter],
    subject: Identity,
) -> bool {
    let has_answered = |place: usize| voters.get(place).is_some_and(Voter::has_answered);
    view.position(subject.node).is_some_and(|position| {
        !has_answered(position) && !rings.successors(position).any(has_answered)
    })
}
