// SPDX-License-Identifier: GPL-2.0

//! Records as sentences and as events of a trace, and the state of the member that follows from them.

use crate::commands::notice::Notice;
use crate::record::{Body, Member, Message, Order, Reason, Record, View};
use crate::show;
use crate::text::printable;
use crate::trace::{self, Change, Event, Line, MessageEvent, Scope, Triple, ViewEvent};

/// Follows the records of one member.
pub(super) struct Reporter {
    group: String,
    with_text: bool,
    /// The address of the member. Its endpoint is 0 before the first view.
    own: Triple,
    is_member: bool,
    /// The number and the issuer of the group's view.
    view: Option<(u64, u16)>,
    /// The number of the last message that the member sent in this incarnation.
    last_sequence: u64,
    /// The number of messages sent in this incarnation and not delivered yet.
    outstanding: u64,
}

impl Reporter {
    pub(super) fn new(group: &str, node: u16, incarnation: u64, with_text: bool) -> Self {
        Self {
            group: group.to_owned(),
            with_text,
            own: (node, 0, incarnation),
            is_member: false,
            view: None,
            last_sequence: 0,
            outstanding: 0,
        }
    }

    /// Whether the last view had this member.
    pub(super) fn is_member(&self) -> bool {
        self.is_member
    }

    /// The number of messages that the member sent in this incarnation and has not delivered yet.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Take note of a record.
    pub(super) fn take(&mut self, record: &Record) -> Notice {
        let t = record.t;
        match &record.body {
            Body::View(view) => {
                self.install(view);
                self.notice(t, view_text(view), Event::View(view_event(view)))
            }
            Body::Message(message) => self.delivered(t, message),
            Body::Block => self.notice(t, "the view is about to change".to_owned(), Event::Block),
            &Body::Overflow { records, views } => {
                let text = format!(
                    "{records} records are missing here, {views} of them views: this tool read too slowly"
                );
                self.notice(t, text, Event::Overflow { records, views })
            }
            Body::Writable => Notice::default(),
            Body::Other(kind) => Notice {
                text: Some(format!(
                    "a record of kind {kind}, which this tool does not know: is the kernel module newer?"
                )),
                line: None,
            },
        }
    }

    /// Take note of a message that the kernel accepted.
    ///
    /// The device does not return the number of the message. Messages of one member are numbered from 1, in the order in
    /// which the kernel accepts them.
    pub(super) fn sent(&mut self, t: u64, payload: &[u8]) -> Notice {
        self.last_sequence = self.last_sequence.saturating_add(1);
        self.outstanding = self.outstanding.saturating_add(1);
        let event = MessageEvent {
            // The view is decided when the message gets its place in the total order.
            view: None,
            sender: self.own,
            sequence: self.last_sequence,
            order: Order::Agreed.word(),
            length: length_of(payload),
            hash: trace::hash_of(payload),
            text: self.text_of(payload),
        };
        Notice {
            text: None,
            line: Some(self.line(t, Event::Send(event))),
        }
    }

    /// Take note of the end of the membership.
    pub(super) fn left(&self, t: u64) -> Notice {
        self.notice(t, "left".to_owned(), Event::Leave)
    }

    fn install(&mut self, view: &View) {
        self.is_member = view.own.is_some();
        self.view = view.own.map(|_| (view.number, view.coordinator));
        if let Some(own) = view.own.as_ref().map(triple) {
            if own != self.own {
                // A new incarnation: messages of the earlier one may never be delivered.
                self.last_sequence = 0;
                self.outstanding = 0;
            }
            self.own = own;
        }
    }

    fn delivered(&mut self, t: u64, message: &Message) -> Notice {
        let sender = triple(&message.sender);
        if sender == self.own {
            // Own messages come in order, so an earlier one that is missing was lost in an overflow.
            self.outstanding = self.last_sequence.saturating_sub(message.sequence);
        }
        let event = MessageEvent {
            view: self.view.filter(|view| view.0 == message.view),
            sender,
            sequence: message.sequence,
            order: message.order.word(),
            length: length_of(&message.payload),
            hash: trace::hash_of(&message.payload),
            text: self.text_of(&message.payload),
        };
        let words = String::from_utf8_lossy(&message.payload);
        let text = format!("{}: {}", name(&message.sender), printable(&words));
        self.notice(t, text, Event::Deliver(event))
    }

    fn text_of(&self, payload: &[u8]) -> Option<String> {
        self.with_text
            .then(|| String::from_utf8_lossy(payload).into_owned())
    }

    fn notice(&self, t: u64, text: String, event: Event) -> Notice {
        Notice {
            text: Some(text),
            line: Some(self.line(t, event)),
        }
    }

    fn line(&self, t: u64, event: Event) -> Line {
        let (node, endpoint, incarnation) = self.own;
        Line {
            t,
            node,
            incarnation,
            event,
            scope: Some(Scope {
                group: self.group.clone(),
                endpoint,
            }),
        }
    }
}

fn length_of(payload: &[u8]) -> u64 {
    u64::try_from(payload.len()).unwrap_or(u64::MAX)
}

fn triple(member: &Member) -> Triple {
    (member.node, member.endpoint, member.incarnation)
}

/// A member as the operator sees it: `node.endpoint`.
fn name(member: &Member) -> String {
    format!("{}.{}", member.node, member.endpoint)
}

fn names(members: &[Member]) -> String {
    let all: Vec<String> = members.iter().map(name).collect();
    all.join(" ")
}

fn view_text(view: &View) -> String {
    let Some(own) = &view.own else {
        return "no longer a member".to_owned();
    };
    let size = view.members.len();
    let mut text = format!(
        "{}: {}; this is {}",
        show::view_sentence(view.number, view.coordinator, view.primary, size),
        names(&view.members),
        name(own),
    );
    if !view.joined.is_empty() {
        text.push_str("; joined: ");
        text.push_str(&names(&view.joined));
    }
    if !view.left.is_empty() {
        let left = view.left.iter();
        let all: Vec<String> = left
            .map(|(member, reason)| format!("{} ({})", name(member), reason.word()))
            .collect();
        text.push_str("; left: ");
        text.push_str(&all.join(" "));
    }
    text
}

fn change(member: &Member, reason: Reason) -> Change {
    let (node, endpoint, incarnation) = triple(member);
    Change::Reasoned(node, endpoint, incarnation, reason.trace_word())
}

fn view_event(view: &View) -> ViewEvent {
    let joined = view.joined.iter();
    let left = view.left.iter();
    ViewEvent {
        view: (view.number, view.coordinator),
        primary: view.primary,
        members: view.members.iter().map(triple).collect(),
        transitional: Some(view.transitional.iter().map(triple).collect()),
        joined: Some(joined.map(|member| change(member, Reason::Join)).collect()),
        left: Some(left.map(|(member, why)| change(member, *why)).collect()),
    }
}

#[cfg(test)]
mod tests;
