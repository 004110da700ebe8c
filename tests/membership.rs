// SPDX-License-Identifier: GPL-2.0

//! Forming, joining and leaving a cluster, seen from outside: a few whole nodes in simulated time.

mod lab;

use std::cell::RefCell;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::Counter;
use kcgcs_protocol::protocol::outputs::{ChangeReason, Event, RefusalReason};
use kcgcs_protocol::protocol::wire::Kind;
use lab::{address, Lab};

#[test]
fn a_node_without_peers_forms_a_view_of_its_own_at_once() {
    let mut lab = Lab::new(1, Configuration::DEFAULT);
    lab.run_for(1);
    assert_eq!(lab.members(1), [1]);
    assert!(lab.hosts[&1].node.has_quorum());
}

#[test]
fn nodes_started_together_form_one_first_view() {
    for count in [2, 3, 5, 16, 64] {
        let all: Vec<u16> = (1..=count).collect();
        let mut lab = Lab::new(count, Configuration::DEFAULT);
        lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
        assert_eq!(lab.view_number(1), 1, "{count} nodes");
    }
}

#[test]
fn a_node_started_later_joins_within_two_rounds() {
    let mut lab = Lab::without_nodes(5, Configuration::DEFAULT);
    for number in [2, 3, 4] {
        lab.start(number, 1);
    }
    lab.run_until(5_000, "a view of the three", |lab| lab.agree(&[2, 3, 4]));
    lab.start(1, 1);
    lab.run_until(1_000, "a view of four", |lab| lab.agree(&[1, 2, 3, 4]));
    lab.start(5, 1);
    lab.run_until(1_000, "a view of five", |lab| lab.agree(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_minority_of_the_expected_nodes_forms_nothing() {
    let mut lab = Lab::without_nodes(5, Configuration::DEFAULT);
    lab.start(1, 1);
    lab.start(2, 1);
    lab.run_for(10_000);
    assert!(lab.members(1).is_empty() && lab.members(2).is_empty());
    lab.start(5, 1);
    lab.run_until(3_000, "a view of three", |lab| lab.agree(&[1, 2, 5]));
}

#[test]
fn a_cluster_that_waits_for_all_forms_nothing_before_all_are_there() {
    let settings = Configuration {
        wait_for_all: 1,
        ..Configuration::DEFAULT
    };
    let mut lab = Lab::without_nodes(4, settings);
    for number in [1, 2, 4] {
        lab.start(number, 1);
    }
    lab.run_for(60_000);
    for number in [1, 2, 4] {
        assert!(lab.members(number).is_empty());
    }
    lab.start(3, 1);
    lab.run_until(2_000, "a view of all", |lab| lab.agree(&[1, 2, 3, 4]));
    // Once formed it works as any other cluster.
    lab.crash(2);
    lab.run_until(2_000, "a view of three", |lab| lab.agree(&[1, 3, 4]));
    lab.start(2, 2);
    lab.run_until(2_000, "a view of all", |lab| lab.agree(&[1, 2, 3, 4]));
}

#[test]
fn an_old_join_request_does_not_bring_a_crashed_node_back() {
    let joins: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let seen = Rc::clone(&joins);
    let mut lab = Lab::without_nodes(4, Configuration::DEFAULT);
    lab.filter = Box::new(move |from, _, bytes| {
        if from == 4 && bytes[3] == Kind::Join as u8 {
            seen.borrow_mut().push(bytes.to_vec());
        }
        true
    });
    for number in 1..=4 {
        lab.start(number, 1);
    }
    lab.run_until(5_000, "one view of all", |lab| lab.agree(&[1, 2, 3, 4]));
    lab.crash(4);
    lab.run_until(3_000, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    let view = lab.hosts[&1].node.view().unwrap().number;
    let old = joins.borrow().last().cloned().expect("node 4 has asked");
    for to in 1..=3 {
        lab.inject(address(4), to, old.clone());
    }
    lab.run_for(1_000);
    assert!(lab.agree(&[1, 2, 3]));
    assert_eq!(lab.hosts[&1].node.view().unwrap().number, view);
    // Its next incarnation is admitted.
    lab.start(4, 2);
    lab.run_until(3_000, "all again", |lab| lab.agree(&[1, 2, 3, 4]));
}

#[test]
fn a_node_that_decides_on_its_own_leave_stays_until_the_others_know() {
    let (mut lab, _) = Lab::formed(2);
    // The leave request of node 1 is lost, so node 1 proposes the view without itself in the end, and its own vote
    // makes the quorum of two. The first announcements of the decision are lost too.
    let commits = Rc::new(RefCell::new(0));
    lab.filter = Box::new(move |from, _, bytes| match bytes.get(3) {
        Some(kind) if *kind == Kind::Report as u8 => from != 1,
        Some(kind) if *kind == Kind::Commit as u8 => {
            *commits.borrow_mut() += 1;
            *commits.borrow() > 3
        }
        _ => true,
    });
    lab.command(1, |node, now| node.leave_cluster(now));
    lab.run_until(1_000, "a view without it", |lab| lab.agree(&[2]));
    assert!(lab.hosts[&2].node.has_quorum());
    lab.run_until(1_000, "the leaver has left", |lab| {
        matches!(lab.hosts[&1].events.last(), Some((_, Event::Left)))
    });
}

#[test]
fn a_leave_is_reported_as_a_view_change_with_that_reason() {
    let (mut lab, _) = Lab::formed(5);
    lab.command(3, |node, now| node.leave_cluster(now));
    let rest = [1, 2, 4, 5];
    lab.run_until(300, "a view without it", |lab| lab.agree(&rest));
    let has_reported = |lab: &Lab, number: u16| {
        lab.hosts[&number].events.iter().any(|(_, event)| {
            matches!(event, Event::ViewChange { subject, reason: ChangeReason::Leave }
                if subject.node.number() == 3)
        })
    };
    assert!(rest.iter().all(|number| has_reported(&lab, *number)));
    lab.run_until(300, "the leaver has left", |lab| {
        matches!(lab.hosts[&3].events.last(), Some((_, Event::Left)))
    });
}

#[test]
fn a_restarted_node_replaces_its_earlier_incarnation_in_one_view() {
    let (mut lab, all) = Lab::formed(5);
    let before = lab.view_number(1);
    lab.start(4, 2);
    lab.run_until(2_000, "a view with the new incarnation", |lab| {
        lab.agree(&all) && lab.view_number(1) > before
    });
    assert_eq!(lab.view_number(1), before + 1);
}

#[test]
fn a_node_with_other_settings_is_refused_and_the_setting_named() {
    let (mut lab, all) = Lab::formed(3);
    let settings = Configuration {
        heartbeat_interval_ms: 200,
        ..Configuration::DEFAULT
    };
    lab.crash(3);
    lab.run_until(1_000, "a view of two", |lab| lab.agree(&[1, 2]));
    lab.start_with(3, 2, settings);
    lab.run_until(1_000, "refused", |lab| {
        lab.hosts[&3].events.iter().any(|(_, event)| {
            matches!(
                event,
                Event::Refused {
                    reason: RefusalReason::HeartbeatInterval,
                    ..
                }
            )
        })
    });
    assert!(lab.agree(&[1, 2]));
    lab.start(3, 3);
    lab.run_until(2_000, "node 3 is admitted with the right settings", |lab| {
        lab.agree(&all)
    });
}

#[test]
fn a_node_of_an_idle_cluster_sends_at_most_twenty_datagrams_per_second() {
    for count in [2, 5, 16, 64] {
        let (mut lab, all) = Lab::formed(count);
        let before: Vec<u64> = all.iter().map(|n| lab.hosts[n].datagrams_sent).collect();
        lab.run_for(10_000);
        for (number, before) in all.iter().zip(before) {
            let sent = lab.hosts[number].datagrams_sent - before;
            assert!(
                sent <= 200,
                "{count} nodes: node {number} sent {sent} in ten seconds"
            );
        }
        assert!(lab.agree(&all));
    }
}

#[test]
fn malformed_datagrams_are_counted_and_change_nothing() {
    let (mut lab, all) = Lab::formed(3);
    let view = lab.hosts[&1].node.view().unwrap().number;
    let mut header = vec![0_u8; 56];
    lab.inject(address(2), 1, header.clone());
    header[0] = 0x4b;
    header[1] = 0x47;
    lab.inject(address(2), 1, header.clone());
    lab.inject(address(2), 1, header[..20].to_vec());
    lab.inject(address(2), 1, Vec::new());
    let failure_detector = lab.host(1).failure_detector.counters();
    assert_eq!(failure_detector.value(Counter::DroppedMagic), 1);
    assert_eq!(failure_detector.value(Counter::DroppedVersion), 1);
    assert_eq!(failure_detector.value(Counter::DroppedShort), 2);
    lab.run_for(1_000);
    assert!(lab.agree(&all));
    assert_eq!(lab.hosts[&1].node.view().unwrap().number, view);
}
