// SPDX-License-Identifier: GPL-2.0

//! Reading: from lines to trace events.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use super::expectations;
use super::fields::{
    changes, member, needed, sorted_members, subject_member, subject_node, view_id, Line,
};
use crate::trace::{EventKind, GroupScope, MessageEvent, Order, TraceEvent, ViewEvent};

/// A line that is not a trace event.
#[derive(Debug)]
pub struct BadLine {
    /// The line's number, from 1.
    pub number: usize,
    /// What is wrong, and the line itself.
    pub reason: String,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.reason)
    }
}

impl std::error::Error for BadLine {}

/// Reads traces. All events of a group share one copy of its name.
#[derive(Default)]
pub struct Reader {
    groups: BTreeMap<String, Arc<str>>,
}

impl Reader {
    /// Append all events of `input` to `events`. Empty lines are skipped.
    ///
    /// # Errors
    ///
    /// The first line that is not a trace event. The events before it have been appended.
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
                subject: subject_node(line)?,
            },
            "accuse" => EventKind::Accuse {
                subject: subject_node(line)?,
            },
            "block" => EventKind::Block { scope },
            "leave" => EventKind::Leave {
                scope,
                done: line.done.unwrap_or(true),
                lost: line.lost,
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

fn view_event(line: Line<'_>, scope: Option<GroupScope>) -> Result<ViewEvent, String> {
    Ok(ViewEvent {
        scope,
        view: view_id(needed(line.view, "view")?),
        primary: line.primary.unwrap_or(true),
        members: sorted_members(needed(line.members, "members")?).into(),
        transitional: line.transitional.map(sorted_members),
        joined: changes(line.joined)?,
        left: changes(line.left)?,
        sending_view: line.sending_view.unwrap_or(false),
        lost: line.lost,
    })
}

fn message_event(line: Line<'_>, scope: Option<GroupScope>) -> Result<MessageEvent, String> {
    let word = needed(line.order, "order")?;
    let hash = needed(line.hash, "hash")?;
    Ok(MessageEvent {
        scope: needed(scope, "group")?,
        view: line.view.map(view_id),
        call_view: line.call_view.map(view_id),
        sender: member(needed(line.sender, "sender")?),
        sequence: needed(line.sequence, "sequence")?,
        order: Order::from_word(&word).ok_or_else(|| format!("unknown order {word:?}"))?,
        length: needed(line.length, "length")?,
        hash: u64::from_str_radix(hash.trim_start_matches("0x"), 16)
            .map_err(|_| format!("\"hash\" is {hash:?}, which is no hexadecimal number"))?,
    })
}
