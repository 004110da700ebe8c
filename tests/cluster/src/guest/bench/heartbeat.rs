// SPDX-License-Identifier: GPL-2.0

//! The cost of a heartbeat in instructions, and that of a bare datagram of the same size between two namespaces of the
//! same kind of network (`kcgcs_bench_udp.ko`).
//!
//! The whole cost comes from a program that spins for a fixed number of rounds on the machine's only processor. On the
//! instruction-counting clock it takes longer by exactly the instructions of interrupts and soft interrupts. The
//! program spins at two rates of heartbeats, all else being equal, and the cost of one heartbeat is the difference of
//! the times divided by the difference of the counts.
//!
//! The cost of sending and of receiving comes from the function graph tracer: the timer's soft interrupt that sends,
//! and the receiver's IP layer with all that it calls. The cost of the tracer itself is measured and subtracted.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::function_graph::{calls, calls_for, median, Call};
use super::{emit, form, load, tell_progress, unload, SETTLING};
use crate::bench::{DatagramCost, HeartbeatCost, Line};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::modules;
use crate::guest::network::{address4, Network};

const NODES: u16 = 8;
/// The rounds of a spin, which take somewhat less than a second.
const ROUNDS: u64 = 200_000_000;
/// The shortest and the longest interval allowed.
const FAST_INTERVAL_MS: u64 = 10;
const SLOW_INTERVAL_MS: u64 = 10_000;
/// The interval of bare datagrams: there are as many as heartbeats in the fast cluster, whose nodes send to three
/// others each.
const BARE_INTERVAL_US: u64 = FAST_INTERVAL_MS * 1000 / (3 * NODES as u64);
const BARE_PORT: u16 = 5500;
const BARE: &str = "/sys/module/kcgcs_bench_udp/parameters";
/// The time for which calls are traced.
const TRACED: Duration = Duration::from_millis(500);

const TIMER: &str = "hrtimer_run_softirq";
const TRANSMIT: &str = "udp_tunnel_xmit_skb";
const RECEIVE: &str = "ip_rcv";
/// A function that does next to nothing, called when the parameter `live_objects` is read.
const NEXT_TO_NOTHING: &str = "kcgcs_live_datagrams";

/// Measure heartbeats and bare datagrams.
pub(super) fn measure() -> Result<(), String> {
    load("kcgcs_bench_udp")?;
    let mut slow = form(plan(SLOW_INTERVAL_MS))?;
    let before = spin_with_heartbeats(&mut slow)?;
    slow.end()?;
    let mut fast = form(plan(FAST_INTERVAL_MS))?;
    let after = spin_with_heartbeats(&mut fast)?;
    let payload_bytes = payload_bytes(&mut fast)?;
    tell_progress("instructions of parts of a heartbeat");
    let ours = Traced::of("kcgcs_encap_receive", true)?;
    fast.end()?;

    tell_progress("instructions of a bare datagram");
    let network = Network::new(2)?;
    // The kernel takes a while to tear down the namespaces of the cluster.
    std::thread::sleep(SETTLING);
    let bare_before = spin_with_bare()?;
    start_bare(&network, payload_bytes)?;
    let bare_after = spin_with_bare()?;
    let bare = Traced::of("bench_receive", true)?;
    let unmarked = Traced::of("bench_receive", false)?;
    std::fs::write(format!("{BARE}/stop"), "1").map_err(|error| format!("{BARE}/stop: {error}"))?;
    drop(network);
    unload("kcgcs_bench_udp")?;

    let overhead = Overhead {
        outer: tracer_ns()?,
        inner: bare.timer - unmarked.timer,
    };
    emit(&Line::Heartbeat(HeartbeatCost {
        nodes: NODES,
        payload_bytes,
        heartbeat: cost(&before, &after, &ours, &overhead)?,
        bare: cost(&bare_before, &bare_after, &bare, &overhead)?,
    }))
}

fn plan(heartbeat_interval_ms: u64) -> Plan {
    Plan {
        settings: vec![("heartbeat_interval_ms".to_string(), heartbeat_interval_ms)],
        ..Plan::of(NODES)
    }
}

/// The time that the tracer adds to a call itself, and to a call around it.
struct Overhead {
    outer: f64,
    inner: f64,
}

fn tracer_ns() -> Result<f64, String> {
    let traced = calls(&[NEXT_TO_NOTHING], || {
        for _ in 0..100 {
            modules::live_objects()?;
        }
        Ok(())
    })?;
    median(traced.iter()).ok_or(format!("{NEXT_TO_NOTHING} was not called"))
}

fn cost(
    before: &Spin,
    after: &Spin,
    traced: &Traced,
    overhead: &Overhead,
) -> Result<DatagramCost, String> {
    let datagrams = after.datagrams.saturating_sub(before.datagrams);
    if datagrams == 0 {
        return Err("no datagrams were sent".to_string());
    }
    Ok(DatagramCost {
        whole: (after.ns as f64 - before.ns as f64) / datagrams as f64,
        send: traced.timer - overhead.outer - overhead.inner,
        receive: traced.receive - overhead.outer,
        hook: traced.hook - overhead.outer,
        datagrams,
    })
}

// ---- the spin ---------------------------------------------------------------------------------------

/// One spin.
struct Spin {
    ns: u64,
    /// The datagrams received meanwhile.
    datagrams: u64,
}

fn spin(mut received: impl FnMut() -> Result<u64, String>) -> Result<Spin, String> {
    let before = received()?;
    let start = Instant::now();
    for round in 0..ROUNDS {
        black_box(round);
    }
    let elapsed = start.elapsed();
    Ok(Spin {
        ns: elapsed.as_nanos() as u64,
        datagrams: received()? - before,
    })
}

fn spin_with_heartbeats(cluster: &mut Cluster) -> Result<Spin, String> {
    tell_progress("instructions of a heartbeat");
    let all = cluster.all();
    spin(|| {
        all.iter()
            .map(|&node| cluster.counter(node, "heartbeats_received"))
            .sum()
    })
}

fn spin_with_bare() -> Result<Spin, String> {
    spin(|| {
        let path = format!("{BARE}/received");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        text.trim()
            .parse()
            .map_err(|error| format!("{path}: {error}"))
    })
}

fn payload_bytes(cluster: &mut Cluster) -> Result<u64, String> {
    // A settled node sends only heartbeats, so the bytes that it counts last give their size.
    let before = (
        cluster.counter(1, "bytes_sent")?,
        cluster.counter(1, "datagrams_sent")?,
    );
    std::thread::sleep(TRACED);
    let bytes = cluster.counter(1, "bytes_sent")? - before.0;
    let datagrams = cluster.counter(1, "datagrams_sent")? - before.1;
    bytes
        .checked_div(datagrams)
        .ok_or_else(|| "no heartbeats were sent".to_string())
}

fn start_bare(network: &Network, bytes: u64) -> Result<(), String> {
    let tell = |number: u16, file: &str, text: String| {
        network.namespace(number)?.run(|| {
            let path = format!("{BARE}/{file}");
            std::fs::write(&path, &text).map_err(|error| format!("{text} to {path}: {error}"))
        })
    };
    tell(2, "receive", BARE_PORT.to_string())?;
    let address = Ipv4Addr::from(address4(2));
    tell(
        1,
        "send",
        format!("{address} {BARE_PORT} {BARE_INTERVAL_US} {bytes}"),
    )
}

// ---- the parts --------------------------------------------------------------------------------------

/// The times of sending and receiving, including the tracer's.
struct Traced {
    timer: f64,
    receive: f64,
    hook: f64,
}

impl Traced {
    /// Trace the calls. If `is_marked`, only those runs of the timer count that sent exactly one datagram, whose traced
    /// call costs the tracer's time once more.
    fn of(hook: &str, is_marked: bool) -> Result<Self, String> {
        let timer: &[&str] = if is_marked {
            &[TIMER, TRANSMIT]
        } else {
            &[TIMER]
        };
        let sent_one =
            |call: &Call| call.function == TIMER && (!is_marked || call.inside == [TRANSMIT]);
        Ok(Self {
            timer: middle(timer, sent_one)?,
            receive: middle(&[RECEIVE], |_| true)?,
            hook: middle(&[hook], |_| true)?,
        })
    }
}

fn middle(functions: &[&str], counts: impl Fn(&Call) -> bool) -> Result<f64, String> {
    let traced = calls_for(functions, TRACED)?;
    median(traced.iter().filter(|call| counts(call)))
        .ok_or_else(|| format!("{functions:?} were not called"))
}
