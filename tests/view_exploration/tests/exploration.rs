// SPDX-License-Identifier: GPL-2.0

//! Explore the scenarios within bounds that take seconds, and show that seeded faults are found.

use std::time::Duration;

use view_exploration::explorer::scenarios::Scenario;
use view_exploration::explorer::search::{explore, Limits, Report};
use view_exploration::seeded_faults::{seed, Fault};

/// The number of states that are explored of a scenario that is too large, nearest first.
const STATES_MAX: usize = 1_000_000;
/// A number larger than the states of any other scenario.
const ALL: usize = 10_000_000;

fn run(name: &str, states: usize, fault: Option<Fault>) -> Report {
    let scenario = Scenario::named(name).expect("the scenario exists");
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

/// Assert that no state breaks a promise.
fn holds_everywhere(name: &str) {
    let report = run(name, ALL, None);
    assert!(report.violation.is_none(), "{report}");
    assert!(report.is_exhausted, "{report}");
}

/// Assert that none of the nearest states breaks a promise.
fn holds_at_first(name: &str) -> Report {
    let report = run(name, STATES_MAX, None);
    assert!(report.violation.is_none(), "{report}");
    assert!(
        report.is_exhausted || report.states >= STATES_MAX,
        "{report}"
    );
    report
}

/// Assert that the fault is found, as a violation of `promise`.
fn is_found(fault: Fault, name: &str, promise: &str) {
    let report = run(name, ALL, Some(fault));
    let found = report.violation.as_ref().map(|(what, _)| what.as_str());
    assert!(
        found.is_some_and(|what| what.contains(promise)),
        "{fault:?}: {report}"
    );
}

#[test]
fn a_leave_is_agreed_on_although_two_coordinators_propose_at_once() {
    holds_everywhere("leave");
}

#[test]
fn a_leave_is_agreed_on_while_another_member_crashes() {
    holds_everywhere("leave-and-crash");
}

#[test]
fn a_leave_is_agreed_on_while_the_coordinator_crashes() {
    holds_everywhere("coordinator-crash");
}

#[test]
fn the_lowest_of_two_members_can_leave() {
    holds_everywhere("lowest-leaves");
}

#[test]
fn an_eviction_is_agreed_on_while_another_member_crashes() {
    holds_everywhere("eviction-and-crash");
}

#[test]
fn the_coordinator_is_evicted_while_another_member_crashes() {
    holds_at_first("coordinator-evicted");
}

#[test]
fn a_leave_is_agreed_on_while_another_node_joins() {
    holds_at_first("leave-and-join");
}

#[test]
fn a_crashed_member_is_excluded_while_another_node_joins() {
    holds_everywhere("crash-and-join");
}

#[test]
fn a_crashed_member_joins_again_as_its_next_incarnation() {
    holds_at_first("crash-and-return");
}

#[test]
fn a_false_accusation_breaks_no_promise() {
    holds_at_first("false-accusation");
}

#[test]
fn a_roll_call_breaks_no_promise() {
    holds_at_first("roll-call");
}

#[test]
fn nodes_agree_on_a_first_view_although_two_propose_one_at_once() {
    holds_at_first("first-view");
}

#[test]
fn a_component_merges_with_a_primary_view() {
    let (_, merged) = holds_at_first("components-merge").components;
    assert!(merged > 0);
}

#[test]
fn a_component_merges_with_a_primary_view_while_a_node_crashes() {
    let (_, merged) = holds_at_first("components-merge-and-crash").components;
    assert!(merged > 0);
}

#[test]
fn nodes_that_have_given_up_their_view_form_components_or_a_primary_view() {
    let (formed, _) = holds_at_first("scattered-nodes-merge").components;
    assert!(formed > 0);
}

#[test]
fn a_decision_known_to_one_node_binds_those_that_have_given_up_their_view() {
    holds_everywhere("unannounced-decision");
}

#[test]
fn nodes_that_have_given_up_their_view_merge_with_the_one_that_has_decided() {
    let (formed, merged) = holds_at_first("unannounced-decision-longer").components;
    assert!(formed > 0 && merged > 0);
}

#[test]
fn a_node_that_forgets_its_seat_is_found() {
    is_found(Fault::ForgottenSeat, "unannounced-decision", "M5");
}

#[test]
fn a_proposer_without_a_view_that_ignores_what_may_be_decided_is_found() {
    is_found(Fault::IgnoredValue, "unannounced-decision", "M5");
}

#[test]
fn a_voter_that_forgets_its_promise_is_found() {
    is_found(Fault::ForgottenPromise, "coordinator-crash", "M5");
}

#[test]
fn a_quorum_that_is_one_too_small_is_found() {
    is_found(Fault::SmallQuorum, "leave-and-crash", "M5");
}

#[test]
fn a_proposer_that_ignores_what_may_be_decided_is_found() {
    is_found(Fault::IgnoredValue, "leave-and-crash", "M5");
}

#[test]
fn a_leaver_that_does_not_announce_its_decision_is_found() {
    is_found(Fault::HastyLeave, "lowest-leaves", "L1");
}
