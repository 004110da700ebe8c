// SPDX-License-Identifier: GPL-2.0

//! Trace events as JSON Lines.
//!
//! The format is that of the project's design; two fields go beyond it and may be missing:
//! `"endpoint"` names the handle that an event of a group belongs to, and `"done":false` marks a
//! `leave` that was asked for but has not returned. `joined` and `left` are lists of
//! `[node,endpoint,incarnation,"reason"]`; `subject` is a node number, and in `evict` and `fenced` the list
//! `[node,endpoint,incarnation]`. What an `expect` line carries stands in `line/expectations.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::trace::{
    Change, EventKind, GroupScope, Member, MessageEvent, Order, Reason, TraceEvent, ViewEvent,
    ViewId,
};

mod expectations;

type Triple = (u16, u32, u64);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ChangeField {
    Reasoned(u16, u32, u64, String),
    Plain(u16, u32, u64),
    Object {
        member: Triple,
        reason: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum SubjectField {
    Node(u16),
    List(Vec<u64>),
}

#[derive(Serialize, Deserialize, Default)]
struct Line<'a> {
    t: u64,
    #[serde(default)]
    node: u16,
    #[serde(default)]
    incarnation: u64,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<(u64, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Triple>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transitional: Option<Vec<Triple>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<Vec<ChangeField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Vec<ChangeField>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<Triple>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    order: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    hash: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<bool>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    property: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_once: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<u64>,
}

/// Why a line is not a trace event.
#[derive(Debug)]
pub struct BadLine {
    /// The line's number, from 1.
    pub number: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.reason)
    }
}

impl std::error::Error for BadLine {}

/// Reads traces; group names are kept once for all events.
#[derive(Default)]
pub struct Reader {
    groups: BTreeMap<String, Arc<str>>,
}

impl Reader {
    /// Appends all events of `input` to `events`. Empty lines are skipped.
    ///
    /// # Errors
    ///
    /// The first line that is no trace event; the events before it have been appended.
    pub fn read(
        &mut self,
        mut input: impl BufRead,
        events: &mut Vec<TraceEvent>,
    ) -> Result<(), BadLine> {
        let mut text = String::new();
        let mut number = 0;
        loop {
            text.clear();
            number += 1;
            let bad = |reason: String| BadLine { number, reason };
            if input.read_line(&mut text).map_err(|e| bad(e.to_string()))? == 0 {
                return Ok(());
            }
            if !text.trim().is_empty() {
                events.push(self.parse(text.trim()).map_err(bad)?);
            }
        }
    }

    fn parse(&mut self, text: &str) -> Result<TraceEvent, String> {
        let line: Line<'_> = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        let (t, node, incarnation) = (line.t, line.node, line.incarnation);
        let kind = self.kind(line).map_err(|what| format!("{what}: {text}"))?;
        Ok(TraceEvent {
            t,
            node,
            incarnation,
            kind,
        })
    }

    fn kind(&mut self, line: Line<'_>) -> Result<EventKind, String> {
        let scope = line.group.as_ref().map(|name| GroupScope {
            group: self.group(name),
            endpoint: line.endpoint,
        });
        Ok(match line.event.as_ref() {
            "start" => EventKind::Start,
            "stop" => EventKind::Stop,
            "crash" => EventKind::Crash,
            "view" => EventKind::View(view_event(line, scope)?),
            "send" => EventKind::Send(message_event(line, scope)?),
            "deliver" => EventKind::Deliver(message_event(line, scope)?),
            "safe" => EventKind::Safe(message_event(line, scope)?),
            "suspect" => EventKind::Suspect {
                subject: subject(line)?,
            },
            "accuse" => EventKind::Accuse {
                subject: subject(line)?,
            },
            "block" => EventKind::Block { scope },
            "leave" => EventKind::Leave {
                scope,
                done: line.done.unwrap_or(true),
            },
            "evict" => EventKind::Evict {
                subject: subject_member(line)?,
            },
            "evicted" => EventKind::Evicted,
            "pin" => EventKind::Pin,
            "unpin" => EventKind::Unpin,
            "guard" => EventKind::Guard,
            "fenced" => EventKind::Fenced {
                subject: subject_member(line)?,
            },
            "expect" => EventKind::Expect(expectations::read(line, scope)?),
            other => return Err(format!("unknown event {other:?}")),
        })
    }

    fn group(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.groups.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = Arc::from(name);
        self.groups.insert(name.to_owned(), Arc::clone(&shared));
        shared
    }
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("no {name:?}"))
}

fn member((node, endpoint, incarnation): Triple) -> Member {
    Member {
        node,
        endpoint,
        incarnation,
    }
}

fn triple(member: &Member) -> Triple {
    (member.node, member.endpoint, member.incarnation)
}

fn sorted_members(triples: Vec<Triple>) -> Vec<Member> {
    let mut members: Vec<Member> = triples.into_iter().map(member).collect();
    members.sort_unstable();
    members
}

fn view_id((number, coordinator): (u64, u16)) -> ViewId {
    ViewId {
        number,
        coordinator,
    }
}

fn change(field: ChangeField) -> Result<Change, String> {
    let (who, word) = match field {
        ChangeField::Reasoned(node, endpoint, incarnation, word) => {
            ((node, endpoint, incarnation), Some(word))
        }
        ChangeField::Plain(node, endpoint, incarnation) => ((node, endpoint, incarnation), None),
        ChangeField::Object { member, reason } => (member, reason),
    };
    let reason = match word {
        Some(word) => {
            Some(Reason::from_word(&word).ok_or_else(|| format!("unknown reason {word:?}"))?)
        }
        None => None,
    };
    Ok(Change {
        member: member(who),
        reason,
    })
}

fn changes(fields: Option<Vec<ChangeField>>) -> Result<Option<Vec<Change>>, String> {
    fields
        .map(|list| list.into_iter().map(change).collect())
        .transpose()
}

fn view_event(line: Line<'_>, scope: Option<GroupScope>) -> Result<ViewEvent, String> {
    Ok(ViewEvent {
        scope,
        view: view_id(needed(line.view, "view")?),
        primary: line.primary.unwrap_or(true),
        members: sorted_members(needed(line.members, "members")?).into(),
        transitional: line.transitional.map(sorted_members),
        joined: changes(line.joined)?,
        left: changes(line.left)?,
    })
}

fn message_event(line: Line<'_>, scope: Option<GroupScope>) -> Result<MessageEvent, String> {
    let word = needed(line.order, "order")?;
    let hash = needed(line.hash, "hash")?;
    Ok(MessageEvent {
        scope: needed(scope, "group")?,
        view: line.view.map(view_id),
        sender: member(needed(line.sender, "sender")?),
        sequence: needed(line.sequence, "sequence")?,
        order: Order::from_word(&word).ok_or_else(|| format!("unknown order {word:?}"))?,
        length: needed(line.length, "length")?,
        hash: u64::from_str_radix(hash.trim_start_matches("0x"), 16)
            .map_err(|_| format!("hash {hash:?} is not a hexadecimal number"))?,
    })
}

fn subject(line: Line<'_>) -> Result<u16, String> {
    match needed(line.subject, "subject")? {
        SubjectField::Node(node) => Ok(node),
        SubjectField::List(list) => list
            .first()
            .and_then(|node| u16::try_from(*node).ok())
            .ok_or_else(|| "subject names no node".to_owned()),
    }
}

fn subject_member(line: Line<'_>) -> Result<Member, String> {
    match needed(line.subject, "subject")? {
        SubjectField::List(list) if list.len() == 3 => Ok(Member {
            node: u16::try_from(list[0]).map_err(|e| e.to_string())?,
            endpoint: u32::try_from(list[1]).map_err(|e| e.to_string())?,
            incarnation: list[2],
        }),
        _ => Err("subject is no member".to_owned()),
    }
}

fn subject_list(member: &Member) -> Option<SubjectField> {
    let (node, endpoint, incarnation) = triple(member);
    let list = vec![u64::from(node), u64::from(endpoint), incarnation];
    Some(SubjectField::List(list))
}

/// The event as a line of JSON, without its end of line.
pub fn to_json(event: &TraceEvent) -> String {
    serde_json::to_string(&to_line(event)).unwrap_or_default()
}

/// Writes all events, one line each.
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
        ..Line::default()
    };
    line.event = Cow::Borrowed(match &event.kind {
        EventKind::Start => "start",
        EventKind::Stop => "stop",
        EventKind::Crash => "crash",
        EventKind::View(view) => {
            fill_view(&mut line, view);
            "view"
        }
        EventKind::Send(message) => {
            fill_message(&mut line, message);
            "send"
        }
        EventKind::Deliver(message) => {
            fill_message(&mut line, message);
            "deliver"
        }
        EventKind::Safe(message) => {
            fill_message(&mut line, message);
            "safe"
        }
        EventKind::Suspect { subject } => {
            line.subject = Some(SubjectField::Node(*subject));
            "suspect"
        }
        EventKind::Accuse { subject } => {
            line.subject = Some(SubjectField::Node(*subject));
            "accuse"
        }
        EventKind::Block { scope } => {
            fill_scope(&mut line, scope.as_ref());
            "block"
        }
        EventKind::Leave { scope, done } => {
            fill_scope(&mut line, scope.as_ref());
            line.done = (!done).then_some(false);
            "leave"
        }
        EventKind::Evict { subject } => {
            line.subject = subject_list(subject);
            "evict"
        }
        EventKind::Evicted => "evicted",
        EventKind::Pin => "pin",
        EventKind::Unpin => "unpin",
        EventKind::Guard => "guard",
        EventKind::Fenced { subject } => {
            line.subject = subject_list(subject);
            "fenced"
        }
        EventKind::Expect(expectation) => {
            expectations::fill(&mut line, expectation);
            "expect"
        }
    });
    line
}

fn fill_scope<'a>(line: &mut Line<'a>, scope: Option<&'a GroupScope>) {
    line.group = scope.map(|scope| Cow::Borrowed(scope.group.as_ref()));
    line.endpoint = scope.and_then(|scope| scope.endpoint);
}

fn fill_view<'a>(line: &mut Line<'a>, view: &'a ViewEvent) {
    let fields = |list: &Option<Vec<Change>>| {
        list.as_ref()
            .map(|changes| changes.iter().map(change_field).collect())
    };
    fill_scope(line, view.scope.as_ref());
    line.view = Some((view.view.number, view.view.coordinator));
    line.primary = Some(view.primary);
    line.members = Some(view.members.iter().map(triple).collect());
    line.transitional = view
        .transitional
        .as_ref()
        .map(|list| list.iter().map(triple).collect());
    line.joined = fields(&view.joined);
    line.left = fields(&view.left);
}

fn change_field(change: &Change) -> ChangeField {
    let (node, endpoint, incarnation) = triple(&change.member);
    match change.reason {
        Some(reason) => {
            ChangeField::Reasoned(node, endpoint, incarnation, reason.word().to_owned())
        }
        None => ChangeField::Plain(node, endpoint, incarnation),
    }
}

fn fill_message<'a>(line: &mut Line<'a>, message: &'a MessageEvent) {
    fill_scope(line, Some(&message.scope));
    line.view = message.view.map(|view| (view.number, view.coordinator));
    line.sender = Some(triple(&message.sender));
    line.sequence = Some(message.sequence);
    line.order = Some(Cow::Borrowed(message.order.word()));
    line.length = Some(message.length);
    line.hash = Some(Cow::Owned(format!("{:016x}", message.hash)));
}
