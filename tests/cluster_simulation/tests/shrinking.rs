// SPDX-License-Identifier: GPL-2.0

//! A bug injected into every node is found, breaks the expected promise, and the run that found it is shrunk until a
//! person can read it.

use std::time::Duration;

use cluster_simulation::broken::worst;
use cluster_simulation::description;
use cluster_simulation::plan::{DrawOptions, Fault, Plan, Trial};
use cluster_simulation::sabotage::Sabotage;
use cluster_simulation::scenario::run;
use cluster_simulation::shrinking::{breaks, shrink, Shrunk};

/// The time for shrinking, which is more than enough, so that no result depends on it.
const LIMIT: Duration = Duration::from_secs(300);
/// The number of seeds of which one must find the bug.
const SEEDS: u64 = 20;

/// Many nodes without administrators.
fn unadministered(sabotage: Sabotage) -> DrawOptions {
    DrawOptions {
        nodes: 6..=12,
        sabotage: Some(sabotage),
        ..DrawOptions::default()
    }
}

/// A few nodes, with evictions, pins and a fence handler.
fn administered(sabotage: Sabotage) -> DrawOptions {
    DrawOptions {
        nodes: 4..=8,
        administration: true,
        sabotage: Some(sabotage),
        ..DrawOptions::default()
    }
}

/// The first plan that finds the bug, which must break one of `promises`, and what it is shrunk to.
fn find_and_shrink(options: &DrawOptions, promises: &[&str]) -> (Plan, Shrunk) {
    let sabotage = options.sabotage;
    let plans = (1..=SEEDS).map(|seed| Plan::draw(seed, options));
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
    let text = description::describe(&shrunk.plan).join("\n");
    println!("{text}\nafter {} runs", shrunk.runs);
    assert!(breaks(&shrunk.outcome.broken, promise), "{text}");
    assert!(shrunk.is_smallest, "{text}");
    // The plan that is read back is the one that was written.
    let read = Plan::from_json(&shrunk.plan.to_json());
    assert_eq!(read.as_ref(), Ok(&shrunk.plan));
    (plan, shrunk)
}

#[test]
fn a_node_that_reuses_its_incarnation_is_found_and_shrunk_to_one_crash_of_one_node() {
    let (plan, shrunk) = find_and_shrink(&unadministered(Sabotage::SameIncarnation), &["M7"]);
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
fn a_message_lost_after_a_freeze_is_found_and_shrunk_to_one_freeze() {
    let promises = ["D5", "D10", "O2", "O4", "O5", "O7"];
    let (_, shrunk) = find_and_shrink(&unadministered(Sabotage::LossAfterFreeze), &promises);
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

/// Find a bug in the administrators' commands and shrink the run until it has only the few faults that the bug needs.
fn find_and_shrink_administered(sabotage: Sabotage, promises: &[&str]) -> Plan {
    let (plan, shrunk) = find_and_shrink(&administered(sabotage), promises);
    let smallest = shrunk.plan;
    assert!(plan.faults.len() > 2 && plan.fence.is_some(), "{plan:?}");
    assert!(smallest.hosts() <= 5, "{smallest:?}");
    assert!(smallest.faults.len() <= 3, "{smallest:?}");
    assert_eq!(smallest.groups, 0);
    smallest
}

fn evicts(plan: &Plan) -> bool {
    let mut faults = plan.faults.iter();
    matches!(plan.trial, Some(Trial::Evict { .. }))
        || faults.any(|planned| matches!(planned.fault, Fault::Evict { .. }))
}

#[test]
fn a_lost_eviction_is_found() {
    let smallest = find_and_shrink_administered(Sabotage::EvictionLost, &["A1", "L1", "L5"]);
    assert!(
        evicts(&smallest) && smallest.fence.is_none(),
        "{smallest:?}"
    );
}

#[test]
fn an_evicted_node_that_rejoins_by_itself_is_found() {
    let smallest = find_and_shrink_administered(Sabotage::EvictedComesBack, &["A1"]);
    assert!(
        evicts(&smallest) && smallest.fence.is_none(),
        "{smallest:?}"
    );
}

#[test]
fn a_forgotten_pin_is_found() {
    let smallest = find_and_shrink_administered(Sabotage::PinForgotten, &["A2"]);
    let mut faults = smallest.faults.iter();
    assert!(
        matches!(smallest.trial, Some(Trial::Pin { .. }))
            || faults.any(|planned| matches!(planned.fault, Fault::Pin { .. })),
        "{smallest:?}"
    );
    assert_eq!(smallest.fence, None);
}

#[test]
fn a_failed_node_that_is_excluded_before_it_is_fenced_is_found() {
    let smallest = find_and_shrink_administered(Sabotage::FenceUnasked, &["A3"]);
    assert!(smallest.fence.is_some(), "{smallest:?}");
}

#[test]
fn a_node_that_waits_too_long_for_its_handler_is_found() {
    let smallest = find_and_shrink_administered(Sabotage::FenceForEver, &["L1", "L5"]);
    assert!(smallest.fence.is_some(), "{smallest:?}");
}

#[test]
fn nodes_without_bugs_break_no_promise_in_the_same_runs() {
    let options = DrawOptions {
        nodes: 6..=12,
        ..DrawOptions::default()
    };
    let administered = DrawOptions {
        nodes: 4..=8,
        administration: true,
        ..DrawOptions::default()
    };
    for options in [options, administered] {
        for seed in 1..=SEEDS {
            let broken = run(&Plan::draw(seed, &options)).broken;
            assert!(broken.is_empty(), "seed {seed}: {broken:?}");
        }
    }
}

/// How many small clusters may be needed to find a broken rule of groups.
const GROUP_SEEDS: u64 = 400;

/// Find a broken rule of the group protocol under one of its names.
fn find_in_groups(sabotage: Sabotage, promises: &[&str]) {
    let options = DrawOptions {
        nodes: 3..=6,
        ..unadministered(sabotage)
    };
    let found = (1..=GROUP_SEEDS).find(|seed| {
        let broken = run(&Plan::draw(*seed, &options)).broken;
        promises.iter().any(|promise| breaks(&broken, promise))
    });
    println!("{sabotage:?} breaks one of {promises:?} with seed {found:?}");
    assert!(
        found.is_some(),
        "{GROUP_SEEDS} seeds did not find {sabotage:?}"
    );
}

#[test]
fn each_broken_rule_of_groups_is_found_under_its_name() {
    find_in_groups(Sabotage::EarlyRelease, &["D4"]);
    find_in_groups(Sabotage::EarlySafe, &["S1", "S3"]);
    find_in_groups(Sabotage::LowestCounts, &["D5", "D10"]);
    find_in_groups(Sabotage::DropDelivered, &["L2", "L3", "D10"]);
    find_in_groups(Sabotage::ReportLess, &["D5", "D10"]);
    find_in_groups(Sabotage::OvertakeItself, &["O1"]);
    find_in_groups(Sabotage::IgnorePast, &["O3"]);
}
