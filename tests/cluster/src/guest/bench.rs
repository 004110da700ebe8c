// SPDX-License-Identifier: GPL-2.0

//! The bench inside the machine. It reports figures and judges nothing. The machine's clock must count instructions, so
//! that times do not depend on how busy the host is.

mod detection;
mod function_graph;
mod heartbeat;
mod idle;
mod multicast;
mod peers;
mod random;

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::peers::PeerWishes;
use super::cluster::{Cluster, Plan};
use super::modules;
use super::network::run_command;
use crate::bench::{Line, Setting, LINE_MARK, PROGRESS_MARK};

/// The longest time that is waited for anything.
const LIMIT: Duration = Duration::from_secs(120);
/// The time for which a formed cluster is left alone before it is measured.
const SETTLING: Duration = Duration::from_secs(3);
/// The pause between two looks at a cluster. A look costs time of the cluster's only processor.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Packets and bytes of an idle cluster
    Idle,
    /// From a silent crash to the new view
    Detection,
    /// Instructions of a heartbeat, and of a bare datagram
    Heartbeat,
    /// Messages per second, and their latency
    Multicast,
    /// KCGCS, TIPC and Corosync next to each other; only if it is named
    Peers,
}

/// The measurements that are asked for.
#[derive(Args, Debug)]
pub struct Wishes {
    /// The measurements; all but peers unless given
    pub parts: Vec<Part>,
    /// Sizes of the clusters that are idle or lose nodes
    #[arg(long, value_delimiter = ',', default_value = "4,8,16,32,64", value_parser = clap::value_parser!(u16).range(3..=256))]
    pub sizes: Vec<u16>,
    /// Crashes for each size
    #[arg(long, default_value_t = 24, value_parser = at_least_one)]
    pub crashes: usize,
    /// Seconds for which an idle cluster is observed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub idle_seconds: u64,
    /// Seed of the random times of crashes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Options of the part peers
    #[command(flatten)]
    pub peers: PeerWishes,
    /// Only check these arguments
    #[arg(long)]
    pub check: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number from 1 is needed".to_string()),
    }
}

impl Wishes {
    fn includes(&self, part: Part) -> bool {
        let is_default = self.parts.is_empty() && part != Part::Peers;
        is_default || self.parts.contains(&part)
    }
}

/// Measure, and write the results to the console.
pub fn measure(wishes: &Wishes) -> Result<(), String> {
    if wishes.check {
        return Ok(());
    }
    seed_random_numbers()?;
    load("kcgcs")?;
    emit(&Line::Setting(setting(wishes.seed)?))?;
    if wishes.includes(Part::Heartbeat) {
        heartbeat::measure()?;
    }
    if wishes.includes(Part::Multicast) {
        multicast::measure()?;
    }
    for &count in &wishes.sizes {
        let wants_idle = wishes.includes(Part::Idle);
        let wants_detection = wishes.includes(Part::Detection);
        if !(wants_idle || wants_detection) {
            break;
        }
        let mut cluster = form(Plan::of(count))?;
        if wants_idle {
            idle::measure(&mut cluster, Duration::from_secs(wishes.idle_seconds))?;
        }
        if wants_detection {
            detection::measure(&mut cluster, wishes.crashes, wishes.seed)?;
        }
        cluster.end()?;
    }
    if wishes.includes(Part::Peers) {
        peers::measure(
            &wishes.sizes,
            &wishes.peers,
            wishes.idle_seconds,
            wishes.seed,
        )?;
    }
    modules::wait_until_nothing_is_left()?;
    emit(&Line::End)
}

/// Wait until the kernel's random numbers are seeded. Before that, each number costs many times as many instructions,
/// and the IP layer draws one for each packet.
fn seed_random_numbers() -> Result<(), String> {
    const PATH: &str = "/dev/random";
    tell_progress("waiting for random numbers");
    File::open(PATH)
        .and_then(|mut file| file.read_exact(&mut [0; 1]))
        .map_err(|error| format!("{PATH}: {error}"))
}

fn emit(line: &Line) -> Result<(), String> {
    let text = serde_json::to_string(line).map_err(|error| error.to_string())?;
    println!("{LINE_MARK}{text}");
    Ok(())
}

fn tell_progress(text: &str) {
    println!("{PROGRESS_MARK}{text}");
}

/// The kernel and the parameters, as a node started for that reports them.
fn setting(seed: u64) -> Result<Setting, String> {
    let kernel = nix::sys::utsname::uname().map_err(|errno| format!("uname: {errno}"))?;
    let mut cluster = form(Plan::of(1))?;
    let parameters = cluster.status(1)?.settings;
    cluster.end()?;
    Ok(Setting {
        kernel: kernel.release().to_string_lossy().into_owned(),
        seed,
        parameters,
    })
}

/// Form a cluster, and let its nodes settle in one view.
fn form(plan: Plan) -> Result<Cluster, String> {
    tell_progress(&format!("{} nodes: forming a cluster", plan.count));
    let mut cluster = Cluster::new(plan, LIMIT)?;
    let all = cluster.all();
    for &node in &all {
        cluster.start(node)?;
    }
    cluster.wait_for_view(&all)?;
    std::thread::sleep(SETTLING);
    Ok(cluster)
}

/// Load a module with its dependencies.
fn load(module: &str) -> Result<(), String> {
    run_command("modprobe", &[module])
}

fn unload(module: &str) -> Result<(), String> {
    modules::unload(module).map_err(|errno| format!("unload {module}: {errno}"))
}
