// SPDX-License-Identifier: GPL-2.0

//! TIPC as a contender, over Ethernet, configured with iproute2's `tipc`. The reports to nodes come from the topology
//! service of each namespace. Their times are those at which this program receives them.

use std::os::fd::AsFd;
use std::time::Duration;

use kcgcsctl::clock::monotonic_ns;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use super::{Contender, Notice, Running, Treatment};
use crate::guest::bench::load;
use crate::guest::modules;
use crate::guest::network::{run_command, Network};
use crate::guest::topology::{address, number, NodeEvent, Topology};
use crate::guest::wait::wait_for;

/// Up to so many nodes, all nodes monitor all others by default; in larger clusters they monitor neighbours on a ring.
const MESH_MAX: u16 = 32;
/// The longest time until the module's last object is released.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// The settings that are not at their defaults.
#[derive(Clone, Copy, Default)]
struct Settings {
    /// The link tolerance in milliseconds.
    tolerance: Option<u32>,
    /// The number of nodes above which neighbours on a ring monitor each other.
    threshold: Option<u32>,
}

pub(super) fn contenders(idle_seconds: u64) -> Vec<Contender> {
    let contender = |name: &'static str, settings: Settings, takes_part| Contender {
        name,
        // There is no ARP to wait for, and each second occupies the host for longer.
        treatment: Treatment {
            settling: Duration::from_secs(5),
            ..Treatment::of_seconds(idle_seconds)
        },
        takes_part,
        slow_above: u16::MAX,
        start: Box::new(move |nodes| Ok(Box::new(Tipc::start(nodes, settings)?))),
    };
    let defaults = Settings::default();
    vec![
        contender("TIPC", defaults, |_| true),
        contender(
            "TIPC-400",
            Settings {
                tolerance: Some(400),
                ..defaults
            },
            |_| true,
        ),
        contender(
            "TIPC-ring",
            Settings {
                threshold: Some(1),
                ..defaults
            },
            |nodes| nodes <= MESH_MAX,
        ),
        contender(
            "TIPC-mesh",
            Settings {
                threshold: Some(1000),
                ..defaults
            },
            |nodes| nodes > MESH_MAX,
        ),
    ]
}

/// Unload the module, after the last contender.
pub(super) fn unload() -> Result<(), String> {
    if !modules::is_loaded("tipc") {
        return Ok(());
    }
    wait_for("the module tipc can be unloaded", GONE_LIMIT, || {
        modules::unload("tipc").map_err(|errno| errno.to_string())
    })
}

struct Tipc {
    // Sockets are dropped before their namespaces.
    topologies: Vec<Topology>,
    network: Network,
}

impl Tipc {
    fn start(nodes: u16, settings: Settings) -> Result<Self, String> {
        load("tipc")?;
        let network = Network::new(nodes)?;
        let mut topologies = Vec::new();
        for node in 1..=nodes {
            let topology = network.namespace(node)?.run(|| {
                let tipc = |line: String| {
                    let words: Vec<&str> = line.split(' ').collect();
                    run_command("tipc", &words)
                };
                tipc(format!("node set address 1.1.{node}"))?;
                if let Some(nodes) = settings.threshold {
                    tipc(format!("link monitor set threshold {nodes}"))?;
                }
                tipc("bearer enable media eth device eth0".to_string())?;
                if let Some(ms) = settings.tolerance {
                    tipc(format!("bearer set tolerance {ms} media eth device eth0"))?;
                }
                Topology::subscribe()
            })?;
            topologies.push(topology);
        }
        Ok(Self {
            topologies,
            network,
        })
    }
}

impl Running for Tipc {
    fn network(&self) -> &Network {
        &self.network
    }

    fn notices(&mut self, limit: Duration) -> Result<Vec<Notice>, String> {
        let mut files: Vec<PollFd<'_>> = self
            .topologies
            .iter()
            .map(|topology| PollFd::new(topology.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(limit).map_err(|error| error.to_string())?;
        poll(&mut files, timeout).map_err(|errno| format!("poll: {errno}"))?;
        let mut notices = Vec::new();
        for (topology, observer) in self.topologies.iter().zip(1..) {
            while let Some(event) = topology.next()? {
                let mut notice = Notice {
                    at_ns: monotonic_ns(),
                    observer,
                    ..Notice::default()
                };
                match event {
                    NodeEvent::Up(node) if node == address(observer) => continue,
                    NodeEvent::Up(node) => notice.gained.push(number(node)),
                    NodeEvent::Down(node) => notice.lost.push(number(node)),
                }
                notices.push(notice);
            }
        }
        Ok(notices)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        Ok(())
    }
}
