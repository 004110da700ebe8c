// SPDX-License-Identifier: GPL-2.0

//! `trace-checker [--crashes-lose-lines] [--every-order-is-agreed] [--partitionable] FILE...`: merges the traces and
//! checks them; `-` reads standard input. Exits with 1 if a promise was broken, 2 if a trace cannot be read.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{stdin, BufReader};
use std::process::ExitCode;

use trace_checker::line::Reader;
use trace_checker::{check, Options};

const USAGE: &str = "usage: trace-checker [--crashes-lose-lines] [--every-order-is-agreed] [--partitionable] FILE...";

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut files = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--crashes-lose-lines" => options.crashes_lose_lines = true,
            "--every-order-is-agreed" => options.every_order_is_agreed = true,
            "--partitionable" => options.partitionable = true,
            "--help" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            flag if flag.starts_with("--") => {
                eprintln!("unknown option {flag}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    run(&files, options)
}

fn run(files: &[String], options: Options) -> ExitCode {
    let mut reader = Reader::default();
    let mut events = Vec::new();
    for file in files {
        let result = if file == "-" {
            reader
                .read(stdin().lock(), &mut events)
                .map_err(|e| e.to_string())
        } else {
            match File::open(file) {
                Ok(open) => reader
                    .read(BufReader::new(open), &mut events)
                    .map_err(|e| e.to_string()),
                Err(e) => Err(e.to_string()),
            }
        };
        if let Err(reason) = result {
            eprintln!("{file}: {reason}");
            return ExitCode::from(2);
        }
    }
    let violations = check(&mut events, options);
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() {
        println!("{} events hold every property", events.len());
        ExitCode::SUCCESS
    } else {
        println!("{} violations in {} events", violations.len(), events.len());
        ExitCode::FAILURE
    }
}
