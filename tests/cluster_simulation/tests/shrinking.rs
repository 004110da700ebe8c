// SPDX-License-Identifier: GPL-2.0

//! A bug that is put into every node is found, under the right name, and the run that found it is made small
//! enough to be read.

use std::time::Duration;

use cluster_simulation::broken::worst;
use cluster_simulation::plan::{DrawOptions, Fault, Plan};
use cluster_simulation::sabotage::Sabotage;
use cluster_simulation::scenario::run;
use cluster_simulation::shrinking::{breaks, shrink, Shrunk};
use cluster_simulation::story;

/// More than enough, so that no result depends on it.
const LIMIT: Duration = Duration::from_secs(300);
/// Seeds among which one must find the bug.
const SEEDS: u64 = 20;

/// The first run that finds the bug, and what is left of it; it must break one of `promises`.
fn find_and_shrink(sabotage: Sabotage, promises: &[&str]) -> (Plan, Shrunk) {
    let options = DrawOptions {
        nodes: 6..=12,
        sabotage: Some(sabotage),
        ..DrawOptions::default()
    };
    let plans = (1..=SEEDS).map(|seed| Plan::draw(seed, &options));
    let found = plans
        .map(|plan| (run(&plan).broken, plan))
        .find(|(broken, _)| !broken.is_empty());
    let Some((broken, plan)) = found else {
        panic!("{SEEDS} seeds did not find {sabotage:?}");
    };
    let promise = worst(&broken).map_or("", |one| one.promise);
    println!("seed {} breaks {promise}", plan.seed);
    assert!(
        promises.contains(&promise),
        "seed {} breaks {promise}",
        plan.seed
    );
    let shrunk = shrink(&plan, promise, LIMIT);
    let told = story::tell(&shrunk.plan).join("\n");
    println!("{told}\nafter {} runs", shrunk.runs);
    assert!(breaks(&shrunk.outcome.broken, promise), "{told}");
    assert!(shrunk.is_smallest, "{told}");
    // What is written down is what is run again.
    let read = Plan::from_json(&shrunk.plan.to_json());
    assert_eq!(read.as_ref(), Ok(&shrunk.plan));
    (plan, shrunk)
}

#[test]
fn a_node_that_comes_back_as_who_it_was_is_found_with_one_crash_of_one_node() {
    let (plan, shrunk) = find_and_shrink(Sabotage::SameIncarnation, &["M7"]);
    assert!(plan.hosts() >= 6 && plan.faults.len() > 1, "{plan:?}");
    let smallest = &shrunk.plan;
    assert!(smallest.hosts() <= 3, "{smallest:?}");
    let [one] = smallest.faults.as_slice() else {
        panic!("{smallest:?}");
    };
    assert!(
        matches!(
            one.fault,
            Fault::Crash(_) | Fault::CrashCoordinator { .. } | Fault::Leave(_)
        ),
        "{smallest:?}"
    );
    assert_eq!((smallest.groups, smallest.trial), (0, None));
}

#[test]
fn a_message_that_is_lost_after_a_freeze_is_found_with_one_freeze() {
    let promises = ["D5", "O2", "O7"];
    let (_, shrunk) = find_and_shrink(Sabotage::LossAfterFreeze, &promises);
    let smallest = &shrunk.plan;
    assert!(smallest.hosts() <= 3, "{smallest:?}");
    assert!(smallest.faults.len() <= 2, "{smallest:?}");
    let freezes = |fault: &Fault| matches!(fault, Fault::Freeze { .. });
    assert!(
        smallest
            .faults
            .iter()
            .any(|planned| freezes(&planned.fault)),
        "{smallest:?}"
    );
}

#[test]
fn sound_nodes_break_nothing_in_the_same_runs() {
    let options = DrawOptions {
        nodes: 6..=12,
        ..DrawOptions::default()
    };
    for seed in 1..=SEEDS {
        let broken = run(&Plan::draw(seed, &options)).broken;
        assert!(broken.is_empty(), "seed {seed}: {broken:?}");
    }
}
