// SPDX-License-Identifier: GPL-2.0

//! The suites. A suite is a list of tests that run one after another in one machine. The name of a test says what must
//! hold, and its function returns what was wrong.

mod cpu_starvation;
mod crashes;
mod fence;
mod flapping;
mod formed;
mod frozen;
mod hostile;
mod lifecycle;
mod lifetimes;
mod links;
pub mod network;
mod parameters;
mod partitionable;
mod partitions;
mod refusals;
mod samples;
mod tool;

use std::time::{Duration, Instant};

use crate::guest::cluster::Plan;
use crate::guest::modules;
use crate::ktap::Report;
use crate::RELAXED;

/// The properties of the machine that tests depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Whether this is the debug kernel, which checks locks, memory and objects, and is many times slower.
    pub debug_kernel: bool,
}

impl Surroundings {
    /// Examine the running kernel.
    pub fn detect() -> Self {
        Self {
            debug_kernel: std::path::Path::new("/proc/lockdep_stats").exists(),
        }
    }

    /// The value for the stock kernel, or the other one for the debug kernel.
    pub fn pick<T>(self, (stock, debug): (T, T)) -> T {
        if self.debug_kernel {
            debug
        } else {
            stock
        }
    }

    /// A limit for something that must happen: four times as long on the debug kernel.
    pub fn limit(self, milliseconds: u64) -> Duration {
        Duration::from_millis(if self.debug_kernel {
            4 * milliseconds
        } else {
            milliseconds
        })
    }
}

/// The check of a test. It adds remarks to the list.
type Check = Box<dyn FnOnce(&mut Vec<String>) -> Result<(), String>>;

/// One test.
pub struct Test {
    /// What must hold.
    pub name: String,
    /// Its check.
    pub run: Check,
}

impl Test {
    /// A test with this name and check.
    pub fn new(
        name: impl Into<String>,
        run: impl FnOnce(&mut Vec<String>) -> Result<(), String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// The tests of a suite, or `None` if there is no such suite.
pub fn suite(name: &str, surroundings: Surroundings) -> Option<Vec<Test>> {
    let lifecycle = |mut plan: Plan| {
        // With the default timing, many nodes, or a few that lose packets, are too much for the only processor of a
        // machine with the debug kernel.
        if surroundings.debug_kernel && (plan.count > 3 || plan.loss.is_some()) {
            plan.settings = relaxed();
        }
        lifecycle::tests(name, plan, surroundings)
    };
    Some(match name {
        "network" => network::tests(),
        "parameters" => parameters::tests(surroundings),
        "refusals" => refusals::tests(),
        "samples" => samples::tests(surroundings),
        "fence" => fence::tests(surroundings),
        "frozen" => frozen::tests(surroundings),
        "tool" => tool::tests(surroundings),
        "hostile" => hostile::tests(surroundings),
        "lifetimes" => lifetimes::tests(surroundings),
        "loads" => lifetimes::loads(surroundings),
        "crashes-8" => crashes::of_eight(surroundings),
        "crashes-16" => crashes::of_sixteen(surroundings),
        "crashes-64" => crashes::of_sixty_four(surroundings),
        "restarts-64" => crashes::restarts_of_sixty_four(surroundings),
        "partitions" => partitions::tests(surroundings),
        "partitionable" => partitionable::tests(surroundings),
        "flapping" => flapping::tests(surroundings),
        "cpu-starvation" => cpu_starvation::tests(surroundings),
        "links" => links::tests(surroundings),
        "3-nodes" => lifecycle(Plan::of(3)),
        "8-nodes" => lifecycle(Plan {
            ipv6: true,
            ..Plan::of(8)
        }),
        "3-nodes-gossip" => lifecycle(gossiping(3)),
        "8-nodes-gossip" => lifecycle(gossiping(8)),
        "32-nodes" => lifecycle(Plan::of(32)),
        "lossy" => lifecycle(Plan {
            loss: Some(10),
            ..Plan::of(surroundings.pick((8, 3)))
        }),
        _ => return None,
    })
}

/// A cluster of so many nodes with the gossip failure detector.
fn gossiping(count: u16) -> Plan {
    Plan {
        detector: Some("gossip".to_string()),
        ..Plan::of(count)
    }
}

/// The settings for machines that run late.
fn relaxed() -> Vec<(String, u64)> {
    let settings = RELAXED.split_whitespace();
    let pairs = settings.filter_map(|setting| setting.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
        .collect()
}

/// Run the suites and report their results. Returns whether all tests passed.
pub fn run_suites(names: &[String]) -> Result<bool, String> {
    let surroundings = Surroundings::detect();
    let mut tests = Vec::new();
    for name in names {
        tests.extend(suite(name, surroundings).ok_or_else(|| format!("there is no suite {name}"))?);
    }
    let mut report = Report::begin(tests.len());
    for test in tests {
        let start = Instant::now();
        let mut remarks = Vec::new();
        let outcome = (test.run)(&mut remarks);
        if outcome.is_err() {
            // The next suite needs a clean machine. The modules refuse to be unloaded while members need them.
            let _ = modules::unload("kcgcs_device").and_then(|()| modules::unload("kcgcs"));
        }
        for remark in remarks {
            report.remark(&remark);
        }
        report.result(&test.name, &outcome, start.elapsed().as_secs_f64());
    }
    Ok(report.all_passed())
}
