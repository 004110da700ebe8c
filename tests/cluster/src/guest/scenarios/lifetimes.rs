// SPDX-License-Identifier: GPL-2.0

//! Lifetimes of modules, nodes and namespaces: what keeps a module from being unloaded, and that nothing is left
//! behind.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use kcgcsctl::netlink::{Connection, NodeState};
use nix::errno::Errno;

use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan};
use crate::guest::modules;
use crate::guest::wait::wait_for;

const LIMIT_MS: u64 = 60_000;
/// The number of loads of the module on the stock kernel, and on the debug kernel, which is many times slower.
const LOADS: (usize, usize) = (1000, 100);
/// The number of starts of a node.
const STARTS: (usize, usize) = (200, 16);
/// The number of deletions of a namespace.
const DELETIONS: (usize, usize) = (20, 4);
/// One of so many loads or starts waits until the node is a member.
const WAIT_EACH: usize = 8;

/// The tests of the suite `lifetimes`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    vec![
        Test::new("a_node_starts_and_stops_again_and_again", move |remarks| {
            start_loop(surroundings, remarks)
        }),
        Test::new("a_module_with_a_member_does_not_unload", move |_| {
            pinned(surroundings)
        }),
        Test::new("unloading_with_nodes_lets_them_leave", move |_| {
            unload_with_nodes(surroundings)
        }),
        Test::new("a_node_whose_namespace_is_deleted_leaves", move |remarks| {
            delete_one(surroundings, remarks)
        }),
        Test::new(
            "namespaces_deleted_at_once_under_traffic_leave_nothing",
            move |_| delete_all(surroundings),
        ),
    ]
}

/// The test of the suite `loads`, which takes by far the longest, since a load takes ten milliseconds for relocations.
pub(super) fn loads(surroundings: Surroundings) -> Vec<Test> {
    vec![Test::new(
        "the_module_loads_and_unloads_again_and_again",
        move |remarks| load_loop(surroundings, remarks),
    )]
}

fn is_member(connection: &mut Connection, limit: Duration) -> Result<(), String> {
    wait_for("the node is a member", limit, || {
        let status = connection.node().map_err(|failure| failure.to_string())?;
        match status.state {
            NodeState::Member => Ok(()),
            other => Err(format!("it is {other}")),
        }
    })
}

fn load_loop(surroundings: Surroundings, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = surroundings.pick(LOADS);
    let parameters = "node_id=1 address=127.0.0.1 peers=127.0.0.1 formation_ms=20";
    for turn in 1..=count {
        modules::load("kcgcs", parameters).map_err(|errno| format!("load {turn}: {errno}"))?;
        if turn % WAIT_EACH == 0 {
            let mut connection = Connection::open().map_err(|failure| failure.to_string())?;
            is_member(&mut connection, surroundings.limit(LIMIT_MS))?;
        }
        modules::unload("kcgcs").map_err(|errno| format!("unload {turn}: {errno}"))?;
    }
    remarks.push(format!("{count} times"));
    Ok(())
}

fn start_loop(surroundings: Surroundings, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = surroundings.pick(STARTS);
    modules::load_both()?;
    let mut cluster = Cluster::new(Plan::of(1), surroundings.limit(LIMIT_MS))?;
    for turn in 1..=count {
        cluster.start(1)?;
        match turn % WAIT_EACH {
            0 => drop(cluster.wait_for_view(&[1])?),
            // Sometimes the member has never been admitted, sometimes it has.
            1 => cluster.join(1)?,
            2 => {
                cluster.join(1)?;
                cluster.wait_for_group(&[1])?;
                cluster.send_all(&[1], 3)?;
            }
            _ => {}
        }
        cluster.stop(1)?;
    }
    remarks.push(format!("{count} times"));
    // Each incarnation was a cluster of its own, so there is no common trace to check.
    cluster.end()?;
    modules::unload_both()
}

fn refuses_to_go(name: &str) -> Result<(), String> {
    match modules::unload(name) {
        Err(Errno::EWOULDBLOCK | Errno::EBUSY) => Ok(()),
        other => Err(format!("unload of {name}: {other:?}")),
    }
}

fn pinned(surroundings: Surroundings) -> Result<(), String> {
    modules::load_both()?;
    let mut cluster = Cluster::new(Plan::of(1), surroundings.limit(LIMIT_MS))?;
    cluster.start(1)?;
    cluster.join(1)?;
    cluster.wait_for_group(&[1])?;
    refuses_to_go("kcgcs_device")?;
    refuses_to_go("kcgcs")?;
    // The refusals have changed nothing.
    cluster.send_all(&[1], 1)?;
    cluster.wait_for_delivery(&[1])?;
    // A member whose node is gone still holds its module.
    let file = cluster.network.namespace(1)?.run(|| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open("/dev/kcgcs")
            .map_err(|error| error.to_string())
    })?;
    cluster.leave(1)?;
    refuses_to_go("kcgcs_device")?;
    drop(file);
    cluster.stop(1)?;
    cluster.end()?.check()?;
    modules::unload_both()
}

fn unload_with_nodes(surroundings: Surroundings) -> Result<(), String> {
    modules::load_both()?;
    let mut cluster = Cluster::new(Plan::of(3), surroundings.limit(LIMIT_MS))?;
    for node in [1, 2, 3] {
        cluster.start(node)?;
    }
    cluster.wait_for_view(&[1, 2, 3])?;
    modules::unload("kcgcs_device").map_err(|errno| errno.to_string())?;
    modules::unload("kcgcs").map_err(|errno| errno.to_string())?;
    if modules::is_loaded("kcgcs") {
        return Err("the node is still there".to_string());
    }
    Ok(())
}

/// Multicast from every sender that can.
fn chatter(cluster: &mut Cluster, senders: &[u16]) -> Result<(), String> {
    for sender in senders {
        for _ in 0..4 {
            cluster.send(*sender)?;
        }
    }
    Ok(())
}

fn delete_one(surroundings: Surroundings, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = surroundings.pick(DELETIONS);
    modules::load_both()?;
    let mut cluster = Cluster::new(Plan::of(4), surroundings.limit(LIMIT_MS))?;
    let all = cluster.all();
    for node in all.clone() {
        cluster.start(node)?;
        cluster.join(node)?;
    }
    cluster.wait_for_group(&all)?;
    for turn in 0..count {
        let victim = all[turn % all.len()];
        let rest = cluster.all_but(&[victim]);
        chatter(&mut cluster, &all)?;
        let orphan = cluster.delete_namespace(victim)?;
        let outcome = cluster.wait("a view without the node", |cluster| {
            chatter(cluster, &rest)?;
            cluster.common_view(&rest)
        });
        outcome.map_err(|reason| format!("deletion {}: {reason}", turn + 1))?;
        cluster.wait_for_group(&rest)?;
        cluster.end_orphan(orphan)?;
        cluster.restore(victim)?;
        cluster.start(victim)?;
        cluster.join(victim)?;
        cluster.wait_for_view(&all)?;
        cluster.wait_for_group(&all)?;
    }
    remarks.push(format!("{count} times"));
    cluster.end()?.check()?;
    modules::unload_both()
}

fn delete_all(surroundings: Surroundings) -> Result<(), String> {
    modules::load_both()?;
    let limit = surroundings.limit(LIMIT_MS);
    let mut cluster = Cluster::new(Plan::of(6), limit)?;
    let all = cluster.all();
    for node in all.clone() {
        cluster.start(node)?;
        cluster.join(node)?;
    }
    cluster.wait_for_group(&all)?;
    chatter(&mut cluster, &all)?;
    let mut orphans = Vec::new();
    for node in all {
        orphans.push(cluster.delete_namespace(node)?);
    }
    for mut orphan in orphans {
        wait_for("the last view of an orphan", limit, || {
            orphan.pump()?;
            if orphan.is_gone {
                Ok(())
            } else {
                Err("the member has no such record".to_string())
            }
        })?;
        orphan.is_refused(Errno::ESHUTDOWN)?;
    }
    drop(cluster);
    modules::unload_both()
}
