// SPDX-License-Identifier: GPL-2.0

//! The demo: machines form a cluster, multicast in one order, lose a machine and a coordinator, get both back, and have
//! one machine stopped for a while. Each step is checked on every machine by its kernel log, and is also a test.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::cluster::{describe, Cluster};
use super::machine::Model;

/// The limits of the steps. They only end a run that would not end by itself.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const FORM_LIMIT: Duration = Duration::from_secs(180);
const TALK_LIMIT: Duration = Duration::from_secs(120);
const CRASH_LIMIT: Duration = Duration::from_secs(120);
const END_LIMIT: Duration = Duration::from_secs(180);

/// The time for which the machines are observed where nothing must happen.
const QUIET: Duration = Duration::from_secs(5);

/// The number of messages that each speaker multicasts.
const MESSAGES_EACH: usize = 8;

/// A step: its name as a test, and the function that carries it out.
type Step = (&'static str, fn(&mut Demo) -> Result<String, String>);

/// The steps, in order.
pub const STEPS: [Step; 10] = [
    ("all_machines_boot_the_stock_kernel", boot),
    ("the_nodes_form_one_view_and_log_its_coordinators", form),
    ("a_kernel_consumer_on_each_machine_joins_the_group", join),
    (
        "all_members_deliver_messages_of_several_members_in_one_order",
        talk,
    ),
    (
        "a_killed_machine_is_detected_and_excluded_in_one_view",
        kill_member,
    ),
    (
        "membership_and_messages_go_on_after_a_coordinator_is_killed",
        kill_coordinator,
    ),
    ("both_machines_rejoin_as_new_incarnations", come_back),
    (
        "a_machine_that_is_stopped_for_less_than_a_detection_is_not_excluded",
        stop_shortly,
    ),
    (
        "a_machine_that_is_stopped_for_longer_learns_of_its_exclusion_and_rejoins",
        stop_for_long,
    ),
    ("all_kernels_are_healthy_at_the_end", end),
];

/// The cluster, and the state that the steps share.
pub struct Demo {
    cluster: Cluster,
    /// The machines that were killed, with their incarnations.
    killed: Vec<(u16, u64)>,
}

/// Run the demo. Returns the result of each step in order. A step that was not reached has failed.
pub fn run(model: Model) -> Vec<(&'static str, Result<(), String>)> {
    let mut demo = Demo {
        cluster: Cluster::new(model),
        killed: Vec::new(),
    };
    let mut results = Vec::new();
    let mut stopped_by = None;
    for (number, (name, step)) in STEPS.iter().enumerate() {
        let outcome = match stopped_by {
            Some(earlier) => Err(format!("not reached: {earlier} failed")),
            None => {
                let heading = format!("{}. {}", number + 1, name.replace('_', " "));
                demo.cluster.narrator.heading(&heading);
                step(&mut demo).map(|conclusion| demo.cluster.narrator.conclusion(&conclusion))
            }
        };
        if let (Err(reason), None) = (&outcome, stopped_by) {
            demo.cluster.narrator.say(&format!("  MISSING: {reason}"));
            stopped_by = Some(*name);
        }
        results.push((*name, outcome));
    }
    results
}

fn boot(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    for number in cluster.all() {
        cluster.start(number)?;
    }
    cluster.listen("machines boot", BOOT_LIMIT, |cluster| {
        cluster.each(&cluster.all(), |node| node.release.is_some(), "is not up")
    })?;
    let release = cluster.node(1).release.clone().unwrap_or_default();
    Ok(format!(
        "{} machines run Linux {release}",
        cluster.all().len()
    ))
}

fn form(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let all = cluster.all();
    let begin = Instant::now();
    for &number in &all {
        cluster.order(number, "load")?;
    }
    cluster.listen("the view of all nodes", FORM_LIMIT, |cluster| {
        cluster.one_view_of(&all)
    })?;
    let view = cluster.node(1).view.clone().ok_or("node 1 has no view")?;
    if view.coordinators.is_empty() {
        return Err("the view names no coordinators".to_string());
    }
    Ok(format!(
        "view {}: {} nodes on the ring, coordinators: {} ({} ms after the modules were loaded)",
        view.number,
        view.members.len(),
        describe(&view.coordinators),
        begin.elapsed().as_millis()
    ))
}

fn join(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let all = cluster.all();
    for &number in &all {
        cluster.order(number, "join")?;
    }
    cluster.listen("the group view of all members", TALK_LIMIT, |cluster| {
        cluster.one_group_view_of(&all)
    })?;
    Ok(format!(
        "group demo has a member on each of nodes {}",
        describe(&all)
    ))
}

fn talk(demo: &mut Demo) -> Result<String, String> {
    let all = demo.cluster.all();
    let speakers: Vec<u16> = all.iter().copied().step_by(2).collect();
    speak(demo, &speakers, &all, "hello")
}

/// Let `speakers` multicast at once, and check that all `listeners` delivered the same messages in
/// the same order.
fn speak(
    demo: &mut Demo,
    speakers: &[u16],
    listeners: &[u16],
    text: &str,
) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    for &listener in listeners {
        cluster.node_mut(listener).messages.clear();
    }
    // Only some machines' lines are shown, since all are the same.
    cluster.quiet_messages = true;
    for &speaker in speakers {
        cluster.order(
            speaker,
            &format!("say '{MESSAGES_EACH} {text}-from-{speaker}'"),
        )?;
    }
    let wanted = speakers.len() * MESSAGES_EACH;
    cluster.listen("messages", TALK_LIMIT, |cluster| {
        cluster.each(
            listeners,
            |node| node.messages.len() >= wanted,
            &format!("has not delivered all {wanted} messages"),
        )
    })?;
    cluster.quiet_messages = false;
    for &listener in listeners {
        let mut heard = String::new();
        for (sender, sequence, _) in &cluster.node(listener).messages {
            let _ = write!(heard, " {sender}.{sequence}");
        }
        cluster.narrator.kernel_line(
            listener,
            &format!("its log has, as sender.sequence:{heard}"),
        );
    }
    let reference = cluster.node(listeners[0]).messages.clone();
    for &speaker in speakers {
        let own: Vec<_> = reference
            .iter()
            .filter(|(sender, ..)| *sender == speaker)
            .collect();
        let said = (1..=MESSAGES_EACH).map(|number| format!("{text}-from-{speaker} {number}"));
        if !own.iter().map(|(_, _, text)| text.clone()).eq(said) {
            return Err(format!(
                "the messages of node {speaker} were not delivered once each, in the order they were sent"
            ));
        }
    }
    for &listener in listeners {
        if cluster.node(listener).messages != reference {
            return Err(format!(
                "nodes {} and {listener} delivered messages in different orders",
                listeners[0]
            ));
        }
    }
    Ok(format!(
        "{wanted} messages of nodes {} were delivered in one order at nodes {}",
        describe(speakers),
        describe(listeners)
    ))
}

/// Kill the machine of `victim`, and wait for the one view without it.
fn kill(demo: &mut Demo, victim: u16) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let survivors: Vec<u16> = cluster
        .alive()
        .into_iter()
        .filter(|&n| n != victim)
        .collect();
    let incarnation = cluster.node(victim).incarnation.unwrap_or(0);
    demo.killed.push((victim, incarnation));
    let views_before: Vec<usize> = survivors
        .iter()
        .map(|&number| cluster.node(number).views_seen)
        .collect();
    let killed_at = cluster.kill(victim);
    cluster.narrator.say(&format!(
        "    the QEMU process of node {victim} is killed; the node sends nothing more"
    ));
    cluster.listen("the view without the dead node", CRASH_LIMIT, |cluster| {
        cluster.one_view_of(&survivors)?;
        cluster.one_group_view_of(&survivors)
    })?;
    let mut times = String::new();
    for (&number, before) in survivors.iter().zip(views_before) {
        let node = cluster.node(number);
        let view = node.view.as_ref().ok_or("a survivor has no view")?;
        if node.views_seen != before + 1 {
            return Err(format!(
                "node {number} installed {} views instead of one",
                node.views_seen - before
            ));
        }
        let _ = write!(
            times,
            "{}node {number} {} ms",
            if times.is_empty() { "" } else { ", " },
            view.at.duration_since(killed_at).as_millis()
        );
    }
    let suspecting: Vec<u16> = survivors
        .iter()
        .copied()
        .filter(|&number| cluster.node(number).suspected.contains(&victim))
        .collect();
    if suspecting.is_empty() {
        return Err(format!(
            "no kernel log says that node {victim} was suspected"
        ));
    }
    Ok(format!(
        "suspected by node {}; from kill to view: {times}",
        describe(&suspecting)
    ))
}

fn kill_member(demo: &mut Demo) -> Result<String, String> {
    let victim = plain_member(&demo.cluster)?;
    kill(demo, victim)
}

fn kill_coordinator(demo: &mut Demo) -> Result<String, String> {
    let alive = demo.cluster.alive();
    let view = demo
        .cluster
        .node(alive[0])
        .view
        .clone()
        .ok_or("there is no view")?;
    let victim = *view.coordinators.first().ok_or("there is no coordinator")?;
    let times = kill(demo, victim)?;
    demo.cluster
        .narrator
        .conclusion(&format!("coordinator {victim} was {times}"));
    let alive = demo.cluster.alive();
    speak(demo, &alive[..2], &alive, "still-here")
}

fn come_back(demo: &mut Demo) -> Result<String, String> {
    let killed = demo.killed.clone();
    let cluster = &mut demo.cluster;
    for &(number, _) in &killed {
        cluster.start(number)?;
    }
    let numbers: Vec<u16> = killed.iter().map(|&(number, _)| number).collect();
    cluster.listen("machines boot again", BOOT_LIMIT, |cluster| {
        cluster.each(&numbers, |node| node.release.is_some(), "is not up")
    })?;
    for &number in &numbers {
        cluster.order(number, "load && join")?;
    }
    let all = cluster.all();
    cluster.listen("the view of all nodes", FORM_LIMIT, |cluster| {
        cluster.one_view_of(&all)?;
        cluster.one_group_view_of(&all)
    })?;
    let mut incarnations = String::new();
    for (number, before) in killed {
        let now = cluster.node(number).incarnation.unwrap_or(0);
        if now <= before {
            return Err(format!(
                "node {number} rejoined as incarnation {now}, which is not later than {before}"
            ));
        }
        let _ = write!(
            incarnations,
            "; node {number} was incarnation {before}, is {now}"
        );
    }
    Ok(format!(
        "all {} nodes are in one view again{incarnations}",
        all.len()
    ))
}

/// A node that is no coordinator, if there is one.
fn plain_member(cluster: &Cluster) -> Result<u16, String> {
    let view = cluster.node(1).view.clone().ok_or("there is no view")?;
    let plain = view
        .members
        .iter()
        .rev()
        .find(|n| !view.coordinators.contains(n));
    plain
        .or(view.members.last())
        .copied()
        .ok_or_else(|| "the view is empty".to_string())
}

/// Stop a machine for a fraction of the time that an accusation takes.
fn stop_shortly(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let all = cluster.all();
    let subject = plain_member(cluster)?;
    let detection_ms = cluster.parameter("heartbeat_interval_ms", 160)
        + cluster.parameter("heartbeat_slack_ms", 15)
        + cluster.parameter("probe_count", 4) * cluster.parameter("probe_interval_ms", 25);
    let before = cluster.node(1).view.clone().ok_or("there is no view")?;
    let views_before: Vec<usize> = all.iter().map(|&n| cluster.node(n).views_seen).collect();
    let stopped_at = cluster.stop(subject)?;
    std::thread::sleep(Duration::from_millis(detection_ms * 2 / 5));
    cluster.go_on(subject)?;
    let stood_ms = stopped_at.elapsed().as_millis();
    cluster.narrator.say(&format!(
        "    machine {subject} was stopped for {stood_ms} ms; accusing it would take {detection_ms} ms"
    ));
    cluster.listen_for("the view does not change", QUIET)?;
    for (&number, views) in all.iter().zip(views_before) {
        if cluster.node(number).views_seen != views {
            return Err(format!("node {number} has another view"));
        }
    }
    speak(demo, &[subject], &all, "never-away").map(|spoken| {
        format!(
            "view {} is still that of all nodes; {spoken}",
            before.number
        )
    })
}

/// Stop a machine until the others have excluded its node.
fn stop_for_long(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let all = cluster.all();
    let subject = plain_member(cluster)?;
    let others: Vec<u16> = all.iter().copied().filter(|&n| n != subject).collect();
    let old = cluster.node(subject).clone();
    let stopped_at = cluster.stop(subject)?;
    cluster.narrator.say(&format!(
        "    machine {subject} is stopped, with its clocks"
    ));
    cluster.listen("the view without it", CRASH_LIMIT, |cluster| {
        cluster.one_view_of(&others)?;
        cluster.one_group_view_of(&others)
    })?;
    let stood_ms = stopped_at.elapsed().as_millis();
    cluster.go_on(subject)?;
    cluster.narrator.say(&format!(
        "    machine {subject} continues after {stood_ms} ms"
    ));
    cluster.listen("the view of all nodes", FORM_LIMIT, |cluster| {
        cluster.one_view_of(&all)?;
        cluster.one_group_view_of(&all)
    })?;
    let node = cluster.node(subject);
    if node.times_excluded != old.times_excluded + 1 {
        return Err(format!(
            "node {subject} has learnt {} times, not once, that it was excluded",
            node.times_excluded - old.times_excluded
        ));
    }
    if node.times_out == old.times_out {
        return Err(format!(
            "the consumer on node {subject} was not reported to be out"
        ));
    }
    if node.incarnation <= old.incarnation {
        return Err(format!("node {subject} still has its old incarnation"));
    }
    let conclusion = format!(
        "node {subject} learnt that it was excluded, reported that to its consumer and rejoined, \
         incarnation {} after {}",
        node.incarnation.unwrap_or(0),
        old.incarnation.unwrap_or(0)
    );
    speak(demo, &[subject], &all, "back").map(|spoken| format!("{conclusion}; {spoken}"))
}

fn end(demo: &mut Demo) -> Result<String, String> {
    let cluster = &mut demo.cluster;
    let all = cluster.all();
    for &number in &all {
        cluster.order(number, "unload; exit $?")?;
    }
    cluster.listen(
        "machines check their kernels and end",
        END_LIMIT,
        |cluster| cluster.each(&all, |node| node.end.is_some(), "has not ended"),
    )?;
    cluster.each(
        &all,
        |node| node.end == Some(0),
        "ended with a complaint about its kernel",
    )?;
    Ok(
        "modules unloaded; no warning, no leaked namespace, no unexpected taint on any machine"
            .to_string(),
    )
}
