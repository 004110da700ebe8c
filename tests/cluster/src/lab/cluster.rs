// SPDX-License-Identifier: GPL-2.0

//! The machines of a run, and what each of their kernels has logged so far.

use std::collections::BTreeMap;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::console::{parse, Line};
use super::machine::{ConsoleLine, Machine, Model};
use super::narrator::Narrator;

/// A cluster view that a kernel has logged.
#[derive(Clone, Debug)]
pub struct LoggedView {
    /// Its number.
    pub number: u64,
    /// Its nodes.
    pub members: Vec<u16>,
    /// The coordinators among them.
    pub coordinators: Vec<u16>,
    /// The time at which the line arrived.
    pub at: Instant,
}

/// What a machine's kernel has logged in its present boot.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// The number of the boot, from 1.
    pub boot: u32,
    /// The kernel's release, once the machine is up.
    pub release: Option<String>,
    /// The node's incarnation, once it has started.
    pub incarnation: Option<u64>,
    /// How often it has learnt that it was excluded.
    pub times_excluded: usize,
    /// How often the member was reported to be out of its group.
    pub times_out: usize,
    /// The last cluster view.
    pub view: Option<LoggedView>,
    /// The number of cluster views so far.
    pub views_seen: usize,
    /// The nodes that it has suspected.
    pub suspected: Vec<u16>,
    /// The last view of the group: its number and nodes.
    pub group_view: Option<(u64, Vec<u16>)>,
    /// The messages that it has delivered: sender, sequence, text.
    pub messages: Vec<(u16, u64, String)>,
    /// The result of the machine, after its end.
    pub end: Option<u32>,
    /// A line that a healthy machine does not log.
    pub complaint: Option<String>,
}

/// Machines 1 to N.
pub struct Cluster {
    model: Model,
    machines: BTreeMap<u16, Machine>,
    nodes: BTreeMap<u16, NodeState>,
    lines: Receiver<ConsoleLine>,
    sender: Sender<ConsoleLine>,
    /// The narrator of the run.
    pub narrator: Narrator,
    /// Whether the lines of single messages are not shown.
    pub quiet_messages: bool,
}

impl Cluster {
    /// A cluster whose machines are all off.
    pub fn new(model: Model) -> Self {
        let (sender, lines) = channel();
        let nodes = (1..=model.count)
            .map(|number| (number, NodeState::default()))
            .collect();
        Self {
            model,
            machines: BTreeMap::new(),
            nodes,
            lines,
            sender,
            narrator: Narrator::new(),
            quiet_messages: false,
        }
    }

    /// The numbers of all machines.
    pub fn all(&self) -> Vec<u16> {
        self.nodes.keys().copied().collect()
    }

    /// The numbers of the machines that run.
    pub fn alive(&self) -> Vec<u16> {
        self.machines.keys().copied().collect()
    }

    /// The state of machine `number`, which is one of [`Self::all`].
    pub fn node(&self, number: u16) -> &NodeState {
        &self.nodes[&number]
    }

    /// As [`Self::node`], but mutable.
    pub fn node_mut(&mut self, number: u16) -> &mut NodeState {
        self.nodes.entry(number).or_default()
    }

    /// Start a machine, and forget the state of its earlier boot.
    pub fn start(&mut self, number: u16) -> Result<(), String> {
        let boot = self.node(number).boot + 1;
        let machine = Machine::start(&self.model, number, boot, self.sender.clone())?;
        self.machines.insert(number, machine);
        *self.node_mut(number) = NodeState {
            boot,
            ..NodeState::default()
        };
        Ok(())
    }

    /// Send a line to a machine's shell.
    pub fn order(&mut self, number: u16, line: &str) -> Result<(), String> {
        self.machine(number)?.order(line)
    }

    /// Kill a machine, and return the time at which it was killed.
    pub fn kill(&mut self, number: u16) -> Instant {
        let at = Instant::now();
        drop(self.machines.remove(&number));
        at
    }

    /// Stop a machine with all its clocks, and return the time at which it was stopped.
    pub fn stop(&mut self, number: u16) -> Result<Instant, String> {
        self.machine(number)?.stop()?;
        Ok(Instant::now())
    }

    /// Continue a machine that was stopped.
    pub fn go_on(&mut self, number: u16) -> Result<(), String> {
        self.machine(number)?.go_on()
    }

    fn machine(&mut self, number: u16) -> Result<&mut Machine, String> {
        self.machines
            .get_mut(&number)
            .ok_or_else(|| format!("machine {number} is off"))
    }

    /// Follow the consoles for a while.
    pub fn listen_for(&mut self, what: &str, length: Duration) -> Result<(), String> {
        let begin = Instant::now();
        self.listen(what, length * 2, |_| {
            if begin.elapsed() >= length {
                Ok(())
            } else {
                Err(what.to_string())
            }
        })
    }

    /// The value of a numeric parameter of kcgcs.ko: the last one given to the machines, or `default`.
    pub fn parameter(&self, name: &str, default: u64) -> u64 {
        let settings = self.model.parameters.split_whitespace();
        let values = settings.filter_map(|setting| setting.split_once('='));
        values
            .filter(|(known, _)| *known == name)
            .filter_map(|(_, value)| value.parse().ok())
            .next_back()
            .unwrap_or(default)
    }

    /// Follow the consoles until `complete` succeeds, whose error says what is missing. Fails after `limit`, or as soon
    /// as a machine logs a complaint or ends by itself.
    pub fn listen(
        &mut self,
        what: &str,
        limit: Duration,
        complete: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let missing = match complete(self) {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            if start.elapsed() >= limit {
                return Err(format!(
                    "{what}: not within {} s: {missing}",
                    limit.as_secs()
                ));
            }
            self.narrator.waiting(&missing);
            match self.lines.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => self.take(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("all consoles are closed".to_string())
                }
            }
            // Lines that have arrived together are evaluated together.
            while let Ok(line) = self.lines.try_recv() {
                self.take(&line);
            }
            for number in self.alive() {
                if let Some(complaint) = &self.node(number).complaint {
                    return Err(format!("machine {number} complains: {complaint}"));
                }
            }
        }
    }

    fn take(&mut self, line: &ConsoleLine) {
        if line.boot != self.node(line.machine).boot || !self.machines.contains_key(&line.machine) {
            return;
        }
        let parsed = parse(&line.text);
        let is_message = matches!(parsed, Some(Line::Message { .. }));
        // The kernel's own lines contain our names too, for instance its command line.
        let is_ours = line.text.starts_with('[')
            && ["] kcgcs: node ", "] kcgcs_test_member: "]
                .iter()
                .any(|sign| line.text.contains(sign));
        if is_ours && !(is_message && self.quiet_messages) {
            self.narrator.kernel_line(line.machine, &line.text);
        }
        let node = self.node_mut(line.machine);
        for sign in [
            "Kernel panic",
            "BUG:",
            "WARNING:",
            "KCGCS-HEALTH-FAIL",
            "KCGCS-ORDER-FAILED",
        ] {
            if line.text.contains(sign) && node.complaint.is_none() {
                node.complaint = Some(line.text.clone());
            }
        }
        match parsed {
            Some(Line::Ready { release }) => node.release = Some(release),
            Some(Line::Started { incarnation }) => node.incarnation = Some(incarnation),
            Some(Line::Excluded { incarnation }) => {
                node.times_excluded += 1;
                node.incarnation = Some(incarnation);
            }
            Some(Line::ClusterView {
                number,
                members,
                coordinators,
            }) => {
                node.views_seen += 1;
                node.view = Some(LoggedView {
                    number,
                    members,
                    coordinators,
                    at: line.at,
                });
            }
            Some(Line::Suspects { node: subject }) => node.suspected.push(subject),
            Some(Line::GroupView { number, members }) => {
                node.times_out += usize::from(members.is_empty());
                node.group_view = Some((number, members));
            }
            Some(Line::Message {
                sequence,
                sender,
                text,
            }) => node.messages.push((sender, sequence, text)),
            Some(Line::End { code }) => node.end = Some(code),
            None => {}
        }
    }

    /// Require that `holds` for all of `numbers`. The error names those for which it does not.
    pub fn each(
        &self,
        numbers: &[u16],
        holds: impl Fn(&NodeState) -> bool,
        otherwise: &str,
    ) -> Result<(), String> {
        let missing: Vec<u16> = numbers
            .iter()
            .copied()
            .filter(|&number| !holds(self.node(number)))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("node {} {otherwise}", describe(&missing)))
        }
    }

    /// Require that the last view of each of `numbers` is the same and has exactly them.
    pub fn one_view_of(&self, numbers: &[u16]) -> Result<(), String> {
        self.each(
            numbers,
            |node| {
                node.view
                    .as_ref()
                    .is_some_and(|view| view.members == numbers)
            },
            &format!("has not logged a view of nodes {}", describe(numbers)),
        )?;
        let number_of = |node: &NodeState| node.view.as_ref().map(|view| view.number);
        let first = number_of(self.node(numbers[0]));
        self.each(
            numbers,
            |node| number_of(node) == first,
            "has another view's number",
        )
    }

    /// Require that the last group view of each of `numbers` is the same and has one member on each.
    pub fn one_group_view_of(&self, numbers: &[u16]) -> Result<(), String> {
        let reference = self.node(numbers[0]).group_view.clone();
        self.each(
            numbers,
            |node| {
                node.group_view
                    .as_ref()
                    .is_some_and(|(_, members)| members == numbers)
            },
            &format!("has not logged a group view of nodes {}", describe(numbers)),
        )?;
        self.each(
            numbers,
            |node| node.group_view == reference,
            "has another group view",
        )
    }
}

/// The numbers as `1, 2 and 3`.
pub fn describe(numbers: &[u16]) -> String {
    let words: Vec<String> = numbers.iter().map(u16::to_string).collect();
    match words.split_last() {
        None => "none".to_string(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
