// SPDX-License-Identifier: GPL-2.0

//! A global state: the nodes, the datagrams on their way, the views installed so far, and the faults that may still
//! happen; and the actions that are possible in it.

use super::scenarios::Scenario;
use super::world::{Message, Stimulus, World};

/// The most nodes of a scenario.
pub const NODES: usize = 4;
/// The number in the place of a node that is down.
pub const DOWN: u32 = u32::MAX;

/// A global state. Datagrams are a set: a second one that is equal counts as lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The number in the world of each node.
    pub nodes: [u32; NODES],
    /// The number of deadlines that each node has had.
    pub fired: [u8; NODES],
    /// The last incarnation of each node.
    pub incarnations: [u8; NODES],
    /// The nodes that are still to be asked to leave, as bits.
    pub to_leave: u8,
    /// Whether a member is still to be asked to evict another one.
    pub may_evict: bool,
    /// The crashes that may still happen.
    pub crashes: u8,
    /// The restarts that may still happen.
    pub restarts: u8,
    /// The heartbeats that may still show that a view is old.
    pub heartbeats: u8,
    /// The accusations of nodes that are well that may still happen.
    pub accusations: u8,
    /// The datagrams on their way, sorted.
    pub network: Vec<u32>,
    /// The views installed anywhere, sorted.
    pub views: Vec<u32>,
}

/// A step from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A datagram arrives.
    Deliver(u32),
    /// The node's next deadline comes.
    Fire(u8),
    /// The first node's failure detector declares the second one dead.
    Accuse(u8, u8),
    /// The node is asked to leave.
    Leave(u8),
    /// The first node is asked to evict the second one.
    Evict(u8, u8),
    /// The node crashes.
    Crash(u8),
    /// The node starts again.
    Restart(u8),
    /// A heartbeat of the first node arrives at the second one.
    Heartbeat(u8, u8),
}

/// The number of the node in this place.
pub fn number_at(place: usize) -> u16 {
    place as u16 + 1
}

fn place_of(number: u16) -> usize {
    usize::from(number) - 1
}

impl State {
    /// The actions that are possible now.
    pub fn actions(&self, world: &World, scenario: &Scenario) -> Vec<Action> {
        let mut actions: Vec<_> = self.network.iter().map(|m| Action::Deliver(*m)).collect();
        for place in 0..NODES {
            let byte = place as u8;
            let bit = 1 << number_at(place);
            if self.nodes[place] == DOWN {
                if self.restarts > 0 && self.incarnations[place] > 0 {
                    actions.push(Action::Restart(byte));
                }
                continue;
            }
            let local = world.local(self.nodes[place]);
            if self.to_leave & bit != 0 && local.view().is_some() {
                actions.push(Action::Leave(byte));
            }
            if let Some((by, subject)) = scenario.eviction {
                if self.may_evict && by == number_at(place) {
                    actions.push(Action::Evict(byte, place_of(subject) as u8));
                }
            }
            if self.crashes > 0 && scenario.may_crash(number_at(place)) {
                actions.push(Action::Crash(byte));
            }
            if self.fired[place] < scenario.deadlines && local.deadline().is_some() {
                actions.push(Action::Fire(byte));
            }
            for other in (0..NODES).filter(|other| *other != place) {
                if local.may_report(number_at(other)) && self.may_accuse(world, place, other) {
                    actions.push(Action::Accuse(byte, other as u8));
                }
                if self.heartbeats > 0 && self.is_behind(world, place, other) {
                    actions.push(Action::Heartbeat(byte, other as u8));
                }
            }
        }
        actions
    }

    fn may_accuse(&self, world: &World, monitor: usize, subject: usize) -> bool {
        let node = self.nodes[subject];
        node == DOWN || !self.beats_in_lineage(world, monitor, node) || self.accusations > 0
    }

    /// Whether the heartbeats of a node that is up count as signs of life at its monitor. A node in another component
    /// of a partitionable cluster counts as silent.
    fn beats_in_lineage(&self, world: &World, monitor: usize, node: u32) -> bool {
        let lineage = |node| world.local(node).mark().map(|mark| mark.lineage);
        let theirs = lineage(node);
        theirs.is_some() && theirs == lineage(self.nodes[monitor])
    }

    /// Whether a heartbeat from `place` shows `other` that one of them is behind.
    fn is_behind(&self, world: &World, place: usize, other: usize) -> bool {
        if self.nodes[other] == DOWN {
            return false;
        }
        let mark = |node: u32| world.local(node).mark();
        let (own, theirs) = (mark(self.nodes[place]), mark(self.nodes[other]));
        own.is_some()
            && theirs.is_some()
            && own != theirs
            && world.local(self.nodes[place]).beats_for(number_at(other))
    }

    /// Carry out an action, and return whether it has changed anything. A datagram that changes nothing need not be
    /// delivered at all.
    ///
    /// # Errors
    ///
    /// The promise that the action breaks.
    pub fn take(
        &mut self,
        world: &mut World,
        scenario: &Scenario,
        action: Action,
    ) -> Result<bool, String> {
        match action {
            Action::Deliver(message) => {
                self.network.retain(|other| *other != message);
                let place = place_of(world.message(message).to);
                self.give(world, scenario, place, Stimulus::Message(message))
            }
            Action::Fire(place) => {
                let place = usize::from(place);
                self.fired[place] += 1;
                self.give(world, scenario, place, Stimulus::Deadline)
            }
            Action::Accuse(monitor, subject) => {
                let node = self.nodes[usize::from(subject)];
                if node != DOWN && self.beats_in_lineage(world, monitor.into(), node) {
                    self.accusations -= 1;
                }
                let subject = number_at(subject.into());
                self.give(world, scenario, monitor.into(), Stimulus::Dead(subject))
            }
            Action::Leave(place) => {
                self.to_leave &= !(1 << number_at(place.into()));
                self.give(world, scenario, place.into(), Stimulus::Leave)
            }
            Action::Evict(by, subject) => {
                self.may_evict = false;
                let subject = number_at(subject.into());
                self.give(world, scenario, by.into(), Stimulus::Evict(subject))
            }
            Action::Crash(place) => {
                let place = usize::from(place);
                self.crashes -= 1;
                self.nodes[place] = DOWN;
                self.forget_messages_to(world, place);
                Ok(true)
            }
            Action::Restart(place) => {
                let place = usize::from(place);
                self.restarts -= 1;
                self.incarnations[place] += 1;
                let incarnation = self.incarnations[place].into();
                self.nodes[place] = world.add_local(scenario.local(number_at(place), incarnation));
                self.set_out(world, scenario, place)?;
                Ok(true)
            }
            Action::Heartbeat(from, to) => {
                self.heartbeats -= 1;
                let sender = world.local(self.nodes[usize::from(from)]);
                let view = sender.mark().unwrap_or_default();
                let stimulus = Stimulus::Heartbeat(sender.identity(), view);
                self.give(world, scenario, to.into(), stimulus)
            }
        }
    }

    /// Let a joining node ask for the cluster once. It has no more deadlines after that.
    pub fn set_out(
        &mut self,
        world: &mut World,
        scenario: &Scenario,
        place: usize,
    ) -> Result<(), String> {
        self.fired[place] = scenario.deadlines;
        self.give(world, scenario, place, Stimulus::Deadline)?;
        Ok(())
    }

    fn give(
        &mut self,
        world: &mut World,
        scenario: &Scenario,
        place: usize,
        stimulus: Stimulus,
    ) -> Result<bool, String> {
        let outcome = world.step(self.nodes[place], stimulus);
        if let Some(wrong) = &outcome.wrong {
            return Err(format!("node {}: {wrong}", number_at(place)));
        }
        let has_changed = self.nodes[place] != outcome.next || !outcome.sent.is_empty();
        self.nodes[place] = outcome.next;
        if world.local(outcome.next).is_gone() {
            self.forget_messages_to(world, place);
        }
        for message in &outcome.sent {
            let to = self.nodes[place_of(world.message(*message).to)];
            if to == DOWN || world.local(to).is_gone() {
                continue;
            }
            if let Err(free) = self.network.binary_search(message) {
                self.network.insert(free, *message);
            }
        }
        for view in &outcome.views {
            if let Err(free) = self.views.binary_search(view) {
                self.views.insert(free, *view);
                super::properties::check(world, &self.views, scenario.is_partitionable)?;
            }
        }
        Ok(has_changed)
    }

    fn forget_messages_to(&mut self, world: &World, place: usize) {
        self.network
            .retain(|message| place_of(world.message(*message).to) != place);
    }
}

/// Describe an action.
pub fn describe(action: Action, world: &World) -> String {
    let node = |place: u8| number_at(place.into());
    match action {
        Action::Deliver(message) => {
            let Message { from, to, .. } = world.message(message);
            format!("{:?} from {from} to {to}", world.message(message).kind())
        }
        Action::Fire(place) => format!("deadline of {}", node(place)),
        Action::Accuse(monitor, subject) => {
            format!("{} declares {} dead", node(monitor), node(subject))
        }
        Action::Leave(place) => format!("{} is asked to leave", node(place)),
        Action::Evict(by, subject) => {
            format!("{} is asked to evict {}", node(by), node(subject))
        }
        Action::Crash(place) => format!("{} crashes", node(place)),
        Action::Restart(place) => format!("{} starts again", node(place)),
        Action::Heartbeat(from, to) => format!("heartbeat from {} to {}", node(from), node(to)),
    }
}
