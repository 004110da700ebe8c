// SPDX-License-Identifier: GPL-2.0

//! The trace of a cluster of real kernels, which the trace checker reads: records of `/dev/kcgcs` for the groups, and
//! looks through netlink for the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kcgcsctl::netlink::ViewStatus;
use kcgcsctl::record::{self, Message, Reason, View};
use kcgcsctl::trace::fnv1a_64;
use trace_checker::line::to_json;
use trace_checker::trace::{
    self as events, Change, EventKind, Expectation, GroupScope, Member, MessageEvent, Order,
    TraceEvent, ViewEvent, ViewId,
};
use trace_checker::Options;

use super::numbering;

/// The most broken promises that a failure shows.
const SHOWN_VIOLATIONS: usize = 3;

/// The handle of a group that writes events.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The node.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// The group's name.
    pub group: Arc<str>,
    /// The handle.
    pub endpoint: u32,
}

impl Writer {
    fn event(&self, t: u64, kind: impl FnOnce(GroupScope) -> EventKind) -> TraceEvent {
        TraceEvent {
            t,
            node: self.node,
            incarnation: self.incarnation,
            kind: kind(GroupScope {
                group: Arc::clone(&self.group),
                endpoint: Some(self.endpoint),
            }),
        }
    }

    fn own(&self) -> Member {
        Member {
            node: self.node,
            endpoint: self.endpoint,
            incarnation: self.incarnation,
        }
    }

    /// A view of the group was installed. A view without members says that the handle is out.
    pub fn view(&self, t: u64, view: &View) -> TraceEvent {
        let joined = view.joined.iter().map(|subject| Change {
            member: member(subject),
            reason: Some(events::Reason::Join),
        });
        let left = view.left.iter().map(|(subject, why)| Change {
            member: member(subject),
            reason: Some(reason(*why)),
        });
        self.event(t, |scope| {
            EventKind::View(ViewEvent {
                scope: Some(scope),
                view: ViewId {
                    number: view.number,
                    coordinator: view.coordinator,
                },
                primary: view.primary,
                members: sorted(view.members.iter().map(member)).into(),
                transitional: Some(sorted(view.transitional.iter().map(member))),
                joined: Some(joined.collect()),
                left: Some(left.collect()),
                sending_view: false,
                lost: None,
            })
        })
    }

    /// The view is about to change.
    pub fn block(&self, t: u64) -> TraceEvent {
        self.event(t, |scope| EventKind::Block { scope: Some(scope) })
    }

    /// A message was delivered in `view`.
    pub fn deliver(&self, t: u64, message: &Message, view: Option<ViewId>) -> TraceEvent {
        self.event(t, |scope| {
            EventKind::Deliver(MessageEvent {
                scope,
                view,
                call_view: None,
                sender: member(&message.sender),
                sequence: message.sequence,
                order: match message.order {
                    record::Order::Fifo => Order::Fifo,
                    record::Order::Causal => Order::Causal,
                    record::Order::Agreed => Order::Agreed,
                    record::Order::Safe => Order::Safe,
                },
                length: message.payload.len() as u64,
                hash: fnv1a_64(&message.payload),
            })
        })
    }

    /// The kernel has accepted a message. Its view is decided later.
    pub fn send(&self, t: u64, sequence: u64, payload: &[u8]) -> TraceEvent {
        self.event(t, |scope| {
            EventKind::Send(MessageEvent {
                scope,
                view: None,
                call_view: None,
                sender: self.own(),
                sequence,
                order: Order::Agreed,
                length: payload.len() as u64,
                hash: fnv1a_64(payload),
            })
        })
    }

    /// The handle asks to leave, or has left.
    pub fn leave(&self, t: u64, done: bool) -> TraceEvent {
        self.event(t, |scope| EventKind::Leave {
            scope: Some(scope),
            done,
            lost: None,
        })
    }
}

fn member(member: &record::Member) -> Member {
    Member {
        node: member.node,
        endpoint: member.endpoint,
        incarnation: member.incarnation,
    }
}

fn sorted(members: impl Iterator<Item = Member>) -> Vec<Member> {
    let mut members: Vec<Member> = members.collect();
    members.sort_unstable();
    members
}

fn reason(reason: Reason) -> events::Reason {
    match reason {
        Reason::Join => events::Reason::Join,
        Reason::Leave => events::Reason::Leave,
        // The trace of a kernel does not have the node that was asked for an eviction.
        Reason::Failed | Reason::Evicted => events::Reason::Failed,
    }
}

/// A growing trace.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<TraceEvent>,
    incarnations: BTreeSet<(u16, u64)>,
    /// The last cluster view in which each incarnation was observed.
    seen: BTreeMap<(u16, u64), ViewId>,
    /// The options of the checker.
    options: Options,
}

impl Trace {
    /// An empty trace, to be checked with these options.
    pub fn of(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Add events of groups. A new incarnation of a node begins with its first event.
    pub fn add(&mut self, events: impl IntoIterator<Item = TraceEvent>) {
        for event in events {
            self.incarnation(event.t, event.node, event.incarnation);
            self.events.push(event);
        }
    }

    /// Note that a node runs in this incarnation.
    pub fn incarnation(&mut self, t: u64, node: u16, incarnation: u64) {
        if incarnation != 0 && self.incarnations.insert((node, incarnation)) {
            self.of_node(t, node, incarnation, EventKind::Start);
        }
    }

    /// Add an event of a whole node.
    pub fn of_node(&mut self, t: u64, node: u16, incarnation: u64, kind: EventKind) {
        self.events.push(TraceEvent {
            t,
            node,
            incarnation,
            kind,
        });
    }

    /// Note that a node was observed in this cluster view, perhaps not for the first time.
    pub fn cluster_view(&mut self, t: u64, node: u16, incarnation: u64, view: &ViewStatus) {
        let id = ViewId {
            number: view.number,
            coordinator: view.issuer,
        };
        if self.seen.insert((node, incarnation), id) == Some(id) {
            return;
        }
        let members = view.members.iter().map(|member| Member {
            node: member.node,
            endpoint: 0,
            incarnation: member.incarnation,
        });
        let event = ViewEvent {
            scope: None,
            view: id,
            primary: view.primary,
            members: sorted(members).into(),
            // Views between two looks may be missing.
            transitional: None,
            joined: None,
            left: None,
            sending_view: false,
            lost: None,
        };
        self.incarnation(t, node, incarnation);
        self.of_node(t, node, incarnation, EventKind::View(event));
    }

    /// Add the expectation that all handles of `members` share one view of the group with exactly these members, since
    /// `since` at the latest.
    pub fn expect_together(&mut self, t: u64, group: &Arc<str>, members: Vec<Member>, since: u64) {
        let expectation = Expectation::Together {
            group: Some(Arc::clone(group)),
            members: sorted(members.into_iter()),
            since,
            bound: 0,
        };
        self.of_node(t, 0, 0, EventKind::Expect(expectation));
    }

    /// Check all promises. Returns the numbers of events of the main kinds.
    pub fn check(mut self) -> Result<Totals, String> {
        let count = |wanted: fn(&EventKind) -> bool| {
            self.events
                .iter()
                .filter(|event| wanted(&event.kind))
                .count()
        };
        let totals = Totals {
            views: count(|kind| matches!(kind, EventKind::View(_))),
            sends: count(|kind| matches!(kind, EventKind::Send(_))),
            deliveries: count(|kind| matches!(kind, EventKind::Deliver(_))),
        };
        numbering::correct(&mut self.events)?;
        let violations = trace_checker::check(&mut self.events, self.options);
        if violations.is_empty() {
            return Ok(totals);
        }
        let mut text = format!("{} broken promises, the first ones:", violations.len());
        for violation in violations.iter().take(SHOWN_VIOLATIONS) {
            text.push_str(&format!("\n{violation}"));
        }
        Err(text)
    }

    /// The trace as JSON Lines.
    pub fn to_lines(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            text.push_str(&to_json(event));
            text.push('\n');
        }
        text
    }
}

/// The numbers of events of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Installed views.
    pub views: usize,
    /// Messages accepted by the kernel.
    pub sends: usize,
    /// Messages delivered.
    pub deliveries: usize,
}
