// SPDX-License-Identifier: GPL-2.0

//! A few nodes in simulated time, connected by a network that has only the faults a test injects.
//! Large clusters and random faults are the business of `tests/cluster_simulation`.

#![allow(dead_code)] // each test file uses some of it

pub(crate) mod groups;

use std::collections::BTreeMap;

use kcgcs_protocol::platform::BoundedVec;
use kcgcs_protocol::protocol::configuration::{Configuration, ValidConfiguration};
use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::failure_detector::{DetectorReport, FailureDetector};
use kcgcs_protocol::protocol::group::LeaveMode;
use kcgcs_protocol::protocol::group_properties::GroupProperties;
use kcgcs_protocol::protocol::identity::{
    fnv1a_64, EndpointId, GroupName, Identity, Incarnation, NodeId, PeerAddress, ViewName,
    ViewNumber,
};
use kcgcs_protocol::protocol::limits::{DATAGRAM_BYTES_MAX, DETECTOR_BYTES_MAX};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::{Event, Order};
use kcgcs_protocol::protocol::time::{Duration, Instant};

/// One-way delay of the network.
const DELAY: Duration = Duration::from_microseconds(100);

/// A node, its failure detector, and the events it has reported.
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) failure_detector: FailureDetector,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) is_up: bool,
    pub(crate) datagrams_sent: u64,
}

impl Host {
    /// The group view that a handle was shown last. View 0 of this node: none.
    pub(crate) fn shown_view(&self, endpoint: EndpointId) -> ViewName {
        let events = self.events.iter().rev();
        let mut views = events.filter_map(|(_, event)| match event {
            Event::GroupView {
                endpoint: to, view, ..
            } if *to == endpoint => Some(ViewName {
                number: view.number,
                issuer: view.coordinator,
            }),
            _ => None,
        });
        views.next().unwrap_or(ViewName {
            number: ViewNumber(0),
            issuer: self.node.identity().node,
        })
    }
}

/// A datagram on its way.
struct Flight {
    from: PeerAddress,
    to: PeerAddress,
    bytes: Vec<u8>,
}

/// Whether a datagram from the first node to the second one arrives.
pub(crate) type Filter = Box<dyn FnMut(u16, u16, &[u8]) -> bool>;

/// The nodes of a test and the network between them.
pub(crate) struct Lab {
    pub(crate) now: Instant,
    pub(crate) hosts: BTreeMap<u16, Host>,
    settings: Configuration,
    count: u16,
    flights: BTreeMap<(Instant, u64), Flight>,
    flight_number: u64,
    pub(crate) filter: Filter,
}

/// The address of node `number`.
pub(crate) fn address(number: u16) -> PeerAddress {
    let [high, low] = number.to_be_bytes();
    PeerAddress::from_socket_address(std::net::SocketAddr::from(([10, 0, high, low], 5407)))
}

fn number_of(address: PeerAddress) -> u16 {
    u16::from_be_bytes([address.octets[14], address.octets[15]])
}

impl Lab {
    /// Nodes 1 to `count`, all started now.
    pub(crate) fn new(count: u16, settings: Configuration) -> Self {
        let mut lab = Self::without_nodes(count, settings);
        for number in 1..=count {
            lab.start(number, 1);
        }
        lab
    }

    /// Nodes 1 to `count` in one view that has not changed for a second, and their numbers.
    pub(crate) fn formed(count: u16) -> (Self, Vec<u16>) {
        Self::formed_with(count, Configuration::DEFAULT)
    }

    /// As [`Self::formed`], with these settings.
    pub(crate) fn formed_with(count: u16, settings: Configuration) -> (Self, Vec<u16>) {
        let all: Vec<u16> = (1..=count).collect();
        let mut lab = Self::new(count, settings);
        lab.run_until(5_000, "one view of all", |lab| lab.agree(&all));
        lab.run_for(1_000);
        (lab, all)
    }

    /// A network for `count` nodes, none of which has been started.
    pub(crate) fn without_nodes(count: u16, settings: Configuration) -> Self {
        Self {
            now: Instant::from_nanoseconds(1_000_000_000),
            hosts: BTreeMap::new(),
            settings,
            count,
            flights: BTreeMap::new(),
            flight_number: 0,
            filter: Box::new(|_, _, _| true),
        }
    }

    /// Start an incarnation of a node.
    pub(crate) fn start(&mut self, number: u16, incarnation: u64) {
        let settings = self.settings;
        self.start_with(number, incarnation, settings);
    }

    /// Start an incarnation of a node with settings of its own.
    pub(crate) fn start_with(&mut self, number: u16, incarnation: u64, settings: Configuration) {
        let identity = Identity {
            node: NodeId::new(number).unwrap(),
            incarnation: Incarnation(incarnation),
        };
        let peers: Vec<_> = (1..=self.count).map(address).collect();
        let own = address(number);
        let make = || ValidConfiguration::new(settings, b"lab", own, &peers).unwrap();
        let seed = u64::from(number) << 32 | incarnation;
        let host = Host {
            failure_detector: FailureDetector::new(identity, &make(), self.now, seed).unwrap(),
            node: Node::new(identity, own, make(), self.now, seed).unwrap(),
            events: Vec::new(),
            is_up: true,
            datagrams_sent: 0,
        };
        self.hosts.insert(number, host);
        self.drain(number);
    }

    /// Crash a node: it handles and sends nothing from now on.
    pub(crate) fn crash(&mut self, number: u16) {
        self.host(number).is_up = false;
    }

    pub(crate) fn host(&mut self, number: u16) -> &mut Host {
        self.hosts.get_mut(&number).unwrap()
    }

    /// The numbers of the nodes in this node's view; none if it has no view.
    pub(crate) fn members(&self, number: u16) -> Vec<u16> {
        let view = self.hosts[&number].node.view();
        view.map_or(Vec::new(), |view| {
            let members = view.members().iter();
            members
                .map(|member| member.identity.node.number())
                .collect()
        })
    }

    /// The number of this node's view. Panics if it has none.
    pub(crate) fn view_number(&self, number: u16) -> u64 {
        self.hosts[&number].node.view().unwrap().number.0
    }

    /// Whether all of `numbers` are in the same view, and it has no other members.
    pub(crate) fn agree(&self, numbers: &[u16]) -> bool {
        let mut views = numbers.iter().map(|number| {
            let view = self.hosts[number].node.view();
            (
                self.members(*number),
                view.map(|view| (view.number, view.issuer)),
            )
        });
        let Some(first) = views.next() else {
            return true;
        };
        first.0 == numbers && views.all(|view| view == first)
    }

    /// Run until `condition` holds, and return the time then. Panics after `limit_ms`.
    pub(crate) fn run_until(
        &mut self,
        limit_ms: u64,
        what: &str,
        condition: impl Fn(&Lab) -> bool,
    ) -> Instant {
        let limit = self.now.after(Duration::from_milliseconds(limit_ms));
        while !condition(self) {
            assert!(
                self.step(limit),
                "not within {limit_ms} ms: {what}\n{}",
                self.describe()
            );
        }
        self.now
    }

    /// Run for `span_ms`.
    pub(crate) fn run_for(&mut self, span_ms: u64) {
        let limit = self.now.after(Duration::from_milliseconds(span_ms));
        while self.step(limit) {}
        self.now = limit;
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (number, host) in &self.hosts {
            let view = host.node.view().map(|view| view.number);
            text += &format!(
                "node {number}: up {}, view {view:?} of {:?}, quorum {}, next {:?}, last events {:?}\n",
                host.is_up,
                self.members(*number),
                host.node.has_quorum(),
                host.node.next_deadline(),
                host.events.iter().rev().take(6).collect::<Vec<_>>(),
            );
        }
        text
    }

    /// Process the next arrival or deadline, unless it comes after `limit`.
    fn step(&mut self, limit: Instant) -> bool {
        let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
        let wake = self
            .hosts
            .iter()
            .filter(|(_, host)| host.is_up)
            .filter_map(|(number, host)| {
                let node = host.node.next_deadline().map(|(at, _)| at);
                let at = node
                    .into_iter()
                    .chain(host.failure_detector.next_deadline())
                    .min()?;
                Some((at, *number))
            })
            .min();
        let next = flight.into_iter().chain(wake.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|at| *at <= limit) else {
            return false;
        };
        self.now = self.now.max(next);
        if flight == Some(next) {
            let (_, flight) = self.flights.pop_first().unwrap();
            self.arrive(flight);
        } else if let Some((_, number)) = wake {
            let now = self.now;
            let host = self.host(number);
            host.failure_detector.handle_timer(now);
            host.node.handle_deadline(now);
            self.drain(number);
        }
        true
    }

    fn arrive(&mut self, flight: Flight) {
        let (number, now) = (number_of(flight.to), self.now);
        let Some(host) = self.hosts.get_mut(&number).filter(|host| host.is_up) else {
            return;
        };
        if host
            .failure_detector
            .handle_datagram(now, flight.from, &flight.bytes)
            .is_for_engine()
        {
            host.node.handle_datagram(now, flight.from, &flight.bytes);
        }
        self.drain(number);
    }

    /// Poll all outputs of a node until there are none, and send its datagrams through the filter.
    fn drain(&mut self, number: u16) {
        let now = self.now;
        let mut out = Vec::new();
        let host = self.hosts.get_mut(&number).unwrap();
        let (mut buffer, mut heartbeat) = ([0; DATAGRAM_BYTES_MAX], [0; DETECTOR_BYTES_MAX]);
        loop {
            let mut is_quiet = true;
            while let Some(report) = host.failure_detector.poll_report() {
                is_quiet = false;
                host.node.handle_detector_report(now, report);
            }
            if let Some(assignment) = host.node.poll_assignment() {
                is_quiet = false;
                let members = host.node.view().map_or(&[][..], |view| view.members());
                host.failure_detector.install(now, &assignment, members);
            }
            while let Some(transmit) = host.node.poll_transmit(&mut buffer) {
                is_quiet = false;
                out.push((transmit.to, buffer[..transmit.length].to_vec()));
            }
            while let Some(transmit) = host.failure_detector.poll_transmit(now, &mut heartbeat) {
                is_quiet = false;
                out.push((transmit.to, heartbeat[..transmit.length].to_vec()));
            }
            while let Some(event) = host.node.poll_event() {
                is_quiet = false;
                host.events.push((now, event));
            }
            if is_quiet {
                break;
            }
        }
        host.datagrams_sent += out.len() as u64;
        for (to, bytes) in out {
            if (self.filter)(number, number_of(to), &bytes) {
                self.flight_number += 1;
                let key = (now.after(DELAY), self.flight_number);
                let from = address(number);
                self.flights.insert(key, Flight { from, to, bytes });
            }
        }
    }

    /// Deliver a forged datagram to node `to` at once.
    pub(crate) fn inject(&mut self, from: PeerAddress, to: u16, bytes: Vec<u8>) {
        self.arrive(Flight {
            from,
            to: address(to),
            bytes,
        });
    }

    /// Call `command` on a node, and drain its outputs.
    pub(crate) fn command<R>(
        &mut self,
        number: u16,
        command: impl FnOnce(&mut Node, Instant) -> R,
    ) -> R {
        let now = self.now;
        let result = command(&mut self.host(number).node, now);
        self.drain(number);
        result
    }

    /// Whether a node has reported an event for which `wanted` holds.
    pub(crate) fn has_reported(&self, number: u16, wanted: impl Fn(&Event) -> bool) -> bool {
        let mut events = self.hosts[&number].events.iter();
        events.any(|(_, event)| wanted(event))
    }

    /// Create a handle of this node in the group `name`. It need not be admitted yet.
    pub(crate) fn join(&mut self, number: u16, name: &[u8]) -> EndpointId {
        let now = self.now;
        let name = GroupName::new(name).unwrap();
        let endpoint = self
            .host(number)
            .node
            .join_group(now, name, GroupProperties::DEFAULT)
            .unwrap();
        self.drain(number);
        endpoint
    }

    /// Ask that a handle leave its group. `Event::GroupLeft` reports when it has left.
    pub(crate) fn leave(&mut self, number: u16, endpoint: EndpointId) {
        let now = self.now;
        self.host(number)
            .node
            .leave_group(now, endpoint, LeaveMode::SendFirst)
            .unwrap();
        self.drain(number);
    }

    /// Multicast a message from a handle. Fails if its window is full or the message is too long.
    pub(crate) fn multicast(
        &mut self,
        number: u16,
        endpoint: EndpointId,
        payload: &[u8],
    ) -> Result<(), CommandError> {
        self.multicast_in(number, endpoint, Order::Agreed, payload)
    }

    /// Multicasts in an order.
    pub(crate) fn multicast_in(
        &mut self,
        number: u16,
        endpoint: EndpointId,
        order: Order,
        payload: &[u8],
    ) -> Result<(), CommandError> {
        let mut bytes = BoundedVec::with_capacity(payload.len()).unwrap();
        bytes.extend_from_slice(payload).unwrap();
        let call_view = self.hosts[&number].shown_view(endpoint);
        self.command(number, |node, now| {
            node.multicast(now, endpoint, order, call_view, bytes)
        })
        .map_err(|(error, _)| error)
    }

    /// Have the failure detector of node `by` declare `subject` dead.
    pub(crate) fn declare_dead(&mut self, by: u16, subject: u16) {
        let report = DetectorReport::Dead {
            subject: self.hosts[&subject].node.identity(),
            silence_ms: 275,
        };
        self.command(by, |node, now| node.handle_detector_report(now, report));
    }

    /// Cut node `number` off from all others.
    pub(crate) fn isolate(&mut self, number: u16) {
        self.filter = Box::new(move |from, to, _| (from == number) == (to == number));
    }

    /// Let every datagram arrive from now on.
    pub(crate) fn heal(&mut self) {
        self.filter = Box::new(|_, _, _| true);
    }

    /// The delivery history of a handle: a line for each message and view.
    pub(crate) fn history(&self, number: u16, endpoint: EndpointId) -> Vec<String> {
        let events = self.hosts[&number].events.iter();
        let mut history = Vec::new();
        for (_, event) in events {
            match event {
                Event::Deliver {
                    endpoint: to,
                    sender,
                    sequence,
                    view,
                    payload,
                    ..
                } if *to == endpoint => {
                    let hash = fnv1a_64(payload);
                    history.push(format!("{sender:?} #{sequence} in {view:?}: {hash:x}"));
                }
                Event::GroupExcluded { endpoint: to, .. } if *to == endpoint => {
                    history.push("excluded".to_owned());
                }
                Event::GroupView {
                    endpoint: to, view, ..
                } if *to == endpoint => {
                    let members: Vec<_> = view.members.iter().map(|m| m.id).collect();
                    history.push(format!("view {:?} {members:?}", view.number));
                }
                _ => {}
            }
        }
        history
    }
}
