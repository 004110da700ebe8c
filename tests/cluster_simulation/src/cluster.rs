// SPDX-License-Identifier: GPL-2.0

//! A simulated cluster: its machines, its network, its clock, its trace.
//!
//! The cluster does nothing by itself but let time pass ([`Cluster::run_until`]); scenarios start,
//! crash, cut off and command its nodes in between.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use kcgcs_protocol::platform::BoundedVec;
use kcgcs_protocol::protocol::configuration::{Configuration, ValidConfiguration};
use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::identity::{
    EndpointId, GroupName, Identity, Incarnation, NodeId, PeerAddress,
};
use kcgcs_protocol::protocol::limits::{DATAGRAM_BYTES_MAX, HEARTBEAT_BYTES};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::Order;
use kcgcs_protocol::protocol::pulse::{Pulse, PulseVerdict};
use kcgcs_protocol::protocol::time::Instant;
use trace_checker::trace::{EventKind, GroupScope, TraceEvent};

use crate::chance::Chance;
use crate::event_queue::EventQueue;
use crate::host::{
    Alive, ENGINE_QUEUE_MAX, Endpoint, EngineInput, Host, WakeupCount, address_of, host_at,
};
use crate::network::{Network, NetworkOptions};
use crate::recorder::{Note, record};

/// The name that all simulated clusters have.
const CLUSTER_NAME: &[u8] = b"simulation";

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Decides everything.
    pub seed: u64,
    /// How many machines there are; they are numbered from 0, their nodes from 1.
    pub nodes: usize,
    /// Settings of all nodes.
    pub configuration: Configuration,
    /// The network at first.
    pub network: NetworkOptions,
    /// The mean time from an input to the engine's work item, in microseconds.
    pub engine_delay_mean_us: u64,
    /// The mean time by which timers are late, in microseconds.
    pub timer_delay_mean_us: u64,
    /// Whom each node's list of peers names; empty: everybody names everybody.
    pub peers: Vec<Vec<usize>>,
    /// The incarnation that a node's first life has at least.
    pub incarnation_base: u64,
}

impl ClusterOptions {
    /// A cluster with default settings in a perfect network.
    pub fn perfect(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            configuration: Configuration::DEFAULT,
            network: NetworkOptions::PERFECT,
            engine_delay_mean_us: 20,
            timer_delay_mean_us: 20,
            peers: Vec::new(),
            incarnation_base: 1,
        }
    }
}

/// What happens at some time.
enum Occurrence {
    Datagram {
        to: usize,
        from: PeerAddress,
        bytes: Rc<[u8]>,
    },
    PulseTimer {
        host: usize,
        life: u64,
    },
    EngineTimer {
        host: usize,
        life: u64,
    },
    EngineRun {
        host: usize,
        life: u64,
    },
}

impl Occurrence {
    fn host(&self) -> usize {
        match self {
            Occurrence::Datagram { to, .. } => *to,
            Occurrence::PulseTimer { host, .. }
            | Occurrence::EngineTimer { host, .. }
            | Occurrence::EngineRun { host, .. } => *host,
        }
    }
}

/// A simulated cluster.
pub struct Cluster {
    options: ClusterOptions,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The network between them.
    pub network: Network,
    /// All that happened.
    pub trace: Vec<TraceEvent>,
    /// What must not have happened, in words.
    pub faults: Vec<String>,
    /// How often a node told that a view change has begun.
    pub prepares: u64,
    /// How often a node went on under another incarnation.
    pub exclusions: u64,
    now: u64,
    queue: EventQueue<Occurrence>,
    chance: Chance,
}

impl Cluster {
    /// A cluster whose machines are all down.
    pub fn new(options: ClusterOptions) -> Self {
        let hosts = (0..options.nodes)
            .map(|number| Host {
                id: number as u16 + 1,
                address: address_of(number),
                peers: match options.peers.get(number) {
                    Some(list) => list.iter().copied().map(address_of).collect(),
                    None => (0..options.nodes).map(address_of).collect(),
                },
                alive: None,
                last_incarnation: options.incarnation_base,
                lives: 0,
                frozen_until: 0,
                sent: 0,
                queue_drops: 0,
            })
            .collect();
        let network = Network::new(
            options.nodes,
            options.network,
            Chance::new(options.seed, 1),
        );
        Self {
            hosts,
            network,
            trace: Vec::new(),
            faults: Vec::new(),
            prepares: 0,
            exclusions: 0,
            now: 0,
            queue: EventQueue::new(),
            chance: Chance::new(options.seed, 2),
            options,
        }
    }

    /// The virtual time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What the cluster is made of.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Lets everything happen that happens by `time`.
    pub fn run_until(&mut self, time: u64) {
        while let Some((at, what)) = self.queue.pop_until(time) {
            self.now = at.max(self.now);
            self.happen(what);
        }
        self.now = time.max(self.now);
    }

    /// Lets `span` nanoseconds pass.
    pub fn run_for(&mut self, span: u64) {
        self.run_until(self.now + span);
    }

    /// Lets time pass until `is_done`, but no longer than `span`; says whether it was.
    pub fn run_until_true(&mut self, span: u64, is_done: impl Fn(&Cluster) -> bool) -> bool {
        let limit = self.now + span;
        while !is_done(self) {
            let Some((at, what)) = self.queue.pop_until(limit) else {
                self.now = limit;
                return is_done(self);
            };
            self.now = at.max(self.now);
            self.happen(what);
        }
        true
    }

    fn happen(&mut self, what: Occurrence) {
        let frozen_until = self.hosts[what.host()].frozen_until;
        if frozen_until > self.now {
            self.queue.push(frozen_until, what);
            return;
        }
        match what {
            Occurrence::Datagram { to, from, bytes } => self.datagram(to, from, bytes),
            Occurrence::PulseTimer { host, life } => self.pulse_timer(host, life),
            Occurrence::EngineTimer { host, life } => self.engine_timer(host, life),
            Occurrence::EngineRun { host, life } => self.engine_run(host, life),
        }
    }

    // ---- what scenarios do ----------------------------------------------------------------------

    /// Starts the node of a machine that is down, under a new incarnation.
    pub fn start(&mut self, host: usize) {
        let now = Instant::from_nanoseconds(self.now);
        let seed = self.chance.number();
        let options = &self.options;
        let machine = &mut self.hosts[host];
        assert!(machine.alive.is_none(), "node {} runs already", machine.id);
        let incarnation = (machine.last_incarnation + 1)
            .max(options.incarnation_base.saturating_add(self.now / 1_000_000));
        let (Some(node), Ok(configuration)) = (
            NodeId::new(machine.id),
            ValidConfiguration::new(
                options.configuration,
                CLUSTER_NAME,
                machine.address,
                &machine.peers,
            ),
        ) else {
            panic!("the drawn configuration is not valid: {options:?}");
        };
        let identity = Identity {
            node,
            incarnation: Incarnation(incarnation),
        };
        let pulse = Pulse::new(identity, &configuration, now, seed);
        let Ok(node) = Node::new(identity, machine.address, configuration, now, seed) else {
            panic!("no memory for a node");
        };
        machine.last_incarnation = incarnation;
        machine.lives += 1;
        machine.frozen_until = 0;
        machine.alive = Some(Box::new(Alive {
            node,
            pulse,
            life: machine.lives,
            identity,
            queue: VecDeque::new(),
            engine_is_due: false,
            pulse_timer: None,
            engine_timer: None,
            changes: Vec::new(),
            members: Vec::new(),
            view_number: 0,
            endpoints: BTreeMap::new(),
            is_leaving: false,
            has_left: false,
            engine_wakeups: WakeupCount::default(),
            pulse_wakeups: WakeupCount::default(),
        }));
        self.write(host, EventKind::Start);
        self.drain_node(host);
    }

    /// Stops a machine without a word. Nothing happens if it is down.
    pub fn crash(&mut self, host: usize) {
        if self.hosts[host].alive.is_some() {
            self.write(host, EventKind::Crash);
            self.hosts[host].alive = None;
            self.hosts[host].frozen_until = 0;
        }
    }

    /// Lets a machine do nothing at all until `time`.
    pub fn freeze(&mut self, host: usize, time: u64) {
        self.hosts[host].frozen_until = time;
    }

    /// Tells a node to leave the cluster.
    pub fn leave(&mut self, host: usize) {
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            if alive.is_leaving {
                return;
            }
            alive.is_leaving = true;
            self.write(
                host,
                EventKind::Leave {
                    scope: None,
                    done: false,
                },
            );
            self.command(host, |node, now| node.leave_cluster(now));
        }
    }

    /// Makes a member of the group on the node; `None` if it is down or refuses.
    pub fn join_group(&mut self, host: usize, group: &Arc<str>) -> Option<EndpointId> {
        let name = GroupName::new(group.as_bytes())?;
        let alive = self.hosts[host].alive.as_mut()?;
        let joined = alive
            .node
            .join_group(Instant::from_nanoseconds(self.now), name);
        let endpoint = match joined {
            Ok(endpoint) => endpoint,
            Err(CommandError::Stopped) => return None,
            Err(other) => {
                self.fault(host, &format!("joining {group} was refused: {other:?}"));
                return None;
            }
        };
        alive.endpoints.insert(
            endpoint,
            Endpoint {
                group: Arc::clone(group),
                view: None,
                accepted: 0,
                sent: 0,
                is_leaving: false,
            },
        );
        self.drain_node(host);
        Some(endpoint)
    }

    /// Ends a membership.
    pub fn leave_group(&mut self, host: usize, endpoint: EndpointId) {
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        let Some(state) = alive.endpoints.get_mut(&endpoint) else {
            return;
        };
        if std::mem::replace(&mut state.is_leaving, true) {
            return;
        }
        let scope = Some(GroupScope {
            group: Arc::clone(&state.group),
            endpoint: Some(endpoint.0),
        });
        self.write(host, EventKind::Leave { scope, done: false });
        let mut result = Ok(());
        self.command(host, |node, now| result = node.leave_group(now, endpoint));
        if let Err(why) = result {
            if why != CommandError::Stopped {
                self.fault(host, &format!("leaving was refused: {why:?}"));
            }
        }
    }

    /// Sends `length` drawn bytes; says what became of it.
    pub fn multicast(
        &mut self,
        host: usize,
        endpoint: EndpointId,
        order: Order,
        length: usize,
    ) -> Result<(), CommandError> {
        let mut payload = BoundedVec::with_capacity(length).map_err(CommandError::from)?;
        let mut word = self.chance.number();
        for place in 0..length {
            if place % 8 == 0 {
                word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
            if payload.push((word >> (8 * (place % 8))) as u8).is_err() {
                break;
            }
        }
        let mut result = Ok(());
        let mut payload = Some(payload);
        if self.hosts[host].alive.is_none() {
            return Err(CommandError::Stopped);
        }
        self.command(host, |node, now| {
            if let Some(payload) = payload.take() {
                result = node
                    .multicast(now, endpoint, order, payload)
                    .map_err(|(why, _)| why);
            }
        });
        let alive = self.hosts[host].alive.as_mut();
        if let Some(state) = alive.and_then(|alive| alive.endpoints.get_mut(&endpoint)) {
            state.accepted += u64::from(result.is_ok());
        }
        result
    }

    /// Adds something that must not have happened.
    pub fn fault(&mut self, host: usize, what: &str) {
        if self.faults.len() < 20 {
            self.faults.push(format!(
                "at {}.{:06} ms, node {}: {what}",
                self.now / 1_000_000,
                self.now % 1_000_000,
                self.hosts[host].id
            ));
        }
    }

    // ---- what the shell does --------------------------------------------------------------------

    fn command(&mut self, host: usize, run: impl FnOnce(&mut Node, Instant)) {
        let now = Instant::from_nanoseconds(self.now);
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            run(&mut alive.node, now);
            self.drain_node(host);
        }
    }

    fn write(&mut self, host: usize, kind: EventKind) {
        let machine = &self.hosts[host];
        self.trace.push(TraceEvent {
            t: self.now,
            node: machine.id,
            incarnation: machine
                .alive
                .as_ref()
                .map_or(machine.last_incarnation, |alive| alive.identity.incarnation.0),
            kind,
        });
    }

    fn datagram(&mut self, to: usize, from: PeerAddress, bytes: Rc<[u8]>) {
        let now = Instant::from_nanoseconds(self.now);
        let machine = &mut self.hosts[to];
        let Some(alive) = machine.alive.as_mut() else {
            return;
        };
        if alive.pulse.handle_datagram(now, from, &bytes) == PulseVerdict::ForEngine {
            if alive.queue.len() < ENGINE_QUEUE_MAX {
                alive.queue.push_back(EngineInput::Datagram(from, bytes));
            } else {
                machine.queue_drops += 1;
            }
        }
        self.drain_pulse(to);
    }

    fn pulse_timer(&mut self, host: usize, life: u64) {
        let now = self.now;
        let Some(alive) = self.alive(host, life) else {
            return;
        };
        if alive.pulse_timer.is_none_or(|due| due > now) {
            return;
        }
        alive.pulse_timer = None;
        alive.pulse.handle_timer(Instant::from_nanoseconds(now));
        if alive.pulse_wakeups.is_busy_loop(now) {
            alive.pulse_timer = Some(u64::MAX);
            self.fault(host, "the pulse wants to be woken again and again");
            return;
        }
        self.drain_pulse(host);
    }

    fn engine_timer(&mut self, host: usize, life: u64) {
        let now = self.now;
        let Some(alive) = self.alive(host, life) else {
            return;
        };
        if alive.engine_timer.is_none_or(|due| due > now) {
            return;
        }
        alive.engine_timer = None;
        alive.queue.push_back(EngineInput::Deadline);
        self.schedule_engine(host);
    }

    fn engine_run(&mut self, host: usize, life: u64) {
        let now = self.now;
        let instant = Instant::from_nanoseconds(now);
        let Some(alive) = self.alive(host, life) else {
            return;
        };
        alive.engine_is_due = false;
        // What comes while this runs waits for the next run.
        for _ in 0..alive.queue.len() {
            let Some(alive) = self.alive(host, life) else {
                return;
            };
            match alive.queue.pop_front() {
                None => break,
                Some(EngineInput::Datagram(from, bytes)) => {
                    alive.node.handle_datagram(instant, from, &bytes);
                }
                Some(EngineInput::Report(report)) => {
                    alive.node.handle_pulse_report(instant, report);
                }
                Some(EngineInput::Deadline) => {
                    alive.node.handle_deadline(instant);
                    if alive.engine_wakeups.is_busy_loop(now) {
                        alive.engine_timer = Some(u64::MAX);
                        let reason = alive.node.next_deadline();
                        let what = format!("the engine wants to be woken again and again: {reason:?}");
                        self.fault(host, &what);
                        return;
                    }
                }
            }
            self.drain_node(host);
        }
    }

    fn alive(&mut self, host: usize, life: u64) -> Option<&mut Alive> {
        self.hosts[host]
            .alive
            .as_deref_mut()
            .filter(|alive| alive.life == life)
    }

    fn send(&mut self, host: usize, to: PeerAddress, bytes: &[u8]) {
        self.hosts[host].sent += 1;
        let target = host_at(to);
        if target >= self.hosts.len() {
            self.fault(host, &format!("a datagram was sent to {to:?}, which is nobody"));
            return;
        }
        let shared: Rc<[u8]> = Rc::from(bytes);
        let from = self.hosts[host].address;
        let arrivals = self.network.arrivals(self.now, host, target);
        for arrival in arrivals.into_iter().flatten() {
            self.queue.push(
                arrival,
                Occurrence::Datagram {
                    to: target,
                    from,
                    bytes: Rc::clone(&shared),
                },
            );
        }
    }

    /// All that the pulse has to say, and its timer.
    fn drain_pulse(&mut self, host: usize) {
        let now = Instant::from_nanoseconds(self.now);
        let mut buffer = [0_u8; HEARTBEAT_BYTES];
        while let Some(transmit) = self.hosts[host]
            .alive
            .as_mut()
            .and_then(|alive| alive.pulse.poll_transmit(now, &mut buffer))
        {
            self.send(host, transmit.to, &buffer[..transmit.length]);
        }
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        while let Some(report) = alive.pulse.poll_report() {
            if alive.queue.len() < ENGINE_QUEUE_MAX {
                alive.queue.push_back(EngineInput::Report(report));
            }
        }
        let due = alive.pulse.next_deadline().map(Instant::as_nanoseconds);
        let life = alive.life;
        if alive.pulse_timer != due && alive.pulse_timer != Some(u64::MAX) {
            alive.pulse_timer = due;
            if let Some(due) = due {
                let late = self.chance.exponential(self.options.timer_delay_mean_us * 1_000);
                self.queue
                    .push(due.max(self.now) + late, Occurrence::PulseTimer { host, life });
            }
        }
        self.schedule_engine(host);
    }

    fn schedule_engine(&mut self, host: usize) {
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        if !alive.queue.is_empty() && !alive.engine_is_due {
            alive.engine_is_due = true;
            let life = alive.life;
            let late = self.chance.exponential(self.options.engine_delay_mean_us * 1_000);
            self.queue
                .push(self.now + late, Occurrence::EngineRun { host, life });
        }
    }

    /// All that the node has to say, in the order of its contract, and its timer.
    fn drain_node(&mut self, host: usize) {
        let now = Instant::from_nanoseconds(self.now);
        let mut buffer = [0_u8; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = self.hosts[host]
            .alive
            .as_mut()
            .and_then(|alive| alive.node.poll_transmit(&mut buffer))
        {
            self.send(host, transmit.to, &buffer[..transmit.length]);
        }
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            while let Some(assignment) = alive.node.poll_assignment() {
                alive.pulse.install(now, &assignment);
            }
        }
        self.take_events(host);
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return;
        };
        let due = alive
            .node
            .next_deadline()
            .map(|(due, _)| due.as_nanoseconds());
        let life = alive.life;
        if alive.engine_timer != due && alive.engine_timer != Some(u64::MAX) {
            alive.engine_timer = due;
            if let Some(due) = due {
                let late = self.chance.exponential(self.options.timer_delay_mean_us * 1_000);
                self.queue
                    .push(due.max(self.now) + late, Occurrence::EngineTimer { host, life });
            }
        }
        self.drain_pulse(host);
    }

    fn take_events(&mut self, host: usize) {
        loop {
            let Some(alive) = self.hosts[host].alive.as_deref_mut() else {
                return;
            };
            let Some(event) = alive.node.poll_event() else {
                return;
            };
            let note = record(self.now, alive, event, &mut self.trace);
            let incarnation = alive.identity.incarnation.0;
            match note {
                None => {}
                Some(Note::Prepare) => self.prepares += 1,
                Some(Note::Excluded) => {
                    self.exclusions += 1;
                    let machine = &mut self.hosts[host];
                    if incarnation <= machine.last_incarnation {
                        let what = format!("excluded, and goes on under {incarnation} again");
                        self.fault(host, &what);
                    } else {
                        machine.last_incarnation = incarnation;
                    }
                }
                Some(Note::Left) => alive.has_left = true,
                Some(Note::Unexpected(what)) => self.fault(host, &what),
            }
            let machine = &mut self.hosts[host];
            let has_left = machine.alive.as_ref().is_some_and(|alive| alive.has_left);
            if has_left {
                machine.alive = None;
                return;
            }
        }
    }
}
