// SPDX-License-Identifier: GPL-2.0

//! Records as the kernel writes them, byte for byte, and records that are cut or wrong.

use super::*;

/// A record with a header and padding, as the kernel writes it.
fn record(kind: u32, t: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(t.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

fn member_of(node: u16) -> Member {
    Member {
        incarnation: 100 + u64::from(node),
        endpoint: 7,
        node,
        slot: node + 1,
    }
}

fn member_bytes(member: Member) -> Vec<u8> {
    let mut bytes = member.incarnation.to_ne_bytes().to_vec();
    bytes.extend(member.endpoint.to_ne_bytes());
    bytes.extend(member.node.to_ne_bytes());
    bytes.extend(member.slot.to_ne_bytes());
    bytes
}

fn view_bytes() -> Vec<u8> {
    let mut bytes = 12u64.to_ne_bytes().to_vec();
    bytes.extend(5u64.to_ne_bytes());
    bytes.extend(4u16.to_ne_bytes());
    bytes.extend([1, 0]);
    for count in [2u16, 1, 1, 1] {
        bytes.extend(count.to_ne_bytes());
    }
    bytes.extend(0u32.to_ne_bytes());
    for node in [3, 3, 4, 4] {
        bytes.extend(member_bytes(member_of(node))); // itself, members, joined
    }
    bytes.extend(member_bytes(member_of(1)));
    bytes.extend(3u64.to_ne_bytes());
    bytes.extend(member_bytes(member_of(3)));
    bytes
}

fn message_bytes(order: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = member_bytes(member_of(4));
    bytes.extend(9u64.to_ne_bytes());
    bytes.extend(12u64.to_ne_bytes());
    bytes.extend(order.to_ne_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_ne_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn all_fields_of_a_view_are_read() {
    let wanted = View {
        number: 12,
        cluster_view: 5,
        coordinator: 4,
        primary: true,
        own: Some(member_of(3)),
        members: vec![member_of(3), member_of(4)],
        joined: vec![member_of(4)],
        left: vec![(member_of(1), Reason::Failed)],
        transitional: vec![member_of(3)],
    };
    let records = parse(&record(1, 88, &view_bytes())).unwrap();
    let body = Body::View(wanted);
    assert_eq!(records, [Record { t: 88, body }]);
}

#[test]
fn records_of_odd_lengths_are_read_one_after_the_other() {
    let mut bytes = record(3, 1, &[]);
    bytes.extend(record(2, 2, &message_bytes(3, b"hello")));
    bytes.extend(record(4, 3, &[]));
    let mut lost = 17u64.to_ne_bytes().to_vec();
    lost.extend(2u64.to_ne_bytes());
    bytes.extend(record(5, 4, &lost));
    bytes.extend(record(99, 5, b"of a later kernel"));
    let records = parse(&bytes).unwrap();
    assert!(records.iter().map(|record| record.t).eq(1..=5));
    assert_eq!(records[0].body, Body::Block);
    let wanted = Message {
        sender: member_of(4),
        sequence: 9,
        view: 12,
        order: Order::Agreed,
        payload: b"hello".to_vec(),
    };
    assert_eq!(records[1].body, Body::Message(wanted));
    assert_eq!(records[2].body, Body::Writable);
    let lost = Body::Overflow {
        records: 17,
        views: 2,
    };
    assert_eq!(records[3].body, lost);
    assert_eq!(records[4].body, Body::Other(99));
}

#[test]
fn cut_records_are_refused() {
    for whole in [
        record(1, 88, &view_bytes()),
        record(2, 2, &message_bytes(3, b"hello")),
    ] {
        for length in 1..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn counts_that_contradict_the_length_are_refused() {
    let body = view_bytes();
    for place in [20, 22, 24, 26] {
        for count in [0u16, 3, u16::MAX] {
            let mut wrong = body.clone();
            wrong[place..place + 2].copy_from_slice(&count.to_ne_bytes());
            assert!(parse(&record(1, 1, &wrong)).is_err(), "{place} {count}");
        }
    }
    let mut wrong = message_bytes(3, b"hello");
    wrong[36] = 4;
    assert!(parse(&record(2, 1, &wrong)).is_err());
}

#[test]
fn an_unknown_order_or_reason_is_refused() {
    assert!(parse(&record(2, 1, &message_bytes(5, b""))).is_err());
    let mut body = view_bytes();
    let reason = body.len() - 24;
    body[reason] = 5;
    assert!(parse(&record(1, 1, &body)).is_err());
}

#[test]
fn a_length_below_the_header_is_refused() {
    let mut bytes = record(3, 1, &[]);
    bytes[0] = 8;
    assert!(parse(&bytes).is_err());
}
