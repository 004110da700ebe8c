// SPDX-License-Identifier: GPL-2.0

//! The notices about a member, record by record.

use serde_json::{json, to_value, Value};

use super::*;

fn member(node: u16, incarnation: u64) -> Member {
    Member {
        incarnation,
        endpoint: 2,
        node,
        slot: node,
    }
}

fn view_of(number: u64, incarnation: u64) -> Record {
    let own = member(3, incarnation);
    Record {
        t: 50,
        body: Body::View(View {
            number,
            cluster_view: 9,
            coordinator: 1,
            primary: true,
            own: Some(own),
            members: vec![member(1, 60), own],
            joined: vec![own],
            left: vec![(member(4, 61), Reason::Failed)],
            transitional: vec![own],
        }),
    }
}

fn message_of(sender: Member, view: u64, payload: &[u8]) -> Record {
    Record {
        t: 60,
        body: Body::Message(Message {
            sender,
            sequence: 1,
            view,
            order: Order::Agreed,
            payload: payload.to_vec(),
        }),
    }
}

fn json_of(notice: &Notice) -> Value {
    to_value(notice.line.as_ref().unwrap()).unwrap()
}

fn reporter() -> Reporter {
    Reporter::new("locks", 3, 70, false)
}

#[test]
fn a_view_is_reported_with_all_changes() {
    let notice = reporter().take(&view_of(7, 70));
    assert_eq!(
        notice.text.as_deref(),
        Some(
            "view 7 of coordinator 1, primary, 2 members: 1.2 3.2; this is 3.2; joined: 3.2; left: 4.2 (failed)"
        )
    );
    let wanted = json!({
        "t": 50, "node": 3, "incarnation": 70, "event": "view", "group": "locks", "endpoint": 2,
        "view": [7, 1], "primary": true, "members": [[1, 2, 60], [3, 2, 70]],
        "transitional": [[3, 2, 70]], "joined": [[3, 2, 70, "join"]], "left": [[4, 2, 61, "failed"]],
    });
    assert_eq!(json_of(&notice), wanted);
}

#[test]
fn a_message_is_reported_with_its_hash_and_without_control_characters() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    let notice = reporter.take(&message_of(member(1, 60), 7, b"foo\x1b[2Jbar"));
    assert_eq!(notice.text.as_deref(), Some("1.2: foo\\u{1b}[2Jbar"));
    let notice = reporter.take(&message_of(member(1, 60), 7, b"foobar"));
    let wanted = json!({
        "t": 60, "node": 3, "incarnation": 70, "event": "deliver", "group": "locks", "endpoint": 2,
        "view": [7, 1], "sender": [1, 2, 60], "sequence": 1, "order": "agreed", "length": 6,
        "hash": "85944171f73967e8",
    });
    assert_eq!(json_of(&notice), wanted);
}

#[test]
fn a_message_of_another_view_has_no_view_in_its_line() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    let notice = reporter.take(&message_of(member(1, 60), 8, b"x"));
    assert_eq!(json_of(&notice).get("view"), None);
}

#[test]
fn own_messages_are_outstanding_until_they_are_delivered() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    for sequence in 1..=2 {
        let sent = json_of(&reporter.sent(55, b"x"));
        assert_eq!(
            (&sent["event"], &sent["sequence"]),
            (&json!("send"), &json!(sequence))
        );
        assert_eq!(sent["sender"], json!([3, 2, 70]));
    }
    // A message of another member, and one of an earlier incarnation of this member.
    reporter.take(&message_of(member(1, 60), 7, b"x"));
    reporter.take(&message_of(member(3, 69), 7, b"x"));
    assert_eq!(reporter.outstanding(), 2);
    reporter.take(&message_of(member(3, 70), 7, b"x"));
    assert_eq!(reporter.outstanding(), 1);
}

#[test]
fn a_new_incarnation_numbers_its_messages_from_1() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    reporter.sent(55, b"x");
    let out = Record {
        t: 70,
        body: Body::View(View::default()),
    };
    let notice = reporter.take(&out);
    assert_eq!(notice.text.as_deref(), Some("no longer a member"));
    assert_eq!(json_of(&notice)["members"], json!([]));
    assert!(!reporter.is_member());
    reporter.take(&view_of(9, 71));
    assert!(reporter.is_member());
    assert_eq!(reporter.outstanding(), 0);
    assert_eq!(json_of(&reporter.sent(90, b"y"))["sequence"], json!(1));
}

#[test]
fn an_overflow_is_reported_where_the_records_are_missing() {
    let record = Record {
        t: 5,
        body: Body::Overflow {
            records: 17,
            views: 1,
        },
    };
    let notice = reporter().take(&record);
    assert!(notice
        .text
        .as_deref()
        .unwrap()
        .starts_with("17 records are missing here, 1 of them"));
    let line = json_of(&notice);
    assert_eq!((&line["records"], &line["views"]), (&json!(17), &json!(1)));
}

#[test]
fn room_for_messages_is_not_reported() {
    let record = Record {
        t: 5,
        body: Body::Writable,
    };
    assert_eq!(reporter().take(&record), Notice::default());
}

#[test]
fn own_messages_lost_in_an_overflow_are_not_outstanding() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    for _ in 0..4 {
        reporter.sent(55, b"x");
    }
    let body = Body::Overflow {
        records: 2,
        views: 0,
    };
    reporter.take(&Record { t: 58, body });
    assert_eq!(reporter.outstanding(), 4);
    let mut third = message_of(member(3, 70), 7, b"x");
    if let Body::Message(message) = &mut third.body {
        message.sequence = 3;
    }
    reporter.take(&third);
    assert_eq!(reporter.outstanding(), 1);
}
