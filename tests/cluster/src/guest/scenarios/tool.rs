// SPDX-License-Identifier: GPL-2.0

//! The program kcgcsctl from end to end: what it prints, and its exit codes.

mod administration;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use trace_checker::line::Reader;
use trace_checker::trace::EventKind;
use trace_checker::Options;

use super::{Surroundings, Test};
use crate::guest::modules;
use crate::guest::network::{run_command, Network};
use crate::guest::wait::wait_for_every;

const LIMIT_MS: u64 = 60_000;
/// The pause between two runs of the program while a test waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const NODES: u16 = 3;
/// The number of lines that each member of the trace sends.
const LINES: usize = 20;

/// The tests of the suite `tool`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    let limit = surroundings.limit(LIMIT_MS);
    vec![
        Test::new("kcgcsctl_starts_shows_and_stops_nodes", move |_| {
            with_names(|| show(&Tool { limit }))
        }),
        Test::new(
            "kcgcsctl_delays_counts_while_neighbours_stay",
            move |remarks| with_names(|| delays(&Tool { limit }, remarks)),
        ),
        Test::new("kcgcsctl_join_prints_what_members_say", move |_| {
            with_names(|| talk(&Tool { limit }))
        }),
        Test::new("kcgcsctl_join_json_is_a_trace_that_holds", move |remarks| {
            with_names(|| trace(&Tool { limit }, remarks))
        }),
        Test::new("kcgcsctl_ends_with_the_codes_it_promises", move |_| {
            with_names(|| codes(&Tool { limit }))
        }),
        Test::new("kcgcsctl_evict_puts_a_node_out_for_good", move |_| {
            with_names(|| administration::evict(&Tool { limit }))
        }),
        Test::new("kcgcsctl_pin_keeps_the_view_as_it_is", move |_| {
            with_names(|| administration::pin(&Tool { limit }))
        }),
    ]
}

/// Run a test on a network whose namespaces have the names n1 to n3.
fn with_names(test: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    modules::load_both()?;
    let network = Network::new(NODES)?;
    for node in 1..=NODES {
        network.namespace(node)?.run(|| {
            let thread = nix::unistd::gettid().to_string();
            run_command("ip", &["netns", "attach", &format!("n{node}"), &thread])
        })?;
    }
    let outcome = test();
    for node in 1..=NODES {
        run_command("ip", &["netns", "delete", &format!("n{node}")])?;
    }
    drop(network);
    modules::unload_both()?;
    outcome
}

/// The result of a run of the program.
struct Ran {
    code: Option<i32>,
    output: String,
    complaint: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

struct Tool {
    /// The longest time that anything may take.
    limit: Duration,
}

impl Tool {
    /// Start `kcgcsctl --netns nNODE ARGUMENT...`, and return the running process.
    fn begin(&self, node: u16, arguments: &[&str]) -> Result<Child, String> {
        Command::new("/bin/kcgcsctl")
            .args(["--netns", &format!("n{node}")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("kcgcsctl: {error}"))
    }

    fn end(&self, child: Child) -> Result<Ran, String> {
        let output = child.wait_with_output();
        output.map(Ran::from).map_err(|error| error.to_string())
    }

    fn run(&self, node: u16, arguments: &[&str]) -> Result<Ran, String> {
        self.end(self.begin(node, arguments)?)
    }

    /// Run the program, and require that it exits with `code` and, if that is not 0, with one line of complaint,
    /// otherwise without any. Returns what it printed.
    fn expect(&self, node: u16, arguments: &[&str], code: i32) -> Result<String, String> {
        let ran = self.run(node, arguments)?;
        ran.expect(code, &arguments.join(" "))
    }

    fn up(&self, node: u16) -> Result<String, String> {
        let (number, address) = (node.to_string(), format!("10.77.0.{node}"));
        let peers = "10.77.0.1,10.77.0.2,10.77.0.3";
        let arguments = [
            "up",
            "--cluster",
            "tool",
            "--node-id",
            &number,
            "--address",
            &address,
            "--peers",
            peers,
        ];
        self.expect(node, &arguments, 0)
    }

    fn all_up(&self) -> Result<(), String> {
        for node in 1..=NODES {
            self.up(node)?;
        }
        let limit = self.limit.as_millis().to_string();
        for node in 1..=NODES {
            let watch = ["watch", "--until-members", "3", "--timeout-ms", &limit];
            let printed = self.expect(node, &watch, 0)?;
            if !printed.contains(&format!("node {node}: member")) {
                return Err(format!("watch printed {printed:?}"));
            }
        }
        Ok(())
    }

    fn all_down(&self) -> Result<(), String> {
        for node in 1..=NODES {
            self.expect(node, &["down"], 0)?;
        }
        Ok(())
    }

    /// Wait until members on exactly these nodes are in a group. Other nodes need not know of it.
    fn wait_for_group(&self, group: &str, nodes: &[u16]) -> Result<(), String> {
        for &node in nodes {
            wait_for_every(LOOK_EVERY, "members of the group", self.limit, || {
                let printed = self.expect(node, &["--json", "groups"], 0)?;
                let groups = printed
                    .lines()
                    .filter_map(|line| serde_json::from_str(line).ok());
                let mut known = groups.filter(|known: &Value| known["group"] == group);
                match known.next() {
                    Some(known) if known["members"] == nodes.len() => Ok(()),
                    other => Err(format!("node {node} reports {other:?}")),
                }
            })?;
        }
        Ok(())
    }
}

impl Ran {
    fn expect(self, code: i32, what: &str) -> Result<String, String> {
        let lines = self.complaint.lines().count();
        // The complaint about a wrong command line has several lines.
        let is_right = self.code == Some(code) && (code == 2 || lines == usize::from(code != 0));
        if is_right {
            Ok(self.output)
        } else {
            Err(format!(
                "{what}: exit code {:?}, not {code}; complaint {:?}, output {:?}",
                self.code, self.complaint, self.output
            ))
        }
    }
}

fn contains(what: &str, text: &str, words: &[&str]) -> Result<(), String> {
    match words.iter().find(|word| !text.contains(**word)) {
        Some(missing) => Err(format!("{what}: no {missing:?} in {text:?}")),
        None => Ok(()),
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text:?}"))
}

fn show(tool: &Tool) -> Result<(), String> {
    let status = tool.run(1, &["status"])?;
    contains(
        "status",
        &status.complaint,
        &["no node in this network namespace"],
    )?;
    status.expect(1, "status without a node")?;
    contains(
        "up",
        &tool.up(1)?,
        &["node 1 of cluster tool runs at 10.77.0.1:5407"],
    )?;
    tool.expect(1, &["down"], 0)?;
    tool.all_up()?;

    let text = tool.expect(2, &["status"], 0)?;
    let words = [
        "node         2",
        "state        member",
        "heartbeat_interval_ms",
        "dropped_short",
    ];
    contains("status", &text, &words)?;
    let status = json(&tool.expect(2, &["--json", "status"], 0)?)?;
    if status["state"] != "member" || status["members"] != 3 || status["settings"]["rings"] != 3 {
        return Err(format!("status: {status}"));
    }
    let text = tool.expect(3, &["view"], 0)?;
    contains(
        "view",
        &text,
        &["primary, 3 members", "10.77.0.1:5407", "10.77.0.3:5407"],
    )?;
    let view = json(&tool.expect(3, &["--json", "view"], 0)?)?;
    if view["event"] != "view" || view["members"].as_array().map(Vec::len) != Some(3) {
        return Err(format!("view: {view}"));
    }
    let groups = tool.expect(1, &["groups"], 0)?;
    contains("groups", &groups, &["GROUP", "COORDINATOR"])?;
    tool.all_down()?;
    tool.expect(1, &["view"], 1).map(drop)
}

/// The numbers of heartbeats that node 1 has counted from and to each neighbour.
fn delay_counts(tool: &Tool) -> Result<Vec<(u64, u64, u64)>, String> {
    let printed = tool.expect(1, &["--json", "delays"], 0)?;
    let counts = printed.lines().map(|line| {
        let neighbour = json(line)?;
        let number = |value: &Value| value.as_u64().ok_or(format!("delays: {neighbour}"));
        let sum = |word: &str| -> Result<u64, String> {
            let histogram = &neighbour[word];
            let buckets = histogram["buckets"].as_array().map(Vec::as_slice);
            let buckets = buckets.unwrap_or_default().iter();
            let sum: u64 = buckets.filter_map(Value::as_u64).sum();
            if number(&histogram["count"])? != sum || histogram["buckets"][23].is_null() {
                return Err(format!("delays: {neighbour}"));
            }
            Ok(sum)
        };
        Ok((number(&neighbour["node"])?, sum("received")?, sum("sent")?))
    });
    counts.collect()
}

fn delays(tool: &Tool, remarks: &mut Vec<String>) -> Result<(), String> {
    tool.expect(1, &["delays"], 1)?;
    tool.all_up()?;
    let before = wait_for_every(LOOK_EVERY, "heartbeats are counted", tool.limit, || {
        let counts = delay_counts(tool)?;
        match counts.as_slice() {
            [(2, a, b), (3, c, d)] if [a, b, c, d].iter().all(|count| **count >= 5) => Ok(counts),
            _ => Err(format!("{counts:?}")),
        }
    })?;
    let text = tool.expect(1, &["delays"], 0)?;
    contains("delays", &text, &["NODE", "received", "sent", "P99"])?;
    remarks.extend(text.lines().map(str::to_owned));
    // Node 3 leaves. The counts of node 2 are kept across the view change.
    tool.expect(3, &["down"], 0)?;
    let after = wait_for_every(LOOK_EVERY, "node 3 is gone", tool.limit, || {
        let counts = delay_counts(tool)?;
        match counts.as_slice() {
            [(2, ..)] => Ok(counts),
            _ => Err(format!("{counts:?}")),
        }
    })?;
    let is_kept = after[0].1 >= before[0].1 && after[0].2 >= before[0].2;
    if !is_kept {
        return Err(format!("{before:?} became {after:?}"));
    }
    tool.expect(1, &["down"], 0)?;
    tool.expect(2, &["down"], 0).map(drop)
}

fn say(child: &mut Child, text: &str) -> Result<(), String> {
    let input = child.stdin.as_mut().ok_or("no standard input")?;
    input
        .write_all(text.as_bytes())
        .map_err(|error| format!("standard input: {error}"))
}

fn talk(tool: &Tool) -> Result<(), String> {
    tool.all_up()?;
    let limit = tool.limit.as_millis().to_string();
    let arguments = ["join", "demo", "--count", "3", "--timeout-ms", &limit];
    let mut members = Vec::new();
    for node in 1..=NODES {
        members.push(tool.begin(node, &arguments)?);
    }
    tool.wait_for_group("demo", &[1, 2, 3])?;
    for (member, node) in members.iter_mut().zip(1..) {
        say(member, &format!("hello from node {node}\n"))?;
    }
    for member in members {
        let printed = tool.end(member)?.expect(0, "join")?;
        let words = [
            "3 members: ",
            ": hello from node 1\n",
            ": hello from node 2\n",
            ": hello from node 3\n",
        ];
        contains("join", &printed, &words)?;
        if !printed.ends_with("left\n") {
            return Err(format!("join ended with {printed:?}"));
        }
    }
    tool.all_down()
}

fn trace(tool: &Tool, remarks: &mut Vec<String>) -> Result<(), String> {
    tool.all_up()?;
    let limit = tool.limit.as_millis().to_string();
    let wanted = (LINES * usize::from(NODES)).to_string();
    let arguments = [
        "--json",
        "join",
        "traced",
        "--count",
        &wanted,
        "--timeout-ms",
        &limit,
    ];
    let mut members = Vec::new();
    for node in 1..=NODES {
        members.push(tool.begin(node, &arguments)?);
    }
    tool.wait_for_group("traced", &[1, 2, 3])?;
    for line in 1..=LINES {
        for (member, node) in members.iter_mut().zip(1..) {
            say(member, &format!("line {line} of node {node}\n"))?;
        }
    }
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    for member in members {
        let printed = tool.end(member)?.expect(0, "join --json")?;
        let read = reader.read(printed.as_bytes(), &mut events);
        read.map_err(|error| error.to_string())?;
    }
    let count = |wanted: fn(&EventKind) -> bool| events.iter().filter(|e| wanted(&e.kind)).count();
    let sends = count(|kind| matches!(kind, EventKind::Send(_)));
    let deliveries = count(|kind| matches!(kind, EventKind::Deliver(_)));
    let all = LINES * usize::from(NODES);
    if (sends, deliveries) != (all, all * usize::from(NODES)) {
        return Err(format!(
            "{sends} messages were sent and {deliveries} delivered"
        ));
    }
    let violations = trace_checker::check(&mut events, Options::default());
    if let Some(violation) = violations.first() {
        return Err(violation.to_string());
    }
    remarks.push(format!("{} events", events.len()));
    tool.all_down()
}

fn codes(tool: &Tool) -> Result<(), String> {
    tool.expect(1, &["up"], 2)?;
    tool.expect(
        1,
        &[
            "up",
            "--cluster",
            "c",
            "--node-id",
            "1",
            "--address",
            "here",
        ],
        1,
    )?;
    tool.expect(
        1,
        &["watch", "--until-members", "9", "--timeout-ms", "300"],
        3,
    )?;
    tool.all_up()?;
    let again = tool.run(
        1,
        &[
            "up",
            "--cluster",
            "c",
            "--node-id",
            "1",
            "--address",
            "10.77.0.1",
        ],
    )?;
    contains("a second up", &again.complaint, &["has a node already"])?;
    again.expect(1, "a second up")?;
    tool.expect(1, &["join", &"x".repeat(33)], 1)?;
    tool.expect(
        1,
        &["join", "demo", "--count", "1", "--timeout-ms", "300"],
        3,
    )?;

    // A signal makes the program leave.
    let member = tool.begin(2, &["join", "demo"])?;
    tool.wait_for_group("demo", &[2])?;
    signal(&member, Signal::SIGTERM)?;
    let printed = tool.end(member)?.expect(0, "join, ended by a signal")?;
    contains("join, ended by a signal", &printed, &["left\n"])?;

    // A reader that is stopped loses records, learns how many, and goes on.
    let limit = tool.limit.as_millis().to_string();
    let slowly = [
        "join",
        "slow",
        "--queue-bytes",
        "4096",
        "--timeout-ms",
        &limit,
    ];
    let mut slow = tool.begin(3, &slowly)?;
    let arguments = ["join", "slow", "--leave-at-end", "--timeout-ms", &limit];
    let mut sender = tool.begin(1, &arguments)?;
    tool.wait_for_group("slow", &[1, 3])?;
    signal(&slow, Signal::SIGSTOP)?;
    for number in 0..400 {
        say(
            &mut sender,
            &format!("number {number} {}\n", ".".repeat(100)),
        )?;
    }
    drop(sender.stdin.take());
    tool.end(sender)?.expect(0, "join --leave-at-end")?;
    signal(&slow, Signal::SIGCONT)?;
    let mut printed = BufReader::new(slow.stdout.take().ok_or("no standard output")?).lines();
    if !printed.any(|line| line.is_ok_and(|line| line.contains("records are missing here"))) {
        return Err("a slow join did not report an overflow".to_string());
    }
    signal(&slow, Signal::SIGTERM)?;
    printed.for_each(drop);
    tool.end(slow)?.expect(5, "a slow join")?;

    // The node stops while it has a member.
    let member = tool.begin(2, &["join", "demo"])?;
    tool.wait_for_group("demo", &[2])?;
    tool.expect(2, &["down"], 0)?;
    tool.end(member)?.expect(4, "join, with the node stopped")?;
    tool.expect(2, &["down"], 1)?;
    tool.expect(1, &["down"], 0)?;
    tool.expect(3, &["down"], 0).map(drop)
}

fn signal(child: &Child, signal: Signal) -> Result<(), String> {
    let process = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    kill(Pid::from_raw(process), signal).map_err(|errno| format!("signal: {errno}"))
}
