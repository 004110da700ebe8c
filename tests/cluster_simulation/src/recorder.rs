// SPDX-License-Identifier: GPL-2.0

//! Writes down what nodes tell, as events of a trace.

use std::collections::HashMap;
use std::sync::Arc;

use kcgcs_protocol::protocol::identity::{fnv1a_64, EndpointId, Identity, MemberId, ViewNumber};
use kcgcs_protocol::protocol::outputs::{ChangeReason, Event, Order as NodeOrder};
use trace_checker::trace::{
    Change, EventKind, GroupScope, Member, MessageEvent, Order, Reason, TraceEvent, ViewEvent,
    ViewId,
};

use crate::host::{Alive, Endpoint};
use crate::timing::MS;

/// What an event means for the simulator, beyond its place in the trace.
pub enum Note {
    /// A view change has begun.
    Prepare,
    /// The node has left and stops.
    Left,
    /// Views are pinned.
    Pinned,
    /// The handler of the node's fence gate has work.
    FenceWanted(Identity),
    /// The node goes on under another incarnation.
    Excluded,
    /// A member went from one part of the cluster to another, and so many of there came with it, itself counted.
    CameBack {
        /// How many.
        companions: usize,
    },
    /// Something that must not happen in a sound cluster.
    Unexpected(String),
}

/// Member lists that were written before: all nodes of a view share one.
#[derive(Default)]
pub struct MemberLists(HashMap<ViewId, Arc<[Member]>>);

impl MemberLists {
    /// The sorted list; the one kept for this view if it is the same.
    fn shared(&mut self, view: ViewId, sorted: &[Member]) -> Arc<[Member]> {
        if let Some(known) = self.0.get(&view).filter(|known| known[..] == *sorted) {
            return Arc::clone(known);
        }
        let list: Arc<[Member]> = Arc::from(sorted);
        self.0.insert(view, Arc::clone(&list));
        list
    }
}

/// The node itself as a member of the cluster.
pub fn node_member(identity: Identity) -> Member {
    Member {
        node: identity.node.number(),
        endpoint: 0,
        incarnation: identity.incarnation.0,
    }
}

fn group_member(member: MemberId) -> Member {
    Member {
        node: member.node.number(),
        endpoint: member.endpoint.0,
        incarnation: member.incarnation.0,
    }
}

fn reason(reason: ChangeReason) -> Reason {
    match reason {
        ChangeReason::Join => Reason::Join,
        ChangeReason::Leave => Reason::Leave,
        ChangeReason::Failed => Reason::Failed,
        ChangeReason::Evicted => Reason::Evicted,
    }
}

/// Appends `event` of the node on `alive` to `trace` and says what else it means.
pub fn record(
    now: u64,
    alive: &mut Alive,
    event: Event,
    lists: &mut MemberLists,
    trace: &mut Vec<TraceEvent>,
) -> Option<Note> {
    let mut push = |identity: Identity, kind: EventKind| {
        trace.push(TraceEvent {
            t: now,
            node: identity.node.number(),
            incarnation: identity.incarnation.0,
            kind,
        });
    };
    let own = alive.identity;
    match event {
        Event::ViewChange { subject, reason } => alive.changes.push((subject, reason)),
        Event::ClusterView { number } => {
            let result = cluster_view(alive, number, lists);
            match result {
                Ok(view) => push(own, EventKind::View(view)),
                Err(what) => return Some(Note::Unexpected(what)),
            }
        }
        Event::Suspected { subject, .. } => push(
            own,
            EventKind::Suspect {
                subject: subject.node.number(),
            },
        ),
        Event::Accused { subject, .. } => push(
            own,
            EventKind::Accuse {
                subject: subject.node.number(),
            },
        ),
        Event::Unsuspected { .. }
        | Event::Contradicted { .. }
        | Event::QuorumLost
        | Event::QuorumRegained => {}
        Event::RefusedOther { .. } | Event::Writable { .. } => {}
        Event::Pinned { span_ms, .. } => {
            alive.pinned_until = Some(now + span_ms * MS);
            push(own, EventKind::Pin);
            return Some(Note::Pinned);
        }
        Event::Unpinned => {
            alive.pinned_until = None;
            push(own, EventKind::Unpin);
        }
        Event::FenceWanted { subject } => return Some(Note::FenceWanted(subject)),
        Event::FenceTimedOut { subject } => {
            let subject = node_member(subject);
            push(own, EventKind::Fenced { subject });
        }
        Event::FenceAwaited { .. } => {}
        Event::Prepare { .. } => {
            push(own, EventKind::Block { scope: None });
            return Some(Note::Prepare);
        }
        Event::Excluded { incarnation, .. } => {
            push(own, EventKind::Stop);
            alive.identity.incarnation.0 = incarnation;
            alive.members = Arc::from([]);
            alive.evicted_by.clear();
            alive.pinned_until = None;
            alive.changes.clear();
            push(alive.identity, EventKind::Start);
            return Some(Note::Excluded);
        }
        Event::Refused { by, reason } => {
            return Some(Note::Unexpected(format!("refused by {by:?}: {reason:?}")));
        }
        Event::Evicted { .. } => {
            push(own, EventKind::Evicted);
            push(own, EventKind::Stop);
            return Some(Note::Left);
        }
        Event::Left => {
            push(
                own,
                EventKind::Leave {
                    scope: None,
                    done: true,
                },
            );
            push(own, EventKind::Stop);
            return Some(Note::Left);
        }
        Event::GroupView { endpoint, view } => {
            let Some(state) = alive.endpoints.get_mut(&endpoint) else {
                return unknown(endpoint, "view");
            };
            let id = ViewId {
                number: view.number.0,
                coordinator: view.coordinator.number(),
            };
            let is_in = !view.members.is_empty();
            let reader = is_in.then_some(view.reader);
            if state.reader != reader {
                // It has begun a new incarnation, or waits for one.
                state.accepted = 0;
                state.sent = 0;
                state.waiting.clear();
            }
            let comes_back = is_in && state.reader.is_some() && state.reader != reader;
            state.reader = reader;
            state.view = is_in.then_some(id);
            state.member_count = view.members.len();
            let mut members: Vec<Member> =
                view.members.iter().map(|m| group_member(m.id)).collect();
            members.sort_unstable();
            let mut transitional: Vec<Member> = view
                .transitional
                .iter()
                .copied()
                .map(group_member)
                .collect();
            transitional.sort_unstable();
            let event = ViewEvent {
                scope: Some(scope(state, endpoint)),
                view: id,
                primary: view.primary,
                members: members.into(),
                transitional: Some(transitional),
                joined: Some(
                    view.joined
                        .iter()
                        .map(|member| Change {
                            member: group_member(*member),
                            reason: Some(Reason::Join),
                        })
                        .collect(),
                ),
                left: Some(
                    view.left
                        .iter()
                        .map(|(member, why)| Change {
                            member: group_member(*member),
                            reason: Some(reason(*why)),
                        })
                        .collect(),
                ),
            };
            let companions = view.transitional.len();
            push(view.reader, EventKind::View(event));
            if comes_back {
                return Some(Note::CameBack { companions });
            }
        }
        Event::Block { endpoint } => {
            let Some(state) = alive.endpoints.get(&endpoint) else {
                return unknown(endpoint, "block");
            };
            let scope = Some(scope(state, endpoint));
            push(state.reader.unwrap_or(own), EventKind::Block { scope });
        }
        Event::Deliver {
            endpoint,
            sender,
            sequence,
            order,
            view,
            payload,
        } => {
            let Some(state) = alive.endpoints.get(&endpoint) else {
                return unknown(endpoint, "message");
            };
            let event = MessageEvent {
                scope: scope(state, endpoint),
                view: Some(own_view(state, view)),
                sender: group_member(sender),
                sequence,
                order: order_of(order),
                length: payload.len() as u64,
                hash: fnv1a_64(&payload),
            };
            push(state.reader.unwrap_or(own), EventKind::Deliver(event));
        }
        Event::Sent {
            endpoint,
            sequence,
            view,
            ..
        } => {
            // A member that was closed may have been on its way to this.
            let state = alive.endpoints.get_mut(&endpoint)?;
            state.sent += 1;
            // A member that leaves is told of no views any more.
            let is_told = !state.is_leaving || state.view.is_some_and(|own| own.number == view.0);
            let id = is_told.then(|| own_view(state, view));
            let Some((number, line)) = state.waiting.pop_front() else {
                return Some(Note::Unexpected(format!(
                    "{sequence} was sent, which is none"
                )));
            };
            if number != sequence {
                let what = format!("message {sequence} was sent before {number}");
                return Some(Note::Unexpected(what));
            }
            if let Some(EventKind::Send(message)) = trace.get_mut(line).map(|e| &mut e.kind) {
                message.view = id;
            }
        }
        Event::GroupLeft { endpoint } | Event::GroupClosed { endpoint } => {
            let Some(state) = alive.endpoints.remove(&endpoint) else {
                return unknown(endpoint, "end");
            };
            let scope = Some(scope(&state, endpoint));
            let kind = EventKind::Leave { scope, done: true };
            push(state.reader.unwrap_or(own), kind);
        }
    }
    None
}

fn unknown(endpoint: EndpointId, what: &str) -> Option<Note> {
    Some(Note::Unexpected(format!(
        "a {what} for endpoint {endpoint:?}, which is not there (any more)"
    )))
}

fn scope(state: &Endpoint, endpoint: EndpointId) -> GroupScope {
    GroupScope {
        group: Arc::clone(&state.group),
        endpoint: Some(endpoint.0),
    }
}

/// The view of this number, as far as the handle knows it.
///
/// The event has the number only; if it is not that of the handle's view, D3 shows it.
fn own_view(state: &Endpoint, number: ViewNumber) -> ViewId {
    ViewId {
        number: number.0,
        coordinator: state
            .view
            .filter(|own| own.number == number.0)
            .map_or(0, |own| own.coordinator),
    }
}

fn order_of(order: NodeOrder) -> Order {
    match order {
        NodeOrder::Fifo => Order::Fifo,
        NodeOrder::Causal => Order::Causal,
        NodeOrder::Agreed => Order::Agreed,
    }
}

/// The message that the node has just accepted. Which view it belongs to is not known yet: it is
/// written when the node tells.
pub fn accepted_message(
    own: Identity,
    endpoint: EndpointId,
    state: &Endpoint,
    (order, length, hash): (NodeOrder, usize, u64),
) -> MessageEvent {
    MessageEvent {
        scope: scope(state, endpoint),
        view: None,
        sender: Member {
            endpoint: endpoint.0,
            ..node_member(own)
        },
        sequence: state.accepted,
        order: order_of(order),
        length: length as u64,
        hash,
    }
}

fn cluster_view(
    alive: &mut Alive,
    number: ViewNumber,
    lists: &mut MemberLists,
) -> Result<ViewEvent, String> {
    let Some(view) = alive.node.view() else {
        return Err(format!("view {number:?} was told and the node has none"));
    };
    if view.number != number {
        return Err(format!(
            "view {number:?} was told and the node has {:?}",
            view.number
        ));
    }
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for (subject, why) in alive.changes.drain(..) {
        let change = Change {
            member: node_member(subject),
            reason: Some(reason(why)),
        };
        match why {
            ChangeReason::Join => joined.push(change),
            ChangeReason::Leave | ChangeReason::Failed | ChangeReason::Evicted => left.push(change),
        }
    }
    let id = ViewId {
        number: number.0,
        coordinator: view.issuer.number(),
    };
    let mut members: Vec<Member> = view
        .members()
        .iter()
        .map(|member| node_member(member.identity))
        .collect();
    members.sort_unstable();
    let members = lists.shared(id, &members);
    alive.members = Arc::clone(&members);
    alive.view_number = number.0;
    Ok(ViewEvent {
        scope: None,
        view: id,
        primary: view.is_primary,
        members,
        transitional: None,
        joined: Some(joined),
        left: Some(left),
    })
}
