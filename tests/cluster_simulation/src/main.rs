// SPDX-License-Identifier: GPL-2.0

//! `simulate`: runs seeds of the cluster simulation on all processors and says which ones broke a
//! promise, with the command that repeats each.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use clap::Parser;
use cluster_simulation::scenario::{run, Outcome, RunOptions};
use cluster_simulation::statistics::Summary;
use kcgcs_protocol::protocol::configuration::DetectorKind;
use kcgcs_protocol::protocol::limits::NODES_MAX;

/// Broken promises of one seed that are shown.
const SHOWN_PER_SEED_MAX: usize = 6;

/// Simulates whole clusters in virtual time and checks what they promise. Each seed is one cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first one; the others follow.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Nodes of a cluster: a number, or a range such as 3..50, both ends included.
    #[arg(long, default_value = "3..50", value_parser = parse_nodes)]
    nodes: RangeInclusive<usize>,
    /// Write the trace of the first seed that breaks a promise, or with one seed its trace, to this
    /// file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Also cut the network in two and block single directions.
    #[arg(long)]
    partitions: bool,
    /// No consumers: membership only.
    #[arg(long)]
    without_groups: bool,
    /// Nothing goes wrong but one crash at the end.
    #[arg(long)]
    without_faults: bool,
    /// How silence is found out: ring or gossip.
    #[arg(long, default_value = "ring", value_parser = parse_detector)]
    detector: DetectorKind,
    /// One line of numbers for each seed.
    #[arg(long, short)]
    verbose: bool,
    /// Threads; 0: as many as processors.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn parse_detector(text: &str) -> Result<DetectorKind, String> {
    DetectorKind::from_name(text.as_bytes()).ok_or_else(|| "ring or gossip".to_owned())
}

fn parse_nodes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let number = |part: &str| {
        part.trim_start_matches('=')
            .parse::<usize>()
            .map_err(|_| format!("{text:?} is not a number or a range such as 3..50"))
    };
    let (low, high) = (number(low)?, number(high)?);
    if low < 1 || high < low || high > NODES_MAX {
        return Err(format!("1 to {NODES_MAX} nodes are possible"));
    }
    Ok(low..=high)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = RunOptions {
        nodes: arguments.nodes.clone(),
        groups: !arguments.without_groups,
        partitions: arguments.partitions,
        faults: !arguments.without_faults,
        detector: arguments.detector,
    };
    let threads = match arguments.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let next = AtomicU64::new(0);
    let (results, incoming) = mpsc::sync_channel::<Outcome>(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (results, next, options) = (results.clone(), &next, &options);
            let (first, count) = (arguments.first_seed, arguments.seeds);
            scope.spawn(move || loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || results.send(run_guarded(first + number, options)).is_err() {
                    return;
                }
            });
        }
        drop(results);
        report(&arguments, incoming)
    })
}

/// Runs one seed; a panic in the protocol is a broken promise like any other.
fn run_guarded(seed: u64, options: &RunOptions) -> Outcome {
    std::panic::catch_unwind(|| run(seed, options)).unwrap_or_else(|cause| {
        let what = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Outcome {
            seed,
            broken: vec![format!("panic: {what}")],
            statistics: Default::default(),
            trace: Vec::new(),
        }
    })
}

fn report(arguments: &Arguments, outcomes: mpsc::Receiver<Outcome>) -> ExitCode {
    let (mut held, mut failed, mut is_written) = (0_u64, 0_u64, false);
    let mut summary = Summary::default();
    for outcome in outcomes {
        let seed = outcome.seed;
        summary.add(&outcome.statistics);
        if arguments.verbose {
            println!("seed {seed}: {}", outcome.statistics);
        }
        if let Some(path) = arguments.trace.as_ref().filter(|_| !is_written) {
            if !outcome.broken.is_empty() || arguments.seeds == 1 {
                is_written = true;
                if let Err(e) = write_trace(path, &outcome) {
                    eprintln!("{}: {e}", path.display());
                    return ExitCode::from(2);
                }
                println!("seed {seed}: trace written to {}", path.display());
            }
        }
        if outcome.broken.is_empty() {
            held += 1;
            continue;
        }
        failed += 1;
        println!("seed {seed} FAILED");
        for what in outcome.broken.iter().take(SHOWN_PER_SEED_MAX) {
            println!("  {what}");
        }
        if outcome.broken.len() > SHOWN_PER_SEED_MAX {
            println!("  and {} more", outcome.broken.len() - SHOWN_PER_SEED_MAX);
        }
        println!("  repeat with: {}", command(arguments, seed));
    }
    println!("{summary}");
    println!("{held} seeds held, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn write_trace(path: &Path, outcome: &Outcome) -> std::io::Result<()> {
    let mut output = BufWriter::new(File::create(path)?);
    trace_checker::line::write(&outcome.trace, &mut output)?;
    output.flush()
}

/// The command that runs exactly this seed again.
fn command(arguments: &Arguments, seed: u64) -> String {
    let (low, high) = (arguments.nodes.start(), arguments.nodes.end());
    let mut command = format!("SEEDS=1 FIRST_SEED={seed} NODES={low}..{high} scripts/simulate");
    for (is_given, flag) in [
        (arguments.partitions, " --partitions"),
        (arguments.without_groups, " --without-groups"),
        (arguments.without_faults, " --without-faults"),
        (
            arguments.detector == DetectorKind::Gossip,
            " --detector gossip",
        ),
    ] {
        if is_given {
            command.push_str(flag);
        }
    }
    command + " --verbose --trace FILE"
}
