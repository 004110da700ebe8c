// SPDX-License-Identifier: GPL-2.0

//! Transitional sets: group members that move from one component of a partitionable cluster to the next view together
//! have delivered the same messages before it, and the view names them to each other.

mod lab;

use std::collections::BTreeMap;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::wire::Kind;
use lab::groups::{delivered, kind, orders, requests, view_of};
use lab::Lab;

const SETTINGS: Configuration = Configuration {
    partitionable: 1,
    ..Configuration::DEFAULT
};
/// The longest time from a split to the view of a component without a quorum, and from its end to the view of all.
const CHANGE_MS: u64 = 12_000;

type Handles = BTreeMap<u16, EndpointId>;

/// Nodes 1 to `count` in one primary view, each with a member of one group.
fn formed(count: u16) -> (Lab, Handles) {
    let (mut lab, all) = Lab::formed_with(count, SETTINGS);
    let handles: Handles = all.iter().map(|n| (*n, lab.join(*n, b"g"))).collect();
    let check = handles.clone();
    lab.run_until(3_000, "a group of all", move |lab| {
        are_in(lab, &check, &all)
    });
    lab.run_for(1_000);
    (lab, handles)
}

/// The last group view of a member: its members (by node), its transitional set (by node), whether it is primary.
fn last_view(lab: &Lab, handles: &Handles, number: u16) -> Option<(Vec<u16>, Vec<u16>, bool)> {
    let mut events = lab.hosts[&number].events.iter().rev();
    events.find_map(|(_, event)| match event {
        Event::GroupView { endpoint, view, .. } if *endpoint == handles[&number] => {
            let members = view.members.iter().map(|member| member.id.node.number());
            let transitional = view.transitional.iter().map(|member| member.node.number());
            Some((members.collect(), transitional.collect(), view.primary))
        }
        _ => None,
    })
}

/// Whether the members on these nodes are in the same group view, and it has no others.
fn are_in(lab: &Lab, handles: &Handles, numbers: &[u16]) -> bool {
    let is_in = |number: &u16| {
        last_view(lab, handles, *number).is_some_and(|(members, _, _)| members == numbers)
    };
    numbers.iter().all(is_in)
}

/// Whether the member on this node was ever reported to be out of its group.
fn was_out(lab: &Lab, number: u16) -> bool {
    lab.has_reported(number, |event| matches!(event, Event::GroupExcluded { .. }))
}

/// Split the network in two. Node `deaf` does not learn which entries of the group all members have.
fn cut(lab: &mut Lab, side: &'static [u16], deaf: Option<Deaf>) {
    lab.filter = Box::new(move |from, to, bytes| {
        side.contains(&from) == side.contains(&to) && deaf.is_none_or(|deaf| deaf.hears(to, bytes))
    });
}

/// A node that does not learn, in one cluster view, which entries of the group all members have.
#[derive(Clone, Copy)]
struct Deaf {
    node: u16,
    view: u64,
}

impl Deaf {
    /// One of `numbers`, which does not order the group, in their present view.
    fn one_of(lab: &Lab, numbers: &[u16]) -> Self {
        let coordinator = orders(lab, numbers[0]);
        let mut others = numbers.iter().filter(|number| **number != coordinator);
        Self {
            node: *others.next_back().unwrap(),
            view: lab.view_number(numbers[0]),
        }
    }

    fn hears(self, to: u16, bytes: &[u8]) -> bool {
        (to, view_of(bytes), kind(bytes)) != (self.node, self.view, Some(Kind::GroupStatus))
    }
}

/// Multicast a message that all of `numbers` deliver but `deaf`, which has it and does not learn that all have it.
fn send_half_delivered(lab: &mut Lab, handles: &Handles, from: u16, numbers: &[u16], deaf: u16) {
    let before = delivered(lab, deaf, handles[&deaf]);
    lab.multicast(from, handles[&from], b"half delivered")
        .unwrap();
    lab.run_until(1_000, "a message at all but one", |lab| {
        let mut others = numbers.iter().filter(|number| **number != deaf);
        others.all(|number| delivered(lab, *number, handles[number]) == before + 1)
    });
    assert_eq!(delivered(lab, deaf, handles[&deaf]), before);
}

/// The lines of a member's history that are messages.
fn messages(lab: &Lab, handles: &Handles, number: u16) -> Vec<String> {
    let history = lab.history(number, handles[&number]);
    history
        .into_iter()
        .filter(|line| line.contains('#'))
        .collect()
}

#[test]
fn members_that_are_cut_off_together_deliver_the_same_messages_and_move_together() {
    let (mut lab, handles) = formed(7);
    let deaf = Deaf::one_of(&lab, &[5, 6, 7]);
    lab.filter = Box::new(move |_, to, bytes| deaf.hears(to, bytes));
    send_half_delivered(&mut lab, &handles, 1, &[1, 2, 3, 4, 5, 6, 7], deaf.node);
    cut(&mut lab, &[1, 2, 3, 4], Some(deaf));
    lab.run_until(CHANGE_MS, "a group of each component", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4]) && are_in(lab, &handles, &[5, 6, 7])
    });
    for number in [5, 6, 7] {
        let together = (vec![5, 6, 7], vec![5, 6, 7], false);
        assert_eq!(last_view(&lab, &handles, number), Some(together));
        assert!(!was_out(&lab, number));
    }
    // The message was delivered before that view, not in it.
    let history = lab.history(deaf.node, handles[&deaf.node]);
    let (last, before) = (&history[history.len() - 1], &history[history.len() - 2]);
    assert!(
        last.starts_with("view") && before.contains('#'),
        "{history:?}"
    );
    assert_eq!(
        messages(&lab, &handles, deaf.node),
        messages(&lab, &handles, 1)
    );
}

#[test]
fn members_of_a_component_that_merges_have_delivered_the_same_messages_and_move_together() {
    let (mut lab, handles) = formed(7);
    cut(&mut lab, &[1, 2, 3, 4], None);
    lab.run_until(CHANGE_MS, "a group of each component", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4]) && are_in(lab, &handles, &[5, 6, 7])
    });
    lab.run_for(1_000);
    let deaf = Deaf::one_of(&lab, &[5, 6, 7]);
    cut(&mut lab, &[1, 2, 3, 4], Some(deaf));
    send_half_delivered(&mut lab, &handles, 5, &[5, 6, 7], deaf.node);
    lab.heal();
    let all = [1, 2, 3, 4, 5, 6, 7];
    lab.run_until(CHANGE_MS, "one group", |lab| are_in(lab, &handles, &all));
    for number in [5, 6, 7] {
        // The three have moved to the view of all together.
        let (_, transitional, is_primary) = last_view(&lab, &handles, number).unwrap();
        assert_eq!((transitional, is_primary), (vec![5, 6, 7], true));
        assert!(!was_out(&lab, number));
        assert_eq!(
            messages(&lab, &handles, number),
            messages(&lab, &handles, 5)
        );
    }
    for number in [1, 2, 3, 4] {
        let (_, transitional, _) = last_view(&lab, &handles, number).unwrap();
        assert_eq!(transitional, [1, 2, 3, 4]);
        assert_eq!(delivered(&lab, number, handles[&number]), 0);
    }
}

#[test]
fn a_member_that_does_not_know_that_its_view_has_begun_moves_with_those_that_do() {
    let (mut lab, handles) = formed(6);
    lab.crash(6);
    lab.run_until(CHANGE_MS, "the view without it", |lab| {
        lab.agree(&[1, 2, 3, 4, 5])
    });
    // One node gets the group view of five, and does not learn that all members have it.
    let deaf = Deaf::one_of(&lab, &[4, 5]);
    lab.filter = Box::new(move |_, to, bytes| deaf.hears(to, bytes));
    let others: Vec<u16> = (1..=5).filter(|number| *number != deaf.node).collect();
    lab.run_until(2_000, "a group of five at all but one", |lab| {
        let has_five = |number: &u16| {
            last_view(lab, &handles, *number).is_some_and(|(members, _, _)| members.len() == 5)
        };
        others.iter().all(has_five)
    });
    let (members, _, _) = last_view(&lab, &handles, deaf.node).unwrap();
    assert_eq!(members.len(), 6);
    cut(&mut lab, &[1, 2, 3], Some(deaf));
    lab.run_until(CHANGE_MS, "a group of the component", |lab| {
        are_in(lab, &handles, &[4, 5])
    });
    for number in [4, 5] {
        let together = (vec![4, 5], vec![4, 5], false);
        assert_eq!(last_view(&lab, &handles, number), Some(together));
    }
    // It delivered the view of five before the view of two.
    let views: Vec<usize> = lab.hosts[&deaf.node]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::GroupView { view, .. } => Some(view.members.len()),
            _ => None,
        })
        .collect();
    assert_eq!(&views[views.len() - 3..], [6, 5, 2]);
}

#[test]
fn all_members_of_one_node_come_back_in_one_view() {
    let (mut lab, handles) = formed(5);
    let second = lab.join(5, b"g");
    lab.run_for(1_000);
    cut(&mut lab, &[1, 2, 3], None);
    lab.run_until(CHANGE_MS, "a view of each component", |lab| {
        lab.agree(&[1, 2, 3]) && lab.agree(&[4, 5])
    });
    lab.run_for(2_000);
    // The first member's requests are lost for longer than the group waits for the others.
    let mut lost = 0;
    let first = handles[&5];
    lab.filter = Box::new(move |from, _, bytes| {
        let loses = from == 5 && requests(bytes) == Some(first) && lost < 8;
        lost += u32::from(loses);
        !loses
    });
    lab.run_until(CHANGE_MS, "one group", |lab| {
        (1..=5).all(|number| {
            last_view(lab, &handles, number).is_some_and(|(members, _, _)| members.len() == 6)
        })
    });
    let views = |endpoint: EndpointId| -> Vec<(u64, usize)> {
        let events = lab.hosts[&5].events.iter();
        events
            .filter_map(|(_, event)| match event {
                Event::GroupView {
                    endpoint: to, view, ..
                } if *to == endpoint => Some((view.number.0, view.transitional.len())),
                _ => None,
            })
            .collect()
    };
    let (one, other) = (views(handles[&5]), views(second));
    assert_eq!(one.last(), other.last());
    assert_eq!(one.last().map(|(_, transitional)| *transitional), Some(2));
}

#[test]
fn members_without_a_view_for_long_are_reported_to_be_out() {
    let (mut lab, handles) = formed(5);
    // Node 5 finds the others again but is not admitted.
    lab.isolate(5);
    lab.run_until(CHANGE_MS, "node 5 is excluded", |lab| {
        lab.has_reported(5, |event| matches!(event, Event::Excluded { .. }))
    });
    lab.filter = Box::new(|_, to, bytes| {
        to != 5 || matches!(kind(bytes), Some(Kind::JoinAnswer | Kind::Heartbeat))
    });
    assert!(!was_out(&lab, 5));
    let patience_ms = SETTINGS.blocked_timeout_ms + 16 * SETTINGS.formation_ms;
    lab.run_until(u64::from(patience_ms) + 100, "its member is out", |lab| {
        was_out(lab, 5)
    });
    lab.heal();
    lab.run_until(CHANGE_MS, "a group of all", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4, 5])
    });
    // It comes back as a new member, with nobody in its transitional set.
    let (_, transitional, _) = last_view(&lab, &handles, 5).unwrap();
    assert!(transitional.is_empty());
}
