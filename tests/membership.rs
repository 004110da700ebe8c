// SPDX-License-Identifier: GPL-2.0

//! What the membership does, seen from outside: a few whole nodes in simulated time.

mod lab;

use std::cell::RefCell;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::Counter;
use kcgcs_protocol::protocol::failure_detector::{DetectorPeer, DetectorReport};
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
    // Once it is there it is a cluster as any other one.
    lab.crash(2);
    lab.run_until(2_000, "a view of three", |lab| lab.agree(&[1, 3, 4]));
    lab.start(2, 2);
    lab.run_until(2_000, "a view of all", |lab| lab.agree(&[1, 2, 3, 4]));
}

#[test]
fn the_numbers_of_views_grow_although_most_nodes_have_lost_their_memory() {
    for keeper in [1, 3] {
        let (mut lab, all) = Lab::formed(3);
        for _ in 0..4 {
            let victim = keeper % 3 + 1;
            lab.crash(victim);
            lab.run_for(2_000);
            let incarnation = lab.hosts[&victim].node.identity().incarnation.0 + 1;
            lab.start(victim, incarnation);
            lab.run_until(2_000, "a view of all", |lab| lab.agree(&all));
        }
        let before = lab.view_number(keeper);
        assert!(before >= 9);
        for victim in 1..=3 {
            if victim != keeper {
                lab.crash(victim);
                let incarnation = lab.hosts[&victim].node.identity().incarnation.0 + 1;
                lab.start(victim, incarnation);
            }
        }
        lab.run_until(20_000, "a first view of all", |lab| {
            lab.agree(&all) && lab.hosts[&keeper].node.identity().incarnation.0 > 1
        });
        let after = lab.view_number(keeper);
        assert!(after > before, "view {before} became view {after}");
    }
}

#[test]
fn of_two_equal_halves_the_one_with_the_lowest_node_goes_on_or_neither() {
    for even_split in [0, 1] {
        let settings = Configuration {
            even_split,
            ..Configuration::DEFAULT
        };
        for count in [2_u16, 4, 8] {
            let all: Vec<u16> = (1..=count).collect();
            let mut lab = Lab::new(count, settings);
            lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
            lab.run_for(1_000);
            let is_low = move |number: u16| number <= count / 2;
            lab.filter = Box::new(move |from, to, _| is_low(from) == is_low(to));
            lab.run_for(10_000);
            let low: Vec<u16> = (1..=count / 2).collect();
            assert_eq!(lab.agree(&low), even_split == 1, "{count} nodes");
            assert_eq!(lab.hosts[&1].node.has_quorum(), even_split == 1);
            assert!(!lab.hosts[&count].node.has_quorum());
            lab.filter = Box::new(|_, _, _| true);
            lab.run_until(5_000, "one view of all", |lab| {
                lab.agree(&all) && lab.hosts[&count].node.has_quorum()
            });
        }
    }
}

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
fn nodes_that_crash_together_go_in_one_view() {
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
fn neighbours_on_a_single_ring_that_crash_together_go_in_one_view() {
    // Nobody has two watchers then, so one is enough, whatever `confirmations` says.
    let settings = Configuration {
        rings: 1,
        ..Configuration::DEFAULT
    };
    for count in 2..=7_u16 {
        for first in [1, 6, 10] {
            let all: Vec<u16> = (1..=16).collect();
            let mut lab = Lab::new(16, settings);
            lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
            lab.run_for(1_000);
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
fn a_member_that_only_the_proposer_does_not_reach_stays() {
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
        // Where the first coordinator happens to watch it, there is an accusation to decide on.
        if !accuses(1) {
            tried += 1;
            assert_eq!(lab.members(2), rest, "node {unreached} is alive");
        }
    }
    assert!(tried > 0);
}

#[test]
fn while_a_cluster_blocks_nobody_forms_another() {
    let (mut lab, all) = Lab::formed(7);
    // The cluster shrinks to three of seven, which then do not reach each other.
    lab.crash(7);
    lab.crash(6);
    lab.run_until(3_000, "a view of five", |lab| lab.agree(&[1, 2, 3, 4, 5]));
    lab.crash(5);
    lab.crash(4);
    lab.run_until(3_000, "a view of three", |lab| lab.agree(&[1, 2, 3]));
    lab.filter = Box::new(|from, to, _| from > 3 || to > 3);
    lab.run_until(3_000, "the three block", |lab| {
        [1, 2, 3].iter().all(|n| !lab.hosts[n].node.has_quorum())
    });
    // Most of the configured nodes start and reach everybody.
    for number in 4..=7 {
        lab.start(number, 2);
    }
    lab.run_for(3_000);
    for number in 4..=7 {
        assert!(lab.members(number).is_empty(), "node {number} has a view");
    }
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(10_000, "all are together again", |lab| lab.agree(&all));
}

#[test]
fn an_old_join_does_not_bring_back_who_has_gone() {
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
    // Its next incarnation is let in.
    lab.start(4, 2);
    lab.run_until(3_000, "all again", |lab| lab.agree(&[1, 2, 3, 4]));
}

#[test]
fn all_coordinators_may_crash_at_once() {
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
fn a_coordinator_that_dies_in_any_phase_does_not_stop_the_change() {
    // The first coordinator dies after it has sent so many datagrams of the change.
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
            // Once it has begun and used up its messages it is dead to all.
            !(from == 1 && left == 0)
        });
        lab.run_until(5_000, "a view without the first one", |lab| {
            lab.agree(&rest) || lab.agree(&[1, 2, 3, 5])
        });
        // Where its messages were enough for the whole change it dies now.
        lab.crash(1);
        lab.run_until(5_000, "a view of the others", |lab| lab.agree(&rest));
    }
}

#[test]
fn two_that_somebody_accuses_do_not_outbid_each_other_without_pause() {
    let (mut lab, _) = Lab::formed(3);
    let before: u64 = lab.hosts.values().map(|host| host.datagrams_sent).sum();
    // One was cut off and could be heard again just when both sides had enough of each other: both of
    // the others have something to propose, and neither counts on the other.
    for (watcher, number) in [(3, 1), (3, 2), (2, 3), (1, 3)] {
        let now = lab.now;
        let report = DetectorReport::Dead {
            subject: lab.hosts[&number].node.identity(),
            silence_ms: 275,
        };
        lab.host(watcher).node.handle_detector_report(now, report);
        lab.let_out(watcher);
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
fn a_node_that_decides_on_its_own_leave_stays_until_the_others_know() {
    let (mut lab, _) = Lab::formed(2);
    // Nobody hears that it wants to go, so it proposes that itself in the end, with the vote that makes
    // a quorum of two. Of what it says then the first few datagrams are lost.
    let commits = Rc::new(RefCell::new(0));
    lab.filter = Box::new(move |from, _, bytes| match bytes.get(3) {
        Some(kind) if *kind == Kind::Report as u8 => from != 1,
        Some(kind) if *kind == Kind::Commit as u8 => {
            *commits.borrow_mut() += 1;
            *commits.borrow() > 3
        }
        _ => true,
    });
    let now = lab.now;
    lab.host(1).node.leave_cluster(now);
    lab.let_out(1);
    lab.run_until(1_000, "a view without it", |lab| lab.agree(&[2]));
    assert!(lab.hosts[&2].node.has_quorum());
    lab.run_until(1_000, "the leaver is gone", |lab| {
        matches!(lab.hosts[&1].events.last(), Some((_, Event::Left)))
    });
}

#[test]
fn who_missed_a_view_gets_it_from_a_part_that_has_no_quorum_without_it() {
    let (mut lab, _) = Lab::formed(6);
    // Node 4 promises, and is cut off before it hears what became of that.
    lab.filter = Box::new(|from, to, bytes| {
        (from != 4 && to != 4) || bytes.get(3) < Some(&(Kind::Commit as u8))
    });
    let now = lab.now;
    lab.host(6).node.leave_cluster(now);
    lab.run_until(1_000, "a view without the leaver", |lab| {
        [1, 2, 3, 5]
            .iter()
            .all(|number| lab.members(*number) == [1, 2, 3, 4, 5])
    });
    assert_eq!(lab.members(4).len(), 6);
    lab.filter = Box::new(|from, to, _| from != 4 && to != 4);
    // The two that are left are no quorum of five, but three are.
    lab.crash(3);
    lab.crash(5);
    lab.run_until(5_000, "the quorum is lost", |lab| {
        [1, 2].iter().all(|n| !lab.hosts[n].node.has_quorum())
    });
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(3_000, "three go on together", |lab| lab.agree(&[1, 2, 4]));
}

#[test]
fn a_leave_is_a_view_change_with_that_reason() {
    let (mut lab, _) = Lab::formed(5);
    let now = lab.now;
    lab.host(3).node.leave_cluster(now);
    let rest = [1, 2, 4, 5];
    lab.run_until(300, "a view without it", |lab| lab.agree(&rest));
    let told = |lab: &Lab, number: u16| {
        lab.hosts[&number].events.iter().any(|(_, event)| {
            matches!(event, Event::ViewChange { subject, reason: ChangeReason::Leave }
                if subject.node.number() == 3)
        })
    };
    assert!(rest.iter().all(|number| told(&lab, *number)));
    lab.run_until(300, "the leaver is told", |lab| {
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
fn a_node_that_was_cut_off_finds_out_and_comes_back_as_another() {
    let (mut lab, all) = Lab::formed(5);
    lab.filter = Box::new(|from, to, _| (from == 2) == (to == 2));
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(3_000, "it is back", |lab| lab.agree(&all));
    assert_eq!(lab.hosts[&2].node.identity().incarnation.0, 2);
    assert!(lab.hosts[&2]
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::Excluded { .. })));
}

#[test]
fn a_minority_blocks_and_says_so_and_joins_again_after_the_cut() {
    let (mut lab, all) = Lab::formed(5);
    let is_minority = |number: u16| number <= 2;
    lab.filter = Box::new(move |from, to, _| is_minority(from) == is_minority(to));
    lab.run_until(3_000, "the majority goes on", |lab| lab.agree(&[3, 4, 5]));
    lab.run_until(3_000, "the minority blocks", |lab| {
        [1, 2]
            .iter()
            .all(|number| !lab.hosts[number].node.has_quorum())
    });
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(5_000, "all are together again", |lab| lab.agree(&all));
}

#[test]
fn three_parts_without_a_quorum_block_and_go_on_when_joined_again() {
    let (mut lab, all) = Lab::formed(8);
    let part = |number: u16| number % 3;
    lab.filter = Box::new(move |from, to, _| part(from) == part(to));
    lab.run_until(4_000, "all block", |lab| {
        lab.hosts.values().all(|host| !host.node.has_quorum())
    });
    lab.filter = Box::new(|_, _, _| true);
    lab.run_until(10_000, "all are together again", |lab| lab.agree(&all));
}

#[test]
fn settings_that_differ_are_refused_by_name() {
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
    lab.run_until(2_000, "with the right ones it is let in", |lab| {
        lab.agree(&all)
    });
}

#[test]
fn an_idle_cluster_sends_no_more_than_twenty_packets_per_node_and_second() {
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

#[test]
fn an_accusation_that_is_taken_back_changes_no_view() {
    let all: Vec<u16> = (1..=8).collect();
    for victim in all.clone() {
        for watcher in all.iter().copied().filter(|watcher| *watcher != victim) {
            let (mut lab, _) = Lab::formed(8);
            let view = lab.hosts[&1].node.view().unwrap().number;
            // The watcher hears neither heartbeats nor answers of the victim for a while.
            lab.filter = Box::new(move |from, to, bytes| {
                (from, to) != (victim, watcher) || bytes.get(3) > Some(&(Kind::ProbeReply as u8))
            });
            lab.run_for(500);
            lab.filter = Box::new(|_, _, _| true);
            lab.run_for(5_000);
            assert!(lab.agree(&all), "{victim} and {watcher}");
            let after = lab.hosts[&1].node.view().unwrap().number;
            assert_eq!(after, view, "{victim} and {watcher}");
        }
    }
}

#[test]
fn what_a_suspected_watcher_says_alone_costs_no_view() {
    // With two rings one other watcher is left, and it hears the node.
    let settings = Configuration {
        rings: 2,
        ..Configuration::DEFAULT
    };
    for suspected in 1..=9 {
        let mut lab = Lab::new(9, settings);
        let all: Vec<u16> = (1..=9).collect();
        lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
        lab.run_for(1_000);
        let view = lab.view_number(1);
        // Somebody says of it that it is dead, and it says so of all that it watches.
        let watched_by = |lab: &Lab, number: u16| -> Vec<u16> {
            let mut sources = Vec::new();
            let host = &lab.hosts[&number];
            let mut add = |peer: DetectorPeer, _| sources.push(peer.identity.node.number());
            host.failure_detector.for_each_monitored(lab.now, &mut add);
            sources
        };
        let accuser = all
            .iter()
            .copied()
            .find(|n| watched_by(&lab, *n).contains(&suspected));
        let mut accusations = vec![(accuser.unwrap(), suspected)];
        let watched = watched_by(&lab, suspected);
        accusations.extend(watched.into_iter().map(|subject| (suspected, subject)));
        // It hears nothing for a moment, so it does not answer those who ask, but for the last probe.
        lab.filter = Box::new(move |_, to, _| to != suspected);
        for (watcher, number) in accusations {
            let report = DetectorReport::Dead {
                subject: lab.hosts[&number].node.identity(),
                silence_ms: 275,
            };
            let now = lab.now;
            lab.host(watcher).node.handle_detector_report(now, report);
            lab.let_out(watcher);
            lab.run_for(1);
        }
        lab.run_for(60);
        lab.filter = Box::new(|_, _, _| true);
        lab.run_for(2_000);
        assert!(lab.agree(&all), "{suspected} is suspected");
        assert_eq!(lab.view_number(1), view, "{suspected} is suspected");
    }
}
