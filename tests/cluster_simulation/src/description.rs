// SPDX-License-Identifier: GPL-2.0

//! Describe a plan in words, for a person who wants to understand a run.

use crate::cluster::FenceHandler;
use crate::network::{LinkQuality, NetworkOptions};
use crate::plan::{Fault, Plan, Trial, Victim};

/// The plan in words: a line for each fault and for each option that is not at its plainest value.
pub fn describe(plan: &Plan) -> Vec<String> {
    let mut lines = vec![head(plan)];
    if plan.network != NetworkOptions::PERFECT {
        lines.push(format!("network: {}", network(&plan.network)));
    }
    if (plan.engine_delay_mean_us, plan.timer_delay_mean_us) != (20, 20) {
        lines.push(format!(
            "work items run {} us late on average, timers {} us",
            plan.engine_delay_mean_us, plan.timer_delay_mean_us
        ));
    }
    if !plan.clock_rates_ppm.is_empty() {
        lines.push(format!(
            "the clocks of nodes 1, 2 ... are too fast by {:?} millionths",
            plan.clock_rates_ppm
        ));
    }
    if plan.groups > 0 {
        lines.push(format!(
            "consumers of {} groups act every {} ms on average",
            plan.groups, plan.work_interval_ms
        ));
    }
    if let Some(handler) = plan.fence {
        lines.push(fence(handler));
    }
    if let Some(bug) = plan.sabotage {
        lines.push(format!("all nodes have the bug {bug:?}"));
    }
    if plan.starts_ms.iter().any(|at_ms| *at_ms > 0) {
        lines.push(format!("nodes 1, 2 ... start at {:?} ms", plan.starts_ms));
    }
    for planned in &plan.faults {
        let at = format!("{}.{:03}", planned.at_us / 1_000, planned.at_us % 1_000);
        lines.push(format!("at {at} ms {}", fault(&planned.fault)));
    }
    lines.push(format!("at {} ms all faults end", plan.healing_at_ms));
    let down: Vec<usize> = nodes((0..plan.hosts()).filter(|host| plan.stays_down[*host]));
    if !down.is_empty() && !plan.faults.is_empty() {
        lines.push(format!(
            "nodes {down:?} stay down after that, if they are down and the others are a quorum"
        ));
    }
    if let Some(one) = plan.trial {
        lines.push(format!("after the cluster has settled, {}", trial(one)));
    }
    if !plan.victims.is_empty() {
        lines.push(format!(
            "at the end nodes {:?} crash at once, if the others are a quorum",
            nodes(plan.victims.iter().copied())
        ));
    }
    lines
}

/// The numbers of the nodes on these hosts.
fn nodes(hosts: impl Iterator<Item = usize>) -> Vec<usize> {
    hosts.map(|host| host + 1).collect()
}

fn head(plan: &Plan) -> String {
    let settings: Vec<String> = (plan.settings.iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{} nodes, {}, seed {}",
        plan.hosts(),
        if settings.is_empty() {
            "default settings".to_owned()
        } else {
            settings.join(" ")
        },
        plan.seed
    )
}

fn network(options: &NetworkOptions) -> String {
    let mut flaws = vec![format!(
        "delay {} us and {} more on average",
        options.delay_min_us, options.delay_mean_us
    )];
    for (per_mille, what) in [
        (options.loss_per_mille, "lost"),
        (options.duplication_per_mille, "duplicated"),
        (options.reordering_per_mille, "reordered"),
        (options.damage_per_mille, "damaged"),
    ] {
        if per_mille > 0 {
            flaws.push(format!("{}.{} % {what}", per_mille / 10, per_mille % 10));
        }
    }
    flaws.join(", ")
}

fn fault(fault: &Fault) -> String {
    match fault {
        Fault::Crash(victims) => {
            let each: Vec<String> = victims.iter().map(victim).collect();
            format!("these nodes crash at once: {}", each.join(", "))
        }
        Fault::CrashCoordinator {
            rank,
            in_view_change,
            back_after_ms,
        } => format!(
            "{}the coordinator of rank {rank} crashes{}",
            if *in_view_change {
                "or later, in the middle of a view change, "
            } else {
                ""
            },
            back(*back_after_ms)
        ),
        Fault::Leave(one) => format!("this node leaves: {}", victim(one)),
        Fault::Evict {
            by,
            host,
            back_after_ms,
        } => format!(
            "node {} is asked to evict node {}{}",
            by + 1,
            host + 1,
            back(*back_after_ms)
        ),
        Fault::Pin { by, for_ms } => {
            format!("node {} is asked to pin the view for {for_ms} ms", by + 1)
        }
        Fault::Unpin { by } => format!("node {} is asked to unpin the view", by + 1),
        Fault::Freeze { host, for_ms } => {
            format!("node {} is frozen for {for_ms} ms", host + 1)
        }
        Fault::SlowEngine {
            host,
            mean_us,
            for_ms,
        } => format!(
            "the work items of node {} run {mean_us} us late on average for {for_ms} ms",
            host + 1
        ),
        Fault::Storm {
            network: options,
            for_ms,
        } => format!(
            "the network gets worse for {for_ms} ms: {}",
            network(options)
        ),
        Fault::Components { sides, for_ms } => {
            let most = sides.iter().copied().max().unwrap_or(0);
            let components: Vec<String> = (0..=most)
                .map(|side| nodes((0..sides.len()).filter(|host| sides[*host] == side)))
                .filter(|component| !component.is_empty())
                .map(|component| format!("{component:?}"))
                .collect();
            format!(
                "the network splits into components for {for_ms} ms: {}",
                components.join(" ")
            )
        }
        Fault::Between {
            from,
            to,
            quality,
            flapping_ms,
            for_ms,
        } => between(from, to, *quality, *flapping_ms, *for_ms),
    }
}

fn fence(handler: FenceHandler) -> String {
    let percent = |per_mille: u64| format!("{}.{} %", per_mille / 10, per_mille % 10);
    format!(
        "failed nodes are fenced: a handler has {} ms, needs up to {} ms, fails in {} and does not answer in {} of its calls",
        handler.timeout_ms,
        handler.work_max_ms,
        percent(handler.fails_per_mille),
        percent(handler.silent_per_mille)
    )
}

fn between(
    from: &[usize],
    to: &[usize],
    quality: LinkQuality,
    flapping_ms: Option<(u64, u64)>,
    for_ms: u64,
) -> String {
    let what = if quality.blocks() {
        "all datagrams are lost".to_owned()
    } else {
        format!(
            "{}.{} % of the datagrams are lost, and the others are delayed by {} us and {} us more on average",
            quality.loss_per_mille / 10,
            quality.loss_per_mille % 10,
            quality.delay_us,
            quality.jitter_mean_us
        )
    };
    let turns = flapping_ms.map_or(String::new(), |(bad_ms, good_ms)| {
        format!(", flapping: bad for {bad_ms} ms, good for {good_ms} ms")
    });
    format!(
        "from nodes {:?} to nodes {:?} {what} for {for_ms} ms{turns}",
        nodes(from.iter().copied()),
        nodes(to.iter().copied())
    )
}

fn victim(victim: &Victim) -> String {
    format!("node {}{}", victim.host + 1, back(victim.back_after_ms))
}

fn back(after_ms: Option<u64>) -> String {
    after_ms.map_or(String::new(), |ms| format!(" (back after {ms} ms)"))
}

fn trial(trial: Trial) -> String {
    match trial {
        Trial::Stall { host, for_ms } => {
            format!("node {} is frozen for {for_ms} ms", host + 1)
        }
        Trial::Evict { by, host } => {
            format!("node {} is asked to evict node {}", by + 1, host + 1)
        }
        Trial::Pin { by, host, for_ms } => format!(
            "node {} is asked to pin the view for {for_ms} ms, and node {} crashes meanwhile",
            by + 1,
            host + 1
        ),
        Trial::OneWay { from, to } => format!(
            "all datagrams from node {} to node {} are lost",
            from + 1,
            to + 1
        ),
        Trial::Pair { one, other } => {
            format!(
                "all datagrams between nodes {} and {} are lost",
                one + 1,
                other + 1
            )
        }
        Trial::Deaf { host } => format!("node {} receives nothing", host + 1),
        Trial::Mute { host } => format!("nothing that node {} sends arrives", host + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::describe;
    use crate::plan::{DrawOptions, Plan};

    #[test]
    fn the_description_has_a_line_for_each_fault() {
        for seed in 1..=200 {
            let plan = Plan::draw(seed, &DrawOptions::default());
            let described = describe(&plan);
            let faults = described
                .iter()
                .filter(|line| line.starts_with("at ") && line.contains('.'))
                .count();
            assert!(faults >= plan.faults.len(), "seed {seed}: {described:?}");
        }
    }
}
