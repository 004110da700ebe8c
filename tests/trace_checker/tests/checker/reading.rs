// SPDX-License-Identifier: GPL-2.0

//! Traces as text: the reader reads what the writer wrote, accepts lines in any order, and refuses a bad line with its
//! number.

use std::sync::Arc;

use trace_checker::check;
use trace_checker::line::{write, Reader};
use trace_checker::trace::{EventKind, Expectation, TraceEvent};
use trace_checker::Options;

use super::mixed::mixed;
use super::story::{good, Story, GROUP, NODE_1, NODE_2};

fn read(text: &str) -> Result<Vec<TraceEvent>, String> {
    let mut events = Vec::new();
    Reader::default()
        .read(text.as_bytes(), &mut events)
        .map_err(|bad| bad.to_string())?;
    Ok(events)
}

fn written(events: &[TraceEvent]) -> String {
    let mut text = Vec::new();
    write(events, &mut text).expect("writing to memory does not fail");
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[test]
fn a_written_trace_is_read_back() {
    let story = good();
    let text = written(&story.events);
    assert_eq!(text.lines().count(), story.events.len());
    assert_eq!(read(&text), Ok(story.events));
}

#[test]
fn fields_that_lines_may_lack_are_read_back_and_unknown_ones_are_skipped() {
    let mut story = mixed();
    for event in &mut story.events {
        match &mut event.kind {
            EventKind::Send(message) => message.call_view = message.view,
            EventKind::View(view) => (view.sending_view, view.lost) = (true, Some(3)),
            _ => {}
        }
    }
    story.add(
        NODE_1,
        EventKind::Leave {
            scope: None,
            done: true,
            lost: Some(2),
        },
    );
    let text = written(&story.events);
    assert_eq!(read(&text).as_ref(), Ok(&story.events));
    let with_unknown = text.replace("{\"t\":", "{\"colour\":[\"red\",7],\"t\":");
    assert_eq!(read(&with_unknown), Ok(story.events));
}

#[test]
fn events_of_administrators_are_read_back() {
    let subject = NODE_2;
    let mut story = Story::default();
    for kind in [
        EventKind::Evict { subject },
        EventKind::Evicted,
        EventKind::Pin,
        EventKind::Unpin,
        EventKind::Guard,
        EventKind::Fenced { subject },
    ] {
        story.add(NODE_1, kind);
    }
    assert_eq!(read(&written(&story.events)), Ok(story.events));
}

#[test]
fn expectations_of_every_kind_are_read_back() {
    let members = vec![NODE_1, NODE_2];
    let group: Arc<str> = Arc::from(GROUP);
    let mut story = Story::default();
    for expectation in [
        Expectation::Together {
            group: Some(Arc::clone(&group)),
            members: members.clone(),
            since: 1,
            bound: 2,
        },
        Expectation::Gone {
            members: members.clone(),
            since: 3,
            bound: 4,
            at_once: true,
        },
        Expectation::Out {
            members: members.clone(),
            since: 2,
            bound: 3,
        },
        Expectation::Kept {
            members: members.clone(),
            since: 5,
        },
        Expectation::Unaccused {
            by: 9,
            members: members.clone(),
            since: 6,
            bound: 7,
        },
        Expectation::Sending {
            group,
            members,
            since: 8,
            bound: 9,
        },
        Expectation::Steady {
            since: 10,
            views: 11,
        },
    ] {
        story.expect(expectation);
    }
    assert_eq!(read(&written(&story.events)), Ok(story.events));
}

#[test]
fn lines_may_come_in_any_order() {
    let mut events = good().events;
    events.reverse();
    assert!(check(&mut events, Options::default()).is_empty());
    assert_eq!(events, good().events);
}

#[test]
fn lines_in_their_shortest_form_are_read() {
    let text = concat!(
        r#"{"t":1,"node":3,"incarnation":7,"event":"start"}"#,
        "\n\n",
        r#"{"t":2,"node":3,"incarnation":7,"event":"view","view":[4,1],"primary":true,"members":[[3,0,7],[1,0,5]]}"#,
        "\n",
        r#"{"t":3,"node":3,"incarnation":7,"event":"deliver","group":"g","view":[2,1],"sender":[1,1,5],"sequence":9,"order":"AGREED","length":3,"hash":"00000000000000ff"}"#,
    );
    let events = read(text).expect("these are good lines");
    let [start, view, deliver] = events.as_slice() else {
        panic!("{} events were read from 3 lines", events.len());
    };
    assert_eq!(start.kind, EventKind::Start);
    let EventKind::View(view) = &view.kind else {
        panic!("{view:?}");
    };
    assert_eq!(format!("{:?}", view.members), "[1/5, 3/7]");
    let EventKind::Deliver(message) = &deliver.kind else {
        panic!("{deliver:?}");
    };
    assert_eq!((message.sequence, message.hash), (9, 255));
}

#[test]
fn a_bad_line_is_refused_with_its_number() {
    let good = r#"{"t":1,"node":3,"incarnation":7,"event":"stop"}"#;
    for (bad, reason) in [
        ("{", "EOF"),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"sleep"}"#,
            "unknown event",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"view","members":[]}"#,
            "no \"view\"",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"view","view":[1,1],"members":[],"left":[[1,0,1,"bored"]]}"#,
            "unknown reason",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"send","group":"g","sender":[1,1,1],"sequence":1,"order":"any","length":1,"hash":"0"}"#,
            "unknown order",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"send","group":"g","sender":[1,1,1],"sequence":1,"order":"fifo","length":1,"hash":"xyz"}"#,
            "hexadecimal",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"send","sender":[1,1,1],"sequence":1,"order":"fifo","length":1,"hash":"0"}"#,
            "no \"group\"",
        ),
        (
            r#"{"t":1,"node":1,"incarnation":1,"event":"suspect"}"#,
            "no \"subject\"",
        ),
    ] {
        let error = read(&format!("{good}\n{bad}\n")).expect_err(bad);
        assert!(error.starts_with("line 2: "), "{error}");
        assert!(error.contains(reason), "{error}");
    }
}
