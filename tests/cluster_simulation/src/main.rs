// SPDX-License-Identifier: GPL-2.0

//! `simulate`: run seeds of the cluster simulation on all processors, report those that broke a promise, each with
//! the command that repeats it, and shrink the first of them.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use cluster_simulation::broken::{worst, Broken};
use cluster_simulation::description;
use cluster_simulation::plan::{DrawOptions, Plan};
use cluster_simulation::report::report;
use cluster_simulation::sabotage::Sabotage;
use cluster_simulation::scenario::{catch_panics, run, Outcome};
use cluster_simulation::shrinking::shrink;
use cluster_simulation::statistics::Summary;
use kcgcs_protocol::protocol::configuration::DetectorKind;
use kcgcs_protocol::protocol::limits::NODES_MAX;

/// The most broken promises that are shown of one seed.
const SHOWN_PER_SEED_MAX: usize = 4;
/// The most failing seeds that are shrunk.
const SHRUNK_MAX: usize = 3;

/// Simulate whole clusters in virtual time and check their promises. Each seed is one cluster.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Number of seeds to run.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Nodes of a cluster: a number, or a range such as 3..50, both ends included.
    #[arg(long, default_value = "3..50", value_parser = parse_nodes)]
    nodes: RangeInclusive<usize>,
    /// Instead of seeds, report how clusters of up to 1000 nodes form, lose ten nodes at once, and lose a rack.
    #[arg(long)]
    report: bool,
    /// Instead of seeds, run the plan in this file, as shrinking writes it.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Write the trace of the first seed that breaks a promise, or of the only seed, to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Split the network or cut links in every seed.
    #[arg(long)]
    partitions: bool,
    /// Evict nodes, pin views and fence failed nodes in every seed.
    #[arg(long)]
    administration: bool,
    /// Simulate the membership only, without groups.
    #[arg(long)]
    without_groups: bool,
    /// Inject no faults but one crash at the end.
    #[arg(long)]
    without_faults: bool,
    /// Inject a bug into all nodes, to see that it is found, such as same-incarnation or loss-after-freeze.
    #[arg(long, value_parser = Sabotage::from_name)]
    sabotage: Option<Sabotage>,
    /// Seconds for shrinking a failing run; 0 to leave it as it is.
    #[arg(long, default_value_t = 60)]
    shrink_seconds: u64,
    /// Folder for the plans of shrunk runs.
    #[arg(long, default_value = ".")]
    shrunk: PathBuf,
    /// The failure detector: ring or gossip.
    #[arg(long, default_value = "ring", value_parser = parse_detector)]
    detector: DetectorKind,
    /// Simulate partitionable clusters, whose components go on in views of their own.
    #[arg(long)]
    partitionable: bool,
    /// Print a line of figures for each seed.
    #[arg(long, short)]
    verbose: bool,
    /// Number of threads; 0 for as many as processors.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn parse_detector(text: &str) -> Result<DetectorKind, String> {
    DetectorKind::from_name(text.as_bytes()).ok_or_else(|| "it is ring or gossip".to_owned())
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
        return Err(format!("a cluster has 1 to {NODES_MAX} nodes"));
    }
    Ok(low..=high)
}

impl Arguments {
    fn is_gossip(&self) -> bool {
        self.detector == DetectorKind::Gossip
    }

    fn draw_options(&self) -> DrawOptions {
        DrawOptions {
            nodes: self.nodes.clone(),
            groups: !self.without_groups,
            cuts: self.partitions,
            faults: !self.without_faults,
            administration: self.administration,
            gossip: self.is_gossip(),
            partitionable: self.partitionable,
            sabotage: self.sabotage,
        }
    }

    /// The command that repeats this seed exactly.
    fn command(&self, seed: u64) -> String {
        let (low, high) = (self.nodes.start(), self.nodes.end());
        let mut command = format!("SEEDS=1 FIRST_SEED={seed} NODES={low}..{high} scripts/simulate");
        for (is_given, flag) in [
            (self.partitions, " --partitions"),
            (self.administration, " --administration"),
            (self.without_groups, " --without-groups"),
            (self.without_faults, " --without-faults"),
            (self.is_gossip(), " --detector gossip"),
            (self.partitionable, " --partitionable"),
        ] {
            if is_given {
                command.push_str(flag);
            }
        }
        if let Some(bug) = self.sabotage {
            command.push_str(&format!(" --sabotage {}", bug.name()));
        }
        command + " --verbose --trace FILE"
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    catch_panics();
    if arguments.report {
        return print_report(arguments.first_seed);
    }
    if let Some(path) = &arguments.plan {
        return match run_plan(&arguments, path) {
            Ok(code) => code,
            Err(why) => {
                eprintln!("{}: {why}", path.display());
                ExitCode::from(2)
            }
        };
    }
    let threads = match arguments.threads {
        0 => thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    let next = AtomicU64::new(0);
    let (results, incoming) = mpsc::sync_channel::<(u64, Outcome)>(threads);
    let options = arguments.draw_options();
    thread::scope(|scope| {
        for _ in 0..threads {
            let (results, next, options) = (results.clone(), &next, &options);
            let (first, count) = (arguments.first_seed, arguments.seeds);
            scope.spawn(move || loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let seed = first + number;
                if number >= count || {
                    let outcome = run(&Plan::draw(seed, options));
                    results.send((seed, outcome)).is_err()
                } {
                    return;
                }
            });
        }
        drop(results);
        collect(&arguments, incoming)
    })
}

fn collect(arguments: &Arguments, outcomes: mpsc::Receiver<(u64, Outcome)>) -> ExitCode {
    let (mut held, mut failed, mut is_written) = (0_u64, Vec::new(), false);
    let mut summary = Summary::default();
    for (seed, outcome) in outcomes {
        summary.add(&outcome.statistics);
        if arguments.verbose {
            println!("seed {seed}: {}", outcome.statistics);
        }
        if !is_written && (!outcome.broken.is_empty() || arguments.seeds == 1) {
            is_written = true;
            if let Err(e) = write_trace(arguments, &outcome) {
                eprintln!("the trace of seed {seed} could not be written: {e}");
                return ExitCode::from(2);
            }
        }
        match worst(&outcome.broken) {
            None => held += 1,
            Some(broken) => {
                failed.push((seed, broken.promise));
                println!("seed {seed} FAILED");
                show(&outcome.broken);
                println!("  repeat with: {}", arguments.command(seed));
            }
        }
    }
    if arguments.shrink_seconds > 0 {
        for (seed, promise) in failed.iter().take(SHRUNK_MAX) {
            show_smaller(arguments, *seed, promise);
        }
    }
    println!("{summary}");
    println!("{held} seeds held, {} failed", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn show(broken: &[Broken]) {
    for one in broken.iter().take(SHOWN_PER_SEED_MAX) {
        println!("  {one}");
    }
    if broken.len() > SHOWN_PER_SEED_MAX {
        println!("  and {} more", broken.len() - SHOWN_PER_SEED_MAX);
    }
}

/// Shrink a failing run, describe the result and write it to a file.
fn show_smaller(arguments: &Arguments, seed: u64, promise: &str) {
    let plan = Plan::draw(seed, &arguments.draw_options());
    let limit = Duration::from_secs(arguments.shrink_seconds);
    let shrunk = shrink(&plan, promise, limit);
    println!(
        "seed {seed} shrunk from {} nodes and {} faults to {} and {} in {} runs{}; it breaks {promise}:",
        plan.hosts(),
        plan.faults.len(),
        shrunk.plan.hosts(),
        shrunk.plan.faults.len(),
        shrunk.runs,
        if shrunk.is_smallest {
            ""
        } else {
            ", until the time was over"
        },
    );
    for line in description::describe(&shrunk.plan) {
        println!("  {line}");
    }
    show(&shrunk.outcome.broken);
    let path = arguments.shrunk.join(format!("seed-{seed}.plan"));
    let is_written = std::fs::create_dir_all(&arguments.shrunk)
        .and_then(|()| std::fs::write(&path, shrunk.plan.to_json()));
    match is_written {
        Ok(()) => println!(
            "  repeat the shrunk run with: scripts/simulate --plan {}",
            path.display()
        ),
        Err(e) => println!("  {} could not be written: {e}", path.display()),
    }
}

/// Print the report on large clusters, a line for each measurement.
fn print_report(seed: u64) -> ExitCode {
    let mut failed = 0;
    report(seed, |line| {
        let verdict = if line.wrong.is_empty() {
            "ok"
        } else {
            failed += 1;
            "FAILED"
        };
        println!("{verdict}: {}", line.text);
        for what in line.wrong.iter().take(SHOWN_PER_SEED_MAX) {
            println!("  {what}");
        }
    });
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Run a plan, and describe it and its result.
fn run_plan(arguments: &Arguments, path: &Path) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let plan = Plan::from_json(&text).map_err(|why| why.0)?;
    for line in description::describe(&plan) {
        println!("{line}");
    }
    let outcome = run(&plan);
    println!("{}", outcome.statistics);
    show(&outcome.broken);
    write_trace(arguments, &outcome).map_err(|e| format!("writing the trace: {e}"))?;
    if outcome.broken.is_empty() {
        println!("the plan held");
        Ok(ExitCode::SUCCESS)
    } else {
        println!("the plan failed");
        Ok(ExitCode::FAILURE)
    }
}

/// Write the trace, if a file for it was given.
fn write_trace(arguments: &Arguments, outcome: &Outcome) -> std::io::Result<()> {
    let Some(path) = &arguments.trace else {
        return Ok(());
    };
    let mut output = BufWriter::new(File::create(path)?);
    trace_checker::line::write(&outcome.trace, &mut output)?;
    output.flush()?;
    println!("trace written to {}", path.display());
    Ok(())
}
