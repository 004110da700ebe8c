// SPDX-License-Identifier: GPL-2.0

//! Draw the commands of administrators: in some runs nodes are evicted, views pinned and failed nodes fenced. They are
//! drawn from a stream of their own, so that the rest of the plan is the same without them.

use super::{Fault, Plan, PlannedFault, Trial};
use crate::chance::Chance;
use crate::cluster::FenceHandler;

/// The runs with administrators, of a thousand.
const RUNS_PER_MILLE: u64 = 300;

impl Plan {
    /// Add commands of administrators from `from_ms` until all faults end, in some runs or `always`.
    pub(super) fn add_administration(&mut self, always: bool, from_ms: u64) {
        let mut chance = Chance::new(self.seed, 13);
        if !chance.happens(RUNS_PER_MILLE) && !always {
            return;
        }
        let [evicts, pins, fences] = [(); 3].map(|()| chance.happens(600) || always);
        let hosts = self.hosts() as u64;
        let interval_us = chance.between(200_000, 4_000_000);
        let mut at_us = from_ms * 1_000 + chance.exponential(interval_us);
        while at_us < self.healing_at_ms * 1_000 && (evicts || pins) {
            let is_eviction = evicts && (!pins || chance.happens(500));
            let fault = match is_eviction {
                true => eviction(&mut chance, hosts),
                false => pin(&mut chance, hosts),
            };
            self.faults.push(PlannedFault { at_us, fault });
            at_us += chance.exponential(interval_us);
        }
        self.faults.sort_by_key(|planned| planned.at_us);
        self.fence = fences.then(|| fence(&mut chance));
        if chance.happens(500) {
            let (by, host) = two(&mut chance, hosts);
            let for_ms = chance.between(500, 3_000);
            if evicts && (!pins || chance.happens(500)) {
                self.trial = Some(Trial::Evict { by, host });
            } else if pins {
                self.trial = Some(Trial::Pin { by, host, for_ms });
            }
        }
    }
}

/// Draw two different hosts, if there are two.
fn two(chance: &mut Chance, hosts: u64) -> (usize, usize) {
    let one = chance.between(0, hosts - 1);
    let other = (one + chance.between(1, (hosts - 1).max(1))) % hosts;
    (one as usize, other as usize)
}

fn eviction(chance: &mut Chance, hosts: u64) -> Fault {
    let (by, host) = two(chance, hosts);
    Fault::Evict {
        by,
        host,
        back_after_ms: chance.happens(700).then(|| chance.between(50, 5_000)),
    }
}

/// Draw a pin, or now and then an unpin: most pins end by themselves.
fn pin(chance: &mut Chance, hosts: u64) -> Fault {
    let (by, _) = two(chance, hosts);
    match chance.happens(800) {
        true => Fault::Pin {
            by,
            for_ms: chance.between(50, 3_000),
        },
        false => Fault::Unpin { by },
    }
}

/// Draw a handler: a good one, a bad one, or one that never answers.
fn fence(chance: &mut Chance) -> FenceHandler {
    let mut per_mille = || *chance.pick(&[0, 0, 300, 1_000]).unwrap_or(&0);
    let (fails_per_mille, silent_per_mille) = (per_mille(), per_mille());
    FenceHandler {
        timeout_ms: chance.between(50, 1_500),
        work_max_ms: chance.between(0, 1_000),
        fails_per_mille,
        silent_per_mille,
    }
}
