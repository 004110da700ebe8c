// SPDX-License-Identifier: GPL-2.0

//! `kcgcsctl`: reads its arguments, runs one command, tells in one line why it failed.

use std::process::ExitCode;

use clap::Parser;

use kcgcsctl::arguments::Arguments;
use kcgcsctl::{commands, failure::Failure};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has gone, as `head` does: nobody is left to tell.
        Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kcgcsctl: {failure}");
            ExitCode::FAILURE
        }
    }
}
