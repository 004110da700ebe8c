// SPDX-License-Identifier: GPL-2.0

//! The test program outside the machines.
//!
//! `kcgcs-lab demo --kernel FILE --initramfs FILE --logs FOLDER --acceleration kvm|tcg [--parameters "A=1 B=2"]
//! [--results FILE]` runs the demo and exits with 0 only if every step was seen on every machine.
//! `kcgcs-lab count FILE` reads KTAP and prints `PASSED FAILED`, then the names of the tests that failed.

use std::path::PathBuf;
use std::process::ExitCode;

use kcgcs_cluster_tests::ktap;
use kcgcs_cluster_tests::lab::demo;
use kcgcs_cluster_tests::lab::machine::{Acceleration, Model};
use kcgcs_cluster_tests::RELAXED;

const USAGE: &str = "usage: kcgcs-lab demo --kernel FILE --initramfs FILE --logs FOLDER --acceleration kvm|tcg [--parameters TEXT] [--results FILE], or kcgcs-lab count FILE";

const MACHINES: u16 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) if command == "demo" => run_demo(rest),
        Some((command, [file])) if command == "count" => count(file),
        _ => Err(USAGE.to_string()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("kcgcs-lab: {reason}");
            ExitCode::from(2)
        }
    }
}

fn run_demo(arguments: &[String]) -> Result<bool, String> {
    let value = |name: &str| {
        arguments
            .iter()
            .position(|argument| argument == name)
            .and_then(|place| arguments.get(place + 1))
            .cloned()
    };
    let path = |name: &str| value(name).map(PathBuf::from).ok_or(USAGE);
    let logs = path("--logs")?;
    std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    let model = Model {
        kernel: path("--kernel")?,
        initramfs: path("--initramfs")?,
        logs: logs.clone(),
        segment_port: free_port()?,
        acceleration: match value("--acceleration").as_deref() {
            Some("kvm") => Acceleration::Kvm,
            Some("tcg") => Acceleration::Tcg,
            _ => return Err(USAGE.to_string()),
        },
        memory_mb: 192,
        parameters: value("--parameters").unwrap_or_else(|| format!("{RELAXED} coordinators=3")),
        count: MACHINES,
    };
    println!(
        "KCGCS demo: {MACHINES} {} machines, each with Debian's own kernel and kcgcs.ko, on one network.",
        match model.acceleration {
            Acceleration::Kvm => "virtual",
            Acceleration::Tcg => "emulated",
        }
    );
    println!("Every line with \"node N |\" is from the kernel log of that machine.");
    println!(
        "Machines that share few processors run late, so these parameters are slower than the defaults:"
    );
    println!("    {}", model.parameters);
    println!("The machines' consoles are kept in {}", logs.display());
    let results = demo::run(model);
    let mut text = format!("KTAP version 1\n1..{}\n", results.len());
    let mut missing = 0;
    for (number, (name, outcome)) in results.iter().enumerate() {
        let verdict = match outcome {
            Ok(()) => "ok",
            Err(reason) => {
                missing += 1;
                text.push_str(&format!("# {reason}\n"));
                "not ok"
            }
        };
        text.push_str(&format!("{verdict} {} {name}\n", number + 1));
    }
    if let Some(file) = value("--results") {
        std::fs::write(&file, &text).map_err(|error| format!("{file}: {error}"))?;
    }
    println!();
    if missing == 0 {
        println!("Demo complete: every step was seen on every machine.");
        return Ok(true);
    }
    println!("Demo INCOMPLETE. Not seen:");
    for (name, outcome) in &results {
        if let Err(reason) = outcome {
            println!("    {}: {reason}", name.replace('_', " "));
        }
    }
    println!("The machines' consoles are in {}", logs.display());
    Ok(false)
}

/// A free UDP port, so that runs do not mix.
fn free_port() -> Result<u16, String> {
    std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free UDP port: {error}"))
}

fn count(file: &str) -> Result<bool, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    let summary = ktap::parse(&String::from_utf8_lossy(&bytes));
    println!("{} {}", summary.passed(), summary.failed());
    for result in summary.results.iter().filter(|result| !result.passed) {
        println!("{}", result.name);
    }
    if summary.missing > 0 {
        println!("{} tests that never reported", summary.missing);
    }
    Ok(summary.failed() == 0 && summary.passed() > 0)
}
