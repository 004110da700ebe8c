// SPDX-License-Identifier: GPL-2.0

//! The bench: `kcgcs-bench measure` runs inside a machine with the instruction-counting clock, and `kcgcs-bench report`
//! outside, on the console of that machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use kcgcs_cluster_tests::bench::report::Report;
use kcgcs_cluster_tests::guest::bench::{measure, Wishes};

/// Measure clusters of real kernels
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, inside a machine
    Measure(Wishes),
    /// Print the results as tables
    Report {
        /// The machine's console
        console: PathBuf,
        /// The file for the results as JSON
        json: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Measure(wishes) => measure(&wishes),
        Command::Report { console, json } => report(&console, &json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("kcgcs-bench: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn report(console: &Path, json: &Path) -> Result<(), String> {
    let bytes =
        std::fs::read(console).map_err(|error| format!("{}: {error}", console.display()))?;
    let report = Report::of_console(&String::from_utf8_lossy(&bytes))?;
    let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
    std::fs::write(json, text + "\n").map_err(|error| format!("{}: {error}", json.display()))?;
    print!("{}", report.tables());
    Ok(())
}
