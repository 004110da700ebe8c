// SPDX-License-Identifier: GPL-2.0

//! Plans a little simpler than a given one: without some hosts, without some faults, or with one option at its plainest
//! value.

use super::{Fault, Plan, PlannedFault, Trial, Victim};
use crate::cluster::FenceHandler;
use crate::network::NetworkOptions;

impl Plan {
    /// The plan without these hosts. The others get new numbers. `None` if there are no others.
    pub fn without_hosts(&self, gone: &[usize]) -> Option<Self> {
        let mut next = 0;
        let numbers: Vec<Option<usize>> = (0..self.hosts())
            .map(|host| {
                let stays = !gone.contains(&host);
                next += usize::from(stays);
                stays.then(|| next - 1)
            })
            .collect();
        if next == 0 {
            return None;
        }
        let new = |host: usize| numbers.get(host).copied().flatten();
        let faults = self.faults.iter().filter_map(|planned| {
            let fault = renumbered(&planned.fault, &new)?;
            Some(PlannedFault {
                at_us: planned.at_us,
                fault,
            })
        });
        Some(Self {
            starts_ms: kept(&self.starts_ms, gone),
            clock_rates_ppm: kept(&self.clock_rates_ppm, gone),
            stays_down: kept(&self.stays_down, gone),
            faults: faults.collect(),
            trial: self.trial.and_then(|trial| renumbered_trial(trial, &new)),
            victims: self.victims.iter().copied().filter_map(new).collect(),
            ..self.clone()
        })
    }

    /// The plan with only those faults for whose places `is_kept` holds.
    pub fn with_faults(&self, is_kept: impl Fn(usize) -> bool) -> Self {
        let faults = self.faults.iter().enumerate();
        Self {
            faults: faults
                .filter(|(place, _)| is_kept(*place))
                .map(|(_, fault)| fault.clone())
                .collect(),
            ..self.clone()
        }
    }

    /// Plans with one option made plainer, the greatest simplification first.
    pub fn plainer_options(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut change = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        change(&|plan| plan.groups = 0);
        change(&|plan| plan.fence = None);
        change(&|plan| plan.network = NetworkOptions::PERFECT);
        change(&|plan| plan.settings.clear());
        change(&|plan| plan.trial = None);
        change(&|plan| plan.victims.clear());
        change(&|plan| plan.clock_rates_ppm.clear());
        change(&|plan| plan.starts_ms.fill(0));
        change(&|plan| plan.stays_down.fill(false));
        change(&|plan| plan.incarnation_base = 1);
        change(&|plan| (plan.engine_delay_mean_us, plan.timer_delay_mean_us) = (20, 20));
        change(&|plan| plan.groups = plan.groups.min(1));
        for part in [
            |network: &mut NetworkOptions| network.loss_per_mille = 0,
            |network: &mut NetworkOptions| network.duplication_per_mille = 0,
            |network: &mut NetworkOptions| network.reordering_per_mille = 0,
            |network: &mut NetworkOptions| network.damage_per_mille = 0,
        ] {
            change(&|plan| part(&mut plan.network));
        }
        for part in [
            |fence: &mut FenceHandler| fence.fails_per_mille = 0,
            |fence: &mut FenceHandler| fence.silent_per_mille = 0,
            |fence: &mut FenceHandler| fence.work_max_ms = 0,
        ] {
            change(&|plan| plan.fence.iter_mut().for_each(part));
        }
        for name in self.settings.keys() {
            change(&|plan| {
                plan.settings.remove(name);
            });
        }
        change(&Self::end_soon_after_the_last_fault);
        plans
    }

    fn end_soon_after_the_last_fault(&mut self) {
        let last_ms = self
            .faults
            .last()
            .map_or(0, |planned| planned.at_us / 1_000);
        let started_ms = self.starts_ms.iter().max().copied().unwrap_or(0);
        let soon = last_ms.max(started_ms) + 1_000;
        self.healing_at_ms = self.healing_at_ms.min(soon);
    }

    /// Plans with the fault at `place` made plainer.
    pub fn plainer_fault(&self, place: usize) -> Vec<Self> {
        let Some(planned) = self.faults.get(place) else {
            return Vec::new();
        };
        let mut plans: Vec<Self> = plainer(&planned.fault)
            .into_iter()
            .map(|fault| {
                let mut plan = self.clone();
                plan.faults[place].fault = fault;
                plan
            })
            .collect();
        let round_us = planned.at_us / 100_000 * 100_000;
        let is_next = place == 0 || self.faults[place - 1].at_us <= round_us;
        if round_us != planned.at_us && is_next {
            let mut plan = self.clone();
            plan.faults[place].at_us = round_us;
            plans.push(plan);
        }
        plans
    }
}

fn kept<T: Copy>(list: &[T], gone: &[usize]) -> Vec<T> {
    let stays = list.iter().enumerate().filter(|(n, _)| !gone.contains(n));
    stays.map(|(_, one)| *one).collect()
}

fn renumbered(fault: &Fault, new: &impl Fn(usize) -> Option<usize>) -> Option<Fault> {
    let victim = |old: &Victim| {
        Some(Victim {
            host: new(old.host)?,
            ..*old
        })
    };
    let mut fault = fault.clone();
    match &mut fault {
        Fault::Crash(victims) => {
            *victims = victims.iter().filter_map(victim).collect();
            if victims.is_empty() {
                return None;
            }
        }
        Fault::Leave(one) => *one = victim(one)?,
        Fault::Evict { by, host, .. } => (*by, *host) = (new(*by)?, new(*host)?),
        Fault::Pin { by, .. } | Fault::Unpin { by } => *by = new(*by)?,
        Fault::Freeze { host, .. } | Fault::SlowEngine { host, .. } => *host = new(*host)?,
        Fault::Between { from, to, .. } => {
            for list in [from, to] {
                *list = list.iter().copied().filter_map(new).collect();
                if list.is_empty() {
                    return None;
                }
            }
        }
        Fault::Components { sides, .. } => {
            let stays = |host: &usize| new(*host).is_some();
            *sides = (0..sides.len())
                .filter(stays)
                .map(|host| sides[host])
                .collect();
        }
        Fault::CrashCoordinator { .. } | Fault::Storm { .. } => {}
    }
    Some(fault)
}

fn renumbered_trial(trial: Trial, new: &impl Fn(usize) -> Option<usize>) -> Option<Trial> {
    Some(match trial {
        Trial::Stall { host, for_ms } => Trial::Stall {
            host: new(host)?,
            for_ms,
        },
        Trial::Evict { by, host } => Trial::Evict {
            by: new(by)?,
            host: new(host)?,
        },
        Trial::Pin { by, host, for_ms } => Trial::Pin {
            by: new(by)?,
            host: new(host)?,
            for_ms,
        },
        Trial::OneWay { from, to } => Trial::OneWay {
            from: new(from)?,
            to: new(to)?,
        },
        Trial::Pair { one, other } => Trial::Pair {
            one: new(one)?,
            other: new(other)?,
        },
        Trial::Deaf { host } => Trial::Deaf { host: new(host)? },
        Trial::Mute { host } => Trial::Mute { host: new(host)? },
    })
}

fn plainer(fault: &Fault) -> Vec<Fault> {
    let mut faults = Vec::new();
    match fault {
        Fault::Crash(victims) if victims.len() > 1 => {
            for place in 0..victims.len() {
                let mut fewer = victims.clone();
                fewer.remove(place);
                faults.push(Fault::Crash(fewer));
            }
        }
        Fault::Crash(victims) => {
            if let Some(one) = victims.first().filter(|one| one.back_after_ms.is_some()) {
                faults.push(Fault::Crash(vec![never_back(one)]));
            }
        }
        Fault::Leave(victim) if victim.back_after_ms.is_some() => {
            faults.push(Fault::Leave(never_back(victim)));
        }
        Fault::Evict {
            by,
            host,
            back_after_ms: Some(_),
        } => faults.push(Fault::Evict {
            by: *by,
            host: *host,
            back_after_ms: None,
        }),
        Fault::CrashCoordinator {
            rank,
            in_view_change: true,
            back_after_ms,
        } => faults.push(Fault::CrashCoordinator {
            rank: *rank,
            in_view_change: false,
            back_after_ms: *back_after_ms,
        }),
        Fault::Between {
            from,
            to,
            quality,
            flapping_ms: Some(_),
            for_ms,
        } => faults.push(Fault::Between {
            from: from.clone(),
            to: to.clone(),
            quality: *quality,
            flapping_ms: None,
            for_ms: *for_ms,
        }),
        _ => {}
    }
    let mut shorter = fault.clone();
    if let Fault::Freeze { for_ms, .. }
    | Fault::SlowEngine { for_ms, .. }
    | Fault::Pin { for_ms, .. }
    | Fault::Storm { for_ms, .. }
    | Fault::Components { for_ms, .. }
    | Fault::Between { for_ms, .. } = &mut shorter
    {
        if *for_ms > 1 {
            *for_ms /= 2;
            faults.push(shorter);
        }
    }
    faults
}

fn never_back(victim: &Victim) -> Victim {
    Victim {
        back_after_ms: None,
        ..*victim
    }
}

#[cfg(test)]
mod tests {
    use super::super::DrawOptions;
    use super::Plan;

    #[test]
    fn a_plan_without_some_hosts_names_only_the_remaining_ones() {
        for seed in 1..=200 {
            let plan = Plan::draw(seed, &DrawOptions::default());
            let gone: Vec<usize> = (0..plan.hosts()).step_by(2).collect();
            let smaller = plan.without_hosts(&gone).expect("hosts are left");
            assert_eq!(smaller.hosts(), plan.hosts() - gone.len(), "seed {seed}");
            let read = Plan::from_json(&smaller.to_json());
            assert_eq!(read, Ok(smaller), "seed {seed}");
        }
        let plan = Plan::draw(1, &DrawOptions::default());
        let all: Vec<usize> = (0..plan.hosts()).collect();
        assert_eq!(plan.without_hosts(&all), None);
    }

    #[test]
    fn a_plan_can_be_made_plainer_only_finitely_often() {
        for seed in 1..=20 {
            let mut plan = Plan::draw(seed, &DrawOptions::default());
            plan.faults.truncate(3);
            let mut steps = 0;
            loop {
                let faults = 0..plan.faults.len();
                let mut plainer = plan.plainer_options();
                plainer.extend(faults.flat_map(|place| plan.plainer_fault(place)));
                let Some(next) = plainer.into_iter().next() else {
                    break;
                };
                plan = next;
                steps += 1;
                assert!(steps < 500, "seed {seed}: {plan:?}");
            }
        }
    }
}
