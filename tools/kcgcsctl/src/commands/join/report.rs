// SPDX-License-Identifier: GPL-2.0

//! Records as sentences and as events of a trace, and what follows from them for the member.

use crate::record::{Body, Member, Message, Order, Reason, Record, View};
use crate::show;
use crate::trace::{self, Change, Event, Line, MessageEvent, Scope, Triple, ViewEvent};

/// Something to tell, in the ways in which it can be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    pub(super) text: Option<String>,
    pub(super) line: Option<Line>,
}

/// Knows who the member is and where it stands.
pub(super) struct Reporter {
    group: String,
    with_text: bool,
    own: Triple,
    is_member: bool,
    /// Number and issuer of the group's view.
    view: Option<(u64, u16)>,
    last_sequence: u64,
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

    /// How many messages were sent in this incarnation and have not come back.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Takes note of a record.
    pub(super) fn take(&mut self, record: &Record) -> News {
        let t = record.t;
        match &record.body {
            Body::View(view) => {
                self.install(view);
                self.news(t, view_text(view), Event::View(view_event(view)))
            }
            Body::Message(message) => self.delivered(t, message),
            Body::Block => self.news(t, "the view is about to change".to_owned(), Event::Block),
            &Body::Overflow { records, views } => {
                let text = format!(
                    "{records} records are missing here, {views} of them views: they were read too slowly"
                );
                self.news(t, text, Event::Overflow { records, views })
            }
            Body::Writable => News::default(),
            Body::Other(kind) => News {
                text: Some(format!("a record of a kind that is not known here: {kind}")),
                line: None,
            },
        }
    }

    /// The kernel has taken a message.
    ///
    /// The device does not tell the number that a message gets, but messages of one member are numbered
    /// from 1 in the order in which they are taken.
    pub(super) fn sent(&mut self, t: u64, payload: &[u8]) -> News {
        self.last_sequence = self.last_sequence.saturating_add(1);
        self.outstanding = self.outstanding.saturating_add(1);
        let event = MessageEvent {
            // It is decided when the message gets its place in the order.
            view: None,
            sender: self.own,
            sequence: self.last_sequence,
            order: Order::Agreed.word(),
            length: length_of(payload),
            hash: trace::hash_of(payload),
            text: self.text_of(payload),
        };
        News {
            text: None,
            line: Some(self.line(t, Event::Send(event))),
        }
    }

    /// The membership has ended.
    pub(super) fn left(&self, t: u64) -> News {
        self.news(t, "left".to_owned(), Event::Leave)
    }

    fn install(&mut self, view: &View) {
        self.is_member = view.own.is_some();
        self.view = view.own.map(|_| (view.number, view.coordinator));
        if let Some(own) = view.own.as_ref().map(triple) {
            if own != self.own {
                // A new incarnation: what an earlier one has sent may never come.
                self.last_sequence = 0;
                self.outstanding = 0;
            }
            self.own = own;
        }
    }

    fn delivered(&mut self, t: u64, message: &Message) -> News {
        let sender = triple(&message.sender);
        if sender == self.own {
            // They come in their order: an earlier one that did not come was lost to an overflow.
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
        let text = format!("{}: {}", name(&message.sender), show::printable(&words));
        self.news(t, text, Event::Deliver(event))
    }

    fn text_of(&self, payload: &[u8]) -> Option<String> {
        self.with_text
            .then(|| String::from_utf8_lossy(payload).into_owned())
    }

    fn news(&self, t: u64, text: String, event: Event) -> News {
        News {
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

/// A member as the operator sees it: node and handle.
fn name(member: &Member) -> String {
    format!("{}.{}", member.node, member.endpoint)
}

fn names(members: &[Member]) -> String {
    let all: Vec<String> = members.iter().map(name).collect();
    all.join(" ")
}

fn view_text(view: &View) -> String {
    let Some(own) = &view.own else {
        return "not a member any more".to_owned();
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
