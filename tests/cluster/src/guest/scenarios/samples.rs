// SPDX-License-Identifier: GPL-2.0

//! The sample modules: they join, log their views, greet each other and are unloaded.

use kcgcsctl::netlink::{Connection, StartRequest};
use nix::errno::Errno;

use super::{Surroundings, Test};
use crate::guest::kernel_log::{KernelLog, LogLine};
use crate::guest::modules;
use crate::guest::wait::wait_for;

const LIMIT_MS: u64 = 30_000;

/// The tests of the suite `samples`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![Test::new(
        "the_sample_modules_greet_each_other_and_unload",
        move |_| {
            modules::load("kcgcs", "").map_err(|errno| errno.to_string())?;
            greet(surroundings)?;
            modules::wait_until_nothing_is_left()?;
            modules::unload("kcgcs").map_err(|errno| errno.to_string())
        },
    )]
}

fn greet(surroundings: Surroundings) -> Result<(), String> {
    let mut connection = Connection::open().map_err(|failure| failure.to_string())?;
    // Without a node there is nothing to join.
    for name in ["kcgcs_minimal_c", "kcgcs_minimal_rust"] {
        match modules::load(name, "") {
            Err(Errno::ENETDOWN) => {}
            other => return Err(format!("{name} without a node: {other:?}")),
        }
    }
    connection
        .start(&StartRequest {
            cluster: "samples".to_string(),
            node_id: 1,
            address: "127.0.0.1".to_string(),
            peers: vec!["127.0.0.1".to_string()],
            settings: Vec::new(),
            detector: None,
        })
        .map_err(|failure| failure.to_string())?;
    let mut log = KernelLog::from_now()?;
    let mut lines: Vec<LogLine> = Vec::new();
    let mut await_line = |words: &str| {
        wait_for(words, surroundings.limit(LIMIT_MS), || {
            lines.extend(log.read_new()?);
            if lines.iter().any(|line| line.text.contains(words)) {
                Ok(())
            } else {
                Err("the kernel's log lacks it".to_string())
            }
        })
    };
    let load = |name: &str| modules::load(name, "").map_err(|errno| format!("{name}: {errno}"));
    load("kcgcs_minimal_c")?;
    await_line("kcgcs_minimal_c: view ")?;
    await_line("kcgcs_minimal_c: message 1 of node 1: hello from C")?;
    load("kcgcs_minimal_rust")?;
    await_line("kcgcs_minimal_rust: view ")?;
    await_line("of node 1, 2 members")?;
    await_line("kcgcs_minimal_rust: message of node 1: hello from Rust")?;
    await_line("kcgcs_minimal_c: message 1 of node 1: hello from Rust")?;

    match modules::unload("kcgcs") {
        Err(Errno::EWOULDBLOCK | Errno::EBUSY) => {}
        other => return Err(format!("unload of kcgcs with members: {other:?}")),
    }
    // The samples leave when they are unloaded.
    modules::unload("kcgcs_minimal_rust").map_err(|errno| format!("minimal_rust: {errno}"))?;
    await_line("of node 1, 1 members")?;
    modules::unload("kcgcs_minimal_c").map_err(|errno| format!("minimal_c: {errno}"))?;
    connection.stop().map_err(|failure| failure.to_string())
}
