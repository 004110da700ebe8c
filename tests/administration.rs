// SPDX-License-Identifier: GPL-2.0

//! What administrators ask a cluster for: to put a node out, to leave the views alone for a while.

mod lab;

use std::cell::Cell;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::identity::NodeId;
use kcgcs_protocol::protocol::outputs::{ChangeReason, Event};
use kcgcs_protocol::protocol::time::Duration;
use kcgcs_protocol::protocol::wire::Kind;
use lab::Lab;

fn node(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn is_eviction_of(subject: u16) -> impl Fn(&Event) -> bool {
    move |event| {
        matches!(event, Event::ViewChange { subject: of, reason: ChangeReason::Evicted }
            if of.node == node(subject))
    }
}

fn is_report(bytes: &[u8]) -> bool {
    // The kind stands behind the magic number and the version.
    bytes.get(3) == Some(&(Kind::Report as u8))
}

// ---- evict ---------------------------------------------------------------------------------------

#[test]
fn an_evicted_node_goes_in_one_view_everywhere_and_stays_out() {
    for count in [2, 3, 5, 16] {
        for (by, subject) in [(1, 2), (2, 1), (count, 1), (1, count)] {
            if by == subject {
                continue;
            }
            let (mut lab, mut rest) = Lab::formed(count);
            rest.retain(|number| *number != subject);
            let before = lab.view_number(by);
            let result = lab.command(by, |each, now| each.evict(now, node(subject)));
            assert_eq!(result, Ok(()));
            lab.run_until(200, "a view without it", |lab| lab.agree(&rest));
            lab.run_for(20_000);
            assert!(lab.agree(&rest), "{count} nodes, {by} evicts {subject}");
            assert_eq!(lab.view_number(by), before + 1);
            for number in rest {
                assert!(lab.was_told(number, is_eviction_of(subject)));
            }
            let is_told = |event: &Event| matches!(event, Event::Evicted { later_view } if later_view.0 == before + 1);
            assert!(lab.was_told(subject, is_told));
            assert!(lab.hosts[&subject].node.view().is_none());
            assert_eq!(lab.hosts[&subject].node.next_deadline(), None);
        }
    }
}

#[test]
fn who_was_evicted_may_come_back_when_it_is_started_anew() {
    let (mut lab, all) = Lab::formed(5);
    let _ = lab.command(1, |each, now| each.evict(now, node(3)));
    lab.run_until(200, "a view without it", |lab| lab.agree(&[1, 2, 4, 5]));
    lab.run_for(1_000);
    lab.start(3, 2);
    lab.run_until(1_000, "a view of all", |lab| lab.agree(&all));
}

#[test]
fn a_node_that_was_cut_off_when_it_was_evicted_hears_of_it_later() {
    let (mut lab, _) = Lab::formed(5);
    lab.filter = Box::new(|from, to, _| from != 4 && to != 4);
    let _ = lab.command(2, |each, now| each.evict(now, node(4)));
    lab.run_until(500, "a view without it", |lab| lab.agree(&[1, 2, 3, 5]));
    lab.run_for(10_000);
    assert!(lab.was_told(1, is_eviction_of(4)));
    lab.filter = Box::new(|_, _, _| true);
    lab.run_for(2_000);
    assert!(lab.was_told(4, |event| matches!(event, Event::Evicted { .. })));
    lab.run_for(10_000);
    assert!(lab.agree(&[1, 2, 3, 5]));
}

#[test]
fn who_was_evicted_before_it_heard_that_it_was_let_in_stays_out() {
    let (mut lab, all) = Lab::formed(4);
    lab.crash(4);
    lab.run_until(2_000, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    // It asks, and hears nothing of what comes of it.
    let is_whole = Rc::new(Cell::new(false));
    let whole = is_whole.clone();
    let is_view_part = |bytes: &[u8]| bytes.get(3) == Some(&(Kind::ViewPart as u8));
    lab.filter = Box::new(move |_, to, bytes| whole.get() || to != 4 || !is_view_part(bytes));
    lab.start(4, 2);
    lab.run_until(2_000, "a view with it", |lab| lab.members(1) == all);
    let _ = lab.command(1, |each, now| each.evict(now, node(4)));
    lab.run_until(500, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    is_whole.set(true);
    lab.run_for(5_000);
    assert!(lab.was_told(4, |event| matches!(event, Event::Evicted { .. })));
    assert!(lab.agree(&[1, 2, 3]));
}

#[test]
fn who_was_evicted_and_gives_its_view_up_before_it_hears_of_it_stays_out() {
    let (mut lab, _) = Lab::formed(5);
    let is_whole = Rc::new(Cell::new(false));
    let whole = is_whole.clone();
    lab.filter = Box::new(move |from, to, _| whole.get() || (from < 4) == (to < 4));
    let _ = lab.command(1, |each, now| each.evict(now, node(4)));
    lab.run_until(3_000, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    // In the other part memory is lost.
    lab.crash(5);
    lab.start(5, 2);
    let has_given_up = |lab: &Lab| lab.was_told(4, |e| matches!(e, Event::Excluded { .. }));
    lab.run_until(10_000, "node 4 to give up", has_given_up);
    is_whole.set(true);
    lab.run_for(10_000);
    assert!(lab.was_told(4, |event| matches!(event, Event::Evicted { .. })));
    assert!(lab.agree(&[1, 2, 3, 5]));
    lab.start(4, 9);
    lab.run_until(3_000, "a view of all", |lab| lab.agree(&[1, 2, 3, 4, 5]));
}

#[test]
fn an_eviction_needs_no_coordinator_that_hears_of_it() {
    let (mut lab, _) = Lab::formed(8);
    lab.filter = Box::new(|_, _, bytes| !is_report(bytes));
    let _ = lab.command(8, |each, now| each.evict(now, node(1)));
    lab.run_until(2_000, "a view without it", |lab| {
        lab.agree(&[2, 3, 4, 5, 6, 7, 8])
    });
}

#[test]
fn the_only_coordinator_is_put_out_as_soon_as_anybody_else() {
    let settings = Configuration {
        coordinators: 1,
        ..Configuration::DEFAULT
    };
    let all: Vec<u16> = (1..=12).collect();
    let mut lab = Lab::new(12, settings);
    lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
    let subject = NodeId::new(1).unwrap();
    let asked = lab.command(12, |node, now| node.evict(now, subject));
    assert_eq!(asked, Ok(()));
    lab.run_until(300, "a view without it", |lab| lab.agree(&all[1..]));
}

#[test]
fn the_groups_of_an_evicted_node_end_and_the_others_go_on() {
    let (mut lab, _) = Lab::formed(3);
    let endpoints: Vec<_> = (1..=3).map(|number| lab.join(number, b"g")).collect();
    lab.run_for(1_000);
    let _ = lab.command(1, |each, now| each.evict(now, node(2)));
    lab.run_for(1_000);
    let closed = endpoints[1];
    assert!(lab.was_told(
        2,
        |event| matches!(event, Event::GroupClosed { endpoint } if *endpoint == closed)
    ));
    let refused = lab.command(2, |each, now| {
        each.join_group(
            now,
            kcgcs_protocol::protocol::identity::GroupName::new(b"g").unwrap(),
        )
    });
    assert_eq!(refused, Err(CommandError::Stopped));
    let is_evicted = |event: &Event| {
        matches!(event, Event::GroupView { view, .. }
            if view.left.iter().any(|(member, reason)| member.node == node(2) && *reason == ChangeReason::Evicted))
    };
    assert!(lab.was_told(1, is_evicted) && lab.was_told(3, is_evicted));
}

#[test]
fn only_other_members_can_be_evicted_and_only_with_a_quorum() {
    let (mut lab, _) = Lab::formed(3);
    let before = lab.view_number(1);
    for subject in [1, 4, 9] {
        let result = lab.command(1, |each, now| each.evict(now, node(subject)));
        assert_eq!(result, Err(CommandError::NoSuchMember));
    }
    lab.run_for(1_000);
    assert_eq!(lab.view_number(1), before);
    lab.crash(2);
    lab.crash(3);
    lab.run_for(3_000);
    let result = lab.command(1, |each, now| each.evict(now, node(2)));
    assert_eq!(result, Err(CommandError::NoQuorum));
}

// ---- pin -----------------------------------------------------------------------------------------

#[test]
fn while_views_are_pinned_nobody_goes_and_nobody_comes() {
    let (mut lab, mut rest) = Lab::formed(8);
    let before = lab.view_number(1);
    assert_eq!(lab.command(5, |each, now| each.pin(now, 30_000)), Ok(()));
    lab.run_for(1_000);
    lab.crash(3);
    lab.crash(7);
    rest.retain(|number| *number != 3 && *number != 7);
    lab.run_for(1_000);
    lab.start(7, 2);
    lab.run_for(20_000);
    for number in &rest {
        assert_eq!(lab.view_number(*number), before);
        assert!(lab.hosts[number].node.has_quorum());
        let (left, by) = lab.hosts[number].node.pinned(lab.now).unwrap();
        assert!(by == node(5) && left.as_milliseconds() >= 7_900);
    }
    // What was collected comes in one view, once the time is over.
    lab.run_until(10_000, "a view with the change", |lab| {
        lab.agree(&[1, 2, 4, 5, 6, 7, 8])
    });
    assert!(lab.was_told(1, |event| matches!(event, Event::Unpinned)));
    assert_eq!(lab.view_number(1), before + 1);
}

#[test]
fn a_pin_can_be_ended_from_any_node() {
    let (mut lab, mut rest) = Lab::formed(5);
    let _ = lab.command(1, |each, now| each.pin(now, 3_600_000));
    lab.run_for(500);
    lab.crash(4);
    rest.retain(|number| *number != 4);
    lab.run_for(60_000);
    assert!(lab.members(1).contains(&4));
    assert_eq!(lab.command(5, |each, now| each.pin(now, 0)), Ok(()));
    lab.run_until(200, "a view without it", |lab| lab.agree(&rest));
    assert!(lab.hosts[&1].node.pinned(lab.now).is_none());
}

#[test]
fn who_is_pinned_is_not_put_out_by_those_who_are_not() {
    let (mut lab, all) = Lab::formed(5);
    for number in &all {
        let timeout = Some(Duration::from_milliseconds(1_000));
        lab.command(*number, |each, now| each.set_fence_timeout(now, timeout));
    }
    // Each part accuses the others, no part has a quorum, and only nodes 1 and 4 hear of the pin.
    let is_whole = Rc::new(Cell::new(false));
    let whole = is_whole.clone();
    lab.filter = Box::new(move |from, to, bytes| {
        let part = |number: u16| [1, 2, 3, 1, 3][usize::from(number) - 1];
        match whole.get() {
            true => from != 4 || !is_report(bytes),
            false => part(from) == part(to),
        }
    });
    lab.run_for(200);
    assert_eq!(lab.command(4, |each, now| each.pin(now, 20_000)), Ok(()));
    lab.run_for(300);
    is_whole.set(true);
    lab.run_for(10_000);
    assert!(lab.agree(&all));
    let is_new_incarnation = |event: &Event| matches!(event, Event::Excluded { .. });
    assert!(all
        .iter()
        .all(|number| !lab.was_told(*number, is_new_incarnation)));
}

#[test]
fn a_node_that_is_away_while_views_are_pinned_is_back_without_a_view() {
    let (mut lab, all) = Lab::formed(5);
    let before = lab.view_number(1);
    let _ = lab.command(2, |each, now| each.pin(now, 20_000));
    lab.run_for(300);
    lab.filter = Box::new(|from, to, _| from != 4 && to != 4);
    lab.run_for(10_000);
    lab.filter = Box::new(|_, _, _| true);
    lab.run_for(30_000);
    assert!(lab.agree(&all));
    assert_eq!(lab.view_number(1), before);
}

#[test]
fn a_pin_reaches_everybody_although_half_of_the_datagrams_are_lost() {
    let (mut lab, _) = Lab::formed(5);
    let mut number = 0_u32;
    lab.filter = Box::new(move |_, _, bytes| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        !is_report(bytes) || number >> 31 == 0
    });
    let _ = lab.command(1, |each, now| each.pin(now, 10_000));
    lab.run_for(8_000);
    for each in 1..=5 {
        assert!(
            lab.hosts[&each].node.pinned(lab.now).is_some(),
            "node {each}"
        );
    }
}

#[test]
fn the_later_pin_counts() {
    let (mut lab, all) = Lab::formed(3);
    let _ = lab.command(1, |each, now| each.pin(now, 60_000));
    lab.run_for(100);
    let _ = lab.command(2, |each, now| each.pin(now, 5_000));
    lab.run_for(4_000);
    for number in &all {
        let (left, by) = lab.hosts[number].node.pinned(lab.now).unwrap();
        assert!(by == node(2) && left.as_milliseconds() <= 1_100);
    }
    lab.run_for(2_000);
    for number in &all {
        assert!(lab.hosts[number].node.pinned(lab.now).is_none());
    }
}

#[test]
fn who_is_pinned_knows_it_although_a_view_was_on_its_way_before() {
    let (mut lab, all) = Lab::formed(3);
    let before = lab.view_number(1);
    // A ballot is promised, and its proposer does not hear so before the pin comes.
    let coordinator = Rc::new(Cell::new(0_u16));
    let (heard, is_open) = (coordinator.clone(), Rc::new(Cell::new(false)));
    let open = is_open.clone();
    lab.filter = Box::new(move |from, to, bytes| {
        if bytes.get(3) == Some(&(Kind::Prepare as u8)) {
            heard.set(from);
        }
        open.get() || bytes.get(3) != Some(&(Kind::Promise as u8)) || to != heard.get()
    });
    lab.start(4, 1);
    lab.run_until(3_000, "a ballot", |_| coordinator.get() != 0);
    lab.run_for(5);
    let other = all
        .iter()
        .copied()
        .find(|number| *number != coordinator.get());
    let other = other.unwrap();
    assert_eq!(
        lab.command(other, |each, now| each.pin(now, 60_000)),
        Ok(())
    );
    // It has been told often enough by the time at which the view comes.
    lab.run_for(10_000);
    is_open.set(true);
    lab.run_until(5_000, "a view of four", |lab| lab.agree(&[1, 2, 3, 4]));
    assert_eq!(lab.view_number(1), before + 1);
    for number in all {
        let pinned = lab.hosts[&number].node.pinned(lab.now);
        assert_eq!(pinned.map(|(_, by)| by), Some(node(other)), "node {number}");
    }
}
