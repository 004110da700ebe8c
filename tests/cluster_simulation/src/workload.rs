// SPDX-License-Identifier: GPL-2.0

//! The consumers on the machines: they join groups, send messages and leave at random.

use std::sync::Arc;

use kcgcs_protocol::protocol::errors::CommandError;
use kcgcs_protocol::protocol::identity::EndpointId;
use kcgcs_protocol::protocol::limits::{GROUP_MEMBERS_MAX, MESSAGE_BYTES_MAX};
use kcgcs_protocol::protocol::outputs::Order;

use crate::chance::Chance;
use crate::cluster::Cluster;

/// The most members that this workload creates on one machine.
const HANDLES_PER_HOST_MAX: usize = 3;

/// Consumers that act at random.
pub struct Workload {
    groups: Vec<Arc<str>>,
    chance: Chance,
    interval_mean_ns: u64,
    /// The messages that were accepted.
    pub accepted: u64,
    /// The messages that were refused for a full window or a missing quorum.
    pub refused: u64,
}

impl Workload {
    /// Consumers of `groups` groups, one action every `interval_mean_ns` on average.
    pub fn new(groups: usize, interval_mean_ns: u64, chance: Chance) -> Self {
        Self {
            groups: (0..groups)
                .map(|number| Arc::from(format!("group {number}")))
                .collect(),
            chance,
            interval_mean_ns,
            accepted: 0,
            refused: 0,
        }
    }

    /// Draw the time until the next action. There is none without groups.
    pub fn next_interval(&mut self) -> u64 {
        if self.groups.is_empty() {
            u64::MAX / 2
        } else {
            self.chance.exponential(self.interval_mean_ns)
        }
    }

    /// Carry out a random action.
    pub fn act(&mut self, cluster: &mut Cluster) {
        let host = self.chance.between(0, cluster.hosts.len() as u64 - 1) as usize;
        let frozen = cluster.hosts[host].frozen_until > cluster.now();
        let Some(alive) = cluster.hosts[host].alive.as_ref() else {
            return;
        };
        if frozen || alive.is_leaving {
            return;
        }
        let handles: Vec<EndpointId> = alive
            .endpoints
            .iter()
            .filter(|(_, state)| !state.is_leaving)
            .map(|(endpoint, _)| *endpoint)
            .collect();
        let choice = self.chance.between(0, 99);
        match self.chance.pick(&handles).copied() {
            Some(endpoint) if choice < 85 => self.send(cluster, host, endpoint),
            Some(endpoint) if choice < 90 => cluster.leave_group(host, endpoint),
            _ if handles.len() < HANDLES_PER_HOST_MAX => self.join(cluster, host),
            _ => {}
        }
    }

    fn join(&mut self, cluster: &mut Cluster, host: usize) {
        let Some(group) = self.chance.pick(&self.groups).cloned() else {
            return;
        };
        let handles = cluster
            .hosts
            .iter()
            .filter_map(|host| host.alive.as_ref())
            .flat_map(|alive| alive.endpoints.values())
            .filter(|state| state.group == group)
            .count();
        if handles < GROUP_MEMBERS_MAX / 2 {
            cluster.join_group(host, &group);
        }
    }

    /// Multicast a message of a random length.
    fn send(&mut self, cluster: &mut Cluster, host: usize, endpoint: EndpointId) {
        let length = match self.chance.between(0, 99) {
            0..=69 => self.chance.between(0, 64),
            70..=96 => self.chance.between(65, 3_000),
            97..=98 => self.chance.between(3_001, 20_000),
            _ => MESSAGE_BYTES_MAX as u64,
        };
        let order = match self.chance.between(0, 9) {
            0 => Order::Fifo,
            1 => Order::Causal,
            2 => Order::Safe,
            _ => Order::Agreed,
        };
        self.multicast(cluster, host, endpoint, order, length as usize);
    }

    fn multicast(
        &mut self,
        cluster: &mut Cluster,
        host: usize,
        endpoint: EndpointId,
        order: Order,
        length: usize,
    ) -> bool {
        match cluster.multicast(host, endpoint, order, length) {
            Ok(()) => {
                self.accepted += 1;
                true
            }
            Err(CommandError::WindowFull | CommandError::NoQuorum | CommandError::Stopped) => {
                self.refused += 1;
                false
            }
            Err(why) => {
                cluster.fault(host, &format!("a message was refused: {why:?}"));
                false
            }
        }
    }

    /// Multicast a short message from every handle, and return the number of handles that refused it.
    pub fn send_from_all(&mut self, cluster: &mut Cluster) -> usize {
        let mut refused = 0;
        for (host, endpoint) in handles_of(cluster) {
            let length = self.chance.between(1, 200) as usize;
            let accepted = self.multicast(cluster, host, endpoint, Order::Agreed, length);
            refused += usize::from(!accepted);
        }
        refused
    }
}

/// The handles that are not leaving.
fn handles_of(cluster: &Cluster) -> Vec<(usize, EndpointId)> {
    let mut handles = Vec::new();
    for (number, host) in cluster.hosts.iter().enumerate() {
        let alive = host.alive.iter().filter(|alive| !alive.is_leaving);
        for (endpoint, state) in alive.flat_map(|alive| &alive.endpoints) {
            if !state.is_leaving {
                handles.push((number, *endpoint));
            }
        }
    }
    handles
}
