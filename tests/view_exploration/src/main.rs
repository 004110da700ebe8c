// SPDX-License-Identifier: GPL-2.0

//! `explore`: explore scenarios of the view agreement and of groups.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use view_exploration::explorer::groups::scenarios::{GroupScenario, GROUP_SCENARIOS};
use view_exploration::explorer::groups::search::explore_group;
use view_exploration::explorer::scenarios::{Scenario, SCENARIOS};
use view_exploration::explorer::search::{explore, Limits};
use view_exploration::protocol::rules::Rule;
use view_exploration::seeded_faults::{seed, Fault};

/// The rules that can be broken in scenarios with a group.
const RULES: [Rule; 8] = [
    Rule::ReleaseWaitsForSender,
    Rule::CoordinatorHoldsWhatItAccepted,
    Rule::SafeWaitsForAll,
    Rule::FurthestAcceptedCounts,
    Rule::KeepUntilStable,
    Rule::ReportAllAcknowledged,
    Rule::FifoOvertakesNotItself,
    Rule::CausalWaitsForPast,
];

/// Explore all runs of the view agreement of a few nodes, and runs of a group.
#[derive(Parser)]
struct Arguments {
    /// Names of scenarios; all unless given.
    scenarios: Vec<String>,
    /// Number of deadlines of each node, instead of the scenario's.
    #[arg(long)]
    deadlines: Option<u8>,
    /// Number of heartbeats between nodes of different views, instead of the scenario's.
    #[arg(long)]
    heartbeats: Option<u8>,
    /// Number of crashes, of scenarios with a group.
    #[arg(long)]
    crashes: Option<u8>,
    /// Number of things that are held, of scenarios with a group.
    #[arg(long)]
    holds: Option<u8>,
    /// Number of deadlines that are early, of scenarios with a group.
    #[arg(long)]
    early: Option<u8>,
    /// Most states of each scenario.
    #[arg(long, default_value_t = 50_000_000)]
    states: usize,
    /// Most seconds for each scenario.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Let one of so many states settle, besides those in which nothing can happen any more.
    #[arg(long, default_value_t = 100)]
    settle_one_of: u64,
    /// Let all nodes break a rule of the protocol, in scenarios with a group: its name in the file rules.rs.
    #[arg(long)]
    broken_rule: Option<String>,
    /// Seed a fault into all nodes: its number, from 1, in the file seeded_faults.rs.
    #[arg(long)]
    fault: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let fault = arguments
        .fault
        .and_then(|number| Fault::ALL.get(number.wrapping_sub(1)));
    seed(fault.copied());
    let rule = match &arguments.broken_rule {
        None => None,
        Some(name) => match RULES.iter().find(|rule| format!("{rule:?}") == *name) {
            Some(rule) => Some(*rule),
            None => {
                println!("there is no rule {name}; there are {RULES:?}");
                return ExitCode::FAILURE;
            }
        },
    };
    let limits = Limits {
        states: arguments.states,
        time: Duration::from_secs(arguments.seconds),
        settle_one_of: arguments.settle_one_of.max(1),
    };
    let mut code = ExitCode::SUCCESS;
    let is_wanted = |scenario: &str| {
        arguments.scenarios.is_empty() || arguments.scenarios.iter().any(|name| name == scenario)
    };
    let wanted = GROUP_SCENARIOS.iter().filter(|one| is_wanted(one.name));
    for scenario in wanted {
        let scenario = GroupScenario {
            crashes: arguments.crashes.unwrap_or(scenario.crashes),
            holds: arguments.holds.unwrap_or(scenario.holds),
            early: arguments.early.unwrap_or(scenario.early),
            ..*scenario
        };
        match explore_group(scenario, rule, limits) {
            Ok(report) => {
                println!("{report}");
                if report.violation.is_some() {
                    code = ExitCode::FAILURE;
                }
            }
            Err(wrong) => {
                println!("{}: {wrong}", scenario.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    for scenario in SCENARIOS.iter().filter(|one| is_wanted(one.name)) {
        let scenario = Scenario {
            deadlines: arguments.deadlines.unwrap_or(scenario.deadlines),
            heartbeats: arguments.heartbeats.unwrap_or(scenario.heartbeats),
            ..*scenario
        };
        match explore(scenario, limits) {
            Ok(report) => {
                println!("{report}");
                if report.violation.is_some() {
                    code = ExitCode::FAILURE;
                }
            }
            Err(wrong) => {
                println!("{}: {wrong}", scenario.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
