// SPDX-License-Identifier: GPL-2.0

//! The fence gate in a real kernel, with the sample `kcgcs_fence_helper` and a helper program of this test: a failed
//! node stays in the view until the helper has succeeded.

use std::fs::{read_to_string, remove_file, write, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::kernel_log::KernelLog;
use crate::guest::modules;
use crate::guest::wait::{holds_for, wait_for};

const LIMIT_MS: u64 = 60_000;
const NODES: u16 = 3;
const VICTIM: u16 = 3;
/// The helper, the file to which it writes the nodes that it shall fence, and the file that lets it succeed.
const HELPER: &str = "/tmp/fence-helper";
const ASKED: &str = "/tmp/fence-asked";
const OPEN: &str = "/tmp/fence-open";
const GUARD: &str = "/sys/module/kcgcs_fence_helper/parameters/guard";
/// The time for which the view must not change.
const QUIET: Duration = Duration::from_secs(5);
const TIMEOUT_MS: u64 = 20_000;

/// The tests of the suite `fence`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![
        Test::new(
            "a_failed_node_stays_in_the_view_until_it_is_fenced",
            move |_| with_guards(surroundings, confirmed),
        ),
        Test::new(
            "a_helper_that_never_succeeds_delays_the_view_for_its_timeout",
            move |_| with_guards(surroundings, timed_out),
        ),
    ]
}

/// Run a check with a cluster in which every node has the helper and the victim has just crashed.
fn with_guards(
    surroundings: Surroundings,
    check: fn(&mut Cluster, &mut KernelLog, Duration) -> Result<(), String>,
) -> Result<(), String> {
    for file in [ASKED, OPEN] {
        let _ = remove_file(file);
    }
    write_helper()?;
    modules::load_both()?;
    modules::load(
        "kcgcs_fence_helper",
        &format!("helper={HELPER} timeout_ms={TIMEOUT_MS}"),
    )
    .map_err(|errno| format!("kcgcs_fence_helper: {errno}"))?;
    let limit = surroundings.limit(LIMIT_MS);
    let mut cluster = Cluster::new(Plan::of(NODES), limit)?;
    let all = cluster.all();
    for &node in &all {
        cluster.start(node)?;
        cluster.join(node)?;
        guard(&cluster, node)?;
        if guard(&cluster, node).is_ok() {
            return Err(format!("node {node} accepted a second handler"));
        }
    }
    cluster.wait_for_view(&all)?;
    cluster.wait_for_group(&all)?;
    let mut log = KernelLog::from_now()?;
    cluster.network.cut(VICTIM)?;
    check(&mut cluster, &mut log, limit)?;
    cluster.network.heal(VICTIM)?;
    cluster.wait_for_view(&all)?;
    cluster.wait_for_group(&all)?;
    cluster.end()?.check()?;
    modules::unload("kcgcs_fence_helper")
        .map_err(|errno| format!("kcgcs_fence_helper: {errno}"))?;
    modules::unload_both()
}

fn write_helper() -> Result<(), String> {
    let script = format!("#!/bin/sh\necho \"$1\" >>{ASKED}\n[ -e {OPEN} ]\n");
    write(HELPER, script)
        .and_then(|()| std::fs::set_permissions(HELPER, Permissions::from_mode(0o755)))
        .map_err(|error| format!("{HELPER}: {error}"))
}

fn guard(cluster: &Cluster, node: u16) -> Result<(), String> {
    let namespace = cluster.network.namespace(node)?;
    namespace.run(|| write(GUARD, "1").map_err(|error| format!("{GUARD}: {error}")))
}

/// The number of times that the helper was called. It must never be called for another node.
fn times_asked() -> Result<usize, String> {
    let asked = read_to_string(ASKED).unwrap_or_default();
    match asked.lines().find(|line| **line != VICTIM.to_string()) {
        Some(other) => Err(format!("the helper was asked to fence {other:?}")),
        None => Ok(asked.lines().count()),
    }
}

fn survivors(cluster: &Cluster) -> Vec<u16> {
    cluster.all_but(&[VICTIM])
}

fn await_line(log: &mut KernelLog, limit: Duration, words: &str) -> Result<(), String> {
    wait_for(words, limit, || {
        let lines = log.read_new()?;
        match lines.iter().any(|line| line.text.contains(words)) {
            true => Ok(()),
            false => Err("the kernel's log lacks it".to_string()),
        }
    })
}

fn confirmed(cluster: &mut Cluster, log: &mut KernelLog, limit: Duration) -> Result<(), String> {
    let all = cluster.all();
    let rest = survivors(cluster);
    let before = cluster.view(1)?.number;
    await_line(log, limit, "cannot fence node 3: error -5")?;
    holds_for("the view does not change", QUIET, || {
        for &node in &rest {
            let view = cluster.view(node)?;
            if view.number != before || view.members.len() != all.len() {
                return Err(format!("node {node} has {view:?}"));
            }
        }
        Ok(())
    })?;
    // The helper is called again and again, a second apart.
    let asked = times_asked()?;
    if !(2..=10).contains(&asked) {
        return Err(format!("the helper was called {asked} times"));
    }
    write(OPEN, "").map_err(|error| format!("{OPEN}: {error}"))?;
    let after = cluster.wait_for_view(&rest)?.number;
    if after != before + 1 {
        return Err(format!("view {before} became view {after}"));
    }
    await_line(log, limit, "the fence handler has fenced node 3")
}

fn timed_out(cluster: &mut Cluster, log: &mut KernelLog, limit: Duration) -> Result<(), String> {
    let rest = survivors(cluster);
    let before = cluster.view(1)?.number;
    let after = cluster.wait_for_view(&rest)?.number;
    if after != before + 1 {
        return Err(format!("view {before} became view {after}"));
    }
    if times_asked()? == 0 {
        return Err("the helper was never called".to_string());
    }
    await_line(log, limit, "the view goes on WITHOUT FENCING it")
}
