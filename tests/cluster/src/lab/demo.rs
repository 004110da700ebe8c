// SPDX-License-Identifier: GPL-2.0

//! The demo: machines form a ring, talk in one order, lose a machine and a coordinator, and get both
//! back. Each step is checked on every machine, from what the machine's own kernel log says; the same
//! steps are the tests of whole machines.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::cluster::{describe, Cluster};
use super::machine::Model;

/// Limits of the steps. They only end a run that would not come to an end by itself.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const FORM_LIMIT: Duration = Duration::from_secs(180);
const TALK_LIMIT: Duration = Duration::from_secs(120);
const CRASH_LIMIT: Duration = Duration::from_secs(120);
const END_LIMIT: Duration = Duration::from_secs(180);

/// How long the machines are watched where nothing is to happen.
const QUIET: Duration = Duration::from_secs(5);

/// Messages that each speaker multicasts.
const MESSAGES_EACH: usize = 8;

/// A step: the name of the test that it is, and what carries it out.
type Step = (&'static str, fn(&mut Story) -> Result<String, String>);

/// The steps, in order.
pub const STEPS: [Step; 10] = [
    ("all_machines_boot_the_stock_kernel", boot),
    ("the_nodes_form_one_view_and_say_who_coordinates", form),
    ("a_kernel_consumer_on_each_machine_joins_the_group", join),
    (
        "messages_of_several_members_arrive_in_one_order_at_all",
        talk,
    ),
    (
        "a_killed_machine_is_detected_and_one_view_goes_on_without_it",
        kill_member,
    ),
    (
        "membership_and_messages_go_on_after_a_coordinator_is_killed",
        kill_coordinator,
    ),
    ("both_machines_come_back_under_new_incarnations", come_back),
    (
        "a_machine_that_stands_still_for_less_than_a_detection_stays",
        stand_still_shortly,
    ),
    (
        "a_machine_that_stands_still_for_longer_finds_out_and_comes_back",
        stand_still_for_long,
    ),
    ("all_kernels_are_healthy_at_the_end", end),
];

/// The cluster, and what the steps tell each other.
pub struct Story {
    cluster: Cluster,
    /// Machines that were killed, with the incarnation they had.
    killed: Vec<(u16, u64)>,
}

/// Runs the demo. Returns the result of each step, by name, in order: a step that was not reached has
/// failed.
pub fn run(model: Model) -> Vec<(&'static str, Result<(), String>)> {
    let mut story = Story {
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
                story.cluster.narrator.heading(&heading);
                step(&mut story).map(|conclusion| story.cluster.narrator.conclusion(&conclusion))
            }
        };
        if let (Err(reason), None) = (&outcome, stopped_by) {
            story.cluster.narrator.say(&format!("  MISSING: {reason}"));
            stopped_by = Some(*name);
        }
        results.push((*name, outcome));
    }
    results
}

fn boot(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
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

fn form(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
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

fn join(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
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

fn talk(story: &mut Story) -> Result<String, String> {
    let all = story.cluster.all();
    let speakers: Vec<u16> = all.iter().copied().step_by(2).collect();
    speak(story, &speakers, &all, "hello")
}

/// Lets `speakers` multicast at once, and checks that all `listeners` were given the same messages in
/// the same order.
fn speak(
    story: &mut Story,
    speakers: &[u16],
    listeners: &[u16],
    text: &str,
) -> Result<String, String> {
    let cluster = &mut story.cluster;
    for &listener in listeners {
        cluster.node_mut(listener).messages.clear();
    }
    // Only some machines' lines are shown: all have the same.
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
            &format!("has not been given all {wanted} messages"),
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
                "the messages of node {speaker} are not all there, once, in the order they were sent"
            ));
        }
    }
    for &listener in listeners {
        if cluster.node(listener).messages != reference {
            return Err(format!(
                "nodes {} and {listener} were given messages in different orders",
                listeners[0]
            ));
        }
    }
    Ok(format!(
        "{wanted} messages of nodes {} came in one order at nodes {}",
        describe(speakers),
        describe(listeners)
    ))
}

/// Kills the machine of `victim` and waits for the one view without it.
fn kill(story: &mut Story, victim: u16) -> Result<String, String> {
    let cluster = &mut story.cluster;
    let survivors: Vec<u16> = cluster
        .alive()
        .into_iter()
        .filter(|&n| n != victim)
        .collect();
    let incarnation = cluster.node(victim).incarnation.unwrap_or(0);
    story.killed.push((victim, incarnation));
    let views_before: Vec<usize> = survivors
        .iter()
        .map(|&number| cluster.node(number).views_seen)
        .collect();
    let killed_at = cluster.kill(victim);
    cluster.narrator.say(&format!(
        "    the QEMU process of node {victim} is killed, with no farewell"
    ));
    cluster.listen("the view without the dead", CRASH_LIMIT, |cluster| {
        cluster.one_view_of(&survivors)?;
        cluster.one_group_view_of(&survivors)
    })?;
    let mut times = String::new();
    for (&number, before) in survivors.iter().zip(views_before) {
        let node = cluster.node(number);
        let view = node.view.as_ref().ok_or("a survivor has no view")?;
        if node.views_seen != before + 1 {
            return Err(format!(
                "node {number} installed {} views where one was to be expected",
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
        "noticed by node {}; from kill to view: {times}",
        describe(&suspecting)
    ))
}

fn kill_member(story: &mut Story) -> Result<String, String> {
    let victim = plain_member(&story.cluster)?;
    kill(story, victim)
}

fn kill_coordinator(story: &mut Story) -> Result<String, String> {
    let alive = story.cluster.alive();
    let view = story
        .cluster
        .node(alive[0])
        .view
        .clone()
        .ok_or("there is no view")?;
    let victim = *view.coordinators.first().ok_or("there is no coordinator")?;
    let times = kill(story, victim)?;
    story
        .cluster
        .narrator
        .conclusion(&format!("coordinator {victim} was {times}"));
    let alive = story.cluster.alive();
    speak(story, &alive[..2], &alive, "still-here")
}

fn come_back(story: &mut Story) -> Result<String, String> {
    let killed = story.killed.clone();
    let cluster = &mut story.cluster;
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
    let mut told = String::new();
    for (number, before) in killed {
        let now = cluster.node(number).incarnation.unwrap_or(0);
        if now <= before {
            return Err(format!(
                "node {number} came back as incarnation {now}, after {before}"
            ));
        }
        let _ = write!(told, "; node {number} was incarnation {before}, is {now}");
    }
    Ok(format!(
        "all {} nodes are in one view again{told}",
        all.len()
    ))
}

/// A member that does not coordinate, if there is one.
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

/// For a part of the time that it takes to accuse somebody.
fn stand_still_shortly(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
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
        "    machine {subject} stood still for {stood_ms} ms; to accuse it would take {detection_ms} ms"
    ));
    cluster.listen_for("whether anything comes of it", QUIET)?;
    for (&number, views) in all.iter().zip(views_before) {
        if cluster.node(number).views_seen != views {
            return Err(format!("node {number} has another view"));
        }
    }
    speak(story, &[subject], &all, "never-away").map(|spoken| {
        format!(
            "view {} is still that of all nodes; {spoken}",
            before.number
        )
    })
}

/// Until the others have gone on without it.
fn stand_still_for_long(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
    let all = cluster.all();
    let subject = plain_member(cluster)?;
    let others: Vec<u16> = all.iter().copied().filter(|&n| n != subject).collect();
    let old = cluster.node(subject).clone();
    let stopped_at = cluster.stop(subject)?;
    cluster.narrator.say(&format!(
        "    machine {subject} stands still, and its clocks do"
    ));
    cluster.listen("the view without it", CRASH_LIMIT, |cluster| {
        cluster.one_view_of(&others)?;
        cluster.one_group_view_of(&others)
    })?;
    let stood_ms = stopped_at.elapsed().as_millis();
    cluster.go_on(subject)?;
    cluster.narrator.say(&format!(
        "    machine {subject} goes on after {stood_ms} ms"
    ));
    cluster.listen("the view of all nodes", FORM_LIMIT, |cluster| {
        cluster.one_view_of(&all)?;
        cluster.one_group_view_of(&all)
    })?;
    let node = cluster.node(subject);
    if node.times_excluded != old.times_excluded + 1 {
        return Err(format!(
            "node {subject} has found out {} times that it is out",
            node.times_excluded - old.times_excluded
        ));
    }
    if node.times_out == old.times_out {
        return Err(format!(
            "the consumer on node {subject} was not told that it is out"
        ));
    }
    if node.incarnation <= old.incarnation {
        return Err(format!("node {subject} is still the old incarnation"));
    }
    let told = format!(
        "node {subject} found out that it was out, told its consumer and came back, \
         incarnation {} after {}",
        node.incarnation.unwrap_or(0),
        old.incarnation.unwrap_or(0)
    );
    speak(story, &[subject], &all, "back").map(|spoken| format!("{told}; {spoken}"))
}

fn end(story: &mut Story) -> Result<String, String> {
    let cluster = &mut story.cluster;
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
