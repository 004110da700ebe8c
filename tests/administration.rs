// SPDX-License-Identifier: GPL-2.0

//! Administrators' commands: evicting a node, and pinning the view for a while.

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
    // The kind follows the magic number and the version.
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
                assert!(lab.has_reported(number, is_eviction_of(subject)));
            }
            let is_evicted = |event: &Event| matches!(event, Event::Evicted { later_view } if later_view.0 == before + 1);
            assert!(lab.has_reported(subject, is_evicted));
            assert!(lab.hosts[&subject].node.view().is_none());
            assert_eq!(lab.hosts[&subject].node.next_deadline(), None);
        }
    }
}

#[test]
fn an_evicted_node_may_come_back_when_it_is_started_anew() {
    let (mut lab, all) = Lab::formed(5);
    let _ = lab.command(1, |each, now| each.evict(now, node(3)));
    lab.run_until(200, "a view without it", |lab| lab.agree(&[1, 2, 4, 5]));
    lab.run_for(1_000);
    lab.start(3, 2);
    lab.run_until(1_000, "a view of all", |lab| lab.agree(&all));
}

#[test]
fn a_node_evicted_while_it_was_cut_off_learns_of_it_later() {
    let (mut lab, _) = Lab::formed(5);
    lab.isolate(4);
    let _ = lab.command(2, |each, now| each.evict(now, node(4)));
    lab.run_until(500, "a view without it", |lab| lab.agree(&[1, 2, 3, 5]));
    lab.run_for(10_000);
    assert!(lab.has_reported(1, is_eviction_of(4)));
    lab.heal();
    lab.run_for(2_000);
    assert!(lab.has_reported(4, |event| matches!(event, Event::Evicted { .. })));
    lab.run_for(10_000);
    assert!(lab.agree(&[1, 2, 3, 5]));
}

#[test]
fn a_node_evicted_before_it_learnt_of_its_admission_stays_out() {
    let (mut lab, all) = Lab::formed(4);
    lab.crash(4);
    lab.run_until(2_000, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    // Node 4 asks to join, is admitted, and does not receive the view.
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
    assert!(lab.has_reported(4, |event| matches!(event, Event::Evicted { .. })));
    assert!(lab.agree(&[1, 2, 3]));
}

#[test]
fn a_node_that_gives_its_view_up_before_it_learns_of_its_eviction_stays_out() {
    let (mut lab, _) = Lab::formed(5);
    let is_whole = Rc::new(Cell::new(false));
    let whole = is_whole.clone();
    lab.filter = Box::new(move |from, to, _| whole.get() || (from < 4) == (to < 4));
    let _ = lab.command(1, |each, now| each.evict(now, node(4)));
    lab.run_until(3_000, "a view without it", |lab| lab.agree(&[1, 2, 3]));
    // Node 5, in the component of node 4, loses its memory.
    lab.crash(5);
    lab.start(5, 2);
    let has_given_up = |lab: &Lab| lab.has_reported(4, |e| matches!(e, Event::Excluded { .. }));
    lab.run_until(10_000, "node 4 gives its view up", has_given_up);
    is_whole.set(true);
    lab.run_for(10_000);
    assert!(lab.has_reported(4, |event| matches!(event, Event::Evicted { .. })));
    assert!(lab.agree(&[1, 2, 3, 5]));
    lab.start(4, 9);
    lab.run_until(3_000, "a view of all", |lab| lab.agree(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_node_is_evicted_although_no_coordinator_receives_the_request() {
    let (mut lab, _) = Lab::formed(8);
    lab.filter = Box::new(|_, _, bytes| !is_report(bytes));
    let _ = lab.command(8, |each, now| each.evict(now, node(1)));
    lab.run_until(2_000, "a view without it", |lab| {
        lab.agree(&[2, 3, 4, 5, 6, 7, 8])
    });
}

#[test]
fn the_only_coordinator_is_evicted_as_fast_as_any_other_node() {
    let settings = Configuration {
        coordinators: 1,
        ..Configuration::DEFAULT
    };
    let (mut lab, all) = Lab::formed_with(12, settings);
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
    assert!(lab.has_reported(
        2,
        |event| matches!(event, Event::GroupClosed { endpoint, .. } if *endpoint == closed)
    ));
    let refused = lab.command(2, |each, now| {
        each.join_group(
            now,
            kcgcs_protocol::protocol::identity::GroupName::new(b"g").unwrap(),
            kcgcs_protocol::protocol::group_properties::GroupProperties::DEFAULT,
        )
    });
    assert_eq!(refused, Err(CommandError::Stopped));
    let is_evicted = |event: &Event| {
        matches!(event, Event::GroupView { view, .. }
            if view.left.iter().any(|(member, reason)| member.node == node(2) && *reason == ChangeReason::Evicted))
    };
    assert!(lab.has_reported(1, is_evicted) && lab.has_reported(3, is_evicted));
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
fn no_node_is_excluded_or_admitted_while_the_view_is_pinned() {
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
    // The changes collected meanwhile take effect in one view after the pin has expired.
    lab.run_until(10_000, "a view with the change", |lab| {
        lab.agree(&[1, 2, 4, 5, 6, 7, 8])
    });
    assert!(lab.has_reported(1, |event| matches!(event, Event::Unpinned)));
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
fn nodes_that_do_not_know_of_a_pin_do_not_exclude_pinned_nodes() {
    let (mut lab, all) = Lab::formed(5);
    for number in &all {
        let timeout = Some(Duration::from_milliseconds(1_000));
        lab.command(*number, |each, now| each.set_fence_timeout(now, timeout));
    }
    // The nodes of each component accuse all others, no component has a quorum, and only nodes 1 and 4 learn of the
    // pin.
    let is_whole = Rc::new(Cell::new(false));
    let whole = is_whole.clone();
    lab.filter = Box::new(move |from, to, bytes| {
        let component = |number: u16| [1, 2, 3, 1, 3][usize::from(number) - 1];
        match whole.get() {
            true => from != 4 || !is_report(bytes),
            false => component(from) == component(to),
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
        .all(|number| !lab.has_reported(*number, is_new_incarnation)));
}

#[test]
fn a_node_that_is_cut_off_while_the_view_is_pinned_returns_to_the_same_view() {
    let (mut lab, all) = Lab::formed(5);
    let before = lab.view_number(1);
    let _ = lab.command(2, |each, now| each.pin(now, 20_000));
    lab.run_for(300);
    lab.isolate(4);
    lab.run_for(10_000);
    lab.heal();
    lab.run_for(30_000);
    assert!(lab.agree(&all));
    assert_eq!(lab.view_number(1), before);
}

#[test]
fn a_pin_reaches_all_nodes_although_half_of_the_datagrams_are_lost() {
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
fn a_later_pin_replaces_an_earlier_one() {
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
fn a_pin_holds_across_a_view_change_that_had_begun_before_it() {
    let (mut lab, all) = Lab::formed(3);
    let before = lab.view_number(1);
    // The voters promise a ballot, but its proposer does not receive the promises before the pin is set.
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
    // The pin has been repeated as often as it ever is by the time the view is decided.
    lab.run_for(10_000);
    is_open.set(true);
    lab.run_until(5_000, "a view of four", |lab| lab.agree(&[1, 2, 3, 4]));
    assert_eq!(lab.view_number(1), before + 1);
    for number in all {
        let pinned = lab.hosts[&number].node.pinned(lab.now);
        assert_eq!(pinned.map(|(_, by)| by), Some(node(other)), "node {number}");
    }
}
