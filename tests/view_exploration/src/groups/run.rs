// SPDX-License-Identifier: GPL-2.0

//! A state of a run with a group, and the steps from it.

use std::hash::{Hash, Hasher};

use super::super::local::{Heard, Local};
use super::super::state::DOWN;
use super::super::world::{Message, Stimulus, World};
use super::scenarios::GroupScenario;
use crate::protocol::view::{is_quorum, ClusterView};

/// The number of nodes.
pub const NODES: usize = 3;

/// A command is held for so many deadlines at most.
const LATE_DEADLINES_MAX: u8 = 3;

/// What a node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// To send its next message.
    Multicast,
    /// That the node in this place is dead.
    Dead(u8),
}

/// Something that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A datagram.
    Message(u32),
    /// A command to the node in this place.
    Command(u8, Command),
}

/// A state.
#[derive(Clone, Debug)]
pub struct Run {
    /// The number in the world of each node.
    pub nodes: [u32; NODES],
    /// What each member has done and seen.
    pub journals: [u32; NODES],
    /// What is on its way, the oldest first.
    pub queue: Vec<Item>,
    /// What is held, sorted.
    pub held: Vec<Item>,
    /// The crashes that may still happen.
    pub crashes: u8,
    /// The number of things that may still be held.
    pub holds: u8,
    /// The number of deadlines that may still be early.
    pub early: u8,
    /// The deadlines for which commands have been held.
    pub waited: u8,
    /// The time that has passed, in nanoseconds. Not a part of the state.
    pub elapsed: u64,
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nodes.hash(state);
        self.journals.hash(state);
        self.queue.hash(state);
        self.held.hash(state);
        [self.crashes, self.holds, self.early, self.waited].hash(state);
    }
}

/// A step from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The oldest thing on its way arrives, or, if there is none, the next deadline comes.
    Next,
    /// The node in this place crashes.
    Crash(u8),
    /// The oldest thing on its way is held.
    Hold,
    /// What is held in this place arrives.
    Release(u8),
    /// The next deadline of the node in this place comes.
    Early(u8),
}

impl Run {
    /// A run that has not begun.
    pub fn new(scenario: &GroupScenario) -> Self {
        Self {
            nodes: [DOWN; NODES],
            journals: [0; NODES],
            queue: Vec::new(),
            held: Vec::new(),
            crashes: scenario.crashes,
            holds: scenario.holds,
            early: scenario.early,
            waited: 0,
            elapsed: 0,
        }
    }

    /// The places of the nodes that are up.
    pub fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..NODES).filter(|place| self.nodes[*place] != DOWN)
    }

    /// The nodes that are up.
    pub fn locals<'a>(&'a self, world: &'a World) -> impl Iterator<Item = &'a Local> + 'a {
        self.up().map(|place| &**world.local(self.nodes[place]))
    }

    /// The steps that are possible. If nothing is left to do, there are only deviations.
    pub fn steps(&self, world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.queue.is_empty() || !self.is_settled(world) {
            steps.push(Step::Next);
        }
        if self.crashes > 0 {
            steps.extend(self.up().map(|place| Step::Crash(place as u8)));
        }
        if self.holds > 0 && !self.queue.is_empty() {
            steps.push(Step::Hold);
        }
        steps.extend((0..self.held.len()).map(|place| Step::Release(place as u8)));
        if self.early > 0 && !self.queue.is_empty() {
            let has_deadline = |place: &usize| world.local(self.nodes[*place]).deadline().is_some();
            let places = self.up().filter(has_deadline);
            steps.extend(places.map(|place| Step::Early(place as u8)));
        }
        steps
    }

    /// Take a step.
    ///
    /// # Errors
    ///
    /// The promise that a node breaks by itself.
    pub fn take(
        &mut self,
        world: &mut World,
        scenario: &GroupScenario,
        step: Step,
    ) -> Result<(), String> {
        match step {
            Step::Next if self.queue.is_empty() => self.come_to_deadline(world)?,
            Step::Next => {
                let item = self.queue.remove(0);
                self.arrive(world, scenario, item)?;
            }
            Step::Crash(place) => {
                self.crashes -= 1;
                self.crash(world, place.into());
            }
            Step::Hold => {
                self.holds -= 1;
                let item = self.queue.remove(0);
                if let Err(free) = self.held.binary_search(&item) {
                    self.held.insert(free, item);
                }
            }
            Step::Release(place) => {
                let item = self.held.remove(place.into());
                self.arrive(world, scenario, item)?;
            }
            Step::Early(place) => {
                self.early -= 1;
                self.give(world, place.into(), Stimulus::Deadline)?;
            }
        }
        if self.queue.is_empty() {
            self.report_dead(world);
        }
        if self.waited >= LATE_DEADLINES_MAX {
            // Commands are late, but never lost.
            self.waited = 0;
            let is_command = |item: &Item| matches!(item, Item::Command(..));
            self.queue
                .extend(self.held.iter().copied().filter(is_command));
            self.held.retain(|item| !is_command(item));
        }
        Ok(())
    }

    fn crash(&mut self, world: &World, place: usize) {
        self.nodes[place] = DOWN;
        let is_lost = |item: &Item| receiver(world, *item) == place;
        self.queue.retain(|item| !is_lost(item));
        self.held.retain(|item| !is_lost(item));
        self.report_dead(world);
    }

    /// Let the failure detectors report the nodes that are down, once each.
    fn report_dead(&mut self, world: &World) {
        for place in 0..NODES {
            if self.nodes[place] == DOWN {
                continue;
            }
            let local = world.local(self.nodes[place]);
            for other in (0..NODES).filter(|other| self.nodes[*other] == DOWN) {
                let report = Item::Command(place as u8, Command::Dead(other as u8));
                let is_known = self.queue.contains(&report) || self.held.contains(&report);
                if local.may_report(other as u16 + 1) && !is_known {
                    self.queue.push(report);
                }
            }
        }
    }

    fn come_to_deadline(&mut self, world: &mut World) -> Result<(), String> {
        let nearest = self.up().filter_map(|place| {
            let local = world.local(self.nodes[place]);
            Some((local.deadline()?.since(local.clock()), place))
        });
        let Some((span, place)) = nearest.min() else {
            // With what is held the nodes may go on.
            if self.held.is_empty() {
                return Err(format!(
                    "L3: nobody has anything to do{}",
                    self.what_is_missing(world)
                ));
            }
            self.queue.append(&mut self.held);
            return Ok(());
        };
        let is_late = |item: &Item| matches!(item, Item::Command(..));
        let waited = self.waited + 1;
        self.waited = if self.held.iter().any(is_late) {
            waited
        } else {
            0
        };
        self.elapsed += span.as_nanoseconds();
        if span.as_nanoseconds() > 0 {
            for place in 0..NODES {
                if self.nodes[place] != DOWN {
                    self.nodes[place] = world.step(self.nodes[place], Stimulus::Wait(span)).next;
                }
            }
        }
        self.give(world, place, Stimulus::Deadline)
    }

    fn arrive(
        &mut self,
        world: &mut World,
        scenario: &GroupScenario,
        item: Item,
    ) -> Result<(), String> {
        let stimulus = match item {
            Item::Message(message) => Stimulus::Message(message),
            Item::Command(_, Command::Multicast) => Stimulus::Multicast(scenario.order),
            Item::Command(_, Command::Dead(other)) => Stimulus::Dead(u16::from(other) + 1),
        };
        self.give(world, receiver(world, item), stimulus)
    }

    fn give(&mut self, world: &mut World, place: usize, stimulus: Stimulus) -> Result<(), String> {
        let outcome = world.step(self.nodes[place], stimulus);
        if let Some(wrong) = &outcome.wrong {
            return Err(format!("node {}: {wrong}", place + 1));
        }
        self.nodes[place] = outcome.next;
        for message in &outcome.sent {
            let item = Item::Message(*message);
            let is_up = self.nodes[receiver(world, item)] != DOWN;
            // A copy of what is on its way already counts as lost.
            if is_up && !self.queue.contains(&item) {
                self.queue.push(item);
            }
        }
        for heard in &outcome.heard {
            self.journals[place] = world.add_to_journal(self.journals[place], *heard);
        }
        Ok(())
    }

    /// Whether nothing has to happen any more: the nodes that are up, which are a quorum, are in one view, their members
    /// are in one view, and each message of one of them was delivered to all of them. Or they are no quorum.
    pub fn is_settled(&self, world: &World) -> bool {
        let is_command = |item: &Item| matches!(item, Item::Command(..));
        let is_complete =
            !self.has_quorum(world) || self.is_one_view(world) && self.is_all_delivered(world);
        is_complete && !self.held.iter().any(is_command)
    }

    /// Whether the nodes that are up are a quorum of the latest view that they know.
    pub fn has_quorum(&self, world: &World) -> bool {
        let views = self.locals(world).filter_map(Local::view);
        let Some(latest) = views.max_by_key(|view| view.number) else {
            return false;
        };
        let is_up = |view: &ClusterView, place: usize| {
            let identity = view.members()[place].identity;
            self.locals(world).any(|local| local.identity() == identity)
        };
        let all = latest.members().len();
        let votes = (0..all).filter(|place| is_up(latest, *place)).count();
        is_quorum(votes, all, is_up(latest, 0))
    }

    /// Whether the nodes and members that are up have one view, of just them.
    fn is_one_view(&self, world: &World) -> bool {
        let up: Vec<_> = self.locals(world).map(Local::identity).collect();
        let mut installed = None;
        let mut shown = None;
        self.up().all(|place| {
            let local = world.local(self.nodes[place]);
            let view = local.installed();
            let has_all = view.as_ref().is_some_and(|view| {
                let members = view.members.iter().map(|(member, _)| *member);
                members.eq(up.iter().copied())
            });
            let seen = world.last_view(self.journals[place]).cloned();
            let shows_all = matches!(&seen, Some(Heard::View(seen)) if seen.members == up);
            let seen = match seen {
                Some(Heard::View(seen)) => Some(seen.number),
                _ => None,
            };
            let is_same = *installed.get_or_insert(view.clone()) == view
                && *shown.get_or_insert(seen) == seen;
            has_all && shows_all && is_same
        })
    }

    fn is_all_delivered(&self, world: &World) -> bool {
        let sent = self
            .up()
            .map(|place| (place, world.sent(self.journals[place])));
        let mut sent =
            sent.flat_map(|(place, count)| (1..=count).map(move |number| (place, number)));
        sent.all(|(sender, number)| {
            self.up()
                .all(|place| world.has_delivered(self.journals[place], sender as u16 + 1, number))
        })
    }

    /// What is missing for the run to be settled.
    pub fn what_is_missing(&self, world: &World) -> String {
        let mut text = String::new();
        for place in self.up() {
            let local = world.local(self.nodes[place]);
            let view = local.view().map(|view| view.number);
            text += &format!("\n      node {} in {view:?}:", place + 1);
            for heard in world.journal(self.journals[place]) {
                text += &format!(" {heard:?}");
            }
        }
        text
    }
}

/// The place of the node that something is on its way to.
fn receiver(world: &World, item: Item) -> usize {
    match item {
        Item::Message(message) => usize::from(world.message(message).to) - 1,
        Item::Command(place, _) => place.into(),
    }
}

/// Describe a step from a state.
pub fn describe(run: &Run, world: &World, step: Step) -> String {
    let item = |item: Item| match item {
        Item::Message(message) => {
            let Message { from, to, .. } = world.message(message);
            format!("{:?} from {from} to {to}", world.message(message).kind())
        }
        Item::Command(place, Command::Multicast) => format!("{} is asked to send", place + 1),
        Item::Command(place, Command::Dead(other)) => {
            format!("{} declares {} dead", place + 1, other + 1)
        }
    };
    match step {
        Step::Next => run
            .queue
            .first()
            .map_or("deadline".to_owned(), |first| item(*first)),
        Step::Crash(place) => format!("{} crashes", place + 1),
        Step::Hold => run
            .queue
            .first()
            .map_or_else(String::new, |first| format!("held: {}", item(*first))),
        Step::Release(place) => format!("late: {}", item(run.held[usize::from(place)])),
        Step::Early(place) => format!("early deadline of {}", place + 1),
    }
}
