// SPDX-License-Identifier: GPL-2.0

//! Writing: from trace events to lines.

use std::borrow::Cow;
use std::io::{self, Write};

use super::expectations;
use super::fields::{change_field, subject_list, triple, triples, Line, SubjectField};
use crate::trace::{Change, EventKind, GroupScope, MessageEvent, TraceEvent, ViewEvent};

/// The event as a line of JSON, without its end of line.
pub fn to_json(event: &TraceEvent) -> String {
    serde_json::to_string(&to_line(event)).unwrap_or_default()
}

/// Write all events, one line each.
///
/// # Errors
///
/// Those of `output`.
pub fn write(events: &[TraceEvent], mut output: impl Write) -> io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut output, &to_line(event))?;
        output.write_all(b"\n")?;
    }
    output.flush()
}

fn to_line(event: &TraceEvent) -> Line<'_> {
    let mut line = Line {
        t: event.t,
        node: event.node,
        incarnation: event.incarnation,
        event: Cow::Borrowed(word(&event.kind)),
        ..Line::default()
    };
    match &event.kind {
        EventKind::View(view) => fill_view(&mut line, view),
        EventKind::Send(message) | EventKind::Deliver(message) | EventKind::Safe(message) => {
            fill_message(&mut line, message);
        }
        EventKind::Suspect { subject } | EventKind::Accuse { subject } => {
            line.subject = Some(SubjectField::Node(*subject));
        }
        EventKind::Evict { subject } | EventKind::Fenced { subject } => {
            line.subject = Some(subject_list(subject));
        }
        EventKind::Block { scope } => fill_scope(&mut line, scope.as_ref()),
        EventKind::Leave { scope, done, lost } => {
            fill_scope(&mut line, scope.as_ref());
            line.lost = *lost;
            line.done = (!done).then_some(false);
        }
        EventKind::Expect(expectation) => expectations::fill(&mut line, expectation),
        EventKind::Start
        | EventKind::Stop
        | EventKind::Crash
        | EventKind::Evicted
        | EventKind::Pin
        | EventKind::Unpin
        | EventKind::Guard => {}
    }
    line
}

fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Start => "start",
        EventKind::Stop => "stop",
        EventKind::Crash => "crash",
        EventKind::View(_) => "view",
        EventKind::Send(_) => "send",
        EventKind::Deliver(_) => "deliver",
        EventKind::Safe(_) => "safe",
        EventKind::Suspect { .. } => "suspect",
        EventKind::Accuse { .. } => "accuse",
        EventKind::Block { .. } => "block",
        EventKind::Leave { .. } => "leave",
        EventKind::Evict { .. } => "evict",
        EventKind::Evicted => "evicted",
        EventKind::Pin => "pin",
        EventKind::Unpin => "unpin",
        EventKind::Guard => "guard",
        EventKind::Fenced { .. } => "fenced",
        EventKind::Expect(_) => "expect",
    }
}

fn fill_scope<'a>(line: &mut Line<'a>, scope: Option<&'a GroupScope>) {
    line.group = scope.map(|scope| Cow::Borrowed(scope.group.as_ref()));
    line.endpoint = scope.and_then(|scope| scope.endpoint);
}

fn fill_view<'a>(line: &mut Line<'a>, view: &'a ViewEvent) {
    let fields = |list: &Option<Vec<Change>>| {
        let list = list.as_ref()?;
        Some(list.iter().map(change_field).collect())
    };
    fill_scope(line, view.scope.as_ref());
    line.view = Some((view.view.number, view.view.coordinator));
    line.primary = Some(view.primary);
    line.members = Some(triples(&view.members));
    line.transitional = view.transitional.as_deref().map(triples);
    line.joined = fields(&view.joined);
    line.left = fields(&view.left);
    line.sending_view = view.sending_view.then_some(true);
    line.lost = view.lost;
}

fn fill_message<'a>(line: &mut Line<'a>, message: &'a MessageEvent) {
    fill_scope(line, Some(&message.scope));
    line.view = message.view.map(|view| (view.number, view.coordinator));
    line.call_view = message
        .call_view
        .map(|view| (view.number, view.coordinator));
    line.sender = Some(triple(&message.sender));
    line.sequence = Some(message.sequence);
    line.order = Some(Cow::Borrowed(message.order.word()));
    line.length = Some(message.length);
    line.hash = Some(Cow::Owned(format!("{:016x}", message.hash)));
}
