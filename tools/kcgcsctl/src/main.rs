// SPDX-License-Identifier: GPL-2.0

//! `kcgcsctl`: parses its arguments, runs one command, and says in one line why it failed.

use std::process::ExitCode;

use clap::Parser;

use kcgcsctl::arguments::Arguments;
use kcgcsctl::{commands, failure::Failure};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Err(failure) = commands::run(&arguments) else {
        return ExitCode::SUCCESS;
    };
    if !matches!(failure, Failure::OutputClosed) {
        eprintln!("kcgcsctl: {failure}");
    }
    ExitCode::from(failure.exit_code())
}
