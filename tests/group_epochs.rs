// SPDX-License-Identifier: GPL-2.0

//! Groups across changes of the cluster view. Each change begins an epoch of the group, whose first entry is a
//! group view; nothing else is ordered before all members have that entry.

mod lab;

use std::cell::Cell;
use std::rc::Rc;

use kcgcs_protocol::protocol::wire::Kind;
use lab::groups::{
    assert_same_histories, delivered, has_ended, is_join, is_leave, joined, kind, last_view_has,
    orders, tells_start,
};
use lab::Lab;

/// A switch for a filter of the network, off at first.
fn switch() -> Rc<Cell<bool>> {
    Rc::new(Cell::new(false))
}

/// Crash a node that neither orders the group nor is one of `kept`, and return the nodes that are left.
fn crash_one(lab: &mut Lab, kept: &[u16]) -> Vec<u16> {
    let up = |lab: &Lab| -> Vec<u16> {
        let hosts = lab.hosts.iter().filter(|(_, host)| host.is_up);
        hosts.map(|(number, _)| *number).collect()
    };
    let everybody = up(lab);
    let coordinator = orders(lab, kept[0]);
    let victim = everybody
        .into_iter()
        .find(|number| *number != coordinator && !kept.contains(number))
        .unwrap();
    lab.crash(victim);
    up(lab)
}

/// Filter what `member` sends, so that the coordinator of a new epoch learns that it leaves before it learns that it
/// is there: its leave requests pass once `is_open`, its reports after the first of these, its join requests once
/// `joins`.
fn leave_comes_first(lab: &mut Lab, member: u16, is_open: Rc<Cell<bool>>, joins: Rc<Cell<bool>>) {
    let mut has_left = false;
    lab.filter = Box::new(move |from, _, bytes| {
        if from != member {
            return true;
        }
        if is_leave(bytes) {
            has_left |= is_open.get();
            return is_open.get();
        }
        (has_left || kind(bytes) != Some(Kind::GroupReport)) && (joins.get() || !is_join(bytes))
    });
}

/// Whether the node is up and has a view of so many nodes.
fn has_view_of(lab: &Lab, number: u16, nodes: usize) -> bool {
    lab.hosts[&number].is_up && lab.members(number).len() == nodes
}

#[test]
fn a_member_that_has_only_the_start_of_an_epoch_gets_the_rest_of_it() {
    let (mut lab, handles) = joined(7);
    let coordinator = orders(&lab, 1);
    let late = if coordinator == 7 { 6 } else { 7 };
    // Node `late` does not learn that all have the first entry of the next epoch.
    let is_open = switch();
    let open = is_open.clone();
    lab.filter = Box::new(move |_, to, bytes| open.get() || to != late || !tells_start(bytes));
    let left = crash_one(&mut lab, &[late]);
    lab.run_until(2_000, "a view without the first", |lab| lab.agree(&left));
    let rest: Vec<_> = handles
        .iter()
        .copied()
        .filter(|(number, _)| left.contains(number))
        .collect();
    let early = rest.clone();
    lab.run_until(1_000, "the epoch begins for the others", move |lab| {
        let others = early.iter().filter(|(number, _)| *number != late);
        others
            .into_iter()
            .all(|(number, endpoint)| last_view_has(lab, *number, *endpoint, 6))
    });
    // The others deliver this message, although `late` lacks it: its sender and the coordinator hold it.
    let (sender, endpoint) = rest[0];
    lab.multicast(sender, endpoint, b"in between").unwrap();
    lab.run_for(20);
    assert_eq!(delivered(&lab, sender, endpoint), 1);
    let left = crash_one(&mut lab, &[late, sender]);
    lab.run_until(2_000, "a view without the second", |lab| {
        has_view_of(lab, late, 5)
    });
    is_open.set(true);
    let rest: Vec<_> = rest
        .into_iter()
        .filter(|(number, _)| left.contains(number))
        .collect();
    let check = rest.clone();
    lab.run_until(2_000, "a group view without the second", move |lab| {
        check
            .iter()
            .all(|(number, endpoint)| last_view_has(lab, *number, *endpoint, 5))
    });
    for (number, endpoint) in &rest {
        assert_eq!(delivered(&lab, *number, *endpoint), 1, "node {number}");
    }
    assert_same_histories(&lab, &rest);
}

#[test]
fn a_member_that_leaves_while_the_cluster_view_changes_can_be_followed_by_another() {
    let (mut lab, handles) = joined(5);
    let coordinator = orders(&lab, 1);
    let (leaver, endpoint) = handles[usize::from(coordinator == 1)];
    let (is_open, joins) = (switch(), switch());
    leave_comes_first(&mut lab, leaver, is_open.clone(), joins.clone());
    lab.leave(leaver, endpoint);
    let left = crash_one(&mut lab, &[leaver]);
    let next = lab.join(leaver, b"demo");
    lab.run_until(2_000, "a view without the victim", |lab| {
        has_view_of(lab, coordinator, 4)
    });
    is_open.set(true);
    lab.run_until(2_000, "a view without the victim", |lab| lab.agree(&left));
    lab.run_until(1_000, "it has left", |lab| has_ended(lab, leaver, endpoint));
    joins.set(true);
    lab.run_until(1_000, "the next one is admitted", |lab| {
        last_view_has(lab, leaver, next, 4)
    });
}

#[test]
fn the_last_member_can_leave_while_the_cluster_view_changes() {
    let (mut lab, _) = Lab::formed(5);
    let first = lab.join(1, b"demo");
    let coordinator = orders(&lab, 1);
    let member = if coordinator == 1 { 2 } else { 1 };
    let endpoint = if member == 1 {
        first
    } else {
        lab.leave(1, first);
        lab.join(member, b"demo")
    };
    lab.run_until(1_000, "it is admitted", |lab| {
        last_view_has(lab, member, endpoint, 1)
    });
    let is_open = switch();
    leave_comes_first(&mut lab, member, is_open.clone(), switch());
    lab.leave(member, endpoint);
    let left = crash_one(&mut lab, &[member]);
    lab.run_until(2_000, "a view without the victim", |lab| {
        has_view_of(lab, coordinator, 4)
    });
    is_open.set(true);
    lab.run_until(2_000, "it has left", |lab| has_ended(lab, member, endpoint));
    lab.run_until(2_000, "a view without the victim", |lab| lab.agree(&left));
}

#[test]
fn a_member_that_was_never_admitted_can_leave_a_group_that_nobody_knows() {
    let (mut lab, all) = Lab::formed(4);
    for &member in &all {
        lab.filter = Box::new(|_, _, bytes| !is_join(bytes));
        let endpoint = lab.join(member, b"demo");
        lab.leave(member, endpoint);
        lab.run_until(1_000, "it has left", |lab| has_ended(lab, member, endpoint));
    }
    lab.run_for(1_000);
    for member in all {
        let mut groups = 0;
        let node = &lab.hosts[&member].node;
        node.for_each_group(&mut |_| groups += 1);
        assert_eq!(groups, 0, "node {member} keeps a group without members");
    }
}
