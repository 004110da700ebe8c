// SPDX-License-Identifier: GPL-2.0

//! Record the events of nodes as events of a trace.

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

/// The meaning of an event for the simulator, beyond its place in the trace.
pub enum Note {
    /// A view change has begun.
    Prepare,
    /// The node has left and stops.
    Left,
    /// The view is pinned.
    Pinned,
    /// The node asks its fence handler to fence another node.
    FenceWanted(Identity),
    /// The node was excluded and begins a new incarnation.
    Excluded,
    /// A member moved to the view of another component.
    Moved {
        /// The size of its transitional set.
        transitional: usize,
    },
    /// Something that must not happen in a correct cluster.
    Unexpected(String),
}

/// The member lists recorded before, so that all nodes of a view share one.
#[derive(Default)]
pub struct MemberLists(HashMap<ViewId, Arc<[Member]>>);

impl MemberLists {
    /// The sorted list, which is the one kept for this view if they are equal.
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

/// Append `event` of the node on `alive` to `trace`, and return what else it means.
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
                    lost: None,
                },
            );
            push(own, EventKind::Stop);
            return Some(Note::Left);
        }
        Event::GroupExcluded {
            endpoint,
            own,
            lost,
        } => {
            let Some(state) = alive.endpoints.get_mut(&endpoint) else {
                return unknown(endpoint, "exclusion");
            };
            let note = state.begin_anew(lost);
            state.reader = None;
            state.view = None;
            state.member_count = 0;
            let event = ViewEvent {
                scope: Some(scope(state, endpoint)),
                view: ViewId {
                    number: 0,
                    coordinator: own.node.number(),
                },
                primary: false,
                members: Arc::from([]),
                transitional: Some(Vec::new()),
                joined: Some(Vec::new()),
                left: Some(Vec::new()),
                sending_view: false,
                lost: Some(lost),
            };
            push(own, EventKind::View(event));
            return note;
        }
        Event::GroupView {
            endpoint,
            view,
            lost,
        } => {
            let Some(state) = alive.endpoints.get_mut(&endpoint) else {
                return unknown(endpoint, "view");
            };
            let id = ViewId {
                number: view.number.0,
                coordinator: view.coordinator.number(),
            };
            let reader = Some(view.reader);
            let note = match state.reader == reader {
                true => (lost > 0).then(|| miscounted(lost, 0)),
                // The node has begun a new incarnation.
                false => state.begin_anew(lost),
            };
            let has_moved = state.reader.is_some() && state.reader != reader;
            state.reader = reader;
            state.view = Some(id);
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
                sending_view: false,
                lost: None,
            };
            let transitional = view.transitional.len();
            push(view.reader, EventKind::View(event));
            if has_moved && note.is_none() {
                return Some(Note::Moved { transitional });
            }
            return note;
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
                call_view: None,
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
            // The member may have been closed while this event was pending.
            let state = alive.endpoints.get_mut(&endpoint)?;
            state.sent += 1;
            // A member that is leaving gets no more views.
            let is_known = !state.is_leaving || state.view.is_some_and(|own| own.number == view.0);
            let id = is_known.then(|| own_view(state, view));
            let Some((number, line)) = state.waiting.pop_front() else {
                return Some(Note::Unexpected(format!(
                    "message {sequence} was sent, but none was waiting"
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
        Event::GroupLeft { endpoint, lost } | Event::GroupClosed { endpoint, lost } => {
            let Some(mut state) = alive.endpoints.remove(&endpoint) else {
                return unknown(endpoint, "end");
            };
            let note = state.begin_anew(lost);
            let scope = Some(scope(&state, endpoint));
            let kind = EventKind::Leave {
                scope,
                done: true,
                lost: Some(lost),
            };
            push(state.reader.unwrap_or(own), kind);
            return note;
        }
        Event::GroupRefused { endpoint, reason } => {
            return Some(Note::Unexpected(format!(
                "endpoint {endpoint:?} was refused: {reason:?}"
            )));
        }
    }
    None
}

impl Endpoint {
    /// The messages of the incarnation before end. Each was sent, or the node has counted it as lost. Of those that were
    /// sent the node also counts those that it does not know to be held by all.
    fn begin_anew(&mut self, lost: u64) -> Option<Note> {
        let (waiting, accepted) = (self.waiting.len() as u64, self.accepted);
        self.accepted = 0;
        self.sent = 0;
        self.waiting.clear();
        // Messages that were sent and that others may lack count, too.
        (lost < waiting || lost > accepted).then(|| miscounted(lost, waiting))
    }
}

fn miscounted(lost: u64, waiting: u64) -> Note {
    Note::Unexpected(format!(
        "{lost} messages were counted as lost, {waiting} were accepted and not sent"
    ))
}

fn unknown(endpoint: EndpointId, what: &str) -> Option<Note> {
    Some(Note::Unexpected(format!(
        "a {what} for endpoint {endpoint:?}, which does not exist (any more)"
    )))
}

fn scope(state: &Endpoint, endpoint: EndpointId) -> GroupScope {
    GroupScope {
        group: Arc::clone(&state.group),
        endpoint: Some(endpoint.0),
    }
}

/// The view with this number, as far as the handle knows it.
///
/// The event has only the number. If it is not the number of the handle's view, D3 is violated in the trace.
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
        NodeOrder::Safe => Order::Safe,
    }
}

/// The message that the node has just accepted. Its view is not known yet, and is added when the node reports that it
/// was sent.
pub fn accepted_message(
    own: Identity,
    endpoint: EndpointId,
    state: &Endpoint,
    (order, length, hash): (NodeOrder, usize, u64),
) -> MessageEvent {
    MessageEvent {
        scope: scope(state, endpoint),
        view: None,
        call_view: state.view,
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
        return Err(format!(
            "view {number:?} was reported, but the node has none"
        ));
    };
    if view.number != number {
        return Err(format!(
            "view {number:?} was reported, but the node has {:?}",
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
        sending_view: false,
        lost: None,
    })
}
