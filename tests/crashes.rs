// SPDX-License-Identifier: GPL-2.0

//! Crashes, suspicions and accusations, seen from outside: dead nodes are excluded in one view, and live ones stay.

mod lab;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::failure_detector::DetectorPeer;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::wire::Kind;
use lab::Lab;

#[test]
fn a_crash_leads_to_one_view_without_the_node_within_300_ms() {
    for count in [3, 5, 8, 16, 32, 64] {
        for victim in [1, count / 2 + 1, count] {
            let (mut lab, mut rest) = Lab::formed(count);
            rest.retain(|number| *number != victim);
            let before = lab.view_number(rest[0]);
            let crashed_at = lab.now;
            lab.crash(victim);
            let at = lab.run_until(2_000, "a view without it", |lab| lab.agree(&rest));
            let milliseconds = at.since(crashed_at).as_milliseconds();
            assert!(
                milliseconds <= 300,
                "{count} nodes, {victim} crashed: {milliseconds} ms"
            );
            let after = lab.view_number(rest[0]);
            assert_eq!(after, before + 1, "{count} nodes, {victim} crashed");
        }
    }
}

#[test]
fn nodes_that_crash_together_are_excluded_in_one_view() {
    for victims in [
        vec![2, 3],
        vec![1, 2, 3],
        vec![1, 4, 7, 10],
        vec![5, 6, 7, 8, 9, 10],
    ] {
        let (mut lab, mut rest) = Lab::formed(16);
        rest.retain(|number| !victims.contains(number));
        let before = lab.view_number(rest[0]);
        for victim in &victims {
            lab.crash(*victim);
        }
        lab.run_until(3_000, "a view without them", |lab| lab.agree(&rest));
        lab.run_for(1_000);
        let after = lab.view_number(rest[0]);
        assert_eq!(after, before + 1, "{victims:?}");
    }
}

#[test]
fn neighbours_on_a_single_ring_that_crash_together_are_excluded_in_one_view() {
    // With one ring a node has one monitor, so one accusation is enough, whatever `confirmations` is.
    let settings = Configuration {
        rings: 1,
        ..Configuration::DEFAULT
    };
    for count in 2..=7_u16 {
        for first in [1, 6, 10] {
            let (mut lab, all) = Lab::formed_with(16, settings);
            let before = lab.view_number(16);
            let victims = first..first + count;
            for victim in victims.clone() {
                lab.crash(victim);
            }
            let rest: Vec<u16> = all.into_iter().filter(|n| !victims.contains(n)).collect();
            lab.run_until(3_000, "a view without them", |lab| lab.agree(&rest));
            let after = lab.view_number(rest[0]);
            assert_eq!(after, before + 1, "{victims:?}");
        }
    }
}

#[test]
fn a_member_that_only_the_proposer_cannot_reach_stays() {
    let mut tried = 0;
    for unreached in 2..=15_u16 {
        let (mut lab, _) = Lab::formed(16);
        lab.filter = Box::new(move |from, to, _| {
            (from, to) != (1, unreached) && (from, to) != (unreached, 1)
        });
        lab.crash(16);
        let rest: Vec<u16> = (1..=15).collect();
        lab.run_until(3_000, "a view without the dead node", |lab| {
            lab.members(2).len() < 16
        });
        let accuses = |number: u16| {
            lab.hosts[&number].events.iter().any(|(_, event)| {
                matches!(event, Event::Accused { subject, .. } if subject.node.number() == unreached)
            })
        };
        // Where the first coordinator is a monitor of the unreached node, its accusation may count.
        if !accuses(1) {
            tried += 1;
            assert_eq!(lab.members(2), rest, "node {unreached} is alive");
        }
    }
    assert!(tried > 0);
}

#[test]
fn a_view_change_succeeds_although_all_coordinators_crash_at_once() {
    let (mut lab, mut rest) = Lab::formed(16);
    let view = lab.hosts[&1].node.view().unwrap();
    let coordinators: Vec<u16> = view
        .coordinators(5)
        .map(|member| member.identity.node.number())
        .collect();
    assert_eq!(coordinators.len(), 5);
    for coordinator in &coordinators {
        lab.crash(*coordinator);
    }
    rest.retain(|number| !coordinators.contains(number));
    lab.run_until(3_000, "a view without them", |lab| lab.agree(&rest));
}

#[test]
fn a_view_change_succeeds_although_its_coordinator_dies_in_any_phase() {
    // The first coordinator dies after it has sent `allowed` datagrams of the agreement.
    for allowed in 0..30 {
        let (mut lab, mut rest) = Lab::formed(5);
        rest.retain(|number| ![1, 4].contains(number));
        lab.crash(4);
        let mut left = allowed;
        lab.filter = Box::new(move |from, _, bytes| {
            let kind = bytes[3];
            let is_change = (11..=18).contains(&kind);
            if from == 1 && is_change && left > 0 {
                left -= 1;
                return true;
            }
            // Once it has sent them, nobody receives anything of it.
            !(from == 1 && left == 0)
        });
        lab.run_until(5_000, "a view without the first one", |lab| {
            lab.agree(&rest) || lab.agree(&[1, 2, 3, 5])
        });
        // Where they were enough for the whole change, it dies now.
        lab.crash(1);
        lab.run_until(5_000, "a view of the others", |lab| lab.agree(&rest));
    }
}

#[test]
fn proposers_that_are_accused_do_not_outbid_each_other_without_pause() {
    let (mut lab, _) = Lab::formed(3);
    let before: u64 = lab.hosts.values().map(|host| host.datagrams_sent).sum();
    // As if node 3 had been cut off, and were reachable again just when both sides declare each other dead: nodes 1
    // and 2 both have an accusation to propose, and node 3 accuses both of them.
    for (by, subject) in [(3, 1), (3, 2), (2, 3), (1, 3)] {
        lab.declare_dead(by, subject);
    }
    lab.run_for(1_000);
    let after: u64 = lab.hosts.values().map(|host| host.datagrams_sent).sum();
    let sent = after - before;
    assert!(sent < 500, "{sent} datagrams in a second");
    lab.run_until(5_000, "a view of all", |lab| {
        [1, 2, 3]
            .iter()
            .all(|number| lab.members(*number) == [1, 2, 3])
    });
}

#[test]
fn an_accusation_that_is_taken_back_changes_no_view() {
    let all: Vec<u16> = (1..=8).collect();
    for victim in all.clone() {
        for monitor in all.iter().copied().filter(|monitor| *monitor != victim) {
            let (mut lab, _) = Lab::formed(8);
            let view = lab.hosts[&1].node.view().unwrap().number;
            // The monitor receives neither heartbeats nor answers of the victim for a while.
            lab.filter = Box::new(move |from, to, bytes| {
                (from, to) != (victim, monitor) || bytes.get(3) > Some(&(Kind::ProbeReply as u8))
            });
            lab.run_for(500);
            lab.heal();
            lab.run_for(5_000);
            assert!(lab.agree(&all), "node {monitor} accused node {victim}");
            let after = lab.hosts[&1].node.view().unwrap().number;
            assert_eq!(after, view, "node {monitor} accused node {victim}");
        }
    }
}

#[test]
fn accusations_by_a_suspected_monitor_alone_change_no_view() {
    // With two rings each member has one other monitor, which hears it.
    let settings = Configuration {
        rings: 2,
        ..Configuration::DEFAULT
    };
    for suspected in 1..=9 {
        let (mut lab, all) = Lab::formed_with(9, settings);
        let view = lab.view_number(1);
        // A monitor declares the node dead, and the node declares all members dead that it monitors.
        let monitored_by = |lab: &Lab, number: u16| -> Vec<u16> {
            let mut sources = Vec::new();
            let host = &lab.hosts[&number];
            let mut add = |peer: DetectorPeer, _| sources.push(peer.identity.node.number());
            host.failure_detector.for_each_monitored(lab.now, &mut add);
            sources
        };
        let accuser = all
            .iter()
            .copied()
            .find(|n| monitored_by(&lab, *n).contains(&suspected));
        let mut accusations = vec![(accuser.unwrap(), suspected)];
        let monitored = monitored_by(&lab, suspected);
        accusations.extend(monitored.into_iter().map(|subject| (suspected, subject)));
        // The suspected node receives nothing for a moment, so it answers no probe but the last one.
        lab.filter = Box::new(move |_, to, _| to != suspected);
        for (by, subject) in accusations {
            lab.declare_dead(by, subject);
            lab.run_for(1);
        }
        lab.run_for(60);
        lab.heal();
        lab.run_for(2_000);
        assert!(lab.agree(&all), "{suspected} is suspected");
        assert_eq!(lab.view_number(1), view, "{suspected} is suspected");
    }
}
