// SPDX-License-Identifier: GPL-2.0

//! Agreeing on a view: ballots, requests for promises and their answers, the decision.

use super::proposal::ProposalPart;
use crate::protocol::errors::Counter;
use crate::protocol::identity::{Identity, Incarnation, NodeId, ViewName, ViewNumber};
use crate::protocol::wire::layout::layout;
use crate::protocol::wire::{Decode, Reader, Writer};

/// One attempt to decide on the next view. Of two ballots the one with the later round wins; within a round, that of the
/// higher node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Ballot {
    /// Grows with each attempt.
    pub round: u32,
    /// The coordinator that makes the attempt.
    pub coordinator: NodeId,
}

layout!(struct Ballot { round, coordinator });

/// What a node that looks for a cluster remembers of the last primary view (in a partitionable cluster).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(kcgcs_exploration, derive(Hash))]
pub struct Seat {
    /// The first incarnation of the node that it remembers: it has forgotten nothing since then.
    pub first_incarnation: Incarnation,
    /// The primary view whose successor its promises are about, number zero if none.
    pub electorate: ViewName,
}

layout!(struct Seat { first_incarnation, electorate });

/// A request for a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The ballot.
    pub ballot: Ballot,
    /// The primary view whose successor is to be decided, as far as the coordinator knows.
    pub electorate: ViewName,
    /// The number of the view to come if its voters have no view now. No other view that they may come to has it.
    pub number: ViewNumber,
}

layout!(struct Prepare { ballot, electorate, number });

/// The answer to a request for a promise.
///
/// On the wire the fields stand in this order; `accepted` begins with whether there is anything.
#[derive(Clone, Copy, Debug)]
pub struct Promise<'a> {
    /// The highest ballot promised: the one asked for, or a higher one, which refuses it.
    pub ballot: Ballot,
    /// Whether the node may hold group messages that others lack.
    pub has_groups: bool,
    /// What the node remembers, if it has no view.
    pub seat: Seat,
    /// A part of the proposal that the node has accepted, if any, and the ballot under which it did.
    pub accepted: Option<(Ballot, ProposalPart<'a>)>,
}

impl<'a> Decode<'a> for Promise<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Counter> {
        Ok(Self {
            ballot: reader.read()?,
            has_groups: reader.read()?,
            seat: reader.read()?,
            accepted: reader.read()?,
        })
    }
}

/// Read the body of [`Kind::Promise`](crate::protocol::wire::Kind::Promise).
pub fn parse_promise(body: &[u8]) -> Result<Promise<'_>, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Promise`](crate::protocol::wire::Kind::Promise). Behind `accepted` the caller writes a part of the proposal
/// that was accepted under it.
pub fn write_promise(
    writer: &mut Writer<'_>,
    ballot: Ballot,
    has_groups: bool,
    seat: Seat,
    accepted: Option<Ballot>,
) -> Option<()> {
    writer.write(&ballot)?;
    writer.write(&has_groups)?;
    writer.write(&seat)?;
    writer.write(&accepted)
}

/// Read the body of [`Kind::Prepare`](crate::protocol::wire::Kind::Prepare).
pub fn parse_prepare(body: &[u8]) -> Result<Prepare, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Prepare`](crate::protocol::wire::Kind::Prepare).
pub fn write_prepare(writer: &mut Writer<'_>, prepare: &Prepare) -> Option<()> {
    writer.write(prepare)
}

/// Read the body of [`Kind::Accepted`](crate::protocol::wire::Kind::Accepted).
pub fn parse_ballot(body: &[u8]) -> Result<Ballot, Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Accepted`](crate::protocol::wire::Kind::Accepted).
pub fn write_ballot(writer: &mut Writer<'_>, ballot: Ballot) -> Option<()> {
    writer.write(&ballot)
}

/// Read the body of [`Kind::Hold`](crate::protocol::wire::Kind::Hold): the ballot, and the node whose fencing the proposer waits for.
pub fn parse_hold(body: &[u8]) -> Result<(Ballot, Identity), Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Hold`](crate::protocol::wire::Kind::Hold).
pub fn write_hold(writer: &mut Writer<'_>, ballot: Ballot, subject: Identity) -> Option<()> {
    writer.write(&(ballot, subject))
}

/// Read the body of [`Kind::Commit`](crate::protocol::wire::Kind::Commit).
pub fn parse_commit(body: &[u8]) -> Result<(Ballot, ViewNumber), Counter> {
    Decode::parse(body)
}

/// Write the body of [`Kind::Commit`](crate::protocol::wire::Kind::Commit).
pub fn write_commit(writer: &mut Writer<'_>, ballot: Ballot, number: ViewNumber) -> Option<()> {
    writer.write(&(ballot, number))
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_wire_agreement))]
mod tests {
    use super::*;
    use crate::protocol::test_support::{identity, node, written, wrong_length_taken, TestResult};

    const BALLOT: Ballot = Ballot {
        round: 0x0102_0304,
        coordinator: node(5),
    };
    const SEAT: Seat = Seat {
        first_incarnation: Incarnation(u64::MAX),
        electorate: ViewName {
            number: ViewNumber(7),
            issuer: node(3),
        },
    };

    #[test]
    fn later_rounds_win_and_then_higher_nodes() {
        let ballot = |round, number| Ballot {
            round,
            coordinator: node(number),
        };
        assert!(ballot(1, 9) < ballot(2, 1));
        assert!(ballot(2, 1) < ballot(2, 2));
        assert!(ballot(u32::MAX, 1) > ballot(0, u16::MAX));
    }

    #[test]
    fn ballots_holds_and_commits_are_read_as_they_were_written() -> TestResult {
        let mut buffer = [0; 32];
        let body = written(&mut buffer, |writer| write_ballot(writer, BALLOT))?;
        assert_eq!(parse_ballot(body), Ok(BALLOT));
        assert_eq!(
            wrong_length_taken(body, |body| parse_ballot(body).is_ok()),
            None
        );
        assert_eq!(parse_ballot(&[0; 6]), Err(Counter::DroppedValue));
        let prepare = Prepare {
            ballot: BALLOT,
            electorate: SEAT.electorate,
            number: ViewNumber(8),
        };
        let body = written(&mut buffer, |writer| write_prepare(writer, &prepare))?;
        assert_eq!(parse_prepare(body), Ok(prepare));
        assert_eq!(
            wrong_length_taken(body, |body| parse_prepare(body).is_ok()),
            None
        );
        let subject = identity(7);
        let body = written(&mut buffer, |writer| write_hold(writer, BALLOT, subject))?;
        assert_eq!(parse_hold(body), Ok((BALLOT, subject)));
        assert_eq!(
            wrong_length_taken(body, |body| parse_hold(body).is_ok()),
            None
        );
        let number = ViewNumber(u64::MAX);
        let body = written(&mut buffer, |writer| write_commit(writer, BALLOT, number))?;
        assert_eq!(parse_commit(body), Ok((BALLOT, number)));
        assert_eq!(
            wrong_length_taken(body, |body| parse_commit(body).is_ok()),
            None
        );
        Ok(())
    }

    #[test]
    fn promises_of_a_node_that_accepted_nothing_are_read_as_they_were_written() -> TestResult {
        for has_groups in [false, true] {
            let mut buffer = [0; 64];
            let body = written(&mut buffer, |writer| {
                write_promise(writer, BALLOT, has_groups, SEAT, None)
            })?;
            let promise = parse_promise(body)?;
            assert_eq!((promise.ballot, promise.has_groups), (BALLOT, has_groups));
            assert_eq!(promise.seat, SEAT);
            assert!(promise.accepted.is_none());
            assert_eq!(
                wrong_length_taken(body, |body| parse_promise(body).is_ok()),
                None
            );
        }
        Ok(())
    }
}
