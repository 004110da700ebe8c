// SPDX-License-Identifier: GPL-2.0

//! `trace-checker`: merges the traces of several files and checks them.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{stdin, BufRead, BufReader};
use std::process::ExitCode;

use trace_checker::line::Reader;
use trace_checker::trace::TraceEvent;
use trace_checker::{check, Options};

const USAGE: &str = "\
usage: trace-checker [OPTION]... FILE...
Merges the traces in FILEs (`-`: standard input) and checks them.

  --crashes-lose-lines     a crashed node may have lost its last lines
  --every-order-is-agreed  check messages of every order as agreed ones
  --partitionable          the cluster is partitionable
  --lease                  nodes hold leases: M6rt also judges groups, and what is delivered

Exit code: 0 if every property holds, 1 if one is violated, 2 if the command line or a trace cannot be read.";

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--crashes-lose-lines" => options.crashes_lose_lines = true,
            "--every-order-is-agreed" => options.every_order_is_agreed = true,
            "--partitionable" => options.partitionable = true,
            "--lease" => options.lease = true,
            "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            unknown if unknown.starts_with("--") => {
                eprintln!("unknown option {unknown}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!("no FILE given\n{USAGE}");
        return ExitCode::from(2);
    }
    run(&files, options)
}

fn run(files: &[String], options: Options) -> ExitCode {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    for file in files {
        if let Err(reason) = read(&mut reader, file, &mut events) {
            eprintln!("{file}: {reason}");
            return ExitCode::from(2);
        }
    }
    let violations = check(&mut events, options);
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("{} events, every property holds", events.len());
        ExitCode::SUCCESS
    } else {
        println!("{} violations in {} events", violations.len(), events.len());
        ExitCode::FAILURE
    }
}

fn read(reader: &mut Reader, file: &str, events: &mut Vec<TraceEvent>) -> Result<(), String> {
    let input: Box<dyn BufRead> = if file == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(|e| e.to_string())?))
    };
    reader.read(input, events).map_err(|bad| bad.to_string())
}
