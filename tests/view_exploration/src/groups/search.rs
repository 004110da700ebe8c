// SPDX-License-Identifier: GPL-2.0

//! Breadth-first search through all states of a scenario with a group, each once.

use std::collections::HashSet;
use std::fmt;
use std::time::Instant as Time;

use super::super::fingerprint::{BuildSame, Fingerprint};
use super::super::search::Limits;
use super::super::world::World;
use super::properties::{check, check_at_rest};
use super::run::{describe, Run, Step, NODES};
use super::scenarios::GroupScenario;
use crate::platform::break_rule;
use crate::protocol::rules::Rule;
use crate::protocol::time::Instant;

/// The time within which the nodes must come to rest, in nanoseconds.
const REST_NANOSECONDS: u64 = 10_000_000_000;
/// The most steps until then. More are a storm.
const REST_STEPS_MAX: usize = 5_000;

/// The result of a search.
pub struct GroupReport {
    /// The scenario.
    pub scenario: GroupScenario,
    /// The number of different states.
    pub states: usize,
    /// The number of steps between states.
    pub steps: u64,
    /// The number of steps to the farthest state.
    pub depth: usize,
    /// Whether these are all states within the scenario's bounds.
    pub is_exhausted: bool,
    /// The number of states at rest, and of these, of those in which crashes have left no quorum.
    pub at_rest: (u64, u64),
    /// The number of different combinations of journals.
    pub histories: usize,
    /// The largest number of views that a member has got, the first one included.
    pub views: usize,
    /// The numbers of different nodes, datagrams and steps of single nodes.
    pub counts: (usize, usize, usize),
    /// The duration of the search.
    pub time: std::time::Duration,
    /// A broken promise, and the steps that lead to it.
    pub violation: Option<(String, Vec<String>)>,
}

impl fmt::Display for GroupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupScenario {
            name,
            about,
            crashes,
            holds,
            early,
            ..
        } = self.scenario;
        let (nodes, datagrams, node_steps) = self.counts;
        write!(
            f,
            "{name}: {about}; crashes {crashes}, held {holds}, early deadlines {early}\n  {} states, {}; {} steps, the \
             farthest {} away; {} at rest, {} of these without a quorum; {} histories, up to {} views; {nodes} nodes, \
             {datagrams} datagrams, {node_steps} steps of nodes; {:.1} s",
            self.states,
            if self.is_exhausted { "all there are" } else { "NOT all there are" },
            self.steps,
            self.depth,
            self.at_rest.0,
            self.at_rest.1,
            self.histories,
            self.views,
            self.time.as_secs_f64(),
        )?;
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
    scenario: GroupScenario,
    seen: HashSet<u128, BuildSame>,
    /// The step that led to each state, and the state before it.
    ways: Vec<(u32, Step)>,
    beginning: Run,
    /// The combinations of journals that were checked.
    checked: HashSet<[u32; NODES]>,
    /// States from which the nodes come to rest.
    resting: HashSet<u128, BuildSame>,
    at_rest: (u64, u64),
    views: usize,
    steps: u64,
}

/// Explore a scenario. From its beginning on all nodes break the `broken` rule.
///
/// # Errors
///
/// The scenario has no beginning.
pub fn explore_group(
    scenario: GroupScenario,
    broken: Option<Rule>,
    limits: Limits,
) -> Result<GroupReport, String> {
    let began = Time::now();
    let mut world = World::default();
    let beginning = scenario.beginning(&mut world)?;
    let mut search = Search {
        world,
        scenario,
        seen: HashSet::default(),
        ways: vec![(0, Step::Next)],
        beginning: beginning.clone(),
        checked: HashSet::new(),
        resting: HashSet::default(),
        at_rest: (0, 0),
        views: 0,
        steps: 0,
    };
    break_rule(broken);
    search.seen.insert(fingerprint(&beginning));
    let mut level = vec![(0_u32, beginning)];
    let mut depth = 0;
    let mut violation = None;
    let mut is_exhausted = true;
    'levels: while !level.is_empty() {
        let mut next = Vec::new();
        for (place, run) in level {
            if search.ways.len() >= limits.states || began.elapsed() >= limits.time {
                is_exhausted = false;
                break 'levels;
            }
            if let Err((what, more)) = search.expand(place, &run, &mut next) {
                violation = Some((what, search.path(place, &more)));
                is_exhausted = false;
                break 'levels;
            }
        }
        depth += usize::from(!next.is_empty());
        level = next;
    }
    break_rule(None);
    Ok(GroupReport {
        scenario,
        states: search.ways.len(),
        steps: search.steps,
        depth,
        is_exhausted,
        at_rest: search.at_rest,
        histories: search.checked.len(),
        views: search.views,
        counts: search.world.counts(),
        time: began.elapsed(),
        violation,
    })
}

fn fingerprint(run: &Run) -> u128 {
    Fingerprint::of(run, Instant::ZERO)
}

/// The broken promise, and the steps that lead to it from the state at hand.
type Violation = (String, Vec<Step>);

impl Search {
    fn expand(
        &mut self,
        place: u32,
        run: &Run,
        next: &mut Vec<(u32, Run)>,
    ) -> Result<(), Violation> {
        if run.queue.is_empty() {
            self.come_to_rest(run)?;
        }
        for step in run.steps(&self.world) {
            self.steps += 1;
            let mut after = run.clone();
            self.take(&mut after, step)
                .map_err(|wrong| (wrong, vec![step]))?;
            if self.seen.insert(fingerprint(&after)) {
                next.push((self.ways.len() as u32, after));
                self.ways.push((place, step));
            }
        }
        Ok(())
    }

    fn take(&mut self, run: &mut Run, step: Step) -> Result<(), String> {
        run.take(&mut self.world, &self.scenario, step)?;
        if self.checked.insert(run.journals) {
            let views = |journal: &u32| {
                let journal = self.world.journal(*journal);
                let is_view = |heard: &&&_| matches!(heard, super::super::local::Heard::View(_));
                journal.iter().filter(is_view).count()
            };
            self.views = run.journals.iter().map(views).fold(self.views, usize::max);
            check(&self.world, run)?;
        }
        Ok(())
    }

    /// Let the nodes come to rest without any more deviations.
    fn come_to_rest(&mut self, run: &Run) -> Result<(), Violation> {
        if run.is_settled(&self.world) {
            let has_quorum = run.has_quorum(&self.world);
            self.at_rest.0 += 1;
            self.at_rest.1 += u64::from(!has_quorum);
            return match has_quorum {
                true => check_at_rest(&self.world, run).map_err(|wrong| (wrong, Vec::new())),
                false => Ok(()),
            };
        }
        let mut run = run.clone();
        let until = run.elapsed.saturating_add(REST_NANOSECONDS);
        let mut met = Vec::new();
        for steps in 0..REST_STEPS_MAX {
            if run.queue.is_empty() {
                let now = fingerprint(&run);
                if run.is_settled(&self.world) || self.resting.contains(&now) {
                    self.resting.extend(met);
                    return Ok(());
                }
                met.push(now);
            }
            let way = || vec![Step::Next; steps + 1];
            self.take(&mut run, Step::Next)
                .map_err(|wrong| (wrong, way()))?;
            if run.elapsed > until {
                let missing = run.what_is_missing(&self.world);
                return Err((
                    format!("L1, L3: the nodes do not come to rest{missing}"),
                    way(),
                ));
            }
        }
        let missing = run.what_is_missing(&self.world);
        Err((
            format!("L3: the nodes send without end{missing}"),
            vec![Step::Next; REST_STEPS_MAX],
        ))
    }

    /// Describe the way to a state and `more` steps from it.
    fn path(&mut self, mut place: u32, more: &[Step]) -> Vec<String> {
        let mut steps = Vec::new();
        while place != 0 {
            let (before, step) = self.ways[place as usize];
            steps.push(step);
            place = before;
        }
        steps.reverse();
        steps.extend(more);
        let mut run = self.beginning.clone();
        let mut path = Vec::new();
        for step in steps {
            path.push(describe(&run, &self.world, step));
            if run.take(&mut self.world, &self.scenario, step).is_err() {
                break;
            }
        }
        path
    }
}
