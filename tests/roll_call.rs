// SPDX-License-Identifier: GPL-2.0

//! The roll call: a coordinator that learns of a suspicion asks all members whether they are alive.

mod lab;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::Counter;
use kcgcs_protocol::protocol::failure_detector::DetectorReport;
use kcgcs_protocol::protocol::wire::Kind;
use lab::Lab;

/// Who has asked whom, an entry for each question.
type Questions = Rc<RefCell<Vec<(u16, u16)>>>;

/// Record all questions from now on, and drop the datagrams for whose sender and receiver `is_lost` holds.
fn record_questions(lab: &mut Lab, is_lost: impl Fn(u16, u16) -> bool + 'static) -> Questions {
    let questions = Questions::default();
    let recorded = Rc::clone(&questions);
    lab.filter = Box::new(move |from, to, bytes| {
        if bytes[3] == Kind::IndirectProbe as u8 {
            recorded.borrow_mut().push((from, to));
        }
        !is_lost(from, to)
    });
    questions
}

/// Have the failure detector of `monitor` suspect a member that is well.
fn suspect(lab: &mut Lab, monitor: u16, number: u16) {
    let subject = lab.hosts[&number].node.identity();
    let report = DetectorReport::Silent {
        subject,
        silence_ms: 200,
    };
    lab.command(monitor, |node, now| {
        node.handle_detector_report(now, report)
    });
}

fn coordinators(lab: &Lab) -> BTreeSet<u16> {
    let view = lab.hosts[&1].node.view().unwrap();
    let wanted = Configuration::DEFAULT.coordinators;
    let coordinators = view.coordinators(wanted);
    coordinators
        .map(|member| member.identity.node.number())
        .collect()
}

fn probes_sent(lab: &Lab) -> u64 {
    let hosts = lab.hosts.values();
    hosts
        .map(|host| host.failure_detector.counters().value(Counter::ProbesSent))
        .sum()
}

#[test]
fn after_a_suspicion_each_coordinator_asks_every_member_once_and_each_member_probes_those_it_monitors(
) {
    let (mut lab, all) = Lab::formed(16);
    lab.run_for(1_000);
    let (view, coordinators) = (lab.view_number(1), coordinators(&lab));
    let questions = record_questions(&mut lab, |_, _| false);
    suspect(&mut lab, 16, 8);
    lab.run_for(20);
    let asked = questions.borrow().clone();
    let expected = coordinators.len() * (all.len() - 1);
    assert_eq!(asked.len(), expected, "{asked:?}");
    let by: BTreeSet<u16> = asked.iter().map(|(by, _)| *by).collect();
    assert_eq!(by, coordinators);
    // There are three rings: each node probes the three members that it monitors.
    assert_eq!(probes_sent(&lab), 3 * all.len() as u64);
    // All members answer, so nothing follows, and another suspicion soon after causes no second roll call.
    lab.run_for(200);
    suspect(&mut lab, 3, 9);
    lab.run_for(500);
    assert_eq!(questions.borrow().len(), expected);
    assert!(lab.agree(&all) && lab.view_number(1) == view);
}

#[test]
fn only_members_that_have_not_answered_are_asked_again() {
    let (mut lab, all) = Lab::formed(9);
    lab.run_for(1_000);
    let view = lab.view_number(1);
    let first = *coordinators(&lab).first().unwrap();
    let other = if first == 5 { 6 } else { 5 };
    // This one link works in neither direction, and neither of its nodes is excluded for that.
    let questions = record_questions(&mut lab, move |from, to| {
        [(first, other), (other, first)].contains(&(from, to))
    });
    let monitor = all
        .iter()
        .rev()
        .find(|number| ![first, other, 2].contains(number));
    suspect(&mut lab, *monitor.unwrap(), 2);
    lab.run_for(120);
    let asked = questions.borrow().clone();
    let count = |to| asked.iter().filter(|pair| **pair == (first, to)).count();
    for number in all.iter().filter(|number| **number != first) {
        let expected = if *number == other { 4 } else { 1 };
        assert_eq!(count(*number), expected, "{number}: {asked:?}");
    }
    lab.run_for(5_000);
    assert!(lab.agree(&all) && lab.view_number(1) == view);
}

#[test]
fn without_probes_no_roll_is_called() {
    let settings = Configuration {
        probe_count: 0,
        ..Configuration::DEFAULT
    };
    let (mut lab, _) = Lab::formed_with(5, settings);
    let questions = record_questions(&mut lab, |_, _| false);
    suspect(&mut lab, 5, 2);
    lab.run_for(100);
    assert!(questions.borrow().is_empty());
}

#[test]
fn crashed_nodes_without_a_live_monitor_are_excluded_with_the_others() {
    let (mut lab, all) = Lab::formed(33);
    lab.run_for(1_000);
    let view = lab.view_number(1);
    // So many crash that some of them lose all three of their monitors.
    let dead: Vec<u16> = (3..=17).chain([33]).collect();
    let rest: Vec<u16> = all.into_iter().filter(|n| !dead.contains(n)).collect();
    for number in &dead {
        lab.crash(*number);
    }
    lab.run_until(300, "a view without them", |lab| lab.agree(&rest));
    assert_eq!(lab.view_number(1), view + 1);
}
