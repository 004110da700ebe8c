// SPDX-License-Identifier: GPL-2.0

//! Shrink a failing run until a person can read it: fewer faults, fewer nodes, plainer options, as long as it breaks
//! the same promise. Lists are cut into halves, then into smaller pieces, as in delta debugging (Zeller and Hildebrandt
//! 2002).
//!
//! A smaller run draws other delays and losses, so a bug that depends on them may not show. Each smaller plan is
//! therefore tried with a few seeds.

use std::time::{Duration, Instant};

use kcgcs_protocol::protocol::random::mix;

use crate::broken::Broken;
use crate::plan::Plan;
use crate::scenario::{run, Outcome};

/// The number of seeds with which a smaller plan is tried.
const SEEDS_PER_TRY: u64 = 3;

/// The result of shrinking.
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// The result of its run.
    pub outcome: Outcome,
    /// The number of runs tried.
    pub runs: u64,
    /// Whether every smaller plan was tried, rather than the time being over.
    pub is_smallest: bool,
}

/// Look for a smaller plan whose run breaks `promise` as that of `plan` does, for at most `limit`.
pub fn shrink(plan: &Plan, promise: &str, limit: Duration) -> Shrunk {
    let mut shrinker = Shrinker {
        best: plan.clone(),
        promise: promise.to_owned(),
        deadline: Instant::now() + limit,
        runs: 0,
    };
    let mut is_smallest = false;
    while !shrinker.is_over() && !is_smallest {
        let before = shrinker.best.clone();
        shrinker.plainer_options();
        shrinker.fewer_faults();
        shrinker.fewer_hosts();
        shrinker.plainer_faults();
        is_smallest = !shrinker.is_over() && shrinker.best == before;
    }
    let outcome = run(&shrinker.best);
    Shrunk {
        plan: shrinker.best,
        outcome,
        runs: shrinker.runs,
        is_smallest,
    }
}

/// Whether `promise` is among the broken ones.
pub fn breaks(broken: &[Broken], promise: &str) -> bool {
    broken.iter().any(|one| one.promise == promise)
}

struct Shrinker {
    best: Plan,
    promise: String,
    deadline: Instant,
    runs: u64,
}

impl Shrinker {
    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Go on with the smaller plan if it breaks the same promise.
    fn accept(&mut self, smaller: Plan) -> bool {
        for luck in 0..SEEDS_PER_TRY {
            if self.is_over() {
                return false;
            }
            let mut plan = smaller.clone();
            if luck > 0 {
                plan.seed = mix(plan.seed ^ mix(luck)) >> 32;
            }
            self.runs += 1;
            if breaks(&run(&plan).broken, &self.promise) {
                self.best = plan;
                return true;
            }
        }
        false
    }

    fn plainer_options(&mut self) {
        self.each_of(Plan::plainer_options);
    }

    fn plainer_faults(&mut self) {
        let mut place = 0;
        while place < self.best.faults.len() {
            self.each_of(|plan| plan.plainer_fault(place));
            place += 1;
        }
    }

    /// Try the offered plans one after the other. An accepted one replaces the best, and offers the plans that follow.
    fn each_of(&mut self, offered: impl Fn(&Plan) -> Vec<Plan>) {
        let mut next = 0;
        while let Some(plan) = offered(&self.best).into_iter().nth(next) {
            if self.is_over() {
                return;
            }
            if !self.accept(plan) {
                next += 1;
            }
        }
    }

    fn fewer_faults(&mut self) {
        self.fewer(
            |plan| plan.faults.len(),
            |plan, gone| Some(plan.with_faults(|place| !gone.contains(&place))),
        );
    }

    fn fewer_hosts(&mut self) {
        self.fewer(Plan::hosts, Plan::without_hosts);
    }

    /// Leave out half of the list, a quarter, and so on down to single entries.
    fn fewer(
        &mut self,
        length: impl Fn(&Plan) -> usize,
        without: impl Fn(&Plan, &[usize]) -> Option<Plan>,
    ) {
        let mut piece = length(&self.best);
        while piece > 0 {
            let mut start = 0;
            while start < length(&self.best) && !self.is_over() {
                let end = (start + piece).min(length(&self.best));
                let gone: Vec<usize> = (start..end).collect();
                let smaller = without(&self.best, &gone);
                if !smaller.is_some_and(|plan| self.accept(plan)) {
                    start += piece;
                }
            }
            piece /= 2;
        }
    }
}
