// SPDX-License-Identifier: GPL-2.0

//! Measurement of the time from a silent crash to the view without the node. The times come from the kernel's log: that
//! of a line written just before the node's port leaves the bridge, and those of the lines in which the survivors log
//! their new view.

use std::collections::BTreeMap;
use std::time::Duration;

use super::random::Random;
use super::{emit, tell_progress, LIMIT, LOOK_EVERY};
use crate::bench::{Detection, Line, Spread};
use crate::guest::cluster::Cluster;
use crate::guest::kernel_log::{mark, KernelLog, LogLine};
use crate::guest::wait::wait_for_every;

/// One of so many crashes is that of a coordinator; the others are of any node.
const COORDINATOR_EVERY: usize = 3;
/// The pause after a cluster is whole again, to which a random time is added.
const PAUSE: Duration = Duration::from_secs(1);
/// The bound of the random time: several heartbeat intervals, so that crashes come at any phase.
const PHASE_NS: u64 = 500_000_000;
/// The line written just before a crash.
const CUT: &str = "kcgcs-bench: port taken away";

/// The result of a crash.
struct Crash {
    first_ns: u64,
    last_ns: u64,
    is_coordinator: bool,
    took_several_views: bool,
}

/// Crash nodes one after another, and let each rejoin before the next.
pub(super) fn measure(cluster: &mut Cluster, crashes: usize, seed: u64) -> Result<(), String> {
    let nodes = cluster.all();
    let mut random = Random::new(seed);
    let mut seen = Vec::new();
    for number in 0..crashes {
        tell_progress(&format!(
            "{} nodes: crash {} of {crashes}",
            nodes.len(),
            number + 1
        ));
        std::thread::sleep(PAUSE + Duration::from_nanos(random.below(PHASE_NS)));
        let victim = victim(cluster, number)?;
        seen.push(crash(cluster, victim)?);
    }
    let spread = |times: fn(&Crash) -> u64| {
        Spread::of(seen.iter().map(times).collect()).ok_or("no crashes were asked for")
    };
    emit(&Line::Detection(Detection {
        nodes: nodes.len() as u16,
        coordinator_crashes: seen.iter().filter(|crash| crash.is_coordinator).count(),
        first: spread(|crash| crash.first_ns)?,
        last: spread(|crash| crash.last_ns)?,
        more_than_one_view: seen.iter().filter(|crash| crash.took_several_views).count(),
    }))
}

/// The next victim: the nodes by turns, and every few crashes the next coordinator.
fn victim(cluster: &mut Cluster, number: usize) -> Result<(u16, bool), String> {
    let all = cluster.all();
    let view = cluster.common_view(&all)?;
    let mut coordinators: Vec<u16> = view
        .members
        .iter()
        .filter(|member| member.is_coordinator)
        .map(|member| member.node)
        .collect();
    coordinators.sort_unstable();
    let (among, turn) = if number % COORDINATOR_EVERY == COORDINATOR_EVERY - 1 {
        (&coordinators, number / COORDINATOR_EVERY)
    } else {
        (&all, number)
    };
    let victim = *among.get(turn % among.len().max(1)).ok_or("no nodes")?;
    Ok((victim, coordinators.contains(&victim)))
}

fn crash(cluster: &mut Cluster, (victim, is_coordinator): (u16, bool)) -> Result<Crash, String> {
    let all = cluster.all();
    let survivors = cluster.all_but(&[victim]);
    let mut log = KernelLog::from_now()?;
    mark(CUT)?;
    cluster.network.cut(victim)?;
    let mut seen = CrashLog::default();
    wait_for_every(LOOK_EVERY, "a new view at all survivors", LIMIT, || {
        for line in log.read_new()? {
            seen.add(&line, victim)?;
        }
        match survivors.iter().find(|node| !seen.views.contains_key(node)) {
            None => Ok(()),
            Some(node) => Err(format!("node {node} has none")),
        }
    })?;
    let cut_us = seen.cut_us.ok_or("the crash is not in the log")?;
    let first_us = seen.views.values().map(|(at, _)| *at).min();
    let last_us = seen.views.values().map(|(at, _)| *at).max();
    let since_cut = |us: Option<u64>| us.unwrap_or(cut_us).saturating_sub(cut_us) * 1000;
    let is_short = |(_, members): &(u64, usize)| *members != survivors.len();
    let took_several_views = seen.views.values().any(is_short);
    cluster.wait_for_view(&survivors)?;
    cluster.network.heal(victim)?;
    cluster.wait_for_view(&all)?;
    Ok(Crash {
        first_ns: since_cut(first_us),
        last_ns: since_cut(last_us),
        is_coordinator,
        took_several_views,
    })
}

/// The lines of the log about a crash.
#[derive(Default)]
struct CrashLog {
    cut_us: Option<u64>,
    /// The time of each survivor's first view without the victim, and the size of that view.
    views: BTreeMap<u16, (u64, usize)>,
}

impl CrashLog {
    fn add(&mut self, line: &LogLine, victim: u16) -> Result<(), String> {
        if line.text == CUT {
            self.cut_us = Some(line.time_us);
        } else if line.text.contains("lines left out") {
            return Err(format!("lines of the log were left out: {}", line.text));
        } else if let Some((node, members)) = installed_view(&line.text) {
            if self.cut_us.is_some() && node != victim && !members.contains(&victim) {
                self.views
                    .entry(node)
                    .or_insert((line.time_us, members.len()));
            }
        }
        Ok(())
    }
}

/// Parse `kcgcs: node 3: view 7 of coordinator 1, 2 members: 1 3; coordinators: 1 3` into node and members.
pub(super) fn installed_view(text: &str) -> Option<(u16, Vec<u16>)> {
    let (node, rest) = text.strip_prefix("kcgcs: node ")?.split_once(": view ")?;
    let (_, members) = rest.split_once(" members: ")?;
    let (members, _) = members.split_once(';')?;
    let members = members.split(' ').map(|number| number.parse().ok());
    Some((node.parse().ok()?, members.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = "kcgcs: node 3: view 7 of coordinator 1, 2 members: 1 3; coordinators: 1 3";

    fn line(time_us: u64, text: &str) -> LogLine {
        LogLine {
            time_us,
            text: text.to_string(),
        }
    }

    #[test]
    fn the_line_of_a_view_is_parsed() {
        assert_eq!(installed_view(VIEW), Some((3, vec![1, 3])));
        for other in [
            "kcgcs: node 3: left view: 2 (failed)",
            "kcgcs: node 3: suspects node 2, silent for 175 ms",
            "kcgcs-bench: port taken away",
        ] {
            assert_eq!(installed_view(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_first_view_without_the_victim_after_the_cut_counts() {
        let mut log = CrashLog::default();
        for (time_us, text) in [
            (10, VIEW),
            (20, CUT),
            (
                30,
                "kcgcs: node 1: view 8 of coordinator 1, 3 members: 1 2 3; coordinators: 1",
            ),
            (40, VIEW),
            (50, VIEW),
        ] {
            log.add(&line(time_us, text), 2).expect("a whole log");
        }
        assert_eq!(log.cut_us, Some(20));
        assert_eq!(log.views, BTreeMap::from([(3, (40, 2))]));
        let gap = line(60, "kcgcs: node 3: 5 lines left out");
        assert!(log.add(&gap, 2).is_err());
    }
}
