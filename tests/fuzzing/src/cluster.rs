// SPDX-License-Identifier: GPL-2.0

//! A few nodes, a network that loses only the datagrams that an input names, and the checks after every input.

use std::collections::{BTreeMap, BTreeSet};

use kcgcs_protocol::protocol::configuration::ValidConfiguration;
use kcgcs_protocol::protocol::failure_detector::FailureDetector;
use kcgcs_protocol::protocol::identity::{
    EndpointId, Identity, Incarnation, NodeId, PeerAddress, ViewNumber,
};
use kcgcs_protocol::protocol::limits::{DATAGRAM_BYTES_MAX, DETECTOR_BYTES_MAX, NODES_MAX};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::Event;
use kcgcs_protocol::protocol::time::{Duration, Instant};
use kcgcs_protocol::protocol::view::ClusterView;

use crate::mode::Mode;
use crate::promises::Promises;

/// The cluster's name.
pub(crate) const NAME: &[u8] = b"fuzz";
/// One-way delay of the network.
const DELAY: Duration = Duration::from_microseconds(100);
/// The most datagrams, or events, after one input: a few for each node that a view could have.
const OUTPUTS_MAX: usize = 8 * NODES_MAX;
/// The most deadlines at one time.
const STANDSTILL_MAX: u32 = 200;
/// The tenths of a second within which nodes without faults must be in one view. Most of that time nodes wait that have
/// rejoined from another component several times.
const ROUNDS_TO_AGREE: u32 = 200;
/// The number of datagrams that are kept to be changed and sent again.
const SAMPLES_MAX: usize = 64;

/// A node, its failure detector, and its consumers' endpoints.
pub(crate) struct Machine {
    pub(crate) node: Node,
    pub(crate) failure_detector: FailureDetector,
    pub(crate) endpoints: BTreeSet<EndpointId>,
    pub(crate) incarnation: u64,
    pub(crate) is_up: bool,
    /// Whether it has left or was evicted.
    pub(crate) is_gone: bool,
    standstill: (Instant, u32),
}

struct Flight {
    from: PeerAddress,
    to: usize,
    bytes: Vec<u8>,
}

/// The nodes, and the network between them.
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) machines: Vec<Machine>,
    /// Some datagrams that were sent before.
    pub(crate) samples: Vec<Vec<u8>>,
    /// The number of the next datagrams that are lost.
    pub(crate) to_lose: u32,
    /// The number of datagrams that have arrived.
    pub(crate) arrived: u64,
    /// The component of the network that each node is in.
    pub(crate) sides: Vec<u8>,
    /// Whether only datagrams from lower components to higher ones are lost.
    pub(crate) is_cut_one_way: bool,
    /// The checks of the promises about views.
    pub(crate) promises: Promises,
    mode: Mode,
    flights: BTreeMap<(Instant, u64), Flight>,
    flight_number: u64,
}

/// The address of the node in this place. Places behind the last node are strangers.
pub(crate) fn address(place: usize) -> PeerAddress {
    let octets = [10, 0, (place >> 8) as u8, place as u8 + 1];
    PeerAddress::from_socket_address(std::net::SocketAddr::from((octets, 5407)))
}

fn machine(place: usize, incarnation: u64, now: Instant, mode: Mode) -> Machine {
    let identity = Identity {
        node: NodeId::new(place as u16 + 1).expect("the number is not zero"),
        incarnation: Incarnation(incarnation),
    };
    let peers: Vec<_> = (0..mode.nodes()).map(address).collect();
    let settings = || {
        ValidConfiguration::new(mode.settings(), NAME, address(place), &peers)
            .expect("the settings are valid")
    };
    let seed = incarnation << 8 | place as u64;
    Machine {
        failure_detector: FailureDetector::new(identity, &settings(), now, seed)
            .expect("there is memory"),
        node: Node::new(identity, address(place), settings(), now, seed).expect("there is memory"),
        endpoints: BTreeSet::new(),
        incarnation,
        is_up: true,
        is_gone: false,
        standstill: (now, 0),
    }
}

impl Cluster {
    /// Nodes that begin to look for each other.
    pub(crate) fn new(mode: Mode) -> Self {
        let now = Instant::from_nanoseconds(10_000_000_000);
        Self {
            now,
            machines: (0..mode.nodes())
                .map(|place| machine(place, 1, now, mode))
                .collect(),
            samples: Vec::new(),
            to_lose: 0,
            arrived: 0,
            sides: vec![0; mode.nodes()],
            is_cut_one_way: false,
            promises: Promises::default(),
            mode,
            flights: BTreeMap::new(),
            flight_number: 0,
        }
    }

    /// Nodes that have a view.
    pub(crate) fn formed(mode: Mode) -> Self {
        let mut cluster = Self::new(mode);
        while cluster.machines[0]
            .node
            .view()
            .is_none_or(|view| view.count() < mode.nodes())
        {
            cluster.run_for(Duration::from_milliseconds(10));
        }
        cluster.run_for(Duration::from_milliseconds(200));
        cluster
    }

    /// The place of the last node.
    pub(crate) fn last(&self) -> usize {
        self.machines.len() - 1
    }

    /// The lineage that datagrams to the node in this place must carry.
    pub(crate) fn lineage_of(&self, place: usize) -> u16 {
        let view = self.machines[place].node.view();
        let view = view.filter(|_| self.mode.is_partitionable);
        view.map_or(0, |view| view.lineage())
    }

    /// End all faults, start nodes that are down, and require that all nodes come into one primary view.
    pub(crate) fn come_together(&mut self) {
        self.to_lose = 0;
        self.sides.fill(0);
        for _ in 0..ROUNDS_TO_AGREE {
            for place in 0..self.machines.len() {
                // A node that was asked to leave may only leave now, so this is checked each time.
                if !self.machines[place].is_up || self.machines[place].is_gone {
                    self.restart(place);
                }
            }
            self.run_for(Duration::from_milliseconds(100));
            if self.is_together() {
                return;
            }
        }
        let views = self.machines.iter().map(|machine| {
            let view = machine.node.view();
            let members = |view: &ClusterView| -> Vec<_> {
                view.members().iter().map(|m| m.identity).collect()
            };
            view.map(|view| (view.name(), view.is_primary, members(view)))
        });
        panic!(
            "L1: the nodes are not in one primary view: {:?}",
            views.collect::<Vec<_>>()
        );
    }

    fn is_together(&self) -> bool {
        let names = self.machines.iter().map(|machine| {
            let view = machine.node.view()?;
            (view.is_primary && view.count() == self.machines.len()).then(|| view.name())
        });
        let names: BTreeSet<_> = names.collect();
        names.len() == 1 && !names.contains(&None)
    }

    /// The view of the node in this place.
    pub(crate) fn view_of(&self, place: usize) -> ViewNumber {
        let view = self.machines[place].node.view();
        view.map_or(ViewNumber::default(), |view| view.number)
    }

    /// Start the next incarnation of the node.
    pub(crate) fn restart(&mut self, place: usize) {
        let last = self.machines[place].incarnation;
        let own = self.machines[place].node.identity().incarnation.0;
        // Forged answers may have driven it to the largest incarnation.
        let Some(next) = last.max(own).checked_add(1) else {
            return;
        };
        self.machines[place] = machine(place, next, self.now, self.mode);
        self.promises.note_restart();
        self.drain(place);
    }

    /// Run for `span`.
    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now.after(span);
        while self.step(end) {}
        self.now = end;
    }

    fn step(&mut self, end: Instant) -> bool {
        let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
        let up = self.machines.iter().enumerate();
        let wake = up
            .filter(|(_, machine)| machine.is_up)
            .filter_map(|(place, machine)| {
                let node = machine.node.next_deadline().map(|(at, _)| at);
                let first = node
                    .into_iter()
                    .chain(machine.failure_detector.next_deadline())
                    .min()?;
                Some((first.max(self.now), place))
            })
            .min();
        let next = flight.into_iter().chain(wake.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if flight.is_some_and(|at| at <= next) {
            if let Some((_, flight)) = self.flights.pop_first() {
                self.arrive(flight.from, flight.to, &flight.bytes);
            }
        } else if let Some((_, place)) = wake {
            self.wake(place);
        }
        true
    }

    /// Handle the deadline of the node or of its failure detector.
    fn wake(&mut self, place: usize) {
        let now = self.now;
        let machine = &mut self.machines[place];
        if machine.standstill.0 == now {
            machine.standstill.1 += 1;
            let (count, next) = (machine.standstill.1, machine.node.next_deadline());
            assert!(
                count < STANDSTILL_MAX,
                "a deadline does not advance: {next:?}"
            );
        } else {
            machine.standstill = (now, 0);
        }
        machine.failure_detector.handle_timer(now);
        machine.node.handle_deadline(now);
        self.drain(place);
    }

    /// Deliver a datagram to the node in this place.
    pub(crate) fn arrive(&mut self, from: PeerAddress, place: usize, bytes: &[u8]) {
        let now = self.now;
        let machine = &mut self.machines[place];
        if !machine.is_up {
            return;
        }
        self.arrived += 1;
        if machine
            .failure_detector
            .handle_datagram(now, from, bytes)
            .is_for_engine()
        {
            machine.node.handle_datagram(now, from, bytes);
        }
        self.drain(place);
    }

    /// Poll all outputs of a node and check them.
    pub(crate) fn drain(&mut self, place: usize) {
        let now = self.now;
        let mut sent = Vec::new();
        let mut events = 0;
        let machine = &mut self.machines[place];
        let (mut buffer, mut heartbeat) = ([0; DATAGRAM_BYTES_MAX], [0; DETECTOR_BYTES_MAX]);
        loop {
            let mut is_quiet = true;
            while let Some(report) = machine.failure_detector.poll_report() {
                is_quiet = false;
                machine.node.handle_detector_report(now, report);
            }
            if let Some(assignment) = machine.node.poll_assignment() {
                is_quiet = false;
                let view = machine.node.view();
                let members = view.map_or(&[][..], |view| view.members());
                machine.failure_detector.install(now, &assignment, members);
            }
            while let Some(transmit) = machine.node.poll_transmit(&mut buffer) {
                is_quiet = false;
                sent.push((transmit.to, buffer[..transmit.length].to_vec()));
                assert!(sent.len() < OUTPUTS_MAX, "datagrams without end");
            }
            while let Some(transmit) = machine.failure_detector.poll_transmit(now, &mut heartbeat) {
                is_quiet = false;
                sent.push((transmit.to, heartbeat[..transmit.length].to_vec()));
                assert!(sent.len() < OUTPUTS_MAX, "heartbeats without end");
            }
            while let Some(event) = machine.node.poll_event() {
                is_quiet = false;
                events += 1;
                assert!(events < OUTPUTS_MAX, "events without end");
                hear(&mut machine.endpoints, &event);
                machine.is_gone |= matches!(event, Event::Left | Event::Evicted { .. });
                if self.mode.is_honest() {
                    self.promises.hear(&machine.node, &event);
                }
            }
            if is_quiet {
                break;
            }
        }
        assert!(!machine.node.is_broken(), "a broken invariant");
        for (to, bytes) in sent {
            self.send(address(place), to, bytes);
        }
    }

    fn is_cut(&self, from: PeerAddress, to: usize) -> bool {
        let from = (0..self.machines.len()).find(|place| address(*place) == from);
        let (from, to) = (from.map(|place| self.sides[place]), Some(self.sides[to]));
        from < to || from > to && !self.is_cut_one_way
    }

    fn send(&mut self, from: PeerAddress, to: PeerAddress, bytes: Vec<u8>) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(bytes.clone());
        } else {
            let place = self.flight_number as usize % SAMPLES_MAX;
            self.samples[place].clone_from(&bytes);
        }
        self.flight_number += 1;
        if self.to_lose > 0 {
            self.to_lose -= 1;
            return;
        }
        if let Some(to) = (0..self.machines.len()).find(|place| address(*place) == to) {
            if self.is_cut(from, to) {
                return;
            }
            let key = (self.now.after(DELAY), self.flight_number);
            self.flights.insert(key, Flight { from, to, bytes });
        }
    }
}

/// Require that an event for an endpoint is for one that exists.
fn hear(endpoints: &mut BTreeSet<EndpointId>, event: &Event) {
    match event {
        Event::GroupView { endpoint, .. }
        | Event::GroupExcluded { endpoint, .. }
        | Event::Block { endpoint }
        | Event::Deliver { endpoint, .. }
        | Event::Sent { endpoint, .. }
        | Event::Writable { endpoint } => {
            assert!(endpoints.contains(endpoint), "no such endpoint: {event:?}");
        }
        Event::GroupLeft { endpoint, .. }
        | Event::GroupClosed { endpoint, .. }
        | Event::GroupRefused { endpoint, .. } => {
            assert!(endpoints.remove(endpoint), "no such endpoint: {event:?}");
        }
        _ => {}
    }
}
