// SPDX-License-Identifier: GPL-2.0

//! The scenarios within bounds that take seconds, and that faults which are seeded are found.

use std::time::Duration;

use view_exploration::explorer::scenarios::Scenario;
use view_exploration::explorer::search::{explore, Limits, Report};
use view_exploration::seeded_faults::{seed, Fault};

/// Of a scenario that is too large so many states are gone through, those first that take the fewest
/// steps.
const STATES_MAX: usize = 1_000_000;
/// More than the largest of the others has.
const ALL: usize = 10_000_000;

fn run(name: &str, states: usize, fault: Option<Fault>) -> Report {
    let scenario = Scenario::named(name).expect("there is such a scenario");
    let limits = Limits {
        states,
        time: Duration::from_secs(600),
        settle_one_of: 500,
    };
    seed(fault);
    let report = explore(scenario, limits);
    seed(None);
    let report = report.expect("the scenario has a beginning");
    println!("{report}");
    report
}

/// Nothing is broken in any state that there is.
fn holds_everywhere(name: &str) {
    let report = run(name, ALL, None);
    assert!(report.violation.is_none(), "{report}");
    assert!(report.is_exhausted, "{report}");
}

/// Nothing is broken in the first of very many states.
fn holds_at_first(name: &str) -> Report {
    let report = run(name, STATES_MAX, None);
    assert!(report.violation.is_none(), "{report}");
    assert!(
        report.is_exhausted || report.states >= STATES_MAX,
        "{report}"
    );
    report
}

/// The fault is found, as a break of that promise.
fn is_found(fault: Fault, name: &str, promise: &str) {
    let report = run(name, ALL, Some(fault));
    let found = report.violation.as_ref().map(|(what, _)| what.as_str());
    assert!(
        found.is_some_and(|what| what.contains(promise)),
        "{fault:?}: {report}"
    );
}

#[test]
fn one_leaves_and_two_coordinators_propose_at_once() {
    holds_everywhere("leave");
}

#[test]
fn one_leaves_while_another_one_crashes() {
    holds_everywhere("leave-and-crash");
}

#[test]
fn one_leaves_while_the_coordinator_crashes() {
    holds_everywhere("coordinator-crash");
}

#[test]
fn of_two_the_lowest_leaves() {
    holds_everywhere("lowest-leaves");
}

#[test]
fn one_is_put_out_while_another_one_crashes() {
    holds_everywhere("eviction-and-crash");
}

#[test]
fn the_coordinator_is_put_out_while_another_one_crashes() {
    holds_at_first("coordinator-evicted");
}

#[test]
fn one_leaves_while_another_one_joins() {
    holds_at_first("leave-and-join");
}

#[test]
fn one_crashes_while_another_one_joins() {
    holds_everywhere("crash-and-join");
}

#[test]
fn one_crashes_and_comes_back() {
    holds_at_first("crash-and-return");
}

#[test]
fn one_is_accused_though_it_is_well() {
    holds_at_first("false-accusation");
}

#[test]
fn all_are_asked_whether_they_are_there() {
    holds_at_first("roll-call");
}

#[test]
fn two_propose_a_first_view_at_once() {
    holds_at_first("first-view");
}

#[test]
fn a_part_meets_a_primary_view() {
    let (_, merged) = holds_at_first("parts-meet").parts;
    assert!(merged > 0);
}

#[test]
fn a_part_meets_a_primary_view_while_a_node_crashes() {
    let (_, merged) = holds_at_first("parts-meet-and-crash").parts;
    assert!(merged > 0);
}

#[test]
fn nodes_that_have_left_their_view_meet_and_form_parts_or_a_primary_one() {
    let (formed, _) = holds_at_first("votes-apart").parts;
    assert!(formed > 0);
}

#[test]
fn what_one_has_decided_alone_binds_those_who_have_left() {
    holds_everywhere("decision-untold");
}

#[test]
fn those_who_have_left_form_a_part_and_merge_with_who_has_decided() {
    let (formed, merged) = holds_at_first("decision-untold-longer").parts;
    assert!(formed > 0 && merged > 0);
}

#[test]
fn a_node_that_forgets_its_seat_is_found() {
    is_found(Fault::ForgottenSeat, "decision-untold", "M5");
}

#[test]
fn a_proposer_without_a_view_that_ignores_what_may_be_decided_is_found() {
    is_found(Fault::IgnoredValue, "decision-untold", "M5");
}

#[test]
fn a_voter_that_forgets_its_promise_is_found() {
    is_found(Fault::ForgottenPromise, "coordinator-crash", "M5");
}

#[test]
fn a_quorum_of_one_too_few_is_found() {
    is_found(Fault::SmallQuorum, "leave-and-crash", "M5");
}

#[test]
fn a_proposer_that_ignores_what_may_be_decided_is_found() {
    is_found(Fault::IgnoredValue, "leave-and-crash", "M5");
}

#[test]
fn a_leaver_that_takes_its_decision_with_it_is_found() {
    is_found(Fault::HastyLeave, "lowest-leaves", "L1");
}
