// SPDX-License-Identifier: GPL-2.0

//! Everything that the properties look up, collected in one pass over a sorted trace.
//!
//! A *scope* is the cluster (scope 0) or a group. A *process* is one incarnation of a member in one scope: of a node in
//! the cluster, or of a handle in a group. The index keeps what a process did in the order in which its node wrote it.

mod records;

use std::collections::{BTreeMap, HashMap};

use crate::options::Options;
use crate::trace::{
    EventKind, Expectation, GroupScope, Member, MessageEvent, Order, TraceEvent, ViewEvent, ViewId,
};
pub use records::{Action, ActionKind, Incarnation, Install, Message, Phase, Process, ViewRecord};

/// The scope of cluster views.
pub const CLUSTER: usize = 0;

/// A trace and what it says of processes, views, messages and incarnations.
pub struct Index<'t> {
    /// The trace, sorted by time.
    pub events: &'t [TraceEvent],
    /// How strictly to judge it.
    pub options: Options,
    /// The names of the groups. The first entry stands for the cluster.
    pub scopes: Vec<&'t str>,
    /// All processes, in the order of their first event.
    pub processes: Vec<Process>,
    /// All views.
    pub views: Vec<ViewRecord>,
    /// All messages.
    pub messages: Vec<Message>,
    /// All incarnations of all nodes, by node and incarnation.
    pub incarnations: BTreeMap<(u16, u64), Incarnation>,
    scope_numbers: HashMap<&'t str, usize>,
    view_numbers: HashMap<(usize, ViewId), usize>,
    message_numbers: HashMap<(usize, Member, u64), usize>,
    process_numbers: HashMap<(usize, u16, u64, Option<u32>), usize>,
}

impl<'t> Index<'t> {
    /// Index the events, which are sorted by time.
    pub fn new(events: &'t [TraceEvent], options: Options) -> Self {
        let mut index = Self {
            events,
            options,
            scopes: vec!["the cluster"],
            processes: Vec::new(),
            views: Vec::new(),
            messages: Vec::new(),
            incarnations: BTreeMap::new(),
            scope_numbers: HashMap::new(),
            view_numbers: HashMap::new(),
            message_numbers: HashMap::new(),
            process_numbers: HashMap::new(),
        };
        for number in 0..events.len() {
            index.take(number);
        }
        index
    }

    /// Add event `number` to the records.
    fn take(&mut self, number: usize) {
        let event = &self.events[number];
        match &event.kind {
            EventKind::Start => {
                self.incarnation(event).start.get_or_insert(number);
            }
            EventKind::Crash => {
                self.incarnation(event).crash.get_or_insert(number);
            }
            EventKind::Stop => {
                self.incarnation(event).stop.get_or_insert(number);
            }
            EventKind::Evicted => {
                self.incarnation(event).evicted.get_or_insert(number);
            }
            EventKind::View(view) => self.take_view(number, view),
            EventKind::Send(message) => self.take_message(number, message, true),
            EventKind::Deliver(message) => self.take_message(number, message, false),
            EventKind::Leave { scope, done, lost } => {
                self.take_leave(number, scope.as_ref(), *done, *lost);
            }
            EventKind::Block { scope } => {
                let process = self.process(event, scope.as_ref(), false);
                self.act(process, number, ActionKind::Block);
            }
            EventKind::Safe(_)
            | EventKind::Suspect { .. }
            | EventKind::Accuse { .. }
            | EventKind::Evict { .. }
            | EventKind::Pin
            | EventKind::Unpin
            | EventKind::Guard
            | EventKind::Fenced { .. }
            | EventKind::Expect(_) => {}
        }
    }

    fn incarnation(&mut self, event: &TraceEvent) -> &mut Incarnation {
        self.incarnations
            .entry((event.node, event.incarnation))
            .or_default()
    }

    fn take_leave(
        &mut self,
        number: usize,
        scope: Option<&'t GroupScope>,
        done: bool,
        lost: Option<u64>,
    ) {
        let event = &self.events[number];
        if scope.is_none() {
            let incarnation = self.incarnation(event);
            incarnation.asked_to_leave.get_or_insert(number);
            if done {
                incarnation.left.get_or_insert(number);
            }
        }
        let process = self.process(event, scope, false);
        let process = &mut self.processes[process];
        process.asked_to_leave.get_or_insert(number);
        if done {
            process.left.get_or_insert(number);
            process.lost = lost.or(process.lost);
            process.phase = Phase::Left;
        }
    }

    fn take_view(&mut self, number: usize, event: &'t ViewEvent) {
        let process = self.process(&self.events[number], event.scope.as_ref(), true);
        if event.members.is_empty() {
            self.act(process, number, ActionKind::Excluded);
            let told = &mut self.processes[process].lost;
            *told = event.lost.or(*told);
            if self.processes[process].phase != Phase::Left {
                self.processes[process].phase = Phase::Excluded;
            }
            return;
        }
        let scope = self.processes[process].scope;
        let views = &mut self.views;
        let view = *self
            .view_numbers
            .entry((scope, event.view))
            .or_insert_with(|| {
                views.push(ViewRecord {
                    scope,
                    id: event.view,
                    installs: Vec::new(),
                });
                views.len() - 1
            });
        let place = self.processes[process].installs.len();
        let transitional = event.transitional.as_deref().unwrap_or_default();
        if place == 0 && !transitional.is_empty() {
            self.processes[process].continues = self.earlier_incarnation(process);
        }
        let installs = &self.processes[self.origin(process, place)].installs;
        let previous = installs.last().map(|install| install.view);
        self.act(process, number, ActionKind::Install(place));
        self.views[view].installs.push((process, place));
        let process = &mut self.processes[process];
        process.installs.push(Install {
            event: number,
            view,
            previous,
        });
        if process.phase != Phase::Left {
            process.phase = Phase::InView;
        }
    }

    fn take_message(&mut self, number: usize, event: &'t MessageEvent, sent: bool) {
        let process = self.process(&self.events[number], Some(&event.scope), false);
        let scope = self.processes[process].scope;
        let messages = &mut self.messages;
        let message = *self
            .message_numbers
            .entry((scope, event.sender, event.sequence))
            .or_insert_with(|| {
                messages.push(Message {
                    scope,
                    sender: event.sender,
                    sequence: event.sequence,
                    order: event.order,
                    send: None,
                    deliveries: Vec::new(),
                });
                messages.len() - 1
            });
        let action = self.processes[process].actions.len();
        if sent {
            self.messages[message].send.get_or_insert((number, process));
            self.act(process, number, ActionKind::Send(message));
        } else {
            self.messages[message].deliveries.push((process, action));
            self.act(process, number, ActionKind::Deliver(message));
        }
    }

    /// Add an action to those of the process.
    fn act(&mut self, process: usize, event: usize, kind: ActionKind) {
        let process = &mut self.processes[process];
        process.actions.push(Action {
            event,
            kind,
            phase: process.phase,
            install: process.installs.len().checked_sub(1),
        });
    }

    fn scope_number(&mut self, scope: Option<&'t GroupScope>) -> usize {
        let Some(scope) = scope else { return CLUSTER };
        let scopes = &mut self.scopes;
        *self
            .scope_numbers
            .entry(scope.group.as_ref())
            .or_insert_with(|| {
                scopes.push(scope.group.as_ref());
                scopes.len() - 1
            })
    }

    /// The process that wrote `event`, added if it is new. With a view an excluded process begins anew, as a new
    /// process. So does one that left, if the trace does not tell its handles apart.
    fn process(
        &mut self,
        event: &TraceEvent,
        scope: Option<&'t GroupScope>,
        is_view: bool,
    ) -> usize {
        let endpoint = scope.map_or(Some(0), |scope| scope.endpoint);
        let scope = self.scope_number(scope);
        let key = (scope, event.node, event.incarnation, endpoint);
        if let Some(&known) = self.process_numbers.get(&key) {
            let begins_anew = match self.processes[known].phase {
                Phase::Excluded => true,
                Phase::Left => endpoint.is_none(),
                Phase::NoViewYet | Phase::InView => false,
            };
            if !(is_view && begins_anew) {
                return known;
            }
        }
        self.processes.push(Process {
            scope,
            node: event.node,
            incarnation: event.incarnation,
            endpoint,
            continues: None,
            installs: Vec::new(),
            actions: Vec::new(),
            phase: Phase::NoViewYet,
            asked_to_leave: None,
            left: None,
            lost: None,
        });
        self.process_numbers.insert(key, self.processes.len() - 1);
        self.processes.len() - 1
    }

    /// The last earlier incarnation of a handle, if it was never excluded and did not leave.
    fn earlier_incarnation(&self, process: usize) -> Option<usize> {
        let own = &self.processes[process];
        let is_same = |other: &&Process| {
            (other.scope, other.node, other.endpoint) == (own.scope, own.node, own.endpoint)
                && other.incarnation < own.incarnation
        };
        let all = self.processes.iter().enumerate();
        let (number, last) = all
            .filter(|(_, other)| own.endpoint.is_some() && own.scope != CLUSTER && is_same(other))
            .max_by_key(|(_, other)| other.incarnation)?;
        (last.phase == Phase::InView).then_some(number)
    }

    // ---- lookups ------------------------------------------------------------------------------

    /// The view in event `number`.
    pub fn view_event(&self, number: usize) -> &'t ViewEvent {
        match &self.events[number].kind {
            EventKind::View(view) => view,
            other => unreachable!("event {number} was indexed as a view and is {other:?}"),
        }
    }

    /// The message in event `number`.
    pub fn message_event(&self, number: usize) -> &'t MessageEvent {
        match &self.events[number].kind {
            EventKind::Send(message) | EventKind::Deliver(message) => message,
            other => unreachable!("event {number} was indexed as a message and is {other:?}"),
        }
    }

    /// The event in which the first process installed a view. Every view has one.
    pub fn first_install(&self, view: usize) -> usize {
        let (process, place) = self.views[view].installs[0];
        self.processes[process].installs[place].event
    }

    /// The event of a delivery.
    pub fn delivery(&self, (process, action): (usize, usize)) -> usize {
        self.processes[process].actions[action].event
    }

    /// What the tests require: the number of the event, the event, and the expectation.
    pub fn expectations(&self) -> impl Iterator<Item = (usize, &'t TraceEvent, &'t Expectation)> {
        let events = self.events.iter().enumerate();
        events.filter_map(|(number, event)| match &event.kind {
            EventKind::Expect(expectation) => Some((number, event, expectation)),
            _ => None,
        })
    }

    /// The processes of the cluster: incarnations of nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Process> {
        let processes = self.processes.iter();
        processes.filter(|process| process.scope == CLUSTER)
    }

    /// The scope of the group, if the trace has the group.
    pub fn group_scope(&self, name: &str) -> Option<usize> {
        self.scope_numbers.get(name).copied()
    }

    /// The first event that ended an incarnation of a node, if one did.
    pub fn end_of(&self, node: u16, incarnation: u64) -> Option<usize> {
        self.incarnations.get(&(node, incarnation))?.end()
    }

    /// The view that `process` was in when it did `action`, if it was in one.
    pub fn view_at(&self, process: &Process, action: &Action) -> Option<usize> {
        if action.phase != Phase::InView {
            return None;
        }
        action.install.map(|install| process.installs[install].view)
    }

    /// The process that is this member: the last one, if it was excluded and began anew.
    pub fn process_of(&self, scope: usize, member: &Member) -> Option<usize> {
        [Some(member.endpoint), None].iter().find_map(|endpoint| {
            let key = (scope, member.node, member.incarnation, *endpoint);
            self.process_numbers.get(&key).copied()
        })
    }

    /// The view with this identity.
    pub fn view_named(&self, scope: usize, id: ViewId) -> Option<usize> {
        self.view_numbers.get(&(scope, id)).copied()
    }

    /// The members of a view, as the first process that installed it wrote them.
    pub fn members(&self, view: usize) -> &'t [Member] {
        &self.view_event(self.first_install(view)).members
    }

    /// Whether all members deliver the message in one total order: agreed and safe messages.
    pub fn is_agreed(&self, message: usize) -> bool {
        self.options.every_order_is_agreed
            || matches!(self.messages[message].order, Order::Agreed | Order::Safe)
    }

    /// Whether the message comes after its causal past: messages of every order but FIFO.
    pub fn is_causal(&self, message: usize) -> bool {
        self.options.every_order_is_agreed || self.messages[message].order != Order::Fifo
    }

    /// The scope in words: `group "g"`, or `the cluster`.
    pub fn scope_name(&self, scope: usize) -> String {
        if scope == CLUSTER {
            "the cluster".to_owned()
        } else {
            format!("group {:?}", self.scopes[scope])
        }
    }

    /// Whether the process ended before the trace did: it crashed, stopped, left, was excluded, or went on under
    /// another incarnation.
    pub fn ended(&self, process: &Process) -> bool {
        let key = (process.node, process.incarnation);
        let incarnation_ended = self.incarnations.get(&key).is_some_and(|incarnation| {
            incarnation.end().is_some() || incarnation.asked_to_leave.is_some()
        });
        let later_incarnation = self
            .incarnations
            .range((process.node, process.incarnation.saturating_add(1))..=(process.node, u64::MAX))
            .next()
            .is_some();
        incarnation_ended
            || (later_incarnation && process.incarnation != u64::MAX)
            || process.asked_to_leave.is_some()
            || matches!(process.phase, Phase::Excluded | Phase::Left)
    }

    /// The processes by the transition that they made: from view and to view, and for each the process and the number of
    /// its install of the second.
    pub fn transitions(&self) -> BTreeMap<(usize, usize), Vec<(usize, usize)>> {
        let mut transitions: BTreeMap<(usize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (number, process) in self.processes.iter().enumerate() {
            for (place, install) in process.installs.iter().enumerate() {
                if let Some(previous) = install.previous {
                    transitions
                        .entry((previous, install.view))
                        .or_default()
                        .push((number, place));
                }
            }
        }
        transitions
    }

    /// The process that was in the view before the install at `place`: `process` itself, or the one that it continues.
    pub fn origin(&self, process: usize, place: usize) -> usize {
        let earlier = self.processes[process].continues;
        earlier.filter(|_| place == 0).unwrap_or(process)
    }

    /// What each process delivered in each of its views: by view, the processes with their messages in order.
    pub fn deliveries_by_view(&self) -> BTreeMap<usize, Vec<(usize, Vec<usize>)>> {
        let mut by_view: BTreeMap<usize, Vec<(usize, Vec<usize>)>> = BTreeMap::new();
        for (number, process) in self.processes.iter().enumerate() {
            let mut lists: Vec<Vec<usize>> = vec![Vec::new(); process.installs.len()];
            for action in &process.actions {
                if let (ActionKind::Deliver(message), Phase::InView, Some(install)) =
                    (action.kind, action.phase, action.install)
                {
                    lists[install].push(message);
                }
            }
            for (install, list) in process.installs.iter().zip(lists) {
                by_view
                    .entry(install.view)
                    .or_default()
                    .push((number, list));
            }
        }
        by_view
    }
}
