// SPDX-License-Identifier: GPL-2.0

//! KCGCS, TIPC and Corosync compared: the same namespaces over the same bridge, the same silent cuts, one clock. Each
//! contender has its own way to report to its nodes which others are there and which are gone. Here all reports are
//! [`Notice`]s.

mod corosync;
mod kcgcs;
mod tipc;
mod watch;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::builder::PossibleValuesParser;
use clap::Args;
use kcgcsctl::clock::monotonic_ns;

use self::watch::Watch;
use super::idle::sent;
use super::multicast::idle_ns;
use super::random::Random;
use super::{emit, tell_progress, LOOK_EVERY};
use crate::bench::peers::{Peer, PeerCuts, PeerIdle, PeerLosses};
use crate::bench::{milliseconds, Line, Spread};
use crate::guest::network::Network;

/// The pause before a cut, to which a random time is added.
const PAUSE: Duration = Duration::from_secs(1);
/// The time for which survivors are observed after the last one knows of a cut, in case that they change their minds.
const AFTERMATH: Duration = Duration::from_secs(1);
/// The rounds of a spin that takes about a second undisturbed.
const ROUNDS_OF_A_SECOND: u64 = 200_000_000;
/// The most cuts of a contender that occupies the host for long with each.
const SLOW_CUTS_MAX: usize = 2;
/// The packets lost on every port, in percent.
const LOSS_PERCENT: u32 = 10;
/// The reason that is reported for measurements that a stopped machine did not reach.
const STOPPED: &str = "the run was stopped before";

/// All contenders, in the order in which they are measured.
const NAMES: [&str; 7] = [
    "KCGCS",
    "TIPC",
    "TIPC-400",
    "TIPC-ring",
    "TIPC-mesh",
    "Corosync",
    "Corosync-130",
];

/// The options of the part.
#[derive(Args, Debug)]
pub struct PeerWishes {
    /// Silent cuts for each contender and size in the part peers
    #[arg(long, default_value_t = 8, value_parser = super::at_least_one)]
    pub cuts: usize,
    /// Seconds for which each cluster of the part peers loses packets
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub loss_seconds: u64,
    /// Contenders in the part peers; all unless given
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(NAMES))]
    pub contenders: Vec<String>,
}

/// A report to a node about others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Notice {
    /// The time of the report, on `CLOCK_MONOTONIC`.
    at_ns: u64,
    /// The node that got the report.
    observer: u16,
    /// The nodes that are there now.
    gained: Vec<u16>,
    /// The nodes that are gone now.
    lost: Vec<u16>,
}

/// A cluster that runs in a network.
trait Running {
    /// The network.
    fn network(&self) -> &Network;
    /// The reports to nodes since the last call. Waits until there are some, but no longer than `limit`. Their times
    /// are not later than the return of this call.
    fn notices(&mut self, limit: Duration) -> Result<Vec<Notice>, String>;
    /// Prepare a measurement of time, for instance by comparing clocks.
    fn before_cut(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// End the cluster.
    fn end(self: Box<Self>) -> Result<(), String>;
}

/// The times and limits for a contender.
#[derive(Clone, Copy)]
struct Treatment {
    /// The time for which a formed cluster is left alone before idle packets are counted.
    settling: Duration,
    /// The time for which packets are counted and processor time is measured. It is long where packets are rare.
    idle: Duration,
    spin_seconds: u64,
    /// The bound of the random time before a cut, so that cuts come at any phase.
    phase: Duration,
    /// The longest time to form, to detect a cut, or to become whole again.
    limit: Duration,
}

impl Treatment {
    /// For contenders that send several packets per second.
    fn of_seconds(idle_seconds: u64) -> Self {
        Self {
            settling: super::idle::NEIGHBOURS_FORGOTTEN,
            idle: Duration::from_secs(idle_seconds),
            spin_seconds: 2,
            phase: Duration::from_millis(500),
            limit: Duration::from_secs(120),
        }
    }
}

/// Starts a cluster of so many nodes.
type Start = dyn Fn(u16) -> Result<Box<dyn Running>, String>;

/// A contender.
struct Contender {
    name: &'static str,
    treatment: Treatment,
    /// Whether it differs from the contenders before it with so many nodes.
    takes_part: fn(u16) -> bool,
    /// Clusters of more nodes occupy the host for so long that they are measured last.
    slow_above: u16,
    start: Box<Start>,
}

impl Contender {
    fn is_slow(&self, nodes: u16) -> bool {
        nodes > self.slow_above
    }
}

/// Measure all contenders with clusters of all sizes. Small clusters come first, so that a run that is stopped lacks
/// only the slowest measurements.
pub(super) fn measure(
    sizes: &[u16],
    wishes: &PeerWishes,
    idle_seconds: u64,
    seed: u64,
) -> Result<(), String> {
    let mut contenders = vec![kcgcs::contender(idle_seconds)];
    contenders.extend(tipc::contenders(idle_seconds));
    contenders.extend(corosync::contenders(idle_seconds)?);
    contenders.retain(|contender| {
        let wished = &wishes.contenders;
        wished.is_empty() || wished.iter().any(|name| name == contender.name)
    });
    let mut peers = Vec::new();
    for contender in &contenders {
        let takes_part = sizes.iter().filter(|&&nodes| (contender.takes_part)(nodes));
        peers.extend(
            takes_part.map(|&nodes| (contender, Peer::unmeasured(contender.name, nodes, STOPPED))),
        );
    }
    peers.sort_by_key(|(contender, peer)| (contender.is_slow(peer.nodes), peer.nodes));
    // The report takes the last line about each contender. These lines are for those that a stopped run does not reach.
    for (_, peer) in &peers {
        emit_peer(peer)?;
    }
    let mut bare_spins = BareSpins::default();
    let mut formed_none: BTreeMap<&str, u16> = BTreeMap::new();
    for (contender, mut found) in peers {
        let nodes = found.nodes;
        match formed_none.get(contender.name) {
            Some(&fewer) if fewer < nodes => {
                found.problem = Some(format!("not tried, since {fewer} nodes formed no cluster"));
            }
            _ => {
                let mut bout = Bout {
                    contender,
                    nodes,
                    wishes,
                    seed,
                    bare_spins: &mut bare_spins,
                };
                found.problem = bout.measure(&mut found).err();
                if found.formed_ms.is_none() {
                    formed_none.insert(contender.name, nodes);
                }
            }
        }
        emit_peer(&found)?;
    }
    tipc::unload()
}

fn emit_peer(peer: &Peer) -> Result<(), String> {
    emit(&Line::Peer(Box::new(peer.clone())))
}

/// The measurement of one contender with one number of nodes.
struct Bout<'a> {
    contender: &'a Contender,
    nodes: u16,
    wishes: &'a PeerWishes,
    seed: u64,
    bare_spins: &'a mut BareSpins,
}

impl Bout<'_> {
    fn tell(&self, text: &str) {
        tell_progress(&format!(
            "{} nodes, {}: {text}",
            self.nodes, self.contender.name
        ));
    }

    fn measure(&mut self, found: &mut Peer) -> Result<(), String> {
        let spin_seconds = self.contender.treatment.spin_seconds;
        let bare_ns = self.bare_spins.of(self.nodes)? * spin_seconds;
        self.tell("forming");
        let start_ns = monotonic_ns();
        let mut running = (self.contender.start)(self.nodes)?;
        let outcome = self.measure_running(found, running.as_mut(), start_ns, bare_ns);
        let ended = running.end();
        // The kernel takes a while to tear down the namespaces.
        std::thread::sleep(PAUSE);
        outcome.and(ended)
    }

    fn measure_running(
        &self,
        found: &mut Peer,
        running: &mut dyn Running,
        start_ns: u64,
        bare_ns: u64,
    ) -> Result<(), String> {
        let mut watch = Watch::new(self.nodes);
        let whole_ns = self.form(running, &mut watch)?;
        found.formed_ms = Some(milliseconds(whole_ns.saturating_sub(start_ns)));
        found.idle = Some(self.idle(running, &mut watch, bare_ns)?);
        emit_peer(found)?;
        found.cuts = Some(self.cut_all(running, &mut watch)?);
        emit_peer(found)?;
        found.losses = Some(self.lose(running, &mut watch)?);
        Ok(())
    }

    /// As [`Self::wait_until_whole`]. The error says how busy the processor was, since that may be the reason.
    fn form(&self, running: &mut dyn Running, watch: &mut Watch) -> Result<u64, String> {
        let (start, idle_before_ns) = (Instant::now(), idle_ns()?);
        let whole = self.wait_until_whole(running, watch, self.contender.treatment.limit);
        let idle_ns = idle_ns()?.saturating_sub(idle_before_ns);
        let busy = 1.0 - idle_ns as f64 / start.elapsed().as_nanos() as f64;
        whole.map_err(|why| {
            format!(
                "{why}; the processor was busy for {:.0} % of it",
                busy.max(0.0) * 100.0
            )
        })
    }

    /// Wait until every node knows every other one, and return the time at which the last one did.
    fn wait_until_whole(
        &self,
        running: &mut dyn Running,
        watch: &mut Watch,
        limit: Duration,
    ) -> Result<u64, String> {
        let deadline = Instant::now() + limit;
        let mut last_ns = 0;
        loop {
            if watch.is_whole() {
                return Ok(last_ns);
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "not whole within {} s: {}",
                    limit.as_secs(),
                    watch.missing()
                ));
            }
            for notice in running.notices(LOOK_EVERY)? {
                last_ns = last_ns.max(notice.at_ns);
                watch.add(&notice);
            }
        }
    }

    // ---- idle -----------------------------------------------------------------------------------------

    fn idle(
        &self,
        running: &mut dyn Running,
        watch: &mut Watch,
        bare_ns: u64,
    ) -> Result<PeerIdle, String> {
        let treatment = self.contender.treatment;
        self.tell("idle");
        std::thread::sleep(treatment.settling);
        let start = Instant::now();
        let before = self.sent(running.network())?;
        std::thread::sleep(treatment.idle);
        let after = self.sent(running.network())?;
        let seconds = start.elapsed().as_secs_f64();
        let nodes = f64::from(self.nodes);

        self.tell("processor time");
        let ns = spin(treatment.spin_seconds);
        let stolen = ns.saturating_sub(bare_ns) as f64 / ns as f64;
        let told_gone = follow(running, watch, Duration::ZERO)?;
        Ok(PeerIdle {
            seconds,
            packets: (after.0 - before.0) as f64 / seconds / nodes,
            bytes: (after.1 - before.1) as f64 / seconds / nodes,
            instructions: stolen * 1e9 / nodes,
            told_gone: told_gone.len() as u64,
        })
    }

    /// The packets and bytes that all nodes have sent.
    fn sent(&self, network: &Network) -> Result<(u64, u64), String> {
        let mut sum = (0, 0);
        for node in 1..=self.nodes {
            let (packets, bytes) = sent(network, node)?;
            sum = (sum.0 + packets, sum.1 + bytes);
        }
        Ok(sum)
    }

    // ---- cuts -----------------------------------------------------------------------------------------

    fn cut_all(&self, running: &mut dyn Running, watch: &mut Watch) -> Result<PeerCuts, String> {
        let mut random = Random::new(self.seed);
        let mut seen: Vec<Cut> = Vec::new();
        let limit = self.contender.treatment.limit;
        let cuts = if self.contender.is_slow(self.nodes) {
            self.wishes.cuts.min(SLOW_CUTS_MAX)
        } else {
            self.wishes.cuts
        };
        for number in 0..cuts {
            self.tell(&format!("cut {} of {}", number + 1, cuts));
            self.wait_until_whole(running, watch, limit)?;
            let phase = random.below(self.contender.treatment.phase.as_nanos() as u64);
            follow(running, watch, PAUSE + Duration::from_nanos(phase))?;
            self.wait_until_whole(running, watch, limit)?;
            // The victims take turns, beginning in the middle, since the first nodes coordinate some of the contenders.
            let turn = number + usize::from(self.nodes / 2);
            let victim = (turn % usize::from(self.nodes)) as u16 + 1;
            seen.push(self.cut(running, watch, victim)?);
        }
        let spread = |times: fn(&Cut) -> u64| {
            Spread::of(seen.iter().map(times).collect()).ok_or("no cuts were asked for")
        };
        let told: usize = seen.iter().map(|cut| cut.told).sum();
        let survivors = f64::from(self.nodes - 1);
        Ok(PeerCuts {
            first: spread(|cut| cut.first_ns)?,
            last: spread(|cut| cut.last_ns)?,
            between: spread(|cut| cut.last_ns - cut.first_ns)?,
            back: spread(|cut| cut.back_ns)?,
            told: told as f64 / seen.len() as f64 / survivors,
            others_told_gone: seen.iter().map(|cut| cut.others).sum(),
        })
    }

    fn cut(
        &self,
        running: &mut dyn Running,
        watch: &mut Watch,
        victim: u16,
    ) -> Result<Cut, String> {
        let limit = self.contender.treatment.limit;
        running.before_cut()?;
        let cut_ns = monotonic_ns();
        running.network().cut(victim)?;
        let deadline = Instant::now() + limit;
        let mut knows: BTreeMap<u16, u64> = BTreeMap::new();
        let (mut told, mut others) = (0, 0);
        let mut hear = |notices: Vec<Notice>, knows: &mut BTreeMap<u16, u64>| {
            for notice in notices {
                watch.add(&notice);
                if notice.observer == victim {
                    continue;
                }
                told += 1;
                if notice.lost.contains(&victim) {
                    knows.entry(notice.observer).or_insert(notice.at_ns);
                }
                others += notice.lost.iter().filter(|&&lost| lost != victim).count() as u64;
            }
        };
        while knows.len() + 1 < usize::from(self.nodes) {
            if Instant::now() >= deadline {
                let survivors = self.nodes - 1;
                return Err(format!(
                    "{} of {survivors} survivors knew of a cut after {} s",
                    knows.len(),
                    limit.as_secs()
                ));
            }
            hear(running.notices(LOOK_EVERY)?, &mut knows);
        }
        let calm = Instant::now() + AFTERMATH;
        while Instant::now() < calm {
            hear(running.notices(LOOK_EVERY)?, &mut knows);
        }
        let times = || knows.values().map(|at_ns| at_ns.saturating_sub(cut_ns));
        let (first_ns, last_ns) = (times().min(), times().max());
        let healed_ns = monotonic_ns();
        running.network().heal(victim)?;
        let whole_ns = self.wait_until_whole(running, watch, limit)?;
        Ok(Cut {
            first_ns: first_ns.unwrap_or(0),
            last_ns: last_ns.unwrap_or(0),
            back_ns: whole_ns.saturating_sub(healed_ns),
            told,
            others,
        })
    }

    // ---- losses ---------------------------------------------------------------------------------------

    fn lose(&self, running: &mut dyn Running, watch: &mut Watch) -> Result<PeerLosses, String> {
        self.tell("losses");
        let limit = self.contender.treatment.limit;
        let length = Duration::from_secs(self.wishes.loss_seconds);
        follow(running, watch, PAUSE)?;
        self.wait_until_whole(running, watch, limit)?;
        running.network().lose(LOSS_PERCENT, self.seed as u32)?;
        let mut lost = follow(running, watch, length)?;
        let told_gone = lost.len() as u64;
        lost.sort_unstable();
        lost.dedup();
        Ok(PeerLosses {
            seconds: length.as_secs_f64(),
            percent: LOSS_PERCENT,
            told_gone,
            nodes_gone: lost.len() as u64,
            is_whole: watch.is_whole(),
        })
    }
}

/// The result of a cut.
struct Cut {
    first_ns: u64,
    last_ns: u64,
    back_ns: u64,
    /// The notices to survivors.
    told: usize,
    /// The reports to survivors that a healthy node was gone.
    others: u64,
}

/// Follow the notices for `length`, and return each node that was reported to be gone, once for each report.
fn follow(
    running: &mut dyn Running,
    watch: &mut Watch,
    length: Duration,
) -> Result<Vec<u16>, String> {
    let end = Instant::now() + length;
    let mut lost = Vec::new();
    loop {
        for notice in running.notices(LOOK_EVERY.min(length))? {
            watch.add(&notice);
            lost.extend(notice.lost);
        }
        if Instant::now() >= end {
            return Ok(lost);
        }
    }
}

/// Keep the machine's only processor busy, and return the nanoseconds that it took.
fn spin(seconds: u64) -> u64 {
    let start = monotonic_ns();
    for round in 0..ROUNDS_OF_A_SECOND * seconds {
        black_box(round);
    }
    monotonic_ns() - start
}

/// The time of a spin of a second beside a network without a contender, by the number of nodes.
#[derive(Default)]
struct BareSpins(BTreeMap<u16, u64>);

impl BareSpins {
    fn of(&mut self, nodes: u16) -> Result<u64, String> {
        if let Some(&known) = self.0.get(&nodes) {
            return Ok(known);
        }
        tell_progress(&format!("{nodes} ports without a contender"));
        let network = Network::new(nodes)?;
        // The namespaces announce their own addresses at first.
        std::thread::sleep(Duration::from_secs(10));
        let ns = spin(1);
        drop(network);
        std::thread::sleep(PAUSE);
        self.0.insert(nodes, ns);
        Ok(ns)
    }
}
