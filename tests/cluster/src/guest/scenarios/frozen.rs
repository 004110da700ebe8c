// SPDX-License-Identifier: GPL-2.0

//! Heartbeats need no processes: while all of user space is frozen, no node is excluded.

use std::process::Command;

use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::modules;

const LIMIT_MS: u64 = 60_000;
const FOLDER: &str = "/sys/fs/cgroup/frozen";
/// The time for which the test's own process is frozen.
const FROZEN_S: u64 = 60;
/// The fewest heartbeats that a node sends in that time: half of those at its interval of 160 ms.
const BEATS: u64 = FROZEN_S * 1000 / 160;

/// The tests of the suite `frozen`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![Test::new(
        "frozen_processes_change_no_view",
        move |remarks| {
            modules::load_both()?;
            let limit = surroundings.limit(LIMIT_MS);
            let mut cluster = Cluster::new(Plan::of(4), limit)?;
            let all = cluster.all();
            for node in all.clone() {
                cluster.start(node)?;
                cluster.join(node)?;
            }
            cluster.wait_for_group(&all)?;
            let view = cluster.wait_for_view(&all)?.number;
            let beats = cluster.counter(1, "heartbeats_sent")?;
            freeze()?;
            let beats = cluster.counter(1, "heartbeats_sent")? - beats;
            remarks.push(format!("node 1 sent {beats} heartbeats in {FROZEN_S} s"));
            let after = cluster.common_view(&all)?.number;
            if after != view {
                return Err(format!("view {view} became view {after}"));
            }
            if beats < BEATS {
                return Err(format!("node 1 sent only {beats} heartbeats"));
            }
            cluster.send_all(&all, 2)?;
            cluster.wait_for_delivery(&all)?;
            cluster.end()?.check()?;
            modules::unload_both()
        },
    )]
}

/// Freeze this process with all its threads. A shell outside of its control group sleeps and then thaws it.
fn freeze() -> Result<(), String> {
    let write = |file: &str, text: &str| {
        std::fs::write(format!("{FOLDER}/{file}"), text).map_err(|error| format!("{file}: {error}"))
    };
    std::fs::create_dir_all(FOLDER).map_err(|error| format!("{FOLDER}: {error}"))?;
    let script = format!(
        "echo 1 >{FOLDER}/cgroup.freeze; sleep {FROZEN_S}; grep -q 'frozen 1' {FOLDER}/cgroup.events; \
         code=$?; echo 0 >{FOLDER}/cgroup.freeze; exit $code"
    );
    let mut keeper = Command::new("/bin/sh")
        .args(["-c", &script])
        .spawn()
        .map_err(|error| format!("sh: {error}"))?;
    write("cgroup.procs", &std::process::id().to_string())?;
    let ended = keeper.wait().map_err(|error| format!("sh: {error}"))?;
    std::fs::write(
        "/sys/fs/cgroup/cgroup.procs",
        std::process::id().to_string(),
    )
    .map_err(|error| format!("cgroup.procs: {error}"))?;
    if ended.success() {
        Ok(())
    } else {
        Err("the process was not frozen".to_string())
    }
}
