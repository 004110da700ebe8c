// SPDX-License-Identifier: GPL-2.0

//! A cluster of namespaces: start, stop and cut off nodes, multicast from members, and wait for conditions. All
//! observations go into one trace.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use kcgcsctl::clock::monotonic_ns;
use kcgcsctl::device::Written;
use kcgcsctl::netlink::{Connection, NodeState, NodeStatus, StartRequest, ViewStatus};
use nix::errno::Errno;
use trace_checker::trace::EventKind;

use super::member::Member;
use super::network::{address4, address6, Network};
use super::trace::Trace;
use super::wait::wait_for_every;

/// The pause between two looks of a waiting test. A look costs time of the cluster's only processor.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The group that members join unless a test says otherwise.
const GROUP: &str = "demo";
/// The lengths of messages, in turn: within a fragment, at its bounds, and of several fragments.
const MESSAGE_BYTES: [usize; 8] = [40, 64, 1199, 1200, 1201, 300, 5000, 100];
/// The largest message.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;

/// The parameters of a cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of nodes, which are numbered from 1.
    pub count: u16,
    /// The number of additional ports of the network, which no node uses.
    pub more_ports: u16,
    /// Whether it speaks IPv6.
    pub ipv6: bool,
    /// The packets to each node that are lost, in percent, from the beginning.
    pub loss: Option<u32>,
    /// Settings other than the defaults.
    pub settings: Vec<(String, u64)>,
    /// The failure detector, if not the default one.
    pub detector: Option<String>,
}

impl Plan {
    /// A cluster with all defaults.
    pub fn of(count: u16) -> Self {
        Self {
            count,
            more_ports: 0,
            ipv6: false,
            loss: None,
            settings: Vec::new(),
            detector: None,
        }
    }
}

/// A running node.
struct Node {
    connection: Connection,
}

/// A cluster whose nodes are namespaces, and what was observed of it.
pub struct Cluster {
    plan: Plan,
    /// The network.
    pub network: Network,
    nodes: BTreeMap<u16, Node>,
    members: BTreeMap<u16, Member>,
    group: Arc<str>,
    trace: Trace,
    messages: usize,
    /// The text of the last message of each sender for whose delivery no test has waited yet.
    awaited: BTreeMap<u16, String>,
    limit: Duration,
}

impl Cluster {
    /// The network of a cluster whose nodes are all down. `limit` is the longest time that a test waits for something.
    pub fn new(plan: Plan, limit: Duration) -> Result<Self, String> {
        let network = Network::new(plan.count + plan.more_ports)?;
        if let Some(percent) = plan.loss {
            network.lose(percent, 1)?;
        }
        let is_partitionable = plan.settings.contains(&("partitionable".to_string(), 1));
        let trace_options = trace_checker::Options {
            partitionable: is_partitionable,
            ..trace_checker::Options::default()
        };
        Ok(Self {
            plan,
            network,
            nodes: BTreeMap::new(),
            members: BTreeMap::new(),
            group: GROUP.into(),
            trace: Trace::of(trace_options),
            messages: 0,
            awaited: BTreeMap::new(),
            limit,
        })
    }

    /// The numbers of all nodes of the plan.
    pub fn all(&self) -> Vec<u16> {
        (1..=self.plan.count).collect()
    }

    /// All but some.
    pub fn all_but(&self, out: &[u16]) -> Vec<u16> {
        let mut rest = self.all();
        rest.retain(|node| !out.contains(node));
        rest
    }

    /// A node's address, as text.
    pub fn address(&self, node: u16) -> String {
        if self.plan.ipv6 {
            Ipv6Addr::from(address6(node)).to_string()
        } else {
            Ipv4Addr::from(address4(node)).to_string()
        }
    }

    /// The request that starts a node.
    pub fn start_request(&self, node: u16) -> StartRequest {
        StartRequest {
            cluster: format!("{}-nodes", self.plan.count),
            node_id: node,
            address: self.address(node),
            peers: self.all().into_iter().map(|n| self.address(n)).collect(),
            settings: self.plan.settings.clone(),
            detector: self.plan.detector.clone(),
        }
    }

    // ---- nodes --------------------------------------------------------------------------------

    /// Start a node.
    pub fn start(&mut self, node: u16) -> Result<(), String> {
        let request = self.start_request(node);
        let t = monotonic_ns();
        let mut connection = self.network.namespace(node)?.run(|| {
            let mut connection = Connection::open().map_err(|failure| failure.to_string())?;
            connection
                .start(&request)
                .map_err(|failure| format!("start of node {node}: {failure}"))?;
            Ok(connection)
        })?;
        let status = connection.node().map_err(|failure| failure.to_string())?;
        self.trace.incarnation(t, node, status.incarnation);
        self.nodes.insert(node, Node { connection });
        Ok(())
    }

    /// Stop a node, which leaves the cluster in order.
    pub fn stop(&mut self, node: u16) -> Result<(), String> {
        self.pump()?;
        let incarnation = self.status(node)?.incarnation;
        let leave = EventKind::Leave {
            scope: None,
            done: false,
            lost: None,
        };
        self.trace.of_node(monotonic_ns(), node, incarnation, leave);
        let mut running = self
            .nodes
            .remove(&node)
            .ok_or_else(|| format!("node {node} does not run"))?;
        running
            .connection
            .stop()
            .map_err(|failure| format!("stop of node {node}: {failure}"))?;
        // The records of its member come before the one that says that the node has stopped.
        if let Some(mut member) = self.members.remove(&node) {
            self.wait_until_gone(&mut member)?;
        }
        self.trace
            .of_node(monotonic_ns(), node, incarnation, EventKind::Stop);
        Ok(())
    }

    /// Wait until a member has the record that its node is gone.
    fn wait_until_gone(&mut self, member: &mut Member) -> Result<(), String> {
        let node = member.address().node;
        self.wait("the member learns that its node is gone", |cluster| {
            cluster.trace.add(member.pump()?);
            if member.is_gone {
                Ok(())
            } else {
                Err(format!("the member on node {node} has no such record"))
            }
        })
    }

    fn node(&mut self, node: u16) -> Result<&mut Connection, String> {
        self.nodes
            .get_mut(&node)
            .map(|node| &mut node.connection)
            .ok_or_else(|| format!("node {node} does not run"))
    }

    /// The status that a node reports.
    pub fn status(&mut self, node: u16) -> Result<NodeStatus, String> {
        let status = self.node(node)?.node();
        status.map_err(|failure| format!("node {node}: {failure}"))
    }

    /// One of a node's counters.
    pub fn counter(&mut self, node: u16, name: &str) -> Result<u64, String> {
        let status = self.status(node)?;
        let mut counters = status.counters.iter();
        counters
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("there is no counter {name}"))
    }

    /// A node's cluster view, which is also added to the trace.
    pub fn view(&mut self, node: u16) -> Result<ViewStatus, String> {
        let incarnation = self.status(node)?.incarnation;
        let view = self
            .node(node)?
            .view()
            .map_err(|failure| format!("node {node}: {failure}"))?
            .ok_or_else(|| format!("node {node} has no view"))?;
        if self.status(node)?.incarnation == incarnation {
            self.trace
                .cluster_view(monotonic_ns(), node, incarnation, &view);
        }
        Ok(view)
    }

    /// The groups that a node knows.
    pub fn groups(&mut self, node: u16) -> Result<Vec<kcgcsctl::netlink::GroupStatus>, String> {
        let groups = self.node(node)?.groups();
        groups.map_err(|failure| format!("node {node}: {failure}"))
    }

    // ---- members ------------------------------------------------------------------------------

    /// Create a member of the group on a node.
    pub fn join(&mut self, node: u16) -> Result<(), String> {
        let namespace = self.network.namespace(node)?;
        let member = Member::join(namespace, node, &self.group)?;
        self.members.insert(node, member);
        Ok(())
    }

    /// Have the member on a node leave the group.
    pub fn leave(&mut self, node: u16) -> Result<(), String> {
        let member = self
            .members
            .remove(&node)
            .ok_or_else(|| format!("node {node} has no member"))?;
        self.trace.add(member.leave()?);
        Ok(())
    }

    /// The member of a node.
    pub fn member(&self, node: u16) -> Result<&Member, String> {
        self.members
            .get(&node)
            .ok_or_else(|| format!("node {node} has no member"))
    }

    /// Read the records of all members.
    pub fn pump(&mut self) -> Result<(), String> {
        for member in self.members.values_mut() {
            self.trace.add(member.pump()?);
        }
        Ok(())
    }

    /// Multicast the next message from the member on a node. `None` if the kernel does not accept it now.
    pub fn send(&mut self, node: u16) -> Result<Option<String>, String> {
        let bytes = MESSAGE_BYTES[self.messages % MESSAGE_BYTES.len()];
        self.send_bytes(node, bytes)
    }

    /// Multicast a message of this length, and return the text that it begins with.
    pub fn send_bytes(&mut self, node: u16, bytes: usize) -> Result<Option<String>, String> {
        let words = format!("message {} of node {node}", self.messages + 1);
        let mut payload = format!("{words}|").into_bytes();
        payload.resize(bytes.max(payload.len()), b'.');
        let member = self
            .members
            .get_mut(&node)
            .ok_or_else(|| format!("node {node} has no member"))?;
        // Messages are numbered in the incarnation that the member knows, so it must know the present one.
        self.trace.add(member.pump()?);
        if member.send(&payload)? != Written::Taken {
            return Ok(None);
        }
        self.awaited.insert(node, words.clone());
        self.messages += 1;
        Ok(Some(words))
    }

    /// The number of messages that the kernels have accepted.
    pub fn messages_sent(&self) -> usize {
        self.messages
    }

    /// Multicast `rounds` messages from each member of `senders`, by turns, each as soon as the kernel accepts it.
    pub fn send_all(&mut self, senders: &[u16], rounds: usize) -> Result<(), String> {
        for _ in 0..rounds {
            for &sender in senders {
                let limit = self.limit;
                wait_for_every(
                    LOOK_EVERY,
                    &format!("room for a message of node {sender}"),
                    limit,
                    || {
                        self.pump()?;
                        match self.send(sender)? {
                            Some(_) => Ok(()),
                            None => Err("the kernel does not accept it".to_string()),
                        }
                    },
                )?;
            }
        }
        Ok(())
    }

    // ---- waiting ------------------------------------------------------------------------------

    /// Wait until `look` succeeds, and read the members' records meanwhile.
    pub fn wait<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let limit = self.limit;
        wait_for_every(LOOK_EVERY, what, limit, || {
            self.pump()?;
            look(self)
        })
        .map_err(|reason| format!("{reason}\n{}", self.describe()))
    }

    /// Wait until all of `nodes` have one cluster view of exactly these nodes in their present incarnations.
    pub fn wait_for_view(&mut self, nodes: &[u16]) -> Result<ViewStatus, String> {
        let nodes = nodes.to_vec();
        self.wait("one view of all", |cluster| cluster.common_view(&nodes))
    }

    /// The cluster view that all of `nodes` have.
    pub fn common_view(&mut self, nodes: &[u16]) -> Result<ViewStatus, String> {
        let mut incarnations = Vec::new();
        let mut common = None;
        for &node in nodes {
            let status = self.status(node)?;
            if status.state != NodeState::Member {
                return Err(format!("node {node} is {}", status.state));
            }
            if usize::from(status.members) != nodes.len() {
                return Err(format!("node {node} has {} members", status.members));
            }
            let view = *common.get_or_insert(status.view);
            if status.view != view {
                return Err(format!("node {node} is in {:?}, not {view:?}", status.view));
            }
            incarnations.push((node, status.incarnation));
        }
        incarnations.sort_unstable();
        let mut shared = None;
        for &node in nodes {
            let view = self.view(node)?;
            let mut members: Vec<(u16, u64)> = view
                .members
                .iter()
                .map(|member| (member.node, member.incarnation))
                .collect();
            members.sort_unstable();
            if members != incarnations {
                return Err(format!(
                    "node {node} has {members:?}, the incarnations are {incarnations:?}"
                ));
            }
            shared = Some(view);
        }
        shared.ok_or_else(|| "no nodes".to_string())
    }

    /// Wait until the members on `nodes` have one view of their group with exactly these nodes.
    pub fn wait_for_group(&mut self, nodes: &[u16]) -> Result<(), String> {
        let nodes = nodes.to_vec();
        self.wait("one view of the group", |cluster| {
            let mut common = None;
            for &node in &nodes {
                let member = cluster.member(node)?;
                if member.nodes() != nodes {
                    return Err(format!(
                        "the member on node {node} has {:?}",
                        member.nodes()
                    ));
                }
                let number = member.view().map(|view| view.number);
                if *common.get_or_insert(number) != number {
                    return Err(format!("node {node} is in another view of the group"));
                }
            }
            Ok(())
        })?;
        let members = nodes
            .iter()
            .map(|node| self.member(*node).map(Member::address))
            .collect::<Result<Vec<_>, _>>()?;
        let now = monotonic_ns();
        self.trace.expect_together(now, &self.group, members, now);
        Ok(())
    }

    /// Wait until the members on `nodes` have delivered all messages that any of them has sent since the last such
    /// wait. All of them must have been members meanwhile.
    pub fn wait_for_delivery(&mut self, nodes: &[u16]) -> Result<(), String> {
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|sender, _| nodes.contains(sender));
        let nodes = nodes.to_vec();
        self.wait("every message at every member", |cluster| {
            for &receiver in &nodes {
                let texts = cluster.member(receiver)?.texts();
                for words in awaited.values() {
                    // The awaited message is among the latest.
                    if !texts.iter().rev().any(|text| text == words) {
                        return Err(format!("node {receiver} lacks {words:?}"));
                    }
                }
            }
            Ok(())
        })
    }

    /// The state of every node, for the message of a failure.
    pub fn describe(&mut self) -> String {
        let running: Vec<u16> = self.nodes.keys().copied().collect();
        let mut text = String::new();
        for node in running {
            let line = match self.status(node) {
                Ok(status) => format!(
                    "node {node}: {}, incarnation {}, view {:?} of {} members, group of {:?}\n",
                    status.state,
                    status.incarnation,
                    status.view,
                    status.members,
                    self.members.get(&node).map(|member| member.nodes().len()),
                ),
                Err(reason) => format!("{reason}\n"),
            };
            text.push_str(&line);
        }
        text
    }

    // ---- namespaces that are deleted ---------------------------------------------------------

    /// Delete a node's namespace, which nothing else holds, while the node runs. Returns its member, which remains.
    pub fn delete_namespace(&mut self, node: u16) -> Result<Member, String> {
        self.pump()?;
        let incarnation = self.status(node)?.incarnation;
        let leave = EventKind::Leave {
            scope: None,
            done: false,
            lost: None,
        };
        self.trace.of_node(monotonic_ns(), node, incarnation, leave);
        // The node's netlink socket would hold the namespace.
        self.nodes.remove(&node);
        let member = self
            .members
            .remove(&node)
            .ok_or_else(|| format!("node {node} has no member"))?;
        self.network.delete_namespace(node)?;
        Ok(member)
    }

    /// Wait until the member of a deleted namespace has the record that its node is gone and refuses to send, and have
    /// it leave.
    pub fn end_orphan(&mut self, mut orphan: Member) -> Result<(), String> {
        let node = orphan.address().node;
        let incarnation = orphan.address().incarnation;
        self.wait_until_gone(&mut orphan)?;
        orphan.is_refused(Errno::ESHUTDOWN)?;
        self.trace.add(orphan.leave()?);
        self.trace
            .of_node(monotonic_ns(), node, incarnation, EventKind::Stop);
        Ok(())
    }

    /// Create a new namespace in the place of a deleted one.
    pub fn restore(&mut self, node: u16) -> Result<(), String> {
        self.wait("the old namespace is gone", |cluster| {
            cluster.network.restore_namespace(node)
        })
    }

    // ---- the end ------------------------------------------------------------------------------

    /// Have all members leave, stop all nodes, delete the namespaces, and return the trace.
    pub fn end(mut self) -> Result<Trace, String> {
        self.pump()?;
        let members: Vec<u16> = self.members.keys().copied().collect();
        for node in members {
            self.leave(node)?;
        }
        let running: Vec<u16> = self.nodes.keys().copied().collect();
        for node in running {
            self.stop(node)?;
        }
        Ok(self.trace)
    }
}
