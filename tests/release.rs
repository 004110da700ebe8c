// SPDX-License-Identifier: GPL-2.0

//! When members deliver messages of each order, and that no crash of those who delivered early shows.

mod lab;

use std::cell::Cell;
use std::rc::Rc;

use kcgcs_protocol::platform::break_rule;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::outputs::{Event, Order};
use kcgcs_protocol::protocol::rules::Rule;
use kcgcs_protocol::protocol::wire::Kind;
use lab::groups::{assert_same_histories, delivered, joined, kind, last_view_has, orders};
use lab::Lab;

type Handles = Vec<(u16, EndpointId)>;

/// A group of `count` members, and the one that orders it, one that sends, and one more.
struct Roles {
    lab: Lab,
    handles: Handles,
    coordinator: (u16, EndpointId),
    sender: (u16, EndpointId),
    other: (u16, EndpointId),
}

fn roles(count: u16) -> Roles {
    let (lab, handles) = joined(count);
    let orderer = orders(&lab, 1);
    let mut rest = handles.iter().filter(|(number, _)| *number != orderer);
    let (sender, other) = (*rest.next().unwrap(), *rest.next().unwrap());
    let coordinator = *handles
        .iter()
        .find(|(number, _)| *number == orderer)
        .unwrap();
    let mut lab = lab;
    // What the group has said about its views is over.
    lab.run_for(200);
    Roles {
        lab,
        handles,
        coordinator,
        sender,
        other,
    }
}

fn count(lab: &Lab, (number, endpoint): (u16, EndpointId)) -> usize {
    delivered(lab, number, endpoint)
}

/// The orders of the messages that a handle has delivered.
fn order_of_deliveries(lab: &Lab, (number, wanted): (u16, EndpointId)) -> Vec<Order> {
    let events = lab.hosts[&number].events.iter();
    events
        .filter_map(|(_, event)| match event {
            Event::Deliver {
                endpoint, order, ..
            } if *endpoint == wanted => Some(*order),
            _ => None,
        })
        .collect()
}

/// Drop all datagrams of some kinds to or from some nodes while the switch is on.
fn drop_kinds(
    lab: &mut Lab,
    is_dropped: impl Fn(u16, u16, Kind) -> bool + 'static,
) -> Rc<Cell<bool>> {
    let is_on = Rc::new(Cell::new(true));
    let switch = is_on.clone();
    lab.filter = Box::new(move |from, to, bytes| {
        let is_hit = kind(bytes).is_some_and(|kind| is_dropped(from, to, kind));
        !(switch.get() && is_hit)
    });
    is_on
}

fn is_entries(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GroupOrdered | Kind::GroupStatus | Kind::GroupHandover
    )
}

#[test]
fn an_agreed_message_is_not_delivered_before_its_sender_holds_its_place() {
    let mut roles = roles(3);
    let sender = roles.sender.0;
    let is_cut = drop_kinds(&mut roles.lab, move |_, to, kind| {
        to == sender && is_entries(kind)
    });
    roles
        .lab
        .multicast(sender, roles.sender.1, b"mine")
        .unwrap();
    roles.lab.run_for(100);
    for handle in &roles.handles {
        assert_eq!(count(&roles.lab, *handle), 0, "node {}", handle.0);
    }
    is_cut.set(false);
    let handles = roles.handles.clone();
    roles.lab.run_until(1_000, "all deliver", move |lab| {
        handles.iter().all(|handle| count(lab, *handle) == 1)
    });
}

#[test]
fn the_crash_of_all_that_ordered_a_message_neither_loses_nor_repeats_it() {
    let mut roles = roles(5);
    let (sender, other, coordinator) = (roles.sender.0, roles.other.0, roles.coordinator.0);
    // The order reaches only `other`.
    drop_kinds(&mut roles.lab, move |_, to, kind| {
        to != other && is_entries(kind)
    });
    roles
        .lab
        .multicast(sender, roles.sender.1, b"mine")
        .unwrap();
    roles.lab.run_for(20);
    let early = [roles.coordinator, roles.other].map(|handle| count(&roles.lab, handle));
    assert_eq!(early, [0, 0]);
    roles.lab.crash(coordinator);
    roles.lab.crash(other);
    roles.lab.heal();
    let rest: Handles = roles
        .handles
        .iter()
        .copied()
        .filter(|(number, _)| ![coordinator, other].contains(number))
        .collect();
    let check = rest.clone();
    roles
        .lab
        .run_until(3_000, "the survivors deliver it", move |lab| {
            check.iter().all(|handle| count(lab, *handle) == 1)
                && check.iter().all(|(n, e)| last_view_has(lab, *n, *e, 3))
        });
    roles.lab.run_for(500);
    for handle in &rest {
        assert_eq!(count(&roles.lab, *handle), 1);
    }
    assert_same_histories(&roles.lab, &rest);
}

#[test]
fn a_member_that_lacks_a_message_delays_safe_ones_but_not_agreed_ones() {
    let mut roles = roles(3);
    let other = roles.other.0;
    let is_cut = drop_kinds(&mut roles.lab, move |_, to, kind| {
        to == other && is_entries(kind)
    });
    let (sender, endpoint) = roles.sender;
    roles
        .lab
        .multicast_in(sender, endpoint, Order::Agreed, b"agreed")
        .unwrap();
    roles
        .lab
        .multicast_in(sender, endpoint, Order::Safe, b"safe")
        .unwrap();
    roles
        .lab
        .multicast_in(sender, endpoint, Order::Agreed, b"behind it")
        .unwrap();
    roles.lab.run_for(100);
    for handle in [roles.sender, roles.coordinator] {
        assert_eq!(order_of_deliveries(&roles.lab, handle), [Order::Agreed]);
    }
    is_cut.set(false);
    let handles = roles.handles.clone();
    roles.lab.run_until(1_000, "all deliver all", move |lab| {
        handles.iter().all(|handle| count(lab, *handle) == 3)
    });
    assert_same_histories(&roles.lab, &roles.handles);
}

#[test]
fn weaker_orders_overtake_a_safe_message_of_another_sender_but_none_of_their_own() {
    let mut roles = roles(4);
    let others: Vec<u16> = roles
        .handles
        .iter()
        .map(|(number, _)| *number)
        .filter(|number| ![roles.sender.0, roles.other.0, roles.coordinator.0].contains(number))
        .collect();
    let late = others[0];
    let is_cut = drop_kinds(&mut roles.lab, move |_, to, kind| {
        to == late && is_entries(kind)
    });
    let send = |roles: &mut Roles, (number, endpoint): (u16, EndpointId), order| {
        roles
            .lab
            .multicast_in(number, endpoint, order, b"x")
            .unwrap();
        roles.lab.run_for(10);
    };
    let (sender, other) = (roles.sender, roles.other);
    send(&mut roles, sender, Order::Safe);
    send(&mut roles, other, Order::Fifo);
    send(&mut roles, other, Order::Causal);
    // This one is behind its own sender's safe message.
    send(&mut roles, sender, Order::Fifo);
    // An agreed one stays behind the safe one, and what follows it from its sender behind both.
    send(&mut roles, other, Order::Agreed);
    send(&mut roles, other, Order::Fifo);
    roles.lab.run_for(50);
    for handle in [roles.sender, roles.other, roles.coordinator] {
        assert_eq!(
            order_of_deliveries(&roles.lab, handle),
            [Order::Fifo, Order::Causal]
        );
    }
    is_cut.set(false);
    let handles = roles.handles.clone();
    roles.lab.run_until(1_000, "all deliver all", move |lab| {
        handles.iter().all(|handle| count(lab, *handle) == 6)
    });
}

#[test]
fn a_message_of_the_coordinator_is_delivered_after_one_hop() {
    let mut roles = roles(3);
    let coordinator = roles.coordinator.0;
    // Nothing that another node sends arrives.
    drop_kinds(&mut roles.lab, move |from, _, kind| {
        from != coordinator && kind.is_group()
    });
    let (number, endpoint) = roles.coordinator;
    roles.lab.multicast(number, endpoint, b"mine").unwrap();
    roles.lab.run_for(1);
    for handle in &roles.handles {
        assert_eq!(count(&roles.lab, *handle), 1);
    }
}

#[test]
fn what_a_node_has_sent_survives_its_leave_and_the_crash_of_the_coordinator() {
    let mut roles = roles(5);
    let (sender, coordinator) = (roles.sender.0, roles.coordinator.0);
    // The coordinator reaches only the sender, which leaves when its message is ordered.
    drop_kinds(&mut roles.lab, move |from, to, kind| {
        from == coordinator && to != sender && is_entries(kind)
    });
    let (number, endpoint) = roles.sender;
    roles.lab.multicast(number, endpoint, b"mine").unwrap();
    roles.lab.run_until(500, "it is delivered", move |lab| {
        delivered(lab, number, endpoint) == 1
    });
    roles.lab.leave(number, endpoint);
    roles.lab.run_for(50);
    roles.lab.crash(coordinator);
    let rest: Handles = roles
        .handles
        .iter()
        .copied()
        .filter(|(number, _)| ![coordinator, sender].contains(number))
        .collect();
    let check = rest.clone();
    roles
        .lab
        .run_until(3_000, "the others deliver it", move |lab| {
            check.iter().all(|handle| count(lab, *handle) == 1)
        });
    assert_same_histories(&roles.lab, &rest);
}

/// Let node `silent` hear everything and be heard by nobody in groups, with a message of its own on its way; behind that
/// a view, and behind the view a message of the coordinator. Return how many messages its member delivers.
fn deliveries_behind_a_view_that_the_coordinator_has_not_delivered() -> usize {
    let mut roles = roles(3);
    let (silent, coordinator) = (roles.sender, roles.coordinator);
    roles
        .lab
        .multicast(silent.0, silent.1, b"before the view")
        .unwrap();
    // The message arrives; nothing that the node sends for the group after that does.
    let number = silent.0;
    drop_kinds(&mut roles.lab, move |from, _, kind| {
        from == number && kind == Kind::GroupAcknowledge
    });
    roles.lab.run_for(5);
    roles.lab.join(roles.other.0, b"demo");
    roles.lab.run_for(5);
    roles
        .lab
        .multicast_in(coordinator.0, coordinator.1, Order::Fifo, b"behind it")
        .unwrap();
    roles.lab.run_for(5);
    assert_eq!(count(&roles.lab, coordinator), 0);
    count(&roles.lab, silent)
}

#[test]
fn a_coordinator_holds_what_it_has_accepted_not_what_it_has_ordered() {
    let count = deliveries_behind_a_view_that_the_coordinator_has_not_delivered();
    assert_eq!(count, 1);
    break_rule(Some(Rule::CoordinatorHoldsWhatItAccepted));
    let count = deliveries_behind_a_view_that_the_coordinator_has_not_delivered();
    break_rule(None);
    assert_eq!(count, 2);
}
