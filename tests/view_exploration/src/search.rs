// SPDX-License-Identifier: GPL-2.0

//! Breadth-first search through all states, each once.

use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant as Time};

use super::fingerprint::{BuildSame, Fingerprint};
use super::local::{first_incarnation, Installed};
use super::scenarios::Scenario;
use super::settling::{Settled, Settlement, Settling};
use super::state::{describe, Action, State, DOWN};
use super::world::World;
use crate::protocol::time::Instant;

/// The bounds of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most states.
    pub states: usize,
    /// The longest time.
    pub time: Duration,
    /// One of so many states is let settle, and all in which nothing can happen any more.
    pub settle_one_of: u64,
}

/// The result of a search.
pub struct Report {
    /// The scenario.
    pub scenario: Scenario,
    /// The number of different states.
    pub states: usize,
    /// The number of steps between states.
    pub steps: u64,
    /// The number of steps to the farthest state.
    pub depth: usize,
    /// Whether these are all states within the scenario's bounds.
    pub is_exhausted: bool,
    /// The number of states in which nothing can happen any more.
    pub last_states: u64,
    /// The number of times a state was let settle, with or without the datagrams on their way.
    pub settled: u64,
    /// Of these, how often crashes had left no quorum.
    pub without_quorum: u64,
    /// The numbers of different nodes, datagrams and steps of single nodes.
    pub counts: (usize, usize, usize),
    /// The number of states after a view that is not primary was formed, and of these, of states after all nodes have
    /// merged into a primary view.
    pub components: (u64, u64),
    /// The largest number of views installed in a state.
    pub views: usize,
    /// The duration of the search.
    pub time: Duration,
    /// A broken promise, and the steps that lead to it.
    pub violation: Option<(String, Vec<String>)>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, datagrams, node_steps) = self.counts;
        let scenario = &self.scenario;
        write!(
            f,
            "{}: {}; {} deadlines of each node\n  {} states, {}; {} steps, the farthest {} away; \
             {} last states, {} settled, {} without a quorum; up to {} views; {} nodes, {} datagrams, {} steps of nodes; {:.1} s",
            scenario.name,
            scenario.about,
            scenario.deadlines,
            self.states,
            if self.is_exhausted { "all there are" } else { "NOT all there are" },
            self.steps,
            self.depth,
            self.last_states,
            self.settled,
            self.without_quorum,
            self.views,
            nodes,
            datagrams,
            node_steps,
            self.time.as_secs_f64(),
        )?;
        if scenario.is_partitionable {
            let (formed, merged) = self.components;
            write!(
                f,
                "; {formed} with components, {merged} after these have merged"
            )?;
        }
        if let Some((what, path)) = &self.violation {
            write!(f, "\n  BROKEN: {what}")?;
            for step in path {
                write!(f, "\n    {step}")?;
            }
        }
        Ok(())
    }
}

struct Search {
    world: World,
    scenario: Scenario,
    seen: HashSet<u128, BuildSame>,
    /// The step that led to each state: the state before it, and the action.
    ways: Vec<(u32, Action)>,
    settled: Settled,
    settled_count: u64,
    without_quorum: u64,
    last_states: u64,
    components: (u64, u64),
    views: usize,
    steps: u64,
}

/// Explore a scenario.
pub fn explore(scenario: Scenario, limits: Limits) -> Result<Report, String> {
    let began = Time::now();
    let mut world = World::default();
    let beginning = scenario.beginning(&mut world)?;
    let mut search = Search {
        world,
        scenario,
        seen: HashSet::default(),
        ways: vec![(0, Action::Fire(0))],
        settled: HashSet::default(),
        settled_count: 0,
        without_quorum: 0,
        last_states: 0,
        components: (0, 0),
        views: 0,
        steps: 0,
    };
    search.seen.insert(fingerprint(&beginning));
    let mut level = vec![(0_u32, beginning)];
    let mut depth = 0;
    let mut violation = None;
    let mut is_exhausted = true;
    'levels: while !level.is_empty() {
        let mut next = Vec::new();
        for (place, state) in level {
            if search.ways.len() >= limits.states || began.elapsed() >= limits.time {
                is_exhausted = false;
                break 'levels;
            }
            if let Err(wrong) = search.expand(place, &state, limits.settle_one_of, &mut next) {
                violation = Some(wrong);
                is_exhausted = false;
                break 'levels;
            }
        }
        if !next.is_empty() {
            depth += 1;
        }
        level = next;
    }
    Ok(Report {
        scenario,
        states: search.ways.len(),
        steps: search.steps,
        depth,
        is_exhausted,
        last_states: search.last_states,
        settled: search.settled_count,
        without_quorum: search.without_quorum,
        counts: search.world.counts(),
        components: search.components,
        views: search.views,
        time: began.elapsed(),
        violation,
    })
}

fn fingerprint(state: &State) -> u128 {
    Fingerprint::of(state, Instant::ZERO)
}

type Violation = (String, Vec<String>);

impl Search {
    fn expand(
        &mut self,
        place: u32,
        state: &State,
        settle_one_of: u64,
        next: &mut Vec<(u32, State)>,
    ) -> Result<(), Violation> {
        self.views = self.views.max(state.views.len());
        self.count_components(state);
        let actions = state.actions(&self.world, &self.scenario);
        let is_last = actions.is_empty();
        self.last_states += u64::from(is_last);
        if is_last || (fingerprint(state) as u64) % settle_one_of == 0 {
            self.settle(state).map_err(|(wrong, history)| {
                let mut path = self.path(place);
                path.extend(history);
                (wrong, path)
            })?;
        }
        for action in actions {
            self.steps += 1;
            let mut after = state.clone();
            let has_changed = after
                .take(&mut self.world, &self.scenario, action)
                .map_err(|wrong| {
                    let mut path = self.path(place);
                    path.push(describe(action, &self.world));
                    (wrong, path)
                })?;
            if has_changed && self.seen.insert(fingerprint(&after)) {
                next.push((self.ways.len() as u32, after));
                self.ways.push((place, action));
            }
        }
        Ok(())
    }

    fn count_components(&mut self, state: &State) {
        if !self.scenario.is_partitionable {
            return;
        }
        let views = || state.views.iter().map(|view| self.world.view(*view));
        let component = views().find(|view| !view.is_primary);
        if let Some(component) = component {
            let all = self.scenario.members.len();
            let is_merged = |view: &Installed| {
                view.is_primary && view.number > component.number && view.members.len() == all
            };
            let has_merged = views().any(is_merged);
            self.components.0 += 1;
            self.components.1 += u64::from(has_merged);
        }
    }

    /// End all faults in this state and let it settle, once with and once without the datagrams on their way.
    fn settle(&mut self, state: &State) -> Result<(), Violation> {
        let crashed = state.crashes < self.scenario.crashes;
        for is_lost in [true, false] {
            let up = state.nodes.iter().filter(|node| **node != DOWN);
            let locals = up.map(|node| (**self.world.local(*node)).clone());
            let mut settling = Settling::new(locals.collect());
            if !is_lost {
                for message in &state.network {
                    let message = self.world.message(*message);
                    settling.send(message.from, message.to, message.bytes.clone());
                }
            }
            if self.scenario.is_partitionable {
                settling.set_partitionable();
            }
            if crashed {
                let views = state.views.iter().map(|view| self.world.view(*view));
                settling.after_crashes(views.max_by_key(|view| view.number).cloned());
            }
            if let Some((by, subject)) = self.scenario.eviction.filter(|_| !state.may_evict) {
                // The eviction concerns these two incarnations only: a later one of either does not know of it.
                settling.after_eviction(first_incarnation(by), first_incarnation(subject));
            }
            self.settled_count += 1;
            let lost = if is_lost { "lost" } else { "delivered" };
            let settlement = settling.settle(&mut self.settled).map_err(|wrong| {
                let what = format!("{wrong}(the datagrams on their way were {lost})");
                (what, settling.history().collect())
            })?;
            self.without_quorum += u64::from(settlement == Settlement::WithoutQuorum);
        }
        Ok(())
    }

    fn path(&self, mut place: u32) -> Vec<String> {
        let mut path = Vec::new();
        while place != 0 {
            let (before, action) = self.ways[place as usize];
            path.push(describe(action, &self.world));
            place = before;
        }
        path.reverse();
        path
    }
}
