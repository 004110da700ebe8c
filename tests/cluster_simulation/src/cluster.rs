// SPDX-License-Identifier: GPL-2.0

//! A simulated cluster: its machines, its network, its clock and its trace.
//!
//! [`Cluster::run_until`] processes all events up to a time. Scenarios start, crash, cut off and command nodes
//! between such calls.

use std::rc::Rc;

use kcgcs_protocol::protocol::configuration::Configuration;
use kcgcs_protocol::protocol::identity::{Identity, PeerAddress};
use trace_checker::trace::TraceEvent;

use crate::broken::Broken;
use crate::chance::Chance;
use crate::clock::MachineClock;
use crate::event_queue::EventQueue;
use crate::host::{address_of, Host};
use crate::network::{Network, NetworkOptions};
use crate::recorder::MemberLists;
use crate::sabotage::Sabotage;
use crate::timing::MS;

mod administration;
mod commands;
mod shell;

pub use administration::FenceHandler;

/// The name that all simulated clusters have.
const CLUSTER_NAME: &[u8] = b"simulation";

/// The parameters of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The seed of all random streams.
    pub seed: u64,
    /// The number of machines. They are numbered from 0, their nodes from 1.
    pub nodes: usize,
    /// The settings of all nodes.
    pub configuration: Configuration,
    /// The quality of the network at first.
    pub network: NetworkOptions,
    /// The mean time from an input to the engine's work item, in microseconds.
    pub engine_delay_mean_us: u64,
    /// The mean time by which timers are late, in microseconds.
    pub timer_delay_mean_us: u64,
    /// The hosts in each node's list of peers. If empty, each list names all hosts.
    pub peers: Vec<Vec<usize>>,
    /// The smallest number of a node's first incarnation.
    pub incarnation_base: u64,
    /// By how many millionths each machine's clock is too fast, or too slow if negative. Clocks without an entry are
    /// right.
    pub clock_rates_ppm: Vec<i32>,
    /// The fence handler of every node, if any.
    pub fence: Option<FenceHandler>,
    /// A bug injected into every node, to show that it is found.
    pub sabotage: Option<Sabotage>,
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
            clock_rates_ppm: Vec::new(),
            fence: None,
            sabotage: None,
        }
    }
}

/// A datagram on its way from one host to another.
#[derive(Clone, Debug)]
pub struct OnWire {
    /// The time at which it was sent, or arrives.
    pub time: u64,
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// Its content.
    pub bytes: Rc<[u8]>,
}

/// An event of the simulation.
enum Occurrence {
    Datagram {
        to: usize,
        from: PeerAddress,
        bytes: Rc<[u8]>,
    },
    DetectorTimer {
        host: usize,
        start: u64,
    },
    EngineTimer {
        host: usize,
        start: u64,
    },
    EngineRun {
        host: usize,
        start: u64,
    },
    /// The fence handler begins its work, if the node still wants it.
    FenceCall {
        host: usize,
        start: u64,
        subject: Identity,
    },
    /// The fence handler has fenced the node, or failed.
    FenceAnswer {
        host: usize,
        start: u64,
        subject: Identity,
        is_fenced: bool,
    },
}

impl Occurrence {
    fn host(&self) -> usize {
        match self {
            Occurrence::Datagram { to, .. } => *to,
            Occurrence::DetectorTimer { host, .. }
            | Occurrence::EngineTimer { host, .. }
            | Occurrence::EngineRun { host, .. }
            | Occurrence::FenceCall { host, .. }
            | Occurrence::FenceAnswer { host, .. } => *host,
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
    /// The events so far.
    pub trace: Vec<TraceEvent>,
    /// The broken promises that the simulator noticed itself.
    pub faults: Vec<Broken>,
    /// How often a node reported that a view change has begun.
    pub prepares: u64,
    /// How often a node was excluded and began a new incarnation.
    pub exclusions: u64,
    /// Of these, how often the node had not been disturbed shortly before.
    pub false_exclusions: u64,
    /// How often a group member moved to the view of another component without being out in between.
    pub moved: u64,
    /// Of these, how often others moved with it.
    pub moved_together: u64,
    /// Member lists of cluster views, shared by all nodes.
    lists: MemberLists,
    now: u64,
    happened: u64,
    queue: EventQueue<Occurrence>,
    chance: Chance,
    /// The stream for how late timers and work items are, of its own so that one more changes nothing else.
    lateness: Chance,
    /// The stream for what fence handlers do.
    handlers: Chance,
    /// How often a fence handler was called.
    pub fence_calls: u64,
    /// All datagrams sent, if they are to be recorded.
    pub wiretap: Option<Vec<OnWire>>,
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
                starts: 0,
                frozen_until: 0,
                disturbed_until: 0,
                stale_join_until: 0,
                fenced_until: 0,
                engine_delay_mean_us: options.engine_delay_mean_us,
                loses_one: false,
                clock: MachineClock::new(
                    number,
                    options.clock_rates_ppm.get(number).copied().unwrap_or(0),
                ),
                sent: 0,
                sent_bytes: 0,
                queue_drops: 0,
            })
            .collect();
        let network = Network::new(options.nodes, options.network, Chance::new(options.seed, 1));
        Self {
            hosts,
            network,
            trace: Vec::new(),
            faults: Vec::new(),
            prepares: 0,
            exclusions: 0,
            false_exclusions: 0,
            moved: 0,
            moved_together: 0,
            lists: MemberLists::default(),
            now: 0,
            happened: 0,
            queue: EventQueue::new(),
            chance: Chance::new(options.seed, 2),
            lateness: Chance::new(options.seed, 3),
            handlers: Chance::new(options.seed, 4),
            fence_calls: 0,
            wiretap: None,
            options,
        }
    }

    /// The virtual time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The parameters of the cluster.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    // ---- time ---------------------------------------------------------------------------------

    /// Process all events up to `time`.
    pub fn run_until(&mut self, time: u64) {
        while let Some((at, what)) = self.queue.pop_until(time) {
            self.now = at.max(self.now);
            self.happen(what);
        }
        self.now = time.max(self.now);
    }

    /// Run for `span` nanoseconds.
    pub fn run_for(&mut self, span: u64) {
        self.run_until(self.now + span);
    }

    /// Run until `is_done`, which is checked every millisecond, or for `span`. Returns whether it was.
    pub fn run_until_true(&mut self, span: u64, is_done: impl Fn(&Cluster) -> bool) -> bool {
        let limit = self.now + span;
        while !is_done(self) {
            if self.now >= limit {
                return false;
            }
            self.run_until((self.now + MS).min(limit));
        }
        true
    }

    /// The number of events processed.
    pub fn happened(&self) -> u64 {
        self.happened
    }

    fn happen(&mut self, what: Occurrence) {
        self.happened += 1;
        let frozen_until = self.hosts[what.host()].frozen_until;
        if frozen_until > self.now {
            self.queue.push(frozen_until, what);
            return;
        }
        match what {
            Occurrence::Datagram { to, from, bytes } => self.datagram(to, from, bytes),
            Occurrence::DetectorTimer { host, start } => self.detector_timer(host, start),
            Occurrence::EngineTimer { host, start } => self.engine_timer(host, start),
            Occurrence::EngineRun { host, start } => self.engine_run(host, start),
            Occurrence::FenceCall {
                host,
                start,
                subject,
            } => self.fence_call(host, start, subject),
            Occurrence::FenceAnswer {
                host,
                start,
                subject,
                is_fenced,
            } => self.fence_answer(host, start, subject, is_fenced),
        }
    }
}
