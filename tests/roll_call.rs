// SPDX-License-Identifier: GPL-2.0

//! Whoever hears that a member is suspected asks all members whether they are there.

mod lab;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::Counter;
use kcgcs_protocol::protocol::failure_detector::DetectorReport;
use kcgcs_protocol::protocol::wire::Kind;
use lab::Lab;

/// Who has asked whom, as often as it was asked.
type Questions = Rc<RefCell<Vec<(u16, u16)>>>;

/// Notes all questions from now on; lost is what `is_lost` says.
fn note_questions(lab: &mut Lab, is_lost: impl Fn(u16, u16) -> bool + 'static) -> Questions {
    let questions = Questions::default();
    let noted = Rc::clone(&questions);
    lab.filter = Box::new(move |from, to, bytes| {
        if bytes[3] == Kind::IndirectProbe as u8 {
            noted.borrow_mut().push((from, to));
        }
        !is_lost(from, to)
    });
    questions
}

/// A watcher does not hear a member for a moment, though it is well.
fn suspect(lab: &mut Lab, watcher: u16, number: u16) {
    let now = lab.now;
    let subject = lab.hosts[&number].node.identity();
    let report = DetectorReport::Silent {
        subject,
        silence_ms: 200,
    };
    lab.host(watcher).node.handle_detector_report(now, report);
    lab.let_out(watcher);
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
fn a_suspicion_makes_each_coordinator_ask_everybody_once_and_everybody_look_at_whom_it_watches() {
    let (mut lab, all) = Lab::formed(16);
    lab.run_for(1_000);
    let (view, coordinators) = (lab.view_number(1), coordinators(&lab));
    let questions = note_questions(&mut lab, |_, _| false);
    suspect(&mut lab, 16, 8);
    lab.run_for(20);
    let asked = questions.borrow().clone();
    let expected = coordinators.len() * (all.len() - 1);
    assert_eq!(asked.len(), expected, "{asked:?}");
    let by: BTreeSet<u16> = asked.iter().map(|(by, _)| *by).collect();
    assert_eq!(by, coordinators);
    // Three rings: each node probes the three that it watches.
    assert_eq!(probes_sent(&lab), 3 * all.len() as u64);
    // All are there: nothing more comes of it, and another suspicion soon after is looked into by nobody else.
    lab.run_for(200);
    suspect(&mut lab, 3, 9);
    lab.run_for(500);
    assert_eq!(questions.borrow().len(), expected);
    assert!(lab.agree(&all) && lab.view_number(1) == view);
}

#[test]
fn who_has_not_answered_is_asked_again_and_nobody_else() {
    let (mut lab, all) = Lab::formed(9);
    lab.run_for(1_000);
    let view = lab.view_number(1);
    let first = *coordinators(&lab).first().unwrap();
    let other = if first == 5 { 6 } else { 5 };
    // This one link works in neither direction, which costs nobody its place.
    let questions = note_questions(&mut lab, move |from, to| {
        [(first, other), (other, first)].contains(&(from, to))
    });
    let watcher = all
        .iter()
        .rev()
        .find(|number| ![first, other, 2].contains(number));
    suspect(&mut lab, *watcher.unwrap(), 2);
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
fn who_wants_no_probes_is_asked_nothing() {
    let settings = Configuration {
        probe_count: 0,
        ..Configuration::DEFAULT
    };
    let mut lab = Lab::new(5, settings);
    let all = [1, 2, 3, 4, 5];
    lab.run_until(5_000, "a view of all", |lab| lab.agree(&all));
    let questions = note_questions(&mut lab, |_, _| false);
    suspect(&mut lab, 5, 2);
    lab.run_for(100);
    assert!(questions.borrow().is_empty());
}

#[test]
fn nodes_of_whom_no_watcher_is_left_go_with_the_others_though_nobody_accuses_them() {
    let (mut lab, all) = Lab::formed(33);
    lab.run_for(1_000);
    let view = lab.view_number(1);
    // So many that of some all three watchers are gone.
    let dead: Vec<u16> = (3..=17).chain([33]).collect();
    let rest: Vec<u16> = all.into_iter().filter(|n| !dead.contains(n)).collect();
    for number in &dead {
        lab.crash(*number);
    }
    lab.run_until(300, "a view without them", |lab| lab.agree(&rest));
    assert_eq!(lab.view_number(1), view + 1);
}
