// SPDX-License-Identifier: GPL-2.0

//! Members that go from one part of a partitionable cluster to another: those who come together have delivered the
//! same before, and are told who they are.

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
/// From a cut to the view of a part without a quorum, and from healing to the view of all.
const CHANGE_MS: u64 = 12_000;

type Handles = BTreeMap<u16, EndpointId>;

/// Nodes in one primary view, each with a member of one group.
fn formed(count: u16) -> (Lab, Handles) {
    let all: Vec<u16> = (1..=count).collect();
    let mut lab = Lab::new(count, SETTINGS);
    lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
    let handles: Handles = all.iter().map(|n| (*n, lab.join(*n, b"g"))).collect();
    let check = handles.clone();
    lab.run_until(3_000, "a group of all", move |lab| {
        are_in(lab, &check, &all)
    });
    lab.run_for(1_000);
    (lab, handles)
}

/// What the member was told last of its group: who is in (by node), who came along, whether it is primary.
fn last_view(lab: &Lab, handles: &Handles, number: u16) -> Option<(Vec<u16>, Vec<u16>, bool)> {
    let mut events = lab.hosts[&number].events.iter().rev();
    events.find_map(|(_, event)| match event {
        Event::GroupView { endpoint, view } if *endpoint == handles[&number] => {
            let members = view.members.iter().map(|member| member.id.node.number());
            let along = view.transitional.iter().map(|member| member.node.number());
            Some((members.collect(), along.collect(), view.primary))
        }
        _ => None,
    })
}

/// Whether these nodes' members are in one group of exactly themselves.
fn are_in(lab: &Lab, handles: &Handles, numbers: &[u16]) -> bool {
    let is_in = |number: &u16| {
        last_view(lab, handles, *number).is_some_and(|(members, _, _)| members == numbers)
    };
    numbers.iter().all(is_in)
}

/// Whether a member was ever told that it is out.
fn was_out(lab: &Lab, number: u16) -> bool {
    lab.was_told(
        number,
        |event| matches!(event, Event::GroupView { view, .. } if view.members.is_empty()),
    )
}

/// The network falls in two; `deaf` is told nothing of what all have got of the group.
fn cut(lab: &mut Lab, side: &'static [u16], deaf: Option<Deaf>) {
    lab.filter = Box::new(move |from, to, bytes| {
        side.contains(&from) == side.contains(&to) && deaf.is_none_or(|deaf| deaf.hears(to, bytes))
    });
}

/// A node that is not told what all have got of the group, in one cluster view.
#[derive(Clone, Copy)]
struct Deaf {
    node: u16,
    view: u64,
}

impl Deaf {
    /// One of `numbers` that does not order the group, in their present view.
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

fn heal(lab: &mut Lab) {
    lab.filter = Box::new(|_, _, _| true);
}

/// A message of `from` that all of `numbers` deliver but `deaf`, who has it too and does not hear that all have.
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

/// The lines of a member's story without the views, and without what is said of the view.
fn messages(lab: &Lab, handles: &Handles, number: u16) -> Vec<String> {
    let story = lab.story(number, handles[&number]);
    story
        .into_iter()
        .filter(|line| line.contains('#'))
        .collect()
}

#[test]
fn who_is_cut_off_together_delivers_the_same_and_comes_along() {
    let (mut lab, handles) = formed(7);
    let deaf = Deaf::one_of(&lab, &[5, 6, 7]);
    lab.filter = Box::new(move |_, to, bytes| deaf.hears(to, bytes));
    send_half_delivered(&mut lab, &handles, 1, &[1, 2, 3, 4, 5, 6, 7], deaf.node);
    cut(&mut lab, &[1, 2, 3, 4], Some(deaf));
    lab.run_until(CHANGE_MS, "a group of each part", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4]) && are_in(lab, &handles, &[5, 6, 7])
    });
    for number in [5, 6, 7] {
        let together = (vec![5, 6, 7], vec![5, 6, 7], false);
        assert_eq!(last_view(&lab, &handles, number), Some(together));
        assert!(!was_out(&lab, number));
    }
    // Before that view, not in it.
    let story = lab.story(deaf.node, handles[&deaf.node]);
    let (last, before) = (&story[story.len() - 1], &story[story.len() - 2]);
    assert!(
        last.starts_with("view") && before.contains('#'),
        "{story:?}"
    );
    assert_eq!(
        messages(&lab, &handles, deaf.node),
        messages(&lab, &handles, 1)
    );
}

#[test]
fn a_part_that_comes_back_has_delivered_the_same_and_comes_along() {
    let (mut lab, handles) = formed(7);
    cut(&mut lab, &[1, 2, 3, 4], None);
    lab.run_until(CHANGE_MS, "a group of each part", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4]) && are_in(lab, &handles, &[5, 6, 7])
    });
    lab.run_for(1_000);
    let deaf = Deaf::one_of(&lab, &[5, 6, 7]);
    cut(&mut lab, &[1, 2, 3, 4], Some(deaf));
    send_half_delivered(&mut lab, &handles, 5, &[5, 6, 7], deaf.node);
    heal(&mut lab);
    let all = [1, 2, 3, 4, 5, 6, 7];
    lab.run_until(CHANGE_MS, "one group", |lab| are_in(lab, &handles, &all));
    for number in [5, 6, 7] {
        // All in one view: they have come together.
        let (_, along, is_primary) = last_view(&lab, &handles, number).unwrap();
        assert_eq!((along, is_primary), (vec![5, 6, 7], true));
        assert!(!was_out(&lab, number));
        assert_eq!(
            messages(&lab, &handles, number),
            messages(&lab, &handles, 5)
        );
    }
    for number in [1, 2, 3, 4] {
        let (_, along, _) = last_view(&lab, &handles, number).unwrap();
        assert_eq!(along, [1, 2, 3, 4]);
        assert_eq!(delivered(&lab, number, handles[&number]), 0);
    }
}

#[test]
fn who_does_not_know_that_its_view_has_begun_comes_along_with_those_who_do() {
    let (mut lab, handles) = formed(6);
    lab.crash(6);
    lab.run_until(CHANGE_MS, "the view without it", |lab| {
        lab.agree(&[1, 2, 3, 4, 5])
    });
    // The first view of the group in it comes to node 5, but not that all have got it.
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
    lab.run_until(CHANGE_MS, "a group of the part", |lab| {
        are_in(lab, &handles, &[4, 5])
    });
    for number in [4, 5] {
        let together = (vec![4, 5], vec![4, 5], false);
        assert_eq!(last_view(&lab, &handles, number), Some(together));
    }
    // The view of five came first.
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
    lab.run_until(CHANGE_MS, "a view of each part", |lab| {
        lab.agree(&[1, 2, 3]) && lab.agree(&[4, 5])
    });
    lab.run_for(2_000);
    // The first member's requests are lost for longer than others are waited for.
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
                Event::GroupView { endpoint: to, view } if *to == endpoint => {
                    Some((view.number.0, view.transitional.len()))
                }
                _ => None,
            })
            .collect()
    };
    let (one, other) = (views(handles[&5]), views(second));
    assert_eq!(one.last(), other.last());
    assert_eq!(one.last().map(|(_, along)| *along), Some(2));
}

#[test]
fn members_without_a_view_for_long_are_told_that_they_are_out() {
    let (mut lab, handles) = formed(5);
    // Node 5 finds the others again, and is never let in.
    lab.filter = Box::new(|from, to, _| (from == 5) == (to == 5));
    lab.run_until(CHANGE_MS, "that it has left its view", |lab| {
        lab.was_told(5, |event| matches!(event, Event::Excluded { .. }))
    });
    lab.filter = Box::new(|_, to, bytes| {
        to != 5 || matches!(kind(bytes), Some(Kind::JoinAnswer | Kind::Heartbeat))
    });
    assert!(!was_out(&lab, 5));
    let patience = SETTINGS.blocked_timeout_ms + 16 * SETTINGS.formation_ms;
    lab.run_until(u64::from(patience) + 100, "that its member is out", |lab| {
        was_out(lab, 5)
    });
    heal(&mut lab);
    lab.run_until(CHANGE_MS, "a group of all", |lab| {
        are_in(lab, &handles, &[1, 2, 3, 4, 5])
    });
    // It comes alone, as one that is new.
    let (_, along, _) = last_view(&lab, &handles, 5).unwrap();
    assert!(along.is_empty());
}
