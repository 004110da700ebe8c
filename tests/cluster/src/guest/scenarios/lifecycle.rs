// SPDX-License-Identifier: GPL-2.0

//! The life cycle of one cluster, in steps that are a test each: it forms, its members multicast, nodes crash silently,
//! rejoin, leave and start again. At the end the trace of all kernels is checked against the promises. After a step
//! that fails, all later ones fail too.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kcgcsctl::clock::monotonic_ns;
use kcgcsctl::netlink::NodeState;
use kcgcsctl::record::Reason;

use super::formed::some;
use super::{Surroundings, Test};
use crate::guest::cluster::{Cluster, Plan, MESSAGE_BYTES_MAX};
use crate::guest::kernel_log::KernelLog;
use crate::guest::member::departures;
use crate::guest::modules;
use crate::guest::wait::holds_for;

/// The longest time that a step waits for something.
const LIMIT_MS: u64 = 60_000;
/// The messages of each sender in the step that compares orders.
const ROUNDS: usize = 12;
/// The same for large clusters on the debug kernel.
const ROUNDS_OF_MANY: usize = 4;
/// The time for which a cluster with losses must keep its view, on the stock and on the debug kernel.
const STEADY: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(10));

/// The state that the steps share.
struct Lifecycle {
    plan: Plan,
    surroundings: Surroundings,
    cluster: Option<Cluster>,
    /// The nodes that were cut off, with their incarnations before.
    old_incarnations: Vec<(u16, u64)>,
    is_over: bool,
}

impl Lifecycle {
    fn cluster(&mut self) -> Result<&mut Cluster, String> {
        self.cluster
            .as_mut()
            .ok_or_else(|| "there is no cluster".to_string())
    }
}

type Step = fn(&mut Lifecycle, &mut Vec<String>) -> Result<(), String>;

/// The tests of one cluster; `name` is put before their names.
pub(super) fn tests(name: &str, plan: Plan, surroundings: Surroundings) -> Vec<Test> {
    let has_loss = plan.loss.is_some();
    let is_large = plan.count > 3;
    let lifecycle = Rc::new(RefCell::new(Lifecycle {
        plan,
        surroundings,
        cluster: None,
        old_incarnations: Vec::new(),
        is_over: false,
    }));
    let mut steps: Vec<(&str, Step)> = vec![
        ("nodes_started_in_any_order_form_one_view", form),
        ("a_member_on_each_node_joins_the_group", join),
        ("messages_of_several_members_arrive_in_one_order", one_order),
    ];
    if has_loss {
        steps.push(("losses_exclude_no_node", stays));
    }
    steps.extend::<[(&str, Step); 4]>([
        (
            "a_node_that_crashes_under_traffic_is_excluded_in_one_view",
            crash,
        ),
        (
            "a_node_cut_off_shortly_rejoins_as_a_new_incarnation",
            come_back,
        ),
        (
            "a_crashed_coordinator_is_excluded_in_one_view",
            crash_coordinator,
        ),
        (
            "a_node_cut_off_for_long_rejoins_as_a_new_incarnation",
            come_back,
        ),
    ]);
    if is_large {
        steps.extend::<[(&str, Step); 2]>([
            (
                "nodes_that_crash_at_once_are_excluded_in_one_view",
                crash_several,
            ),
            ("several_nodes_rejoin_as_new_incarnations", come_back),
        ]);
    }
    steps.extend::<[(&str, Step); 4]>([
        ("a_node_that_leaves_is_reported_to_have_left", leave),
        (
            "a_node_that_starts_again_joins_as_a_new_incarnation",
            restart,
        ),
        ("the_trace_of_all_kernels_holds_every_promise", end),
        ("nothing_is_left_and_the_modules_unload", unload),
    ]);
    steps
        .into_iter()
        .map(|(step_name, step)| {
            let lifecycle = Rc::clone(&lifecycle);
            Test::new(format!("{name}: {step_name}"), move |remarks| {
                let mut lifecycle = lifecycle.borrow_mut();
                if lifecycle.is_over {
                    return Err("not tried, an earlier step failed".to_string());
                }
                let outcome = step(&mut lifecycle, remarks);
                if outcome.is_err() {
                    lifecycle.is_over = true;
                    // Other suites need a clean machine. A failure to clean up hides nothing: the step has failed
                    // already.
                    lifecycle.cluster = None;
                    let _ = modules::unload_both();
                }
                outcome
            })
        })
        .collect()
}

/// The nodes in a fixed order that is not sorted: every third number, three times over.
fn mixed(nodes: &[u16]) -> Vec<u16> {
    let thirds = (0..3)
        .rev()
        .map(|start| nodes.iter().skip(start).step_by(3));
    thirds.flatten().copied().collect()
}

fn form(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    modules::load_both()?;
    let limit = lifecycle.surroundings.limit(LIMIT_MS);
    let cluster = lifecycle
        .cluster
        .insert(Cluster::new(lifecycle.plan.clone(), limit)?);
    let all = cluster.all();
    let started = monotonic_ns();
    for node in mixed(&all) {
        cluster.start(node)?;
    }
    let view = cluster.wait_for_view(&all)?;
    let coordinators = view.members.iter().filter(|m| m.is_coordinator).count();
    remarks.push(format!(
        "view {} of {} nodes with {coordinators} coordinators, {} ms after the first start",
        view.number,
        all.len(),
        (monotonic_ns() - started) / 1_000_000
    ));
    let wanted = all.len().min(5);
    if coordinators != wanted {
        return Err(format!("{coordinators} coordinators, not {wanted}"));
    }
    Ok(())
}

fn join(lifecycle: &mut Lifecycle, _: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    for &node in &mixed(&all) {
        cluster.join(node)?;
    }
    cluster.wait_for_group(&all)?;
    for node in all.clone() {
        let groups = cluster.groups(node)?;
        let [group] = groups.as_slice() else {
            return Err(format!("node {node} knows the groups {groups:?}"));
        };
        if usize::from(group.members) != all.len() || group.local_members != 1 {
            return Err(format!("node {node} reports {group:?}"));
        }
    }
    Ok(())
}

fn one_order(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let rounds = match lifecycle.plan.count {
        0..=3 => ROUNDS,
        _ => lifecycle.surroundings.pick((ROUNDS, ROUNDS_OF_MANY)),
    };
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let senders = some(&all);
    let before: usize = cluster.member(1)?.deliveries().len();
    let started = monotonic_ns();
    cluster.send_all(&senders, rounds)?;
    cluster.wait("the largest message is taken", |cluster| {
        let taken = cluster.send_bytes(1, MESSAGE_BYTES_MAX)?;
        taken.map(drop).ok_or_else(|| "no room".to_string())
    })?;
    cluster.wait_for_delivery(&all)?;
    let reference = cluster.member(1)?.deliveries().to_vec();
    let wanted = senders.len() * rounds + 1;
    if reference.len() - before != wanted {
        let got = reference.len() - before;
        return Err(format!("node 1 was given {got} of {wanted} messages"));
    }
    // A member that joined later may lack the first messages.
    for node in all {
        let got = cluster.member(node)?.deliveries();
        if !reference.ends_with(got) || got.len() < wanted {
            return Err(format!("node {node} has another order than node 1"));
        }
    }
    remarks.push(format!(
        "{wanted} messages of {} senders in {} ms",
        senders.len(),
        (monotonic_ns() - started) / 1_000_000
    ));
    Ok(())
}

fn stays(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let steady = lifecycle.surroundings.pick(STEADY);
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let view = cluster.wait_for_view(&all)?.number;
    let names = ["suspicions", "accusations", "probes_sent"];
    let mut totals = [0; 3];
    for (name, total) in names.iter().zip(&mut totals) {
        for &node in &all {
            *total += cluster.counter(node, name)?;
        }
    }
    holds_for("one view of all", steady, || {
        std::thread::sleep(Duration::from_millis(200));
        match cluster.status(1)?.view {
            Some((number, _)) if number == view => Ok(()),
            other => Err(format!("node 1 is in {other:?}, not in view {view}")),
        }
    })?;
    let now = cluster.wait_for_view(&all)?.number;
    for (name, before) in names.iter().zip(totals) {
        let mut total = 0;
        for &node in &all {
            total += cluster.counter(node, name)?;
        }
        remarks.push(format!(
            "{name}: {} in {} s",
            total - before,
            steady.as_secs()
        ));
    }
    if now == view {
        Ok(())
    } else {
        Err(format!("view {view} became view {now}"))
    }
}

/// Cut nodes off while others multicast, and require one view without them at the survivors.
fn cut_under_traffic(
    lifecycle: &mut Lifecycle,
    victims: &[u16],
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    let has_loss = lifecycle.plan.loss.is_some();
    let mut incarnations = Vec::new();
    let cluster = lifecycle.cluster()?;
    let survivors = cluster.all_but(victims);
    for &victim in victims {
        incarnations.push((victim, cluster.status(victim)?.incarnation));
    }
    let before = cluster.wait_for_view(&cluster.all())?.number;
    let mut installed = Vec::new();
    for &node in &survivors {
        let views = cluster.member(node)?.views().len();
        installed.push((node, cluster.counter(node, "views_installed")?, views));
    }
    // All nodes send until the cut. The victims' last messages may be lost.
    let senders = some(&survivors);
    cluster.send_all(&senders, 1)?;
    cluster.send_all(victims, 2)?;
    let cut_at = monotonic_ns();
    for &victim in victims {
        cluster.network.cut(victim)?;
    }
    cluster.wait("a view without the crashed nodes", |cluster| {
        for &sender in &senders {
            // The windows are full while the view changes.
            cluster.send(sender)?;
        }
        cluster.common_view(&survivors).map(drop)
    })?;
    remarks.push(format!(
        "{victims:?} excluded {} ms after the cut",
        (monotonic_ns() - cut_at) / 1_000_000
    ));
    cluster.wait_for_group(&survivors)?;
    cluster.send_all(&senders, 2)?;
    cluster.wait_for_delivery(&survivors)?;
    for (node, count, views) in installed {
        let number = cluster.view(node)?.number;
        let changes = cluster.counter(node, "views_installed")? - count;
        if (number, changes) != (before + 1, 1) {
            // Where packets are lost, the survivors may detect the cut at different times.
            let text = format!("node {node}: {changes} views, from {before} to {number}");
            if !has_loss {
                return Err(text);
            }
            remarks.push(text);
        }
        let new = cluster
            .member(node)?
            .views()
            .get(views..)
            .unwrap_or_default();
        let mut gone: Vec<(u16, Reason)> = new.iter().flat_map(departures).collect();
        gone.sort_by_key(|(node, _)| *node);
        let wanted: Vec<(u16, Reason)> = victims.iter().map(|n| (*n, Reason::Failed)).collect();
        if gone != wanted {
            return Err(format!("the member on node {node} saw {gone:?} leave"));
        }
        if new.len() != 1 && !has_loss {
            return Err(format!(
                "the member on node {node} was given {} views for one crash",
                new.len()
            ));
        }
    }
    lifecycle.old_incarnations = incarnations;
    Ok(())
}

fn crash(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let view = cluster.wait_for_view(&all)?;
    // The last node that is no coordinator. In a small cluster all are coordinators.
    let victim = view
        .members
        .iter()
        .filter(|member| !member.is_coordinator)
        .map(|member| member.node)
        .max()
        .unwrap_or(all.len() as u16);
    cut_under_traffic(lifecycle, &[victim], remarks)
}

/// Cut off the coordinator that issued the view, until it has given its view up.
fn crash_coordinator(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let issuer = cluster.wait_for_view(&all)?.issuer;
    remarks.push(format!("node {issuer}"));
    cut_under_traffic(lifecycle, &[issuer], remarks)?;
    let cluster = lifecycle.cluster()?;
    cluster.wait("the cut node sees no quorum", |cluster| {
        match cluster.status(issuer)?.state {
            NodeState::Blocked => Ok(()),
            other => Err(format!("node {issuer} is {other}")),
        }
    })
}

fn crash_several(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let view = cluster.wait_for_view(&all)?;
    // Two nodes crash, one of them a coordinator that did not issue the view.
    let coordinator = view
        .members
        .iter()
        .find(|member| member.is_coordinator && member.node != view.issuer)
        .map(|member| member.node)
        .ok_or("no second coordinator")?;
    let other = all
        .iter()
        .rev()
        .copied()
        .find(|node| *node != coordinator && *node != view.issuer)
        .ok_or("no other node")?;
    let mut victims = vec![coordinator, other];
    victims.sort_unstable();
    cut_under_traffic(lifecycle, &victims, remarks)
}

fn come_back(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let old_incarnations = std::mem::take(&mut lifecycle.old_incarnations);
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let healed_at = monotonic_ns();
    for (node, _) in &old_incarnations {
        cluster.network.heal(*node)?;
    }
    cluster.wait_for_view(&all)?;
    remarks.push(format!(
        "rejoined {} ms after the end of the cut",
        (monotonic_ns() - healed_at) / 1_000_000
    ));
    for (node, old) in old_incarnations {
        let new = cluster.status(node)?.incarnation;
        if new <= old {
            return Err(format!("node {node} had incarnation {old} and has {new}"));
        }
        cluster.pump()?;
        if cluster.member(node)?.times_out == 0 {
            return Err(format!(
                "the member on node {node} was not reported to be out"
            ));
        }
    }
    // Their handles become members again by themselves.
    cluster.wait_for_group(&all)?;
    cluster.send_all(&some(&all), 1)?;
    cluster.wait_for_delivery(&all)
}

fn leave(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    let leaver = cluster.wait_for_view(&all)?.issuer;
    let incarnation = cluster.status(leaver)?.incarnation;
    let rest = cluster.all_but(&[leaver]);
    let mut log = KernelLog::from_now()?;
    let mut known = Vec::new();
    for &node in &rest {
        known.push((node, cluster.member(node)?.views().len()));
    }
    let asked_at = monotonic_ns();
    cluster.stop(leaver)?;
    remarks.push(format!(
        "node {leaver} stopped in {} ms",
        (monotonic_ns() - asked_at) / 1_000_000
    ));
    cluster.wait_for_view(&rest)?;
    cluster.wait_for_group(&rest)?;
    for (node, views) in known {
        let new = cluster
            .member(node)?
            .views()
            .get(views..)
            .unwrap_or_default();
        let gone: Vec<(u16, Reason)> = new.iter().flat_map(departures).collect();
        if gone != [(leaver, Reason::Leave)] {
            return Err(format!("the member on node {node} saw {gone:?} leave"));
        }
    }
    let lines = log.read_new()?;
    for node in rest {
        let wanted = format!("kcgcs: node {node}: left view: {leaver} (leave)");
        if !lines.iter().any(|line| line.text == wanted) {
            return Err(format!("the kernel's log lacks {wanted:?}"));
        }
    }
    lifecycle.old_incarnations = vec![(leaver, incarnation)];
    Ok(())
}

fn restart(lifecycle: &mut Lifecycle, _: &mut Vec<String>) -> Result<(), String> {
    let old_incarnations = std::mem::take(&mut lifecycle.old_incarnations);
    let cluster = lifecycle.cluster()?;
    let all = cluster.all();
    for (node, old) in old_incarnations {
        cluster.start(node)?;
        cluster.join(node)?;
        let new = cluster.status(node)?.incarnation;
        if new <= old {
            return Err(format!("node {node} had incarnation {old} and has {new}"));
        }
    }
    cluster.wait_for_view(&all)?;
    cluster.wait_for_group(&all)?;
    cluster.send_all(&some(&all), 1)?;
    cluster.wait_for_delivery(&all)
}

fn end(lifecycle: &mut Lifecycle, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = lifecycle.cluster.take().ok_or("there is no cluster")?;
    let trace = cluster.end()?;
    let totals = trace.check()?;
    remarks.push(format!(
        "{} views, {} messages sent, {} delivered",
        totals.views, totals.sends, totals.deliveries
    ));
    if totals.views == 0 || totals.sends == 0 || totals.deliveries < totals.sends {
        return Err("the trace has too few events for a verdict".to_string());
    }
    Ok(())
}

fn unload(_: &mut Lifecycle, _: &mut Vec<String>) -> Result<(), String> {
    modules::unload_both()
}
