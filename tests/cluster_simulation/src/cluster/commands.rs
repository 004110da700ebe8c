// SPDX-License-Identifier: GPL-2.0

//! The commands of scenarios: start and crash machines, impair the network, and use nodes and groups.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kcgcs_protocol::platform::BoundedVec;
use kcgcs_protocol::protocol::configuration::ValidConfiguration;
use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::failure_detector::FailureDetector;
use kcgcs_protocol::protocol::group::LeaveMode;
use kcgcs_protocol::protocol::group_properties::GroupProperties;
use kcgcs_protocol::protocol::identity::{
    fnv1a_64, EndpointId, GroupName, Identity, Incarnation, NodeId, ViewName, ViewNumber,
};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::Order;
use trace_checker::trace::{EventKind, GroupScope};

use super::{Cluster, CLUSTER_NAME};
use crate::broken::{Broken, SOUND_NODES};
use crate::host::{Alive, Endpoint, WakeupCount};
use crate::network::Impairment;
use crate::recorder::accepted_message;
use crate::sabotage::Sabotage;
use crate::timing::aftermath_ns;

impl Cluster {
    /// Start a new incarnation of a node whose machine is down.
    pub fn start(&mut self, host: usize) {
        let now = self.instant(host);
        let seed = self.chance.number();
        let options = &self.options;
        let machine = &mut self.hosts[host];
        assert!(machine.alive.is_none(), "node {} runs already", machine.id);
        let incarnation = match options.sabotage {
            Some(Sabotage::SameIncarnation) if machine.starts > 0 => machine.last_incarnation,
            _ => (machine.last_incarnation + 1).max(
                options
                    .incarnation_base
                    .saturating_add(self.now / 1_000_000),
            ),
        };
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
        let failure_detector = FailureDetector::new(identity, &configuration, now, seed);
        let node = Node::new(identity, machine.address, configuration, now, seed);
        let (Ok(failure_detector), Ok(node)) = (failure_detector, node) else {
            panic!("no memory for a node");
        };
        machine.last_incarnation = incarnation;
        machine.starts += 1;
        machine.frozen_until = 0;
        machine.fenced_until = 0;
        machine.alive = Some(Box::new(Alive {
            node,
            failure_detector,
            start: machine.starts,
            identity,
            queue: VecDeque::new(),
            engine_is_due: false,
            detector_timer: None,
            engine_timer: None,
            changes: Vec::new(),
            members: Arc::from([]),
            view_number: 0,
            endpoints: BTreeMap::new(),
            is_leaving: false,
            has_left: false,
            evicted_by: Vec::new(),
            pinned_until: None,
            engine_wakeups: WakeupCount::default(),
            detector_wakeups: WakeupCount::default(),
        }));
        self.write(host, EventKind::Start);
        self.guard(host);
        self.drain_node(host);
    }

    /// Crash a machine. Does nothing if it is down.
    pub fn crash(&mut self, host: usize) {
        if self.hosts[host].alive.is_some() {
            self.write(host, EventKind::Crash);
            self.note_stale_join(host);
            self.hosts[host].alive = None;
            self.hosts[host].frozen_until = 0;
        }
    }

    /// Note that an incarnation ends. If it had no view yet, members that have its join request may still admit it for
    /// a while.
    fn note_stale_join(&mut self, host: usize) {
        // Members remember join requests for as long as pins and fence handlers delay the next view.
        let since = self.pins_end() + 2 * self.fence_ns();
        let machine = &mut self.hosts[host];
        if machine
            .alive
            .as_ref()
            .is_some_and(|alive| alive.members.is_empty())
        {
            machine.stale_join_until = since + aftermath_ns(&self.options.configuration);
        }
    }

    /// Freeze a machine until `time`.
    pub fn freeze(&mut self, host: usize, time: u64) {
        self.hosts[host].frozen_until = time;
        self.hosts[host].disturbed_until = time;
        self.hosts[host].loses_one = self.options.sabotage == Some(Sabotage::LossAfterFreeze);
    }

    /// Impair the network from now on, and return a number with which [`Cluster::mend`] ends that.
    pub fn impair(&mut self, impairment: Impairment) -> u64 {
        self.note_disturbed();
        self.network.impair(impairment)
    }

    /// End the impairment with this number.
    pub fn mend(&mut self, number: u64) {
        self.note_disturbed();
        self.network.mend(number);
    }

    /// End all impairments between nodes.
    pub fn reconnect(&mut self) {
        self.note_disturbed();
        self.network.reconnect();
    }

    /// Note, before the network improves, which nodes were disturbed until now and may still be excluded for that.
    fn note_disturbed(&mut self) {
        for (number, host) in self.hosts.iter_mut().enumerate() {
            if self.network.is_disturbed(number) {
                host.disturbed_until = self.now;
            }
        }
    }

    /// Have a node leave the cluster.
    pub fn leave(&mut self, host: usize) {
        if let Some(alive) = self.hosts[host].alive.as_mut() {
            if alive.is_leaving {
                return;
            }
            alive.is_leaving = true;
            self.note_stale_join(host);
            self.write(
                host,
                EventKind::Leave {
                    scope: None,
                    done: false,
                    lost: None,
                },
            );
            self.command(host, |node, now| node.leave_cluster(now));
        }
    }

    /// Create a member of `group` on a node. `None` if the node is down or refuses.
    pub fn join_group(&mut self, host: usize, group: &Arc<str>) -> Option<EndpointId> {
        let name = GroupName::new(group.as_bytes())?;
        let now = self.instant(host);
        let alive = self.hosts[host].alive.as_mut()?;
        let joined = alive.node.join_group(now, name, GroupProperties::DEFAULT);
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
                reader: None,
                member_count: 0,
                accepted: 0,
                sent: 0,
                waiting: VecDeque::new(),
                is_leaving: false,
            },
        );
        self.drain_node(host);
        Some(endpoint)
    }

    /// Have a member leave its group.
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
        self.write(
            host,
            EventKind::Leave {
                scope,
                done: false,
                lost: None,
            },
        );
        let mut result = Ok(());
        self.command(host, |node, now| {
            result = node.leave_group(now, endpoint, LeaveMode::SendFirst);
        });
        if let Err(why) = result {
            if why != CommandError::Stopped {
                self.fault(host, &format!("leaving was refused: {why:?}"));
            }
        }
    }

    /// Multicast `length` random bytes, and return the node's answer.
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
        let hash = fnv1a_64(&payload);
        let now = self.instant(host);
        let Some(alive) = self.hosts[host].alive.as_mut() else {
            return Err(CommandError::Stopped);
        };
        let shown = alive.endpoints.get(&endpoint).and_then(|state| state.view);
        let call_view = ViewName {
            number: ViewNumber(shown.map_or(0, |view| view.number)),
            issuer: shown
                .and_then(|view| NodeId::new(view.coordinator))
                .unwrap_or(alive.identity.node),
        };
        alive
            .node
            .multicast(now, endpoint, order, call_view, payload)
            .map_err(|(why, _)| why)?;
        if let Some(state) = alive.endpoints.get_mut(&endpoint) {
            state.accepted += 1;
            state.waiting.push_back((state.accepted, self.trace.len()));
            let event = accepted_message(alive.identity, endpoint, state, (order, length, hash));
            self.write(host, EventKind::Send(event));
        }
        self.drain_node(host);
        Ok(())
    }

    /// Record that something happened which must not happen.
    pub fn fault(&mut self, host: usize, what: &str) {
        if self.faults.len() < 20 {
            let text = format!(
                "at {}.{:06} ms, node {}: {what}",
                self.now / 1_000_000,
                self.now % 1_000_000,
                self.hosts[host].id
            );
            self.faults.push(Broken::new(SOUND_NODES, text));
        }
    }
}
