// SPDX-License-Identifier: GPL-2.0

//! A member's incarnation, record by record.

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

fn json_of(news: &News) -> Value {
    to_value(news.line.as_ref().unwrap()).unwrap()
}

fn reporter() -> Reporter {
    Reporter::new("locks", 3, 70, false)
}

#[test]
fn a_view_is_told_whole() {
    let news = reporter().take(&view_of(7, 70));
    assert_eq!(
        news.text.as_deref(),
        Some(
            "view 7 of coordinator 1, primary, 2 members: 1.2 3.2; this is 3.2; joined: 3.2; left: 4.2 (failed)"
        )
    );
    let wanted = json!({
        "t": 50, "node": 3, "incarnation": 70, "event": "view", "group": "locks", "endpoint": 2,
        "view": [7, 1], "primary": true, "members": [[1, 2, 60], [3, 2, 70]],
        "transitional": [[3, 2, 70]], "joined": [[3, 2, 70, "join"]], "left": [[4, 2, 61, "failed"]],
    });
    assert_eq!(json_of(&news), wanted);
}

#[test]
fn a_message_is_told_with_its_hash_and_harmless() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    let news = reporter.take(&message_of(member(1, 60), 7, b"foo\x1b[2Jbar"));
    assert_eq!(news.text.as_deref(), Some("1.2: foo\\u{1b}[2Jbar"));
    let news = reporter.take(&message_of(member(1, 60), 7, b"foobar"));
    let wanted = json!({
        "t": 60, "node": 3, "incarnation": 70, "event": "deliver", "group": "locks", "endpoint": 2,
        "view": [7, 1], "sender": [1, 2, 60], "sequence": 1, "order": "agreed", "length": 6,
        "hash": "85944171f73967e8",
    });
    assert_eq!(json_of(&news), wanted);
}

#[test]
fn the_issuer_of_another_view_is_not_guessed() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    let news = reporter.take(&message_of(member(1, 60), 8, b"x"));
    assert_eq!(json_of(&news).get("view"), None);
}

#[test]
fn own_messages_are_outstanding_until_they_come() {
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
    // Of another member, and of an earlier incarnation of this one.
    reporter.take(&message_of(member(1, 60), 7, b"x"));
    reporter.take(&message_of(member(3, 69), 7, b"x"));
    assert_eq!(reporter.outstanding(), 2);
    reporter.take(&message_of(member(3, 70), 7, b"x"));
    assert_eq!(reporter.outstanding(), 1);
}

#[test]
fn a_new_incarnation_begins_to_count_anew() {
    let mut reporter = reporter();
    reporter.take(&view_of(7, 70));
    reporter.sent(55, b"x");
    let out = Record {
        t: 70,
        body: Body::View(View::default()),
    };
    let news = reporter.take(&out);
    assert_eq!(news.text.as_deref(), Some("not a member any more"));
    assert_eq!(json_of(&news)["members"], json!([]));
    assert!(!reporter.is_member());
    reporter.take(&view_of(9, 71));
    assert!(reporter.is_member());
    assert_eq!(reporter.outstanding(), 0);
    assert_eq!(json_of(&reporter.sent(90, b"y"))["sequence"], json!(1));
}

#[test]
fn what_is_missing_is_said() {
    let record = Record {
        t: 5,
        body: Body::Overflow {
            records: 17,
            views: 1,
        },
    };
    let news = reporter().take(&record);
    assert!(news
        .text
        .as_deref()
        .unwrap()
        .starts_with("17 records are missing here, 1 of them"));
    let line = json_of(&news);
    assert_eq!((&line["records"], &line["views"]), (&json!(17), &json!(1)));
}

#[test]
fn room_is_no_news() {
    let record = Record {
        t: 5,
        body: Body::Writable,
    };
    assert_eq!(reporter().take(&record), News::default());
}

#[test]
fn own_messages_that_an_overflow_took_are_not_waited_for() {
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
