// SPDX-License-Identifier: GPL-2.0

//! The test program inside a virtual machine: `kcgcs-cluster-test run SUITE...` prints KTAP and exits with 0 if every
//! test passed.

use std::process::ExitCode;

use kcgcs_cluster_tests::guest::scenarios::run_suites;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, suites)) if command == "run" && !suites.is_empty() => run_suites(suites),
        _ => Err("usage: kcgcs-cluster-test run SUITE...".to_string()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("kcgcs-cluster-test: {reason}");
            ExitCode::from(2)
        }
    }
}
