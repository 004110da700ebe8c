// SPDX-License-Identifier: GPL-2.0

//! Messages per second and their latency between members in the kernel (`kcgcs_bench_member.ko`), one on each node.

use super::{emit, form, load, tell_progress, unload, LIMIT, LOOK_EVERY};
use crate::bench::{Latency, Line, Spread, Throughput};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::wait::wait_for_every;

const MODULE: &str = "kcgcs_bench_member";
const FOLDER: &str = "/sys/kernel/debug/kcgcs_bench";
const GROUP: &str = "bench";
const MEMBERS: [u16; 2] = [3, 8];
const BYTES: [u32; 3] = [64, 1024, 8192];
/// The messages that are sent one at a time, by turns of the members.
const PINGS: usize = 120;
/// The bytes, and the number, of messages sent through full windows, whichever is reached first.
const SENT_BYTES: u32 = 1024 * 1024;
const SENT_MESSAGES: u32 = 960;

/// Measure clusters of all sizes with messages of all sizes.
pub(super) fn measure() -> Result<(), String> {
    load(MODULE)?;
    for members in MEMBERS {
        let mut cluster = form(Plan::of(members))?;
        join(&cluster)?;
        for bytes in BYTES {
            latency(&cluster, bytes)?;
        }
        for senders in [1, members] {
            for bytes in BYTES {
                throughput(&mut cluster, senders, bytes)?;
            }
        }
        for node in cluster.all() {
            tell(&cluster, node, "leave", "1")?;
        }
        cluster.end()?;
    }
    unload(MODULE)
}

/// Write to a file of the module in a node's namespace.
fn tell(cluster: &Cluster, node: u16, file: &str, text: &str) -> Result<(), String> {
    cluster.network.namespace(node)?.run(|| write(file, text))
}

fn write(file: &str, text: &str) -> Result<(), String> {
    let path = format!("{FOLDER}/{file}");
    std::fs::write(&path, text).map_err(|error| format!("{text} to {path}: {error}"))
}

/// A number in a file of the module.
fn number(file: &str, name: &str) -> Result<u64, String> {
    let path = format!("{FOLDER}/{file}");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    text.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|(known, _)| *known == name)
        .and_then(|(_, value)| value.parse().ok())
        .ok_or_else(|| format!("{path}: no {name} in {text}"))
}

fn join(cluster: &Cluster) -> Result<(), String> {
    let all = cluster.all();
    for &node in &all {
        tell(cluster, node, "join", GROUP)?;
    }
    wait_for_every(LOOK_EVERY, "one view of the group", LIMIT, || match number(
        "status",
        "view_members",
    )? {
        members if members == all.len() as u64 => Ok(()),
        members => Err(format!("a member has a view of {members} members")),
    })
}

fn latency(cluster: &Cluster, bytes: u32) -> Result<(), String> {
    let all = cluster.all();
    tell_progress(&format!("{} members: latency of {bytes} bytes", all.len()));
    let text = bytes.to_string();
    let (mut at_sender, mut at_last) = (Vec::new(), Vec::new());
    for &node in &all {
        cluster.network.namespace(node)?.run(|| {
            for _ in 0..PINGS / all.len() {
                write("ping", &text)?;
                at_sender.push(number("latency", "sender_ns")?);
                at_last.push(number("latency", "last_ns")?);
            }
            Ok(())
        })?;
    }
    let spread = |times| Spread::of(times).ok_or("no messages were sent");
    emit(&Line::Latency(Latency {
        members: all.len() as u16,
        bytes,
        at_sender: spread(at_sender)?,
        at_last: spread(at_last)?,
    }))
}

fn throughput(cluster: &mut Cluster, senders: u16, bytes: u32) -> Result<(), String> {
    let members = cluster.all().len() as u16;
    tell_progress(&format!(
        "{members} members, {senders} of them sending {bytes} bytes"
    ));
    let each = (SENT_BYTES / bytes).min(SENT_MESSAGES) / u32::from(senders);
    let messages = u64::from(each) * u64::from(senders);
    write("reset", "1")?;
    let datagrams_before = datagrams(cluster)?;
    let idle_before_ns = idle_ns()?;
    let text = format!("{each} {bytes}");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=senders)
            .map(|node| {
                let (cluster, text) = (&*cluster, &text);
                scope.spawn(move || tell(cluster, node, "send", text))
            })
            .collect();
        writers.into_iter().try_for_each(|writer| {
            writer
                .join()
                .unwrap_or_else(|_| Err("a sender panicked".to_string()))
        })
    })?;
    wait_for_every(
        LOOK_EVERY,
        "all messages at all members",
        LIMIT,
        || match number("status", "given")? {
            given if given == messages => Ok(()),
            given => Err(format!(
                "a member has delivered only {given} of {messages} messages"
            )),
        },
    )?;
    let start_ns = number("status", "first_sent_ns")?;
    let end_ns = number("status", "last_given_ns")?;
    let idle_ns = idle_ns()? - idle_before_ns;
    let datagrams = datagrams(cluster)? - datagrams_before;
    let ns = end_ns.saturating_sub(start_ns).max(1) as f64;
    emit(&Line::Throughput(Throughput {
        members,
        senders,
        bytes,
        messages,
        messages_per_second: messages as f64 * 1e9 / ns,
        ns_per_delivery: ns / messages as f64 / f64::from(members),
        idle_percent: (100.0 * idle_ns as f64 / ns).min(100.0),
        datagrams_per_message: datagrams as f64 / messages as f64,
    }))
}

/// The datagrams that all nodes have sent, without heartbeats.
fn datagrams(cluster: &mut Cluster) -> Result<u64, String> {
    let mut sum = 0;
    for node in cluster.all() {
        sum +=
            cluster.counter(node, "datagrams_sent")? - cluster.counter(node, "heartbeats_sent")?;
    }
    Ok(sum)
}

/// The time for which the machine's processor has been idle since it started.
pub(super) fn idle_ns() -> Result<u64, String> {
    const PATH: &str = "/proc/uptime";
    let text = std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    text.split_whitespace()
        .nth(1)
        .and_then(|seconds| seconds.parse::<f64>().ok())
        .map(|seconds| (seconds * 1e9) as u64)
        .ok_or_else(|| format!("{PATH}: {text}"))
}
