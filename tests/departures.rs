// SPDX-License-Identifier: GPL-2.0

//! What a node has accepted of its members is delivered, or the member is told how much of it was not: members that
//! leave, nodes that are excluded or leave their cluster, nodes without a quorum.

mod lab;

use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::group::LeaveMode;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::limits::ENDPOINT_PENDING_MESSAGES_MAX;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::random::Random;
use lab::groups::{assert_same_histories, delivered, has_ended, joined, last_view_has, orders};
use lab::Lab;

/// The messages that one member sends at once: as many as its node accepts, so that some have not been sent yet.
const MESSAGES: usize = ENDPOINT_PENDING_MESSAGES_MAX;

fn send_all(lab: &mut Lab, number: u16, endpoint: EndpointId) {
    for message in 0..MESSAGES {
        lab.multicast(number, endpoint, &[message as u8]).unwrap();
    }
}

/// How many of a member's messages are ordered, as far as its node knows.
fn ordered(lab: &Lab, number: u16, endpoint: EndpointId) -> usize {
    let events = lab.hosts[&number].events.iter();
    events
        .filter(|(_, event)| matches!(event, Event::Sent { endpoint: of, .. } if *of == endpoint))
        .count()
}

/// The losses that a member was told of.
fn losses(lab: &Lab, number: u16, endpoint: EndpointId) -> Vec<u64> {
    let events = lab.hosts[&number].events.iter();
    let counts = events.filter_map(|(_, event)| match event {
        Event::GroupView {
            endpoint: of, lost, ..
        }
        | Event::GroupExcluded {
            endpoint: of, lost, ..
        }
        | Event::GroupLeft { endpoint: of, lost }
        | Event::GroupClosed { endpoint: of, lost }
            if *of == endpoint =>
        {
            Some(*lost)
        }
        _ => None,
    });
    counts.filter(|lost| *lost > 0).collect()
}

fn others(handles: &[(u16, EndpointId)], number: u16) -> Vec<(u16, EndpointId)> {
    let others = handles.iter().filter(|(other, _)| *other != number);
    others.copied().collect()
}

#[test]
fn messages_accepted_before_a_leave_reach_the_other_members() {
    for loss_percent in [0, 10] {
        for leaver in 1..=3 {
            let (mut lab, handles) = joined(3);
            let endpoint = handles[usize::from(leaver) - 1].1;
            let mut random = Random::new(u64::from(leaver));
            lab.filter = Box::new(move |_, _, _| random.below(100) >= loss_percent);
            send_all(&mut lab, leaver, endpoint);
            lab.leave(leaver, endpoint);
            lab.run_until(5_000, "it has left", |lab| has_ended(lab, leaver, endpoint));
            assert_eq!(losses(&lab, leaver, endpoint), []);
            lab.heal();
            lab.run_for(500);
            let others = others(&handles, leaver);
            for (number, endpoint) in &others {
                assert_eq!(
                    delivered(&lab, *number, *endpoint),
                    MESSAGES,
                    "node {number}, leaver {leaver}, coordinator {}",
                    orders(&lab, *number)
                );
                assert!(last_view_has(&lab, *number, *endpoint, 2));
            }
            assert_same_histories(&lab, &others);
        }
    }
}

#[test]
fn a_member_that_leaves_gets_nothing_more_and_may_not_send() {
    let (mut lab, handles) = joined(3);
    let (number, endpoint) = handles[0];
    send_all(&mut lab, number, endpoint);
    lab.leave(number, endpoint);
    let events = lab.hosts[&number].events.len();
    let refused = lab.multicast(number, endpoint, b"late");
    assert_eq!(refused, Err(CommandError::NoSuchEndpoint));
    let again = lab.command(number, |node, now| {
        node.leave_group(now, endpoint, LeaveMode::SendFirst)
    });
    assert_eq!(again, Err(CommandError::NoSuchEndpoint));
    lab.run_until(2_000, "it has left", |lab| has_ended(lab, number, endpoint));
    let after = &lab.hosts[&number].events[events..];
    assert!(after.iter().all(|(_, event)| !matches!(event,
        Event::Deliver { endpoint: to, .. } | Event::GroupView { endpoint: to, .. }
            | Event::Block { endpoint: to } if *to == endpoint)));
}

#[test]
fn a_member_that_discards_leaves_at_once_and_learns_what_was_lost() {
    for number in 1..=3 {
        let (mut lab, handles) = joined(3);
        let coordinator = orders(&lab, number);
        let endpoint = handles[usize::from(number) - 1].1;
        send_all(&mut lab, number, endpoint);
        lab.command(number, |node, now| {
            node.leave_group(now, endpoint, LeaveMode::Discard).unwrap();
        });
        lab.run_until(1_000, "it has left", |lab| has_ended(lab, number, endpoint));
        lab.run_for(500);
        let ordered = ordered(&lab, number, endpoint);
        assert_eq!(
            losses(&lab, number, endpoint).iter().sum::<u64>(),
            (MESSAGES - ordered) as u64
        );
        // The coordinator orders its own messages as fast as they come.
        assert_eq!(ordered < MESSAGES, number != coordinator);
        for (number, endpoint) in others(&handles, number) {
            assert_eq!(delivered(&lab, number, endpoint), ordered);
        }
    }
}

#[test]
fn a_member_whose_node_has_no_quorum_may_discard_what_it_cannot_send() {
    let (mut lab, handles) = joined(3);
    let (number, endpoint) = handles[0];
    lab.isolate(number);
    send_all(&mut lab, number, endpoint);
    lab.leave(number, endpoint);
    lab.run_for(10_000);
    assert!(!lab.hosts[&number].node.has_quorum());
    let count = lab.hosts[&number].node.pending_messages(endpoint);
    assert!(count > 0 && !has_ended(&lab, number, endpoint));
    lab.command(number, |node, now| {
        node.leave_group(now, endpoint, LeaveMode::Discard).unwrap();
    });
    lab.heal();
    lab.run_until(5_000, "it has left", |lab| has_ended(lab, number, endpoint));
    assert_eq!(losses(&lab, number, endpoint), [count as u64]);
}

#[test]
fn a_member_that_is_excluded_while_it_leaves_has_left_and_learns_what_was_lost() {
    let (mut lab, handles) = joined(5);
    let (number, endpoint) = handles[1];
    lab.isolate(number);
    send_all(&mut lab, number, endpoint);
    lab.leave(number, endpoint);
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.heal();
    lab.run_until(5_000, "it has left", |lab| has_ended(lab, number, endpoint));
    lab.run_until(5_000, "its node is back", |lab| lab.agree(&[1, 2, 3, 4, 5]));
    lab.run_for(1_000);
    assert_eq!(losses(&lab, number, endpoint), [MESSAGES as u64]);
    for (number, endpoint) in others(&handles, number) {
        assert_eq!(delivered(&lab, number, endpoint), 0);
        assert!(last_view_has(&lab, number, endpoint, 4));
    }
}

#[test]
fn nothing_of_an_incarnation_that_was_excluded_is_sent_in_the_next_one() {
    let (mut lab, handles) = joined(5);
    let (number, endpoint) = handles[1];
    lab.isolate(number);
    send_all(&mut lab, number, endpoint);
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.heal();
    lab.run_until(5_000, "it is back in the group", |lab| {
        handles.iter().all(|(n, e)| last_view_has(lab, *n, *e, 5))
            && lab.hosts[&number].node.identity().incarnation.0 == 2
    });
    lab.multicast(number, endpoint, b"first of the new life")
        .unwrap();
    lab.run_for(1_000);
    assert_eq!(losses(&lab, number, endpoint), [MESSAGES as u64]);
    for (number, endpoint) in &handles {
        assert_eq!(delivered(&lab, *number, *endpoint), 1, "node {number}");
    }
}

#[test]
fn members_of_a_node_that_leaves_its_cluster_learn_what_was_lost() {
    for number in 1..=3 {
        let (mut lab, handles) = joined(3);
        let endpoint = handles[usize::from(number) - 1].1;
        let coordinator = orders(&lab, number);
        send_all(&mut lab, number, endpoint);
        // The coordinator has ordered its own messages, but no other node holds them yet.
        let is_coordinator = number == coordinator;
        assert_eq!(ordered(&lab, number, endpoint) > 0, is_coordinator);
        lab.command(number, |node, now| node.leave_cluster(now));
        assert_eq!(losses(&lab, number, endpoint), [MESSAGES as u64]);
    }
}

#[test]
fn a_sent_message_names_the_view_that_its_sender_had_been_shown() {
    let (mut lab, handles) = joined(3);
    let (number, endpoint) = handles[0];
    let shown = lab.hosts[&number].shown_view(endpoint);
    // The group gets another view before the message is ordered.
    let (_, leaver) = handles[2];
    lab.leave(3, leaver);
    lab.multicast(number, endpoint, b"called in the first view")
        .unwrap();
    lab.run_until(1_000, "it is ordered", |lab| {
        ordered(lab, number, endpoint) == 1
    });
    let names_it = lab.has_reported(
        number,
        |event| matches!(event, Event::Sent { call_view, .. } if *call_view == shown),
    );
    assert!(names_it && shown.number.0 > 0);
}
