// SPDX-License-Identifier: GPL-2.0

//! Answers as the kernel writes them, padding included, and answers that cannot be decoded.

use netlink_packet_core::DefaultNla;

use super::super::attributes::{bytes_of, pair_attribute, text_attribute, u16_attribute};
use super::*;

fn number(kind: u16, bytes: &[u8]) -> DefaultNla {
    DefaultNla::new(kind, bytes.to_vec())
}

/// The attribute that the kernel puts before a number of 64 bits to align it.
fn padding() -> DefaultNla {
    number(1, &[])
}

fn member_of(view: u64, issuer: u16, node: u16) -> Vec<DefaultNla> {
    vec![
        padding(),
        number(kind::VIEW_NUMBER, &view.to_ne_bytes()),
        u16_attribute(kind::VIEW_ISSUER, issuer),
        number(kind::PRIMARY, &[1]),
        u16_attribute(kind::NODE_ID, node),
        number(kind::INCARNATION, &77u64.to_ne_bytes()),
        text_attribute(kind::ADDRESS, "[fd00::1]:5407").unwrap(),
        u16_attribute(kind::SLOT, node + 10),
        number(kind::IS_COORDINATOR, &[u8::from(node == 1)]),
    ]
}

fn node_without_view() -> Vec<DefaultNla> {
    vec![
        text_attribute(kind::CLUSTER, "demo").unwrap(),
        u16_attribute(kind::NODE_ID, 3),
        number(kind::INCARNATION, &1764u64.to_ne_bytes()),
        text_attribute(kind::ADDRESS, "10.0.0.3:5407").unwrap(),
        number(kind::STATE, &[1]),
        text_attribute(kind::DETECTOR, "ring").unwrap(),
        pair_attribute(kind::SETTING, "rings", 3).unwrap(),
        pair_attribute(kind::COUNTER, "bytes_sent", 1 << 40).unwrap(),
    ]
}

#[test]
fn a_joining_node_has_no_view() {
    let node = node(&bytes_of(&node_without_view())).unwrap();
    assert_eq!(node.cluster, "demo");
    assert_eq!(node.state, NodeState::Joining);
    assert_eq!(node.detector, "ring");
    assert_eq!((node.view, node.slot, node.primary), (None, None, false));
    assert_eq!(node.settings, [("rings".to_owned(), 3)]);
    assert_eq!(node.counters, [("bytes_sent".to_owned(), 1 << 40)]);
}

#[test]
fn a_node_in_a_view_has_a_slot() {
    let mut attributes = node_without_view();
    attributes.extend([
        number(kind::VIEW_NUMBER, &7u64.to_ne_bytes()),
        u16_attribute(kind::VIEW_ISSUER, 1),
        number(kind::PRIMARY, &[1]),
        u16_attribute(kind::MEMBERS, 5),
        u16_attribute(kind::SLOT, 4),
        number(kind::IS_COORDINATOR, &[1]),
    ]);
    let node = node(&bytes_of(&attributes)).unwrap();
    assert_eq!(node.view, Some((7, 1)));
    assert_eq!((node.members, node.slot), (5, Some(4)));
    assert!(node.primary && node.is_coordinator);
}

#[test]
fn an_answer_without_a_required_attribute_is_refused() {
    for left_out in 0..6 {
        let mut attributes = node_without_view();
        attributes.remove(left_out);
        assert!(node(&bytes_of(&attributes)).is_err(), "{left_out}");
    }
}

#[test]
fn the_answers_about_members_become_one_view() {
    let bodies: Vec<_> = (1..=3).map(|n| bytes_of(&member_of(9, 2, n))).collect();
    let whole = view(bodies.iter().map(Vec::as_slice)).unwrap();
    let WholeView::View(view) = whole else {
        panic!("no view");
    };
    assert_eq!((view.number, view.issuer, view.primary), (9, 2, true));
    let slots: Vec<_> = view.members.iter().map(|m| (m.node, m.slot)).collect();
    assert_eq!(slots, [(1, 11), (2, 12), (3, 13)]);
    let coordinators = view.members.iter().filter(|m| m.is_coordinator).count();
    assert_eq!(coordinators, 1);
    assert_eq!(view.members[0].address, "[fd00::1]:5407");
}

#[test]
fn members_of_two_views_are_a_torn_list() {
    for (second, issuer) in [(10, 2), (9, 3)] {
        let bodies = [
            bytes_of(&member_of(9, 2, 1)),
            bytes_of(&member_of(second, issuer, 2)),
        ];
        let whole = view(bodies.iter().map(Vec::as_slice)).unwrap();
        assert!(matches!(whole, WholeView::Torn));
    }
}

#[test]
fn an_empty_list_is_no_view() {
    assert!(matches!(
        view(std::iter::empty()).unwrap(),
        WholeView::Nothing
    ));
}

#[test]
fn the_answer_about_a_group_is_decoded() {
    let attributes = [
        text_attribute(kind::GROUP, "locks").unwrap(),
        padding(),
        number(kind::VIEW_NUMBER, &12u64.to_ne_bytes()),
        u16_attribute(kind::COORDINATOR, 4),
        u16_attribute(kind::MEMBERS, 6),
        u16_attribute(kind::LOCAL_MEMBERS, 2),
        number(kind::LOG_ENTRIES, &99u32.to_ne_bytes()),
    ];
    let read = group(&bytes_of(&attributes)).unwrap();
    let wanted = GroupStatus {
        group: "locks".to_owned(),
        view: 12,
        coordinator: 4,
        members: 6,
        local_members: 2,
        log_entries: 99,
    };
    assert_eq!(read, wanted);
    assert!(group(&bytes_of(&attributes[1..])).is_err());
}

#[test]
fn an_unknown_state_is_shown_as_a_number() {
    assert_eq!(NodeState::from(2).to_string(), "member");
    assert_eq!(NodeState::from(9).to_string(), "state 9");
}
