// SPDX-License-Identifier: GPL-2.0

//! Explore the scenarios with a group, and show that broken rules are found under the promises that they break.

use std::time::Duration;

use view_exploration::explorer::groups::scenarios::GroupScenario;
use view_exploration::explorer::groups::search::{explore_group, GroupReport};
use view_exploration::explorer::search::Limits;
use view_exploration::protocol::rules::Rule;

fn run(name: &str, broken: Option<Rule>) -> GroupReport {
    let scenario = GroupScenario::named(name).expect("the scenario exists");
    let limits = Limits {
        states: 2_000_000,
        time: Duration::from_secs(600),
        settle_one_of: 1,
    };
    let report = explore_group(scenario, broken, limits);
    let report = report.expect("the scenario has a beginning");
    println!("{report}");
    report
}

/// Assert that no run breaks a promise, and that so many crashes lead to as many view changes with a quorum.
fn holds_everywhere(name: &str) {
    let report = run(name, None);
    assert!(report.violation.is_none(), "{report}");
    assert!(report.is_exhausted, "{report}");
    assert_eq!(
        report.views,
        1 + usize::from(report.scenario.crashes),
        "{report}"
    );
    let (at_rest, without_quorum) = report.at_rest;
    assert!(at_rest > without_quorum, "{report}");
}

/// Assert that a node that breaks the rule is found, as a violation of `promise`.
fn is_found(rule: Rule, name: &str, promise: &str) {
    let report = run(name, Some(rule));
    let found = report.violation.as_ref().map(|(what, _)| what.as_str());
    assert!(
        found.is_some_and(|what| what.starts_with(promise)),
        "{rule:?}: {report}"
    );
}

#[test]
fn agreed_messages_keep_their_promises_while_two_nodes_crash() {
    holds_everywhere("group-agreed");
}

#[test]
fn agreed_messages_of_the_orderer_keep_their_promises_while_two_nodes_crash() {
    holds_everywhere("group-agreed-orderer-sends");
}

#[test]
fn safe_messages_keep_their_promises_while_two_nodes_crash() {
    holds_everywhere("group-safe");
}

#[test]
fn causal_messages_keep_their_promises_while_two_nodes_crash() {
    holds_everywhere("group-causal");
}

#[test]
fn fifo_messages_keep_their_promises_while_two_nodes_crash() {
    holds_everywhere("group-fifo");
}

#[test]
fn a_crash_breaks_no_promise_although_two_datagrams_are_late_or_lost() {
    holds_everywhere("group-two-late");
}

#[test]
fn a_crash_breaks_no_promise_although_a_deadline_comes_before_a_datagram() {
    holds_everywhere("group-early-deadline");
}

#[test]
fn a_member_that_delivers_what_the_sender_may_lack_is_found() {
    is_found(Rule::ReleaseWaitsForSender, "group-agreed", "D4");
}

#[test]
fn a_cut_that_is_the_nearest_instead_of_the_furthest_is_found() {
    is_found(Rule::FurthestAcceptedCounts, "group-agreed", "D5");
}

#[test]
fn a_safe_message_that_is_delivered_before_all_hold_it_is_found() {
    is_found(Rule::SafeWaitsForAll, "group-safe", "S1, S2, S3");
}

#[test]
fn a_node_that_drops_what_others_may_lack_is_found() {
    is_found(Rule::KeepUntilStable, "group-agreed", "L1, L3");
}

#[test]
fn a_node_that_reports_less_than_it_has_acknowledged_is_found() {
    is_found(Rule::ReportAllAcknowledged, "group-agreed", "D5");
}
