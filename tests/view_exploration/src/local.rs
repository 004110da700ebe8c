// SPDX-License-Identifier: GPL-2.0

//! A node with its clock, the members that its failure detector monitors, and the number of its last view.

use std::hash::{Hash, Hasher};

use super::fingerprint::Fingerprint;
use crate::platform::BoundedVec;
use crate::protocol::configuration::{Configuration, ValidConfiguration};
use crate::protocol::failure_detector::{DetectorAssignment, DetectorReport};
use crate::protocol::group_properties::GroupProperties;
use crate::protocol::identity::{
    EndpointId, GroupName, Identity, Incarnation, MemberId, NodeId, PeerAddress, ViewMark,
    ViewName, ViewNumber,
};
use crate::protocol::limits::DATAGRAM_BYTES_MAX;
use crate::protocol::node::Node;
use crate::protocol::outputs::{Event, Order};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::ClusterView;

/// The place of a datagram's number in its header.
const COUNTER: std::ops::Range<usize> = 32..40;
/// The most datagrams, or events, after one input. A node with more of them would not stop.
const OUTPUTS_MAX: usize = 200;

/// An input of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input<'a> {
    /// A datagram from that node.
    Datagram(u16, &'a [u8]),
    /// Its next deadline.
    Deadline,
    /// The command to leave.
    Leave,
    /// The command to evict this node.
    Evict(u16),
    /// The report of its failure detector that this node is dead.
    Dead(u16),
    /// A heartbeat of this incarnation, in that view.
    Heartbeat(Identity, ViewMark),
    /// The command to join this group.
    Join(GroupName),
    /// The command to send the next message to its group, in this order.
    Multicast(Order),
}

/// The outputs of a node after an input.
#[derive(Default)]
pub struct Outputs {
    /// The datagrams without their numbers, and their receivers.
    pub sent: Vec<(u16, Vec<u8>)>,
    /// The views installed.
    pub views: Vec<Installed>,
    /// What its member of the group has done and seen.
    pub heard: Vec<Heard>,
    /// A promise that this node has broken by itself.
    pub wrong: Option<String>,
}

/// A view that a node has installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installed {
    /// Its number.
    pub number: u64,
    /// Its issuer.
    pub issuer: u16,
    /// Whether it is primary.
    pub is_primary: bool,
    /// Its members, with their slots.
    pub members: Vec<(Identity, u16)>,
}

/// What a member of a group has done or seen. Members are named by their nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    /// It has sent its message of this number.
    Multicast(u64, Order),
    /// It has got a view.
    View(Box<GroupViewSeen>),
    /// It has got a message.
    Deliver {
        /// The sender.
        sender: Identity,
        /// The sender's number of the message.
        sequence: u64,
        /// Its order.
        order: Order,
        /// The number of the view that it is delivered in.
        view: u64,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// It was excluded.
    Excluded,
}

/// A group view as a member gets it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupViewSeen {
    /// Its number.
    pub number: u64,
    /// Its members.
    pub members: Vec<Identity>,
    /// The members that come from the reader's view before.
    pub transitional: Vec<Identity>,
}

/// The bytes of a message.
pub fn payload(sender: u16, sequence: u64) -> Vec<u8> {
    vec![sender as u8, sequence as u8]
}

/// A node of the exploration.
#[derive(Clone)]
pub struct Local {
    node: Node,
    clock: Instant,
    assignment: DetectorAssignment,
    /// A bit for each node that the failure detector has reported in this view.
    reported: u8,
    /// The number of the next datagram that arrives.
    delivered: u64,
    last_view: u64,
    incarnation: Incarnation,
    is_gone: bool,
    is_partitionable: bool,
    /// Its member of the group.
    endpoint: Option<EndpointId>,
    /// The last view of that member.
    group_view: Option<Heard>,
    /// The messages that it has sent.
    sent: u64,
}

impl Hash for Local {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.node.hash(state);
        self.reported.hash(state);
        self.sent.hash(state);
    }
}

/// The address of node `number`.
pub fn address(number: u16) -> PeerAddress {
    let [high, low] = number.to_be_bytes();
    PeerAddress::from_socket_address(std::net::SocketAddr::from(([10, 0, high, low], 5407)))
}

/// The first incarnation of node `number`.
pub fn first_incarnation(number: u16) -> Identity {
    Identity {
        node: NodeId::new(number).expect("nodes are numbered from 1"),
        incarnation: Incarnation(1),
    }
}

fn number_of(address: PeerAddress) -> u16 {
    u16::from_be_bytes([address.octets[14], address.octets[15]])
}

impl Local {
    /// An incarnation of a node that looks for its cluster, with nodes 1 to `peers` in its list of peers.
    pub fn new(number: u16, incarnation: u64, peers: u16, settings: Configuration) -> Self {
        let node = NodeId::new(number).expect("nodes are numbered from 1");
        let incarnation = Incarnation(incarnation);
        let identity = Identity { node, incarnation };
        let own = address(number);
        let peers: Vec<_> = (1..=peers).map(address).collect();
        let is_partitionable = settings.partitionable == 1;
        let settings = ValidConfiguration::new(settings, b"exploration", own, &peers)
            .expect("the scenario's settings are valid");
        let clock = Instant::from_nanoseconds(10_000_000_000);
        Self {
            node: Node::new(identity, own, settings, clock, number.into())
                .expect("there is memory"),
            clock,
            assignment: DetectorAssignment::silent(identity),
            reported: 0,
            delivered: 0,
            last_view: 0,
            incarnation,
            is_gone: false,
            is_partitionable,
            endpoint: None,
            group_view: None,
            sent: 0,
        }
    }

    /// Its clock.
    pub fn clock(&self) -> Instant {
        self.clock
    }

    /// Its next deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.next_deadline().map(|(at, _)| at)
    }

    /// Advance its clock.
    pub fn wait(&mut self, span: Duration) {
        self.clock = self.clock.after(span);
    }

    /// Its identity.
    pub fn identity(&self) -> Identity {
        self.node.identity()
    }

    /// Its view.
    pub fn view(&self) -> Option<&ClusterView> {
        self.node.view()
    }

    /// Its view as heartbeats show it, if it has one.
    pub fn mark(&self) -> Option<ViewMark> {
        self.view().map(|view| ViewMark {
            number: view.number,
            lineage: if self.is_partitionable {
                view.lineage()
            } else {
                0
            },
        })
    }

    /// Its view as an installed one, if it has one.
    pub fn installed(&self) -> Option<Installed> {
        self.view().map(|view| Installed {
            number: view.number.0,
            issuer: view.issuer.number(),
            is_primary: view.is_primary,
            members: view
                .members()
                .iter()
                .map(|member| (member.identity, member.slot.0))
                .collect(),
        })
    }

    /// The last view of its member of the group.
    pub fn group_view(&self) -> Option<&Heard> {
        self.group_view.as_ref()
    }

    /// The node that orders its group.
    pub fn group_coordinator(&self) -> Option<u16> {
        let mut coordinator = None;
        self.node
            .for_each_group(&mut |group| coordinator = Some(group.coordinator.number()));
        coordinator
    }

    /// Whether it has left or was evicted.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Whether it monitors this node and has not reported it in this view.
    pub fn may_report(&self, number: u16) -> bool {
        self.reported & 1 << number == 0
            && self
                .assignment
                .monitored
                .iter()
                .flatten()
                .any(|peer| peer.identity.node.number() == number)
    }

    /// The members that it monitors.
    pub fn monitored(&self) -> Vec<Identity> {
        let monitored = self.assignment.monitored.iter().flatten();
        monitored.map(|peer| peer.identity).collect()
    }

    /// Whether it sends heartbeats to this node.
    pub fn beats_for(&self, number: u16) -> bool {
        let mut targets = self.assignment.targets.iter().flatten();
        targets.any(|peer| peer.identity.node.number() == number)
    }

    /// Give it an input, and return its outputs.
    pub fn take(&mut self, input: Input<'_>) -> Outputs {
        let before = (
            self.deadline(),
            self.clock,
            Fingerprint::of(self, self.clock),
        );
        let mut sent = None;
        match input {
            Input::Datagram(from, bytes) => {
                let mut bytes = bytes.to_vec();
                self.delivered += 1;
                bytes[COUNTER].copy_from_slice(&self.delivered.to_be_bytes());
                self.node.handle_datagram(self.clock, address(from), &bytes);
            }
            Input::Deadline => {
                self.clock = self.clock.max(before.0.unwrap_or(self.clock));
                self.node.handle_deadline(self.clock);
            }
            Input::Leave => self.node.leave_cluster(self.clock),
            Input::Evict(number) => {
                let node = NodeId::new(number).expect("nodes are numbered from 1");
                // The command may fail, if the node has no quorum that could exclude the other one.
                let _ = self.node.evict(self.clock, node);
            }
            Input::Dead(number) => self.report_dead(number),
            Input::Heartbeat(sender, view) => {
                let report = DetectorReport::OtherView {
                    sender,
                    from: address(sender.node.number()),
                    view,
                };
                self.node.handle_detector_report(self.clock, report);
            }
            Input::Join(name) => {
                let endpoint = self
                    .node
                    .join_group(self.clock, name, GroupProperties::DEFAULT);
                self.endpoint = Some(endpoint.expect("a node with few members takes one more"));
            }
            Input::Multicast(order) => sent = self.multicast(order),
        }
        let mut outputs = self.settle();
        if let Some(sent) = sent {
            outputs.heard.insert(0, sent);
        }
        let after = (
            self.deadline(),
            self.clock,
            Fingerprint::of(self, self.clock),
        );
        if input == Input::Deadline && outputs.sent.is_empty() && after == before {
            outputs.wrong = Some(format!(
                "the deadline does not advance: {:?} at {:?}",
                self.node.next_deadline(),
                self.clock
            ));
        }
        outputs
    }

    /// Send the next message. While there is no quorum, the node refuses it.
    fn multicast(&mut self, order: Order) -> Option<Heard> {
        let bytes = payload(self.identity().node.number(), self.sent + 1);
        let mut copy = BoundedVec::with_capacity(bytes.len()).expect("there is memory");
        copy.extend_from_slice(&bytes)
            .expect("it was made for that");
        // The explored properties do not look at the view of the call.
        let call_view = ViewName {
            number: ViewNumber(0),
            issuer: self.identity().node,
        };
        self.node
            .multicast(self.clock, self.endpoint?, order, call_view, copy)
            .ok()?;
        self.sent += 1;
        Some(Heard::Multicast(self.sent, order))
    }

    fn report_dead(&mut self, number: u16) {
        self.reported |= 1 << number;
        let monitored = self.assignment.monitored.iter().flatten();
        let Some(subject) = monitored
            .map(|peer| peer.identity)
            .find(|identity| identity.node.number() == number)
        else {
            return;
        };
        let report = DetectorReport::Dead {
            subject,
            silence_ms: 275,
        };
        self.node.handle_detector_report(self.clock, report);
    }

    fn settle(&mut self) -> Outputs {
        let mut outputs = Outputs::default();
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        while let Some(transmit) = self.node.poll_transmit(&mut buffer) {
            let mut bytes = buffer[..transmit.length].to_vec();
            bytes[COUNTER].fill(0);
            outputs.sent.push((number_of(transmit.to), bytes));
            if outputs.sent.len() > OUTPUTS_MAX {
                outputs.wrong = Some("datagrams without end".to_owned());
                return outputs;
            }
        }
        if let Some(assignment) = self.node.poll_assignment() {
            self.assignment = assignment;
            self.reported = 0;
        }
        let mut events = 0;
        while let Some(event) = self.node.poll_event() {
            self.hear(&event, &mut outputs);
            events += 1;
            if events > OUTPUTS_MAX {
                outputs.wrong = Some("events without end".to_owned());
                return outputs;
            }
        }
        if self.node.is_broken() {
            outputs.wrong = Some("a broken invariant".to_owned());
        }
        outputs
    }

    fn hear(&mut self, event: &Event, outputs: &mut Outputs) {
        match event {
            Event::ClusterView { number } => {
                let Some(view) = self.node.view().filter(|view| view.number == *number) else {
                    outputs.wrong = Some(format!(
                        "view {number:?} was reported, but the node does not have it"
                    ));
                    return;
                };
                if !view.has(self.node.identity()) {
                    outputs.wrong = Some(format!(
                        "M1: the node is not a member of its view {number:?}"
                    ));
                }
                if number.0 <= self.last_view {
                    let last = self.last_view;
                    outputs.wrong = Some(format!("M2: view {number:?} after view {last}"));
                }
                self.last_view = number.0;
                outputs.views.extend(self.installed());
            }
            Event::Excluded { incarnation, .. } => {
                if *incarnation <= self.incarnation.0 {
                    outputs.wrong = Some(format!("M7: incarnation {incarnation} is used again"));
                }
                self.incarnation = Incarnation(*incarnation);
                self.last_view = 0;
            }
            Event::Left | Event::Evicted { .. } => self.is_gone = true,
            Event::GroupView { view, .. } if view.members.is_empty() => {
                outputs.heard.push(Heard::Excluded);
            }
            Event::GroupView { view, .. } => {
                let identity = |id: &MemberId| Identity {
                    node: id.node,
                    incarnation: id.incarnation,
                };
                let seen = Heard::View(Box::new(GroupViewSeen {
                    number: view.number.0,
                    members: view.members.iter().map(|m| identity(&m.id)).collect(),
                    transitional: view.transitional.iter().map(identity).collect(),
                }));
                self.group_view = Some(seen.clone());
                outputs.heard.push(seen);
            }
            Event::Deliver {
                sender,
                sequence,
                order,
                view,
                payload,
                ..
            } => outputs.heard.push(Heard::Deliver {
                sender: Identity {
                    node: sender.node,
                    incarnation: sender.incarnation,
                },
                sequence: *sequence,
                order: *order,
                view: view.0,
                payload: payload.to_vec(),
            }),
            _ => {}
        }
    }
}
