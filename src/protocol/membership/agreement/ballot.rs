// SPDX-License-Identifier: GPL-2.0

//! The ballots of this node: when it starts one, when the promises are enough, and what it proposes.

use super::proposal::Proposal;
use super::proposer::{Attempt, Patience, QuorumRule, Stage, Voter};
use super::{turn, Agreement, Rooms};
use crate::protocol::identity::ViewNumber;
use crate::protocol::membership::local::LocalNode;
use crate::protocol::membership::partitions::{Formable, Partitions};
use crate::protocol::membership::quorum::QuorumMonitor;
use crate::protocol::membership::suspicion::{BallotEvidence, Suspicion};
use crate::protocol::outbox::Outbox;
use crate::protocol::time::Instant;
use crate::protocol::view::ClusterView;
use crate::protocol::wire::membership::{Ballot, Prepare, ProposalKind};

impl Agreement {
    /// Start a ballot if that is due, and bring the present one forward. Returns the ballot once its value is decided.
    pub(crate) fn advance(
        &mut self,
        now: Instant,
        rooms: &mut Rooms<'_>,
        outbox: &mut Outbox,
    ) -> Option<Ballot> {
        let local = rooms.local;
        if self.proposer.is_stuck(now)
            || (local.is_joining() && self.proposer.is_older(now, local.forming_timeout()))
        {
            self.proposer.stop();
        }
        if self.proposer.stage() == Stage::Idle {
            let is_due = match local.is_joining() {
                true => self.may_form(now, rooms),
                false => self
                    .turn_at(local, rooms.suspicion, rooms.is_departing)
                    .is_some_and(|at| now >= at),
            };
            if !is_due {
                return None;
            }
            self.start_ballot(now, rooms, outbox);
        }
        if self.is_prepared(now, rooms) {
            let by_seat = rooms.partitions.formable(local, &self.proposer);
            let is_late = self.proposer.is_behind() && rooms.partitions.knows_later_primary();
            if by_seat.is_some() && is_late {
                self.proposer.stop();
                return None;
            }
            self.propose(now, by_seat, rooms, outbox);
        }
        let ballot = self.proposer.ballot();
        if self.proposer.is_decided() {
            return Some(ballot);
        }
        let accepted = rooms
            .partitions
            .accepted_under(local, &self.acceptor, ballot);
        self.proposer.send_due(now, local.own(), accepted, outbox);
        None
    }

    /// Whether this node may start a ballot for a first view now. The attempt of another node gets its time.
    fn may_form(&self, now: Instant, rooms: &Rooms<'_>) -> bool {
        let local = rooms.local;
        let patience = local.forming_timeout();
        let promised = self.acceptor.promised();
        let primary = rooms.partitions.last_primary();
        now >= self.not_before
            && promised.is_none_or(|(_, at)| now >= at.after(patience))
            && rooms
                .formation
                .may_form(now, local.address(), primary, local.configuration())
    }

    /// When this member is to start a ballot.
    pub(super) fn turn_at(
        &self,
        local: &LocalNode,
        suspicion: &Suspicion,
        is_departing: bool,
    ) -> Option<Instant> {
        if self.proposer.stage() != Stage::Idle || local.view().is_none() || is_departing {
            return None;
        }
        let due = self.changes.due_at(suspicion.is_unsettled());
        let due = due.map(|due| due.max(self.pinning.until().unwrap_or(due)));
        let promised = self.acceptor.promised();
        let at = turn::acts_at(local, suspicion, &self.changes, due, promised)?;
        Some(at.max(self.not_before))
    }

    /// The number of the view that follows the present one. In a partitionable cluster a joining node may know of later
    /// views.
    fn next_number(&self, local: &LocalNode) -> ViewNumber {
        let next = local.view_or_empty().number.next();
        match local.is_partitionable() {
            true => next.max(self.changes.joiners_view().next()),
            false => next,
        }
    }

    /// Start a ballot: ask the voters for their promises.
    fn start_ballot(&mut self, now: Instant, rooms: &mut Rooms<'_>, outbox: &mut Outbox) {
        let local = rooms.local;
        let promised = self.acceptor.promised();
        let promised = promised.map_or(0, |(ballot, _)| ballot.round);
        let ballot = Ballot {
            round: promised.max(self.highest_round).saturating_add(1),
            coordinator: local.own().node,
        };
        self.highest_round = ballot.round;
        if !self.acceptor.promise(now, ballot) {
            return;
        }
        let is_first = local.is_joining();
        rooms.partitions.choose_electorate(local);
        let prepare = Prepare {
            ballot,
            electorate: match is_first {
                true => rooms.partitions.seat(local).electorate,
                false => local.view_or_empty().name(),
            },
            number: match is_first {
                true => rooms.formation.first_number(now),
                false => self.next_number(local),
            },
        };
        Self::note_promised(now, rooms, &prepare);
        let attempt = Attempt {
            ballot,
            rule: quorum_rule(local, rooms.partitions),
            electorate: prepare.electorate,
            number: prepare.number,
        };
        let since = self.acceptor.promised_since().unwrap_or(now);
        let accepted = rooms.partitions.accepted(local, &self.acceptor);
        if is_first {
            let own = core::iter::once((local.own(), local.address()));
            let others = rooms.formation.candidates(now);
            let others = others.map(|candidate| (candidate.identity, candidate.address));
            self.proposer
                .start(now, since, attempt, own.chain(others), accepted);
        } else {
            let members = local.view_or_empty().members().iter();
            let members = members.map(|member| (member.identity, member.address));
            self.proposer.start(now, since, attempt, members, accepted);
        }
        let seat = rooms.partitions.seat(local);
        let (vote, _) = rooms.partitions.judge(local, local.own(), &seat);
        self.proposer
            .promise_own(local.own(), rooms.has_groups, vote);
        self.freeze(local, outbox);
    }

    /// Whether a quorum has promised and the ballot waits for nobody else.
    fn is_prepared(&mut self, now: Instant, rooms: &Rooms<'_>) -> bool {
        let (local, suspicion, changes) = (rooms.local, &*rooms.suspicion, &self.changes);
        let is_quorum_lost = rooms.quorum.is_lost();
        self.proposer.is_prepared(now, |voter| {
            let is_confirmed = suspicion.is_confirmed(voter);
            if is_confirmed && is_quorum_lost {
                Patience::Settling
            } else if is_confirmed || suspicion.is_absent_with_its_monitors(local, voter) {
                Patience::None
            } else if local.is_joining()
                || suspicion.is_accused(voter)
                || suspicion.disputes(voter.node)
                || changes.is_evicted(voter)
            {
                Patience::Short
            } else {
                Patience::Long
            }
        })
    }

    /// Accept, as the first, the value that this node proposes, and propose it unless a fencing is awaited.
    fn propose(
        &mut self,
        now: Instant,
        by_seat: Option<Formable>,
        rooms: &mut Rooms<'_>,
        outbox: &mut Outbox,
    ) {
        let local = rooms.local;
        if let Some(formable) = by_seat {
            self.accept_formed(formable, rooms);
            self.proposer.propose(now, local.own());
            return;
        }
        let is_new = self.proposer.found().is_none();
        self.accept_successor(now, rooms);
        if is_new && !self.passes_fence_gate(now, rooms.quorum, outbox) {
            return;
        }
        let answered = self.proposer.voters().iter();
        let answered = answered.filter(|voter| voter.has_answered());
        rooms
            .suspicion
            .grant_reprieves(now, local, answered.map(|voter| voter.identity));
        self.proposer.propose(now, local.own());
    }

    /// Accept what nodes without a view form in a partitionable cluster.
    fn accept_formed(&mut self, formable: Formable, rooms: &mut Rooms<'_>) {
        let local = rooms.local;
        let (own, ballot) = (local.own().node, self.proposer.ballot());
        let rule = match formable {
            Formable::Continued(rule) | Formable::Primary(rule) => rule,
            Formable::Component => QuorumRule::Unanimous,
        };
        self.proposer.set_rule(rule);
        let proposer = &*self.proposer;
        let fill = |proposal: &mut Proposal, kind| {
            proposal.begin(ballot, own, proposer.number(), kind);
            proposer.add_promised(proposal);
            proposal.close();
        };
        match formable {
            Formable::Continued(_) => {
                if let Some(found) = proposer.found() {
                    rooms
                        .partitions
                        .accept_own(local, |proposal| proposal.copy_from(found, ballot));
                }
            }
            Formable::Primary(_) => rooms
                .partitions
                .accept_own(local, |proposal| fill(proposal, ProposalKind::First)),
            Formable::Component => self
                .acceptor
                .accept_own(|proposal| fill(proposal, ProposalKind::Component)),
        }
    }

    /// Accept a value that may have been decided already, or the pending changes and failures.
    fn accept_successor(&mut self, now: Instant, rooms: &Rooms<'_>) {
        let ballot = self.proposer.ballot();
        if let Some(found) = self.proposer.found() {
            self.acceptor
                .accept_own(|proposal| proposal.copy_from(found, ballot));
            return;
        }
        let local = rooms.local;
        let own = local.own().node;
        if local.is_joining() {
            let proposer = &self.proposer;
            self.acceptor.accept_own(|proposal| {
                proposal.begin(ballot, own, proposer.number(), ProposalKind::First);
                proposer.add_promised(proposal);
                proposal.close();
            });
            return;
        }
        // A node that has asked to join since the ballot began may know of later views.
        let number = self.next_number(local);
        let (proposer, changes) = (&self.proposer, &self.changes);
        let suspicion = &*rooms.suspicion;
        let evidence = BallotEvidence {
            is_quorum_lost: rooms.quorum.is_lost(),
            has_waited_long: proposer.has_waited_long(now),
        };
        let voters = proposer.voters();
        let has_answered = |position: usize| voters.get(position).is_some_and(Voter::has_answered);
        self.acceptor.accept_own(|proposal| {
            proposal.begin(ballot, own, number, ProposalKind::Successor);
            proposer.add_reporters(proposal);
            let view: &ClusterView = local.view_or_empty();
            changes.fill(view, proposal, |subject| {
                suspicion.has_failed(now, local, subject, evidence, has_answered)
            });
            proposal.close();
        });
    }

    /// Whether the proposal that this node has just accepted may be sent. If not, it is withdrawn and the ballot held: the
    /// proposal is made anew when the handler has answered.
    fn passes_fence_gate(
        &mut self,
        now: Instant,
        quorum: &mut QuorumMonitor,
        outbox: &mut Outbox,
    ) -> bool {
        let accepted = self.acceptor.accepted();
        let changes = accepted.map_or(&[][..], |own| own.changes());
        let all_may_have_answered = self.proposer.short_until();
        let held = self
            .fence_gate
            .check(now, changes, all_may_have_answered, outbox);
        let Some((subject, until)) = held else {
            self.proposer.release();
            return true;
        };
        self.acceptor.withdraw_own();
        self.proposer.hold(subject, until);
        quorum.note_progress(outbox);
        false
    }
}

/// How many votes decide. Nodes without a view that know a primary one find out by the promises what they can form.
fn quorum_rule(local: &LocalNode, partitions: &Partitions) -> QuorumRule {
    let configuration = local.configuration();
    if local.is_joining() {
        return match partitions.last_primary() {
            ViewNumber(0) => QuorumRule::AtLeast(configuration.formation_quorum()),
            _ => QuorumRule::Unanimous,
        };
    }
    match configuration.settings().even_split {
        0 => QuorumRule::MoreThanHalf,
        _ => QuorumRule::OfView,
    }
}
