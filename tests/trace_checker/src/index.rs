// SPDX-License-Identifier: GPL-2.0

//! Everything that the properties look up, gathered in one pass over a sorted trace.
//!
//! A *process* is one member incarnation in one scope: a node in the cluster (scope 0), or a handle
//! in a group. What a process did stands in the order in which its node wrote it.

use std::collections::{BTreeMap, HashMap};

use crate::trace::{EventKind, GroupScope, Member, MessageEvent, TraceEvent, ViewEvent, ViewId};
use crate::Options;

/// The scope of cluster views.
pub const CLUSTER: usize = 0;

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not installed a view yet.
    NoViewYet,
    /// It is in the view of its last install.
    InView,
    /// It was told that it is out.
    Out,
    /// Leaving has returned.
    Left,
}

/// A view installed by a process.
#[derive(Clone, Copy, Debug)]
pub struct Install {
    /// The event.
    pub event: usize,
    /// The view, as a number in [`Index::views`].
    pub view: usize,
    /// The view that the process held before.
    pub previous: Option<usize>,
}

/// What a process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Installed a view: a number in [`Process::installs`].
    Install(usize),
    /// Was told that it is out.
    Out,
    /// Sent a message: a number in [`Index::messages`].
    Send(usize),
    /// Got a message: a number in [`Index::messages`].
    Deliver(usize),
    /// Was told that a view change has begun.
    Block,
}

/// One thing that a process did.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The event.
    pub event: usize,
    /// What it did.
    pub what: What,
    /// Where it stood just before.
    pub phase: Phase,
    /// Its last install just before, as a number in [`Process::installs`].
    pub install: Option<usize>,
}

/// One member incarnation in one scope.
#[derive(Debug)]
pub struct Process {
    /// A number in [`Index::scopes`].
    pub scope: usize,
    /// The node.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// The handle, if the trace names it. Always `Some(0)` in the cluster.
    pub endpoint: Option<u32>,
    /// The process of the same handle in an earlier incarnation of the node, from whose last view it came to its first:
    /// so it is if others came along, which a transitional set tells.
    pub continues: Option<usize>,
    /// The views that it installed.
    pub installs: Vec<Install>,
    /// All that it did.
    pub actions: Vec<Action>,
    /// Where it stands at the end.
    pub phase: Phase,
    /// The event that it asked to leave with.
    pub asked_to_leave: Option<usize>,
    /// The event that says that leaving has returned.
    pub left: Option<usize>,
}

impl Process {
    /// Whether `member` is this process.
    pub fn is(&self, member: &Member) -> bool {
        self.node == member.node
            && self.incarnation == member.incarnation
            && self.endpoint.is_none_or(|own| own == member.endpoint)
    }

    /// Whether `members` has this process.
    pub fn is_in(&self, members: &[Member]) -> bool {
        match self.endpoint {
            Some(endpoint) => members
                .binary_search(&Member {
                    node: self.node,
                    endpoint,
                    incarnation: self.incarnation,
                })
                .is_ok(),
            None => members.iter().any(|member| self.is(member)),
        }
    }
}

/// One view, as the first process that installed it wrote it.
#[derive(Debug)]
pub struct ViewRecord {
    /// A number in [`Index::scopes`].
    pub scope: usize,
    /// Its name.
    pub id: ViewId,
    /// Who installed it: process and number of the install, in the order of time.
    pub installs: Vec<(usize, usize)>,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    /// A number in [`Index::scopes`].
    pub scope: usize,
    /// Who sent it.
    pub sender: Member,
    /// The sender's number of it.
    pub sequence: u64,
    /// The sending: event and process.
    pub send: Option<(usize, usize)>,
    /// Deliveries: process and number of the action, in the order of time.
    pub deliveries: Vec<(usize, usize)>,
}

/// What is known of one incarnation of one node; all are numbers of events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incarnation {
    /// Its start.
    pub start: Option<usize>,
    /// It crashed.
    pub crash: Option<usize>,
    /// It stopped in order.
    pub stop: Option<usize>,
    /// It was told that an administrator has put it out.
    pub evicted: Option<usize>,
    /// The node asked to leave the cluster.
    pub asked_to_leave: Option<usize>,
    /// The node has left the cluster.
    pub left: Option<usize>,
}

impl Incarnation {
    /// The first event that ended it.
    pub fn end(&self) -> Option<usize> {
        [self.crash, self.stop, self.left]
            .into_iter()
            .flatten()
            .min()
    }
}

/// A trace and what was gathered from it.
pub struct Index<'t> {
    /// The trace, sorted by time.
    pub events: &'t [TraceEvent],
    /// How strictly it is judged.
    pub options: Options,
    /// Names of groups; the first stands for the cluster.
    pub scopes: Vec<&'t str>,
    /// All processes, in the order of their first event.
    pub processes: Vec<Process>,
    /// All views.
    pub views: Vec<ViewRecord>,
    /// All messages.
    pub messages: Vec<Message>,
    /// All incarnations of all nodes.
    pub incarnations: BTreeMap<(u16, u64), Incarnation>,
    scope_numbers: HashMap<&'t str, usize>,
    view_numbers: HashMap<(usize, ViewId), usize>,
    message_numbers: HashMap<(usize, Member, u64), usize>,
    process_numbers: HashMap<(usize, u16, u64, Option<u32>), usize>,
}

impl<'t> Index<'t> {
    /// Reads the whole trace once.
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
            EventKind::Leave { scope, done } => self.take_leave(number, scope.as_ref(), *done),
            EventKind::Block { scope } => {
                let process = self.process(event, scope.as_ref(), false);
                self.act(process, number, What::Block);
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

    fn take_leave(&mut self, number: usize, scope: Option<&'t GroupScope>, done: bool) {
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
            process.phase = Phase::Left;
        }
    }

    fn take_view(&mut self, number: usize, event: &'t ViewEvent) {
        let process = self.process(&self.events[number], event.scope.as_ref(), true);
        if event.members.is_empty() {
            self.act(process, number, What::Out);
            if self.processes[process].phase != Phase::Left {
                self.processes[process].phase = Phase::Out;
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
        if place == 0
            && event
                .transitional
                .as_ref()
                .is_some_and(|set| !set.is_empty())
        {
            self.processes[process].continues = self.earlier_incarnation(process);
        }
        let before = match (place, self.processes[process].continues) {
            (0, Some(earlier)) => earlier,
            _ => process,
        };
        let installs = &self.processes[before].installs;
        let previous = installs.last().map(|install| install.view);
        self.act(process, number, What::Install(place));
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
                    send: None,
                    deliveries: Vec::new(),
                });
                messages.len() - 1
            });
        let action = self.processes[process].actions.len();
        if sent {
            self.messages[message].send.get_or_insert((number, process));
            self.act(process, number, What::Send(message));
        } else {
            self.messages[message].deliveries.push((process, action));
            self.act(process, number, What::Deliver(message));
        }
    }

    fn act(&mut self, process: usize, event: usize, what: What) {
        let process = &mut self.processes[process];
        process.actions.push(Action {
            event,
            what,
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

    /// The process that wrote `event`. One that was out begins anew with a view, and so does one that
    /// has left if the trace does not tell its handles apart.
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
                Phase::Out => true,
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
        });
        self.process_numbers.insert(key, self.processes.len() - 1);
        self.processes.len() - 1
    }

    /// The last earlier incarnation of a handle, if it was never told that it is out.
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

    /// The view that was written in event `number`.
    pub fn view_event(&self, number: usize) -> &'t ViewEvent {
        match &self.events[number].kind {
            EventKind::View(view) => view,
            other => unreachable!("event {number} was indexed as a view and is {other:?}"),
        }
    }

    /// The message that was written in event `number`.
    pub fn message_event(&self, number: usize) -> &'t MessageEvent {
        match &self.events[number].kind {
            EventKind::Send(message) | EventKind::Deliver(message) => message,
            other => unreachable!("event {number} was indexed as a message and is {other:?}"),
        }
    }

    /// The view that `process` was in when it did `action`, if it was in one.
    pub fn view_at(&self, process: &Process, action: &Action) -> Option<usize> {
        if action.phase != Phase::InView {
            return None;
        }
        action.install.map(|install| process.installs[install].view)
    }

    /// The view of this name.
    pub fn view_named(&self, scope: usize, id: ViewId) -> Option<usize> {
        self.view_numbers.get(&(scope, id)).copied()
    }

    /// The members of a view, as the first who installed it wrote them.
    pub fn members(&self, view: usize) -> &'t [Member] {
        match self.views[view].installs.first() {
            Some(&(process, install)) => {
                let event = self.processes[process].installs[install].event;
                &self.view_event(event).members
            }
            None => &[],
        }
    }

    /// "group g", or "the cluster".
    pub fn scope_name(&self, scope: usize) -> String {
        if scope == CLUSTER {
            "the cluster".to_owned()
        } else {
            format!("group {:?}", self.scopes[scope])
        }
    }

    /// Whether the process ended before the trace did: crashed, stopped, left, was put out, or went
    /// on under another incarnation.
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
            || matches!(process.phase, Phase::Out | Phase::Left)
    }

    /// Processes by the transition that they made: `(from, to) -> [(process, install of to)]`.
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

    /// The process that was in the view before this install.
    pub fn mover(&self, process: usize, place: usize) -> usize {
        let earlier = self.processes[process].continues;
        earlier.filter(|_| place == 0).unwrap_or(process)
    }

    /// What each process delivered in each of its views: `(view, process, messages in order)`,
    /// sorted by view.
    pub fn deliveries_by_view(&self) -> BTreeMap<usize, Vec<(usize, Vec<usize>)>> {
        let mut by_view: BTreeMap<usize, Vec<(usize, Vec<usize>)>> = BTreeMap::new();
        for (number, process) in self.processes.iter().enumerate() {
            let mut lists: Vec<Vec<usize>> = vec![Vec::new(); process.installs.len()];
            for action in &process.actions {
                if let (What::Deliver(message), Phase::InView, Some(install)) =
                    (action.what, action.phase, action.install)
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
