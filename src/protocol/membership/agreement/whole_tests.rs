// SPDX-License-Identifier: GPL-2.0

//! Unit tests of acceptor and proposer, which exchange real datagrams here. (KUnit's macro needs a module that is written
//! out in its file, so the tests have a file of their own.)

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_agreement))]
mod tests {
    use core::cmp::Ordering;

    use super::super::acceptor::Acceptor;
    use super::super::proposal::Proposal;
    use super::super::proposer::{Attempt, Patience, Proposer, QuorumRule, Stage, Vote};
    use crate::protocol::identity::{Identity, Incarnation, PeerAddress, ViewName, ViewNumber};
    use crate::protocol::limits::{DATAGRAM_BYTES_MAX, PART_ENTRIES_MAX};
    use crate::protocol::outbox::Outbox;
    use crate::protocol::test_support::{
        address, at, identity, identity_in, member, node, outbox, span, TestResult, Unexpected,
        CLUSTER,
    };
    use crate::protocol::time::Instant;
    use crate::protocol::view::is_quorum;
    use crate::protocol::wire::membership::{
        parse_promise, parse_propose, write_ballot, Ballot, Change, Promise, ProposalKind, Seat,
    };
    use crate::protocol::wire::{Datagram, Kind};

    const fn ballot(round: u32, number: u16) -> Ballot {
        Ballot {
            round,
            coordinator: node(number),
        }
    }

    /// The seat of a node that remembers nothing.
    const SEAT: Seat = Seat {
        first_incarnation: Incarnation(1),
        electorate: ViewName {
            number: ViewNumber(0),
            issuer: node(1),
        },
    };

    const fn attempt(ballot: Ballot, rule: QuorumRule) -> Attempt {
        Attempt {
            ballot,
            rule,
            electorate: SEAT.electorate,
            number: ViewNumber(2),
        }
    }

    /// A proposal whose changes add nodes from `first` on.
    fn proposal(ballot: Ballot, first: u16, changes: u16) -> Result<Proposal, Unexpected> {
        let mut proposal = Proposal::empty(node(1))?;
        proposal.begin(ballot, node(1), ViewNumber(2), ProposalKind::Successor);
        for number in first..first + changes {
            proposal.add(Change::Add(member(number)));
        }
        proposal.close();
        Ok(proposal)
    }

    /// Whether the proposal's first change adds node `number`.
    fn adds(proposal: Option<&Proposal>, number: u16) -> bool {
        proposal.and_then(|proposal| proposal.changes().first())
            == Some(&Change::Add(member(number)))
    }

    /// A proposer of ballot 5 of node 1 among nodes 1 to `voters`, begun at 0 ms, with its own
    /// promise. It sends again after 30 ms.
    fn proposer(voters: u16, rule: QuorumRule, own: u16) -> Result<Proposer, Unexpected> {
        let mut proposer = Proposer::new(node(1), span(30), span(300))?;
        // In any order.
        let all = (1..=voters).rev().map(|n| (identity(n), address(n)));
        proposer.start(at(0), at(0), attempt(ballot(5, own), rule), all, None);
        proposer.promise_own(identity(own), false, Vote::None);
        Ok(proposer)
    }

    fn promise(acceptor: &Acceptor, to: PeerAddress, has_groups: bool, outbox: &mut Outbox) {
        acceptor.send_promise(to, has_groups, SEAT, acceptor.accepted(), outbox);
    }

    /// A voter that remembers nothing has promised.
    fn take(proposer: &mut Proposer, from: Identity, promise: &Promise<'_>) {
        proposer.take_promise(from, promise, Vote::None, Ordering::Equal);
    }

    fn plain_promise(ballot: Ballot) -> Promise<'static> {
        Promise {
            ballot,
            has_groups: false,
            seat: SEAT,
            accepted: None,
        }
    }

    /// The acceptor gets a datagram with part number `part` of a proposal, as the node does it.
    fn receive_propose(
        acceptor: &mut Acceptor,
        now: Instant,
        proposal: &Proposal,
        part: u16,
    ) -> Result<bool, Unexpected> {
        let under = proposal.ballot.ok_or(Unexpected)?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let body = crate::protocol::test_support::written(&mut buffer, |writer| {
            write_ballot(writer, under)?;
            proposal.write_part(writer, part)
        })?;
        let (under, part) = parse_propose(body)?;
        Ok(acceptor.promise(now, under) && acceptor.take_part(under, &part))
    }

    /// The promises that an acceptor sends, handed to a proposer as those of `from`.
    fn carry_promises(acceptor: &Acceptor, from: u16, proposer: &mut Proposer) -> TestResult {
        let mut outbox = outbox()?;
        promise(acceptor, address(1), false, &mut outbox);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
            let bytes = buffer.get(..transmit.length).ok_or(Unexpected)?;
            let promise = parse_promise(Datagram::parse(bytes, CLUSTER)?.body)?;
            take(proposer, identity(from), &promise);
        }
        Ok(())
    }

    /// Who got datagrams of `kind`, as bits.
    fn receivers(outbox: &mut Outbox, kind: Kind) -> Result<u32, Unexpected> {
        let mut set = 0;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = outbox.poll_transmit(&mut buffer) {
            let bytes = buffer.get(..transmit.length).ok_or(Unexpected)?;
            if Datagram::parse(bytes, CLUSTER)?.header.kind == kind {
                set |= 1 << transmit.to.octets.last().ok_or(Unexpected)?;
            }
        }
        Ok(set)
    }

    #[test]
    fn no_ballot_below_the_promised_one_is_promised() -> TestResult {
        let mut acceptor = Acceptor::new(node(1))?;
        assert!(acceptor.promised().is_none());
        for (asked, expected) in [
            (ballot(2, 3), true),
            (ballot(2, 3), true),
            (ballot(2, 2), false),
            (ballot(1, 9), false),
            (ballot(2, 4), true),
            (ballot(3, 1), true),
            (ballot(2, 9), false),
        ] {
            assert_eq!(acceptor.promise(at(7), asked), expected);
        }
        assert_eq!(acceptor.promised(), Some((ballot(3, 1), at(7))));
        acceptor.clear();
        assert!(acceptor.promised().is_none());
        Ok(())
    }

    #[test]
    fn no_proposal_below_the_promised_ballot_is_accepted() -> TestResult {
        let mut acceptor = Acceptor::new(node(1))?;
        let (low, high) = (
            proposal(ballot(1, 9), 10, 1)?,
            proposal(ballot(2, 1), 20, 1)?,
        );
        assert!(receive_propose(&mut acceptor, at(0), &low, 0)?);
        assert!(adds(acceptor.accepted(), 10));
        assert!(acceptor.promise(at(1), ballot(2, 1)));
        // What was accepted before is not forgotten by a promise.
        assert!(acceptor.has_accepted(ballot(1, 9)));
        assert!(!receive_propose(&mut acceptor, at(2), &low, 0)?);
        assert!(receive_propose(&mut acceptor, at(3), &high, 0)?);
        assert!(adds(acceptor.accepted(), 20));
        assert!(!receive_propose(&mut acceptor, at(4), &low, 0)?);
        assert!(adds(acceptor.accepted(), 20) && acceptor.has_accepted(ballot(2, 1)));
        Ok(())
    }

    #[test]
    fn a_proposal_is_accepted_once_all_its_parts_are_there() -> TestResult {
        let mut acceptor = Acceptor::new(node(1))?;
        let first = proposal(ballot(1, 1), 10, 1)?;
        let long = proposal(ballot(2, 1), 100, 2 * PART_ENTRIES_MAX as u16 + 1)?;
        assert!(receive_propose(&mut acceptor, at(0), &first, 0)?);
        for (part, expected) in [(2, false), (0, false), (0, false), (1, true), (2, true)] {
            assert_eq!(
                receive_propose(&mut acceptor, at(0), &long, part)?,
                expected
            );
            // Until then the one before it stays accepted.
            assert!(adds(acceptor.accepted(), if expected { 100 } else { 10 }));
        }
        Ok(())
    }

    #[test]
    fn a_refusal_names_the_higher_ballot_and_what_was_accepted() -> TestResult {
        let mut acceptor = Acceptor::new(node(1))?;
        let mut outbox = outbox()?;
        promise(&acceptor, address(2), true, &mut outbox);
        assert_eq!(receivers(&mut outbox, Kind::Promise)?, 0);
        receive_propose(&mut acceptor, at(0), &proposal(ballot(3, 2), 10, 1)?, 0)?;
        acceptor.promise(at(0), ballot(7, 3));
        assert!(!acceptor.promise(at(0), ballot(6, 9)));
        promise(&acceptor, address(2), true, &mut outbox);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let length = outbox.poll_transmit(&mut buffer).ok_or(Unexpected)?.length;
        let bytes = buffer.get(..length).ok_or(Unexpected)?;
        let promise = parse_promise(Datagram::parse(bytes, CLUSTER)?.body)?;
        assert_eq!((promise.ballot, promise.has_groups), (ballot(7, 3), true));
        assert_eq!(
            promise.accepted.map(|(before, _)| before),
            Some(ballot(3, 2))
        );
        Ok(())
    }

    #[test]
    fn a_quorum_of_promises_is_needed_in_each_size() -> TestResult {
        for voters in 1..=9_u16 {
            // The proposer is the highest, so the lowest votes last of all.
            let mut proposer = proposer(voters, QuorumRule::OfView, voters)?;
            for votes in 1..=voters {
                let expected = is_quorum(usize::from(votes), usize::from(voters), votes == voters);
                assert_eq!(proposer.is_prepared(at(90), |_| Patience::Short), expected);
                let next = voters - votes;
                if next > 0 {
                    let promise = plain_promise(ballot(5, voters));
                    take(&mut proposer, identity(next), &promise);
                }
            }
            assert!(proposer.is_prepared(at(0), |_| Patience::Short));
        }
        Ok(())
    }

    #[test]
    fn half_of_the_votes_decide_only_with_the_lowest_node() -> TestResult {
        for (other, expected) in [(1, true), (2, false), (3, false)] {
            let mut proposer = proposer(4, QuorumRule::OfView, 4)?;
            take(&mut proposer, identity(other), &plain_promise(ballot(5, 4)));
            assert_eq!(proposer.is_prepared(at(90), |_| Patience::Short), expected);
            proposer.propose(at(100), identity(4));
            assert!(!proposer.is_decided());
            proposer.take_accepted(identity(other), ballot(5, 4));
            assert_eq!(proposer.is_decided(), expected);
        }
        Ok(())
    }

    #[test]
    fn a_first_view_needs_as_many_votes_as_the_rule_says() -> TestResult {
        let mut proposer = proposer(5, QuorumRule::AtLeast(3), 1)?;
        for number in [2, 3] {
            assert!(!proposer.is_prepared(at(90), |_| Patience::Short));
            take(
                &mut proposer,
                identity(number),
                &plain_promise(ballot(5, 1)),
            );
        }
        assert!(proposer.is_prepared(at(90), |_| Patience::Short));
        Ok(())
    }

    #[test]
    fn voters_that_may_be_alive_are_awaited_for_a_while() -> TestResult {
        let mut proposer = proposer(5, QuorumRule::OfView, 1)?;
        for number in [2, 3] {
            take(
                &mut proposer,
                identity(number),
                &plain_promise(ballot(5, 1)),
            );
        }
        // Nobody says that node 5 is dead: it gets as long as a crash takes to be found.
        let patience = |of_four| {
            move |voter: Identity| match voter.node.number() {
                4 => of_four,
                _ => Patience::Long,
            }
        };
        assert!(proposer.is_prepared(at(0), |_| Patience::None));
        assert!(!proposer.is_prepared(at(89), |_| Patience::Short));
        assert!(proposer.is_prepared(at(90), |_| Patience::Short));
        assert!(!proposer.is_prepared(at(299), patience(Patience::None)));
        assert!(!proposer.has_waited_long(at(299)) && proposer.has_waited_long(at(300)));
        assert!(proposer.is_prepared(at(300), patience(Patience::Long)));
        take(&mut proposer, identity(5), &plain_promise(ballot(5, 1)));
        assert!(proposer.is_prepared(at(90), patience(Patience::Short)));
        assert!(!proposer.is_prepared(at(90), patience(Patience::Long)));
        Ok(())
    }

    #[test]
    fn a_ballot_that_follows_another_one_does_not_wait_anew() -> TestResult {
        let mut proposer = Proposer::new(node(1), span(30), span(300))?;
        let voters = (1..=3).map(|n| (identity(n), address(n)));
        // The first ballot of this view was heard of at 0 ms.
        proposer.start(
            at(250),
            at(0),
            attempt(ballot(5, 1), QuorumRule::OfView),
            voters,
            None,
        );
        proposer.promise_own(identity(1), false, Vote::None);
        take(&mut proposer, identity(2), &plain_promise(ballot(5, 1)));
        assert!(!proposer.is_prepared(at(339), |_| Patience::Long));
        assert!(proposer.is_prepared(at(340), |_| Patience::Long));
        // But it has not asked for long enough itself to take silence for death.
        assert!(!proposer.has_waited_long(at(340)));
        Ok(())
    }

    #[test]
    fn votes_of_strangers_of_other_incarnations_and_for_other_ballots_do_not_count() -> TestResult {
        let mut proposer = proposer(3, QuorumRule::OfView, 1)?;
        for (from, under) in [
            (identity(4), ballot(5, 1)),
            (identity_in(2, 2), ballot(5, 1)),
            (identity(2), ballot(4, 1)),
            (identity(2), ballot(6, 1)),
            (identity(2), ballot(5, 2)),
        ] {
            take(&mut proposer, from, &plain_promise(under));
            assert!(!proposer.is_prepared(at(1000), |_| Patience::None));
        }
        // An acceptance before anything was proposed is none.
        proposer.take_accepted(identity(2), ballot(5, 1));
        take(&mut proposer, identity(2), &plain_promise(ballot(5, 1)));
        proposer.propose(at(0), identity(1));
        for (from, under) in [
            (identity(4), ballot(5, 1)),
            (identity_in(3, 2), ballot(5, 1)),
            (identity(3), ballot(4, 1)),
        ] {
            proposer.take_accepted(from, under);
            assert!(!proposer.is_decided());
        }
        proposer.take_accepted(identity(3), ballot(5, 1));
        assert!(proposer.is_decided());
        Ok(())
    }

    #[test]
    fn the_value_accepted_under_the_highest_ballot_is_proposed_again() -> TestResult {
        for order in [[2, 3], [3, 2]] {
            let mut proposer = proposer(5, QuorumRule::OfView, 1)?;
            for from in order {
                // Node 2 has accepted under a lower ballot than node 3.
                let mut acceptor = Acceptor::new(node(1))?;
                let before = proposal(ballot(u32::from(from), 1), from * 10, 1)?;
                receive_propose(&mut acceptor, at(0), &before, 0)?;
                acceptor.promise(at(0), ballot(5, 1));
                carry_promises(&acceptor, from, &mut proposer)?;
            }
            assert!(proposer.is_prepared(at(90), |_| Patience::Short));
            assert!(adds(proposer.found(), 30));
        }
        Ok(())
    }

    #[test]
    fn a_value_that_the_proposer_has_accepted_itself_is_proposed_again() -> TestResult {
        let before = proposal(ballot(3, 2), 10, 1)?;
        let mut proposer = Proposer::new(node(1), span(30), span(300))?;
        let voters = (1..=3).map(|n| (identity(n), address(n)));
        let rule = QuorumRule::OfView;
        let attempt = attempt(ballot(5, 1), rule);
        proposer.start(at(0), at(0), attempt, voters, Some(&before));
        assert!(adds(proposer.found(), 10));
        Ok(())
    }

    #[test]
    fn a_value_whose_parts_are_missing_holds_the_ballot_up() -> TestResult {
        let long = proposal(ballot(2, 3), 10, PART_ENTRIES_MAX as u16 + 1)?;
        let mut acceptor = Acceptor::new(node(1))?;
        for part in 0..2 {
            receive_propose(&mut acceptor, at(0), &long, part)?;
        }
        acceptor.promise(at(0), ballot(5, 1));
        let mut outbox = outbox()?;
        promise(&acceptor, address(1), false, &mut outbox);
        let mut proposer = proposer(3, QuorumRule::OfView, 1)?;
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        for (is_whole, is_stuck_later) in [(false, true), (true, false)] {
            let length = outbox.poll_transmit(&mut buffer).ok_or(Unexpected)?.length;
            let bytes = buffer.get(..length).ok_or(Unexpected)?;
            let promise = parse_promise(Datagram::parse(bytes, CLUSTER)?.body)?;
            take(&mut proposer, identity(3), &promise);
            // A promise of another voter that has accepted nothing is not enough.
            take(&mut proposer, identity(2), &plain_promise(ballot(5, 1)));
            assert_eq!(proposer.is_prepared(at(90), |_| Patience::Short), is_whole);
            assert!(!proposer.is_stuck(at(329)));
            assert_eq!(proposer.is_stuck(at(330)), is_stuck_later);
        }
        Ok(())
    }

    #[test]
    fn silent_voters_are_asked_again_and_the_others_told_that_the_ballot_goes_on() -> TestResult {
        let (mut proposer, mut outbox) = (proposer(6, QuorumRule::OfView, 1)?, outbox()?);
        let (everybody, silent) = (0b111_1100, 0b111_1000);
        let mut now = at(0);
        for (pause_ms, expected) in [
            (30, everybody),
            (60, silent),
            // From 90 ms on node 2, which has answered, would wonder.
            (90, everybody),
            (90, everybody),
            (90, everybody),
            // After 300 ms nobody is awaited any more; there is no quorum.
            (90, silent),
            (180, silent),
            (240, silent),
            (240, silent),
        ] {
            proposer.send_due(now, identity(1), None, &mut outbox);
            let asked = receivers(&mut outbox, Kind::Prepare)?;
            assert_eq!(asked, expected);
            assert_eq!(proposer.next_deadline(), Some(now.after(span(pause_ms))));
            proposer.send_due(now, identity(1), None, &mut outbox);
            assert_eq!(receivers(&mut outbox, Kind::Prepare)?, 0);
            take(&mut proposer, identity(2), &plain_promise(ballot(5, 1)));
            now = now.after(span(pause_ms));
        }
        Ok(())
    }

    #[test]
    fn proposals_go_to_all_voters_that_have_not_accepted() -> TestResult {
        let (mut proposer, mut outbox) = (proposer(4, QuorumRule::OfView, 1)?, outbox()?);
        let value = proposal(ballot(5, 1), 10, 1)?;
        proposer.propose(at(0), identity(1));
        for (now, expected) in [(at(0), 0b1_1100), (at(10), 0), (at(30), 0b1_1000)] {
            proposer.send_due(now, identity(1), Some(&value), &mut outbox);
            assert_eq!(receivers(&mut outbox, Kind::Propose)?, expected);
            proposer.take_accepted(identity(2), ballot(5, 1));
        }
        Ok(())
    }

    #[test]
    fn a_proposer_that_gave_up_sends_nothing() -> TestResult {
        let (mut proposer, mut outbox) = (proposer(3, QuorumRule::OfView, 1)?, outbox()?);
        assert!(proposer.is_older(at(100), span(100)) && !proposer.is_older(at(99), span(100)));
        proposer.stop();
        assert_eq!(proposer.stage(), Stage::Idle);
        assert_eq!(proposer.next_deadline(), None);
        take(&mut proposer, identity(2), &plain_promise(ballot(5, 1)));
        proposer.send_due(at(500), identity(1), None, &mut outbox);
        assert_eq!(receivers(&mut outbox, Kind::Prepare)?, 0);
        assert!(!proposer.is_prepared(at(500), |_| Patience::None) && !proposer.is_decided());
        assert!(!proposer.is_older(at(500), span(1)));
        Ok(())
    }
}
