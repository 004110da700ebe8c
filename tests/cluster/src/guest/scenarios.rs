// SPDX-License-Identifier: GPL-2.0

//! The tests, by suite. A suite is a list of tests that run one after another in one machine; a test is
//! a name that says what must hold, and a function that says what was wrong.

mod crashes;
mod fence;
mod flapping;
mod formed;
mod frozen;
mod hogs;
mod hostile;
mod lifetimes;
mod links;
pub mod network;
mod parameters;
mod partitions;
mod parts;
mod refusals;
mod samples;
mod story;
mod tool;

use std::time::{Duration, Instant};

use crate::guest::cluster::Plan;
use crate::guest::modules;
use crate::ktap::Report;
use crate::RELAXED;

/// What a test may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The kernel carries lock, memory and object checking and is many times slower.
    pub debug_kernel: bool,
}

impl Surroundings {
    /// Looks at the running kernel.
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

/// What finds out whether a test's claim holds. Remarks go to the list.
type Check = Box<dyn FnOnce(&mut Vec<String>) -> Result<(), String>>;

/// One test.
pub struct Test {
    /// What must hold.
    pub name: String,
    /// Finds out.
    pub run: Check,
}

impl Test {
    /// A test.
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
    let story = |mut plan: Plan| {
        // Many nodes under the defaults, or some that lose packets, are more than the only processor of
        // a machine with the debug kernel can do.
        if surroundings.debug_kernel && (plan.count > 3 || plan.loss.is_some()) {
            plan.settings = relaxed();
        }
        story::tests(name, plan, surroundings)
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
        "parts" => parts::tests(surroundings),
        "flapping" => flapping::tests(surroundings),
        "hogs" => hogs::tests(surroundings),
        "links" => links::tests(surroundings),
        "3-nodes" => story(Plan::of(3)),
        "8-nodes" => story(Plan {
            ipv6: true,
            ..Plan::of(8)
        }),
        "3-nodes-gossip" => story(gossiping(3)),
        "8-nodes-gossip" => story(gossiping(8)),
        "32-nodes" => story(Plan::of(32)),
        "lossy" => story(Plan {
            loss: Some(10),
            ..Plan::of(surroundings.pick((8, 3)))
        }),
        _ => return None,
    })
}

/// So many nodes that find silence out by gossip.
fn gossiping(count: u16) -> Plan {
    Plan {
        detector: Some("gossip".to_string()),
        ..Plan::of(count)
    }
}

/// The timing for machines that run late.
fn relaxed() -> Vec<(String, u64)> {
    let settings = RELAXED.split_whitespace();
    let pairs = settings.filter_map(|setting| setting.split_once('='));
    pairs
        .filter_map(|(name, value)| Some((name.to_string(), value.parse().ok()?)))
        .collect()
}

/// Runs the suites and reports. Returns whether all passed.
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
            // The next suite shall find the machine clean. Refused where members are still needed.
            let _ = modules::unload("kcgcs_device").and_then(|()| modules::unload("kcgcs"));
        }
        for remark in remarks {
            report.remark(&remark);
        }
        report.result(&test.name, &outcome, start.elapsed().as_secs_f64());
    }
    Ok(report.all_passed())
}
