// SPDX-License-Identifier: GPL-2.0

//! Quorums and split networks, seen from outside: one side goes on at the most, and all nodes come together again.

mod lab;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::wire::Kind;
use lab::Lab;

#[test]
fn view_numbers_grow_although_most_nodes_have_lost_their_memory() {
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
fn of_two_equal_halves_the_one_with_the_lowest_node_goes_on_or_none() {
    for even_split in [0, 1] {
        let settings = Configuration {
            even_split,
            ..Configuration::DEFAULT
        };
        for count in [2_u16, 4, 8] {
            let (mut lab, all) = Lab::formed_with(count, settings);
            let is_low = move |number: u16| number <= count / 2;
            lab.filter = Box::new(move |from, to, _| is_low(from) == is_low(to));
            lab.run_for(10_000);
            let low: Vec<u16> = (1..=count / 2).collect();
            assert_eq!(lab.agree(&low), even_split == 1, "{count} nodes");
            assert_eq!(lab.hosts[&1].node.has_quorum(), even_split == 1);
            assert!(!lab.hosts[&count].node.has_quorum());
            lab.heal();
            lab.run_until(5_000, "one view of all", |lab| {
                lab.agree(&all) && lab.hosts[&count].node.has_quorum()
            });
        }
    }
}

#[test]
fn nodes_that_start_while_a_cluster_blocks_form_no_second_one() {
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
    // A majority of the configured nodes starts and reaches everybody.
    for number in 4..=7 {
        lab.start(number, 2);
    }
    lab.run_for(3_000);
    for number in 4..=7 {
        assert!(lab.members(number).is_empty(), "node {number} has a view");
    }
    lab.heal();
    lab.run_until(10_000, "all are together again", |lab| lab.agree(&all));
}

#[test]
fn a_node_that_missed_a_view_gets_it_from_members_that_have_no_quorum_without_it() {
    let (mut lab, _) = Lab::formed(6);
    // Node 4 promises the ballot of a leave, and is cut off before it learns of the decision.
    lab.filter = Box::new(|from, to, bytes| {
        (from != 4 && to != 4) || bytes.get(3) < Some(&(Kind::Commit as u8))
    });
    lab.command(6, |node, now| node.leave_cluster(now));
    lab.run_until(1_000, "a view without the leaver", |lab| {
        [1, 2, 3, 5]
            .iter()
            .all(|number| lab.members(*number) == [1, 2, 3, 4, 5])
    });
    assert_eq!(lab.members(4).len(), 6);
    lab.isolate(4);
    // Nodes 1 and 2 are no quorum of the five, but with node 4 they are.
    lab.crash(3);
    lab.crash(5);
    lab.run_until(5_000, "the quorum is lost", |lab| {
        [1, 2].iter().all(|n| !lab.hosts[n].node.has_quorum())
    });
    lab.heal();
    lab.run_until(3_000, "a view of three", |lab| lab.agree(&[1, 2, 4]));
}

#[test]
fn a_node_that_was_excluded_while_cut_off_learns_of_it_and_rejoins_as_a_new_incarnation() {
    let (mut lab, all) = Lab::formed(5);
    lab.isolate(2);
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.heal();
    lab.run_until(3_000, "it is back", |lab| lab.agree(&all));
    assert_eq!(lab.hosts[&2].node.identity().incarnation.0, 2);
    assert!(lab.hosts[&2]
        .events
        .iter()
        .any(|(_, event)| matches!(event, Event::Excluded { .. })));
}

#[test]
fn a_minority_reports_that_it_blocks_and_rejoins_after_the_cut() {
    let (mut lab, all) = Lab::formed(5);
    let is_minority = |number: u16| number <= 2;
    lab.filter = Box::new(move |from, to, _| is_minority(from) == is_minority(to));
    lab.run_until(3_000, "the majority goes on", |lab| lab.agree(&[3, 4, 5]));
    lab.run_until(3_000, "the minority blocks", |lab| {
        [1, 2]
            .iter()
            .all(|number| !lab.hosts[number].node.has_quorum())
    });
    lab.heal();
    lab.run_until(5_000, "all are together again", |lab| lab.agree(&all));
}

#[test]
fn three_components_without_a_quorum_block_and_go_on_when_they_can_reach_each_other() {
    let (mut lab, all) = Lab::formed(8);
    let component = |number: u16| number % 3;
    lab.filter = Box::new(move |from, to, _| component(from) == component(to));
    lab.run_until(4_000, "all block", |lab| {
        lab.hosts.values().all(|host| !host.node.has_quorum())
    });
    lab.heal();
    lab.run_until(10_000, "all are together again", |lab| lab.agree(&all));
}
