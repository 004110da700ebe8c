// SPDX-License-Identifier: GPL-2.0

//! A local network inside one machine: a bridge in a namespace of its own, and for each node a namespace with a port on
//! the bridge. All of it is deleted when the value is dropped.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use nix::net::if_::InterfaceFlags;
use nix::sched::{setns, unshare, CloneFlags};

use super::packet::{IPV4_BYTES, PORT, UDP_BYTES};
use super::recording::fields;
use super::route::Route;
use super::wait::wait_for;

/// The filter that all ports share.
const FILTER: u32 = 1;
/// The longest time until a port is running.
const UP_LIMIT: Duration = Duration::from_secs(20);

/// A network namespace. It lives for as long as this value or anything opened in it.
pub struct Namespace {
    file: OwnedFd,
}

impl Namespace {
    /// Create an empty namespace.
    pub fn new() -> Result<Self, String> {
        on_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("unshare: {error}"))?;
            let file = File::open("/proc/thread-self/ns/net")
                .map_err(|error| format!("/proc/thread-self/ns/net: {error}"))?;
            Ok(Self { file: file.into() })
        })
    }

    /// Run `work` on a thread of its own inside the namespace. Files that it opens stay there.
    pub fn run<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send,
    ) -> Result<T, String> {
        on_own_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET)
                .map_err(|error| format!("setns: {error}"))?;
            work()
        })
    }

    /// Run a program inside the namespace. The error is what it wrote.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        self.run(|| run_command(program, arguments))
    }
}

/// Run a program. The error is what it wrote.
pub fn run_command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let what = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", what()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}: {}",
        what(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        scope
            .spawn(work)
            .join()
            .unwrap_or_else(|_| Err("the thread panicked".to_string()))
    })
}

/// The local network: ports 1 to N, each with its namespace.
pub struct Network {
    bridge_index: u32,
    route: Route,
    bridge: Namespace,
    nodes: Vec<Option<Namespace>>,
}

impl Network {
    const BRIDGE: &'static str = "bridge0";

    /// Create a bridge with `count` ports and namespaces, all up.
    pub fn new(count: u16) -> Result<Self, String> {
        raise_neighbour_limits();
        let bridge = Namespace::new()?;
        let (route, bridge_index) = bridge.run(|| {
            let route = Route::open()?;
            route.add_bridge(Self::BRIDGE)?;
            Ok((route, index_of(Self::BRIDGE)?))
        })?;
        let mut network = Self {
            bridge_index,
            route,
            bridge,
            nodes: Vec::new(),
        };
        for _ in 0..count {
            network.add_port()?;
        }
        network.wait_until_up()?;
        Ok(network)
    }

    /// Wait until all ports are running. Before that a port drops its packets.
    fn wait_until_up(&self) -> Result<(), String> {
        for number in 1..=self.nodes.len() as u16 {
            self.wait_until_port_is_up(number)?;
        }
        Ok(())
    }

    fn wait_until_port_is_up(&self, number: u16) -> Result<(), String> {
        let port = port_name(number);
        wait_for("ports of the network", UP_LIMIT, || {
            let inside = self.namespace(number)?.run(|| is_running("eth0"))?;
            let outside = self.bridge.run(|| is_running(&port))?;
            if inside && outside {
                Ok(())
            } else {
                Err(format!("port {number} is not running"))
            }
        })
    }

    /// Add the next port and return its number.
    pub fn add_port(&mut self) -> Result<u16, String> {
        let number = u16::try_from(self.nodes.len() + 1).map_err(|error| error.to_string())?;
        let namespace = self.connect(number)?;
        self.nodes.push(Some(namespace));
        Ok(number)
    }

    fn connect(&self, number: u16) -> Result<Namespace, String> {
        let namespace = Namespace::new()?;
        let port = port_name(number);
        self.route.add_veth(
            &port,
            "eth0",
            hardware_address(number),
            namespace.file.as_fd(),
        )?;
        self.route.set_master(&port, self.bridge_index)?;
        namespace.run(|| {
            let route = Route::open()?;
            let index = index_of("eth0")?;
            ask_for_neighbours_often()?;
            route.set_up("lo")?;
            route.set_up("eth0")?;
            route.add_address(index, address4(number), 16)?;
            route.add_address6(index, address6(number), 64)
        })?;
        self.route.set_up(&port)?;
        Ok(namespace)
    }

    /// The namespace of a port.
    pub fn namespace(&self, number: u16) -> Result<&Namespace, String> {
        self.nodes
            .get(usize::from(number).wrapping_sub(1))
            .and_then(Option::as_ref)
            .ok_or_else(|| format!("there is no namespace {number}"))
    }

    /// Take a port out of the bridge: nothing passes in either direction, and neither end notices.
    pub fn cut(&self, number: u16) -> Result<(), String> {
        self.route.set_master(&port_name(number), 0)
    }

    /// Put a port back into the bridge.
    pub fn heal(&self, number: u16) -> Result<(), String> {
        self.route.set_master(&port_name(number), self.bridge_index)
    }

    /// Drop what `from` sends to `to` from now on. The other direction works.
    pub fn block(&self, from: u16, to: u16) -> Result<(), String> {
        self.change_blackhole(from, to, "add")
    }

    /// End what [`Self::block`] began.
    pub fn unblock(&self, from: u16, to: u16) -> Result<(), String> {
        self.change_blackhole(from, to, "del")
    }

    fn change_blackhole(&self, from: u16, to: u16, action: &str) -> Result<(), String> {
        let target = format!("{}/32", std::net::Ipv4Addr::from(address4(to)));
        let arguments = ["route", action, "blackhole", &target];
        self.namespace(from)?.command("ip", &arguments)
    }

    /// Split the network into components, each with a bridge of its own. With no components it is whole again.
    pub fn split(&self, components: &[&[u16]]) -> Result<(), String> {
        for number in 1..=self.nodes.len() as u16 {
            let has_node = |component: &&[u16]| component.contains(&number);
            let place = components.iter().position(has_node);
            let bridge = match place {
                None | Some(0) => self.bridge_index,
                Some(place) => self.more_bridge(place)?,
            };
            self.route.set_master(&port_name(number), bridge)?;
        }
        Ok(())
    }

    /// The index of an additional bridge, which is created when it is first needed.
    fn more_bridge(&self, number: usize) -> Result<u32, String> {
        let name = format!("bridge{number}");
        self.bridge.run(|| {
            if nix::net::if_::if_nametoindex(name.as_str()).is_err() {
                Route::open()?.add_bridge(&name)?;
            }
            index_of(&name)
        })
    }

    /// Let every port lose `percent` of the packets to its node.
    pub fn lose(&self, percent: u32, seed: u32) -> Result<(), String> {
        for number in 1..=self.nodes.len() as u16 {
            self.bridge.command(
                "tc",
                &[
                    "qdisc",
                    "replace",
                    "dev",
                    &port_name(number),
                    "root",
                    "netem",
                    "limit",
                    "10000",
                    "loss",
                    &format!("{percent}%"),
                    "seed",
                    &(seed + u32::from(number)).to_string(),
                ],
            )?;
        }
        Ok(())
    }

    /// Pass what nodes send through one filter from now on, which [`Self::lose_kind`] needs.
    pub fn filter_kinds(&self) -> Result<(), String> {
        for number in 1..=self.nodes.len() as u16 {
            let port = port_name(number);
            let line = format!("qdisc add dev {port} ingress_block {FILTER} clsact");
            self.tc(&line)?;
        }
        Ok(())
    }

    /// Drop datagrams of this kind from all nodes from now on.
    pub fn lose_kind(&self, kind: u8) -> Result<(), String> {
        // The places of the source port and of the kind, from the beginning of the IPv4 header, which has no options.
        let port = IPV4_BYTES;
        let place = IPV4_BYTES + UDP_BYTES + fields::KIND;
        self.tc(&format!(
            "filter add block {FILTER} pref {kind} protocol ip u32 match ip protocol 17 0xff \
             match u16 {PORT} 0xffff at {port} match u8 {kind} 0xff at {place} action drop"
        ))
    }

    /// End what [`Self::lose_kind`] began.
    pub fn pass_kind(&self, kind: u8) -> Result<(), String> {
        self.tc(&format!("filter del block {FILTER} pref {kind}"))
    }

    fn tc(&self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.bridge.command("tc", &words)
    }

    /// Delete a namespace, which the kernel tears down if nothing else holds it, and with it the port in the bridge.
    pub fn delete_namespace(&mut self, number: u16) -> Result<(), String> {
        let place = self
            .nodes
            .get_mut(usize::from(number).wrapping_sub(1))
            .ok_or_else(|| format!("there is no namespace {number}"))?;
        drop(place.take());
        Ok(())
    }

    /// Create a namespace in the place of a deleted one. Fails until the kernel has torn the old one down, since the
    /// port's name is taken for so long.
    pub fn restore_namespace(&mut self, number: u16) -> Result<(), String> {
        let namespace = self.connect(number)?;
        let place = self
            .nodes
            .get_mut(usize::from(number).wrapping_sub(1))
            .ok_or_else(|| format!("there is no place {number}"))?;
        *place = Some(namespace);
        self.wait_until_port_is_up(number)
    }
}

fn port_name(number: u16) -> String {
    format!("port{number}")
}

/// The IPv4 address of a node.
pub fn address4(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [10, 77, high, low]
}

/// The IPv6 address of a node.
pub fn address6(number: u16) -> [u8; 16] {
    let [high, low] = number.to_be_bytes();
    [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
}

/// The hardware address of a node's interface.
pub fn hardware_address(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [2, 0x77, 0, 0, high, low]
}

fn index_of(name: &str) -> Result<u32, String> {
    nix::net::if_::if_nametoindex(name).map_err(|error| format!("index of {name}: {error}"))
}

fn is_running(name: &str) -> Result<bool, String> {
    let mut interfaces =
        nix::ifaddrs::getifaddrs().map_err(|error| format!("interfaces: {error}"))?;
    Ok(interfaces.any(|interface| {
        interface.interface_name == name && interface.flags.contains(InterfaceFlags::IFF_RUNNING)
    }))
}

/// Shorten the retry interval of neighbour discovery. A node that has asked for the hardware address of a neighbour
/// that was cut off would send nothing to it for a second after the cut.
fn ask_for_neighbours_often() -> Result<(), String> {
    for (family, is_needed) in [("ipv4", true), ("ipv6", false)] {
        let file = format!("/proc/sys/net/{family}/neigh/eth0/retrans_time_ms");
        if let Err(error) = std::fs::write(&file, "20") {
            if is_needed {
                return Err(format!("{file}: {error}"));
            }
        }
    }
    Ok(())
}

/// Raise the limits of the neighbour table, which all namespaces share, and whose default is too small for 64 nodes.
fn raise_neighbour_limits() {
    for family in ["ipv4", "ipv6"] {
        for (name, value) in [
            ("gc_thresh3", "65536"),
            ("gc_thresh2", "32768"),
            ("gc_thresh1", "16384"),
        ] {
            // A kernel without the family has no such file, and needs none.
            let _ = std::fs::write(
                format!("/proc/sys/net/{family}/neigh/default/{name}"),
                value,
            );
        }
    }
}
