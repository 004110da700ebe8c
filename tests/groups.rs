// SPDX-License-Identifier: GPL-2.0

//! The behaviour of groups, seen from outside: a few whole nodes in simulated time.

mod lab;

use std::cell::Cell;
use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::limits::{ENDPOINTS_MAX, MESSAGE_BYTES_MAX};
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::random::Random;
use kcgcs_protocol::protocol::wire::Kind;
use lab::groups::{assert_same_histories, delivered, has_ended, joined, kind, last_view_has};
use lab::Lab;

#[test]
fn all_members_deliver_messages_of_several_senders_in_one_order() {
    let (mut lab, handles) = joined(5);
    for round in 0..20_u8 {
        for (number, endpoint) in &handles {
            lab.multicast(*number, *endpoint, &[*number as u8, round])
                .unwrap();
        }
        lab.run_for(1);
    }
    let check = handles.clone();
    lab.run_until(1_000, "100 deliveries everywhere", move |lab| {
        check.iter().all(|(n, e)| delivered(lab, *n, *e) == 100)
    });
    assert_same_histories(&lab, &handles);
}

#[test]
fn messages_of_every_length_arrive_whole() {
    let (mut lab, handles) = joined(3);
    let lengths = [0, 1, 1199, 1200, 1201, 2400, 2401, 61_439, 61_440];
    let mut random = Random::new(7);
    for length in lengths {
        let bytes: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        lab.multicast(2, handles[1].1, &bytes).unwrap();
        let wanted = bytes.clone();
        let check = handles.clone();
        lab.run_until(1_000, "it arrives", move |lab| {
            check.iter().all(|(n, e)| {
                lab.hosts[n].events.iter().any(|(_, event)| {
                    matches!(event, Event::Deliver { endpoint, payload, .. }
                        if endpoint == e && payload.as_slice() == wanted.as_slice())
                })
            })
        });
    }
    let too_long = vec![0; 61_441];
    let error = lab.multicast(2, handles[1].1, &too_long).unwrap_err();
    assert_eq!(error, CommandError::MessageTooLong);
}

#[test]
fn a_sender_with_a_full_window_is_refused_and_later_told_that_there_is_room() {
    let (mut lab, handles) = joined(3);
    let mut sent = 0;
    let refused = loop {
        match lab.multicast(1, handles[0].1, &[1; 4000]) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000);
    };
    assert_eq!(refused, CommandError::WindowFull);
    lab.run_until(2_000, "writable", |lab| {
        lab.hosts[&1]
            .events
            .iter()
            .any(|(_, e)| matches!(e, Event::Writable { .. }))
    });
    let check = handles.clone();
    lab.run_until(2_000, "all are delivered", move |lab| {
        check.iter().all(|(n, e)| delivered(lab, *n, *e) == sent)
    });
}

#[test]
fn survivors_deliver_the_same_messages_whichever_member_crashes() {
    for victim in 1..=5 {
        for after in [0, 3, 10, 30, 80, 200] {
            let (mut lab, handles) = joined(5);
            let mut left = after;
            for round in 0..10_u8 {
                for (number, endpoint) in &handles {
                    let _ = lab.multicast(*number, *endpoint, &[*number as u8, round]);
                }
            }
            // The victim sends `after` datagrams more, then none; after 300 ms it sends none in any case.
            lab.filter = Box::new(move |from, to, _| {
                if from == victim && left > 0 {
                    left -= 1;
                    return true;
                }
                from != victim && to != victim
            });
            lab.run_for(300);
            lab.isolate(victim);
            let rest: Vec<_> = handles
                .iter()
                .copied()
                .filter(|(n, _)| *n != victim)
                .collect();
            let numbers: Vec<u16> = rest.iter().map(|(n, _)| *n).collect();
            lab.run_until(3_000, "a view without it", |lab| lab.agree(&numbers));
            let check = rest.clone();
            lab.run_until(2_000, "a group view without it", move |lab| {
                check.iter().all(|(n, e)| last_view_has(lab, *n, *e, 4))
            });
            lab.run_for(500);
            assert_same_histories(&lab, &rest);
            // Every survivor has delivered all of its own messages.
            for (number, endpoint) in &rest {
                let own = lab.hosts[number].events.iter().filter(|(_, event)| {
                    matches!(event, Event::Deliver { endpoint: to, sender, .. }
                        if to == endpoint && sender.node.number() == *number)
                });
                assert_eq!(
                    own.count(),
                    10,
                    "node {number}, victim {victim} after {after}"
                );
            }
        }
    }
}

#[test]
fn all_messages_are_delivered_in_one_order_although_a_tenth_of_the_datagrams_is_lost() {
    for seed in 1..=20 {
        println!("seed {seed}");
        let (mut lab, handles) = joined(5);
        let mut random = Random::new(seed);
        lab.filter = Box::new(move |_, _, _| random.below(10) != 0);
        let mut sent = 0;
        for round in 0..40_u8 {
            for (number, endpoint) in &handles {
                let bytes = vec![round; usize::from(round) * 100];
                if lab.multicast(*number, *endpoint, &bytes).is_ok() {
                    sent += 1;
                }
            }
            lab.run_for(5);
        }
        let check = handles.clone();
        lab.run_until(30_000, "all are delivered", move |lab| {
            check.iter().all(|(n, e)| delivered(lab, *n, *e) == sent)
        });
        assert_same_histories(&lab, &handles);
    }
}

#[test]
fn all_members_deliver_a_join_or_a_leave_at_the_same_place_among_the_messages() {
    let (mut lab, mut handles) = joined(4);
    for round in 0..30_u8 {
        for (number, endpoint) in handles.clone() {
            let _ = lab.multicast(number, endpoint, &[round]);
        }
        if round == 10 {
            let endpoint = lab.join(2, b"demo");
            handles.push((2, endpoint));
        }
        if round == 20 {
            let (number, endpoint) = handles.remove(0);
            lab.leave(number, endpoint);
        }
        lab.run_for(1);
    }
    lab.run_for(1_000);
    for (number, endpoint) in &handles {
        assert!(last_view_has(&lab, *number, *endpoint, 4), "node {number}");
    }
    assert_same_histories(&lab, &handles);
}

#[test]
fn a_node_that_was_excluded_joins_its_group_again() {
    let (mut lab, handles) = joined(5);
    lab.isolate(2);
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.heal();
    let check = handles.clone();
    lab.run_until(5_000, "it is back in the group", move |lab| {
        check.iter().all(|(n, e)| last_view_has(lab, *n, *e, 5))
            && lab.hosts[&2].node.identity().incarnation.0 == 2
    });
    assert!(lab
        .history(2, handles[1].1)
        .iter()
        .any(|line| line == "excluded"));
}

#[test]
fn an_idle_group_sends_nothing() {
    let (mut lab, handles) = joined(4);
    for (number, endpoint) in &handles {
        lab.multicast(*number, *endpoint, b"last").unwrap();
    }
    lab.run_for(1_000);
    lab.filter = Box::new(|_, _, bytes| {
        assert!(bytes[3] < 32, "group datagram of kind {}", bytes[3]);
        true
    });
    lab.run_for(5_000);
}

#[test]
fn a_member_that_was_excluded_with_a_full_window_may_send_again() {
    let (mut lab, handles) = joined(5);
    let (number, endpoint) = handles[1];
    lab.isolate(number);
    let refused = loop {
        if let Err(error) = lab.multicast(number, endpoint, &[1; 4000]) {
            break error;
        }
    };
    assert_eq!(refused, CommandError::WindowFull);
    lab.run_until(2_000, "the others go on", |lab| lab.agree(&[1, 3, 4, 5]));
    lab.heal();
    lab.run_until(5_000, "it reports that there is room", |lab| {
        let events = lab.hosts[&number].events.iter();
        events
            .rev()
            .any(|(_, event)| matches!(event, Event::Writable { endpoint: to } if *to == endpoint))
    });
    lab.multicast(number, endpoint, b"again").unwrap();
}

#[test]
fn handles_that_leave_before_any_view_free_their_places() {
    let mut lonely = Lab::without_nodes(3, Configuration::DEFAULT);
    lonely.start(1, 1);
    for _ in 0..ENDPOINTS_MAX + 1 {
        let endpoint = lonely.join(1, b"demo");
        lonely.leave(1, endpoint);
        assert!(has_ended(&lonely, 1, endpoint));
    }
    assert!(lonely.members(1).is_empty());
}

#[test]
fn long_messages_of_all_members_at_once_are_all_delivered() {
    let (mut lab, handles) = joined(3);
    let mut all = handles.clone();
    while all.len() < 3 * 11 {
        let number = 1 + (all.len() % 3) as u16;
        let endpoint = lab.join(number, b"demo");
        all.push((number, endpoint));
        let members = all.len();
        lab.run_until(1_000, "it is admitted", |lab| {
            last_view_has(lab, number, endpoint, members)
        });
    }
    // The members begin more messages than a coordinator can reassemble at once: each datagram of the first round
    // is a fragment of another message, and every third fragment is lost.
    let mut datagrams = 0;
    lab.filter = Box::new(move |_, _, bytes| {
        datagrams += usize::from(kind(bytes) == Some(Kind::GroupData));
        kind(bytes) != Some(Kind::GroupData) || datagrams % 3 != 0
    });
    for (number, endpoint) in &all {
        lab.multicast(*number, *endpoint, &[3; MESSAGE_BYTES_MAX])
            .unwrap();
    }
    let (number, endpoint) = all[0];
    let sent = all.len();
    lab.run_until(20_000, "all are delivered", move |lab| {
        delivered(lab, number, endpoint) == sent
    });
}

#[test]
fn a_member_whose_node_leaves_gets_no_event_after_it_is_closed() {
    for number in 1..=3_u16 {
        let (mut lab, handles) = joined(3);
        let endpoint = handles[usize::from(number) - 1].1;
        for message in 0..10_u8 {
            lab.multicast(number, endpoint, &[message]).unwrap();
        }
        lab.command(number, |node, now| node.leave_cluster(now));
        lab.run_for(2_000);
        let events = lab.hosts[&number].events.iter();
        let after = events.skip_while(
            |(_, event)| !matches!(event, Event::GroupClosed { endpoint: of, .. } if *of == endpoint),
        );
        let after: Vec<_> = after.skip(1).map(|(_, event)| event).collect();
        assert!(
            !after
                .iter()
                .any(|event| matches!(event, Event::Sent { .. } | Event::Writable { .. })),
            "node {number}: {after:?}"
        );
    }
}

/// Many groups, each with a handle on node 2 and one on node 4. All of these leave while a view with node 1, which
/// orders some of the groups in it, is being installed. Group datagrams of node 1 do not reach node 2 until the
/// switch is set.
fn all_members_leave_during_a_view_change() -> (Lab, Vec<(EndpointId, EndpointId)>, Rc<Cell<bool>>)
{
    let (mut lab, _) = Lab::formed(4);
    lab.crash(1);
    lab.run_until(2_000, "a view without node 1", |lab| lab.agree(&[2, 3, 4]));
    // Node 1 will order at least one of these groups when it is back.
    let names: Vec<[u8; 1]> = (b'a'..=b'z').map(|letter| [letter]).collect();
    let handles: Vec<_> = names
        .iter()
        .map(|name| (lab.join(2, name), lab.join(4, name)))
        .collect();
    lab.run_for(1_000);
    let switch = Rc::new(Cell::new(false));
    let open = switch.clone();
    lab.filter = Box::new(move |from, to, bytes| {
        let is_of_groups = Kind::from_number(bytes[3]).is_some_and(Kind::is_group);
        open.get() || (from, to) != (1, 2) || !is_of_groups
    });
    lab.start(1, 2);
    let is_blocked = |lab: &Lab, number| {
        lab.has_reported(
            number,
            |event| matches!(event, Event::Prepare { number } if number.0 == 3),
        )
    };
    lab.run_until(3_000, "a view change", |lab| {
        is_blocked(lab, 2) && is_blocked(lab, 4)
    });
    for (one, other) in &handles {
        lab.leave(2, *one);
        lab.leave(4, *other);
    }
    lab.run_for(1_500);
    assert!(handles.iter().any(|(one, _)| !has_ended(&lab, 2, *one)));
    (lab, handles, switch)
}

fn assert_all_have_left(lab: &Lab, handles: &[(EndpointId, EndpointId)]) {
    for (one, other) in handles {
        for (number, endpoint) in [(2, *one), (4, *other)] {
            assert!(
                has_ended(lab, number, endpoint),
                "node {number}, {endpoint:?}"
            );
        }
    }
}

#[test]
fn members_that_all_leave_at_once_learn_that_they_have_left_although_the_coordinator_is_cut_off_for_a_while(
) {
    let (mut lab, handles, switch) = all_members_leave_during_a_view_change();
    switch.set(true);
    lab.run_for(3_000);
    assert_all_have_left(&lab, &handles);
}

#[test]
fn members_that_all_leave_at_once_learn_that_they_have_left_although_the_coordinator_dies() {
    let (mut lab, handles, _) = all_members_leave_during_a_view_change();
    // The other nodes have forgotten these groups by now.
    lab.crash(1);
    lab.run_for(4_000);
    assert_all_have_left(&lab, &handles);
}
