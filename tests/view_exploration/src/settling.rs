// SPDX-License-Identifier: GPL-2.0

//! The end of all faults: datagrams come at once, deadlines in the order of their times, heartbeats
//! again and again, and nodes that are down are noticed. In bounded time all nodes must share one view.

use std::collections::{HashSet, VecDeque};

use super::fingerprint::{BuildSame, Fingerprint};
use super::local::{Input, Installed, Local};
use crate::protocol::identity::{Identity, ViewMark};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::is_quorum;
use crate::protocol::wire::Kind;

/// Between two heartbeats; a node is found dead after two.
const TICK: Duration = Duration::from_milliseconds(160);
/// Ticks within which all must agree: two timeouts of blocked nodes and some seconds.
const TICKS_MAX: u32 = 100;
/// The same where parts go on by themselves, find each other, and their nodes wait before they come again.
const TICKS_MAX_OF_PARTS: u32 = 200;
/// Inputs between two ticks: more are a storm.
const INPUTS_MAX: u32 = 5_000;
/// Of so many inputs it can be told what they were.
const HISTORY_MAX: usize = 200;

/// States from which all have come to agree.
pub type Settled = HashSet<u128, BuildSame>;

/// Nodes without faults.
pub struct Settling {
    locals: Vec<Local>,
    network: VecDeque<(u16, u16, Vec<u8>)>,
    to_tick: Duration,
    history: VecDeque<Happened>,
    /// Views that were installed.
    views: Vec<Installed>,
    /// Nobody is told of what was decided.
    is_untold: bool,
    /// Parts of the cluster go on by themselves.
    is_partitionable: bool,
    /// The latest view that was installed anywhere, if nodes have crashed.
    latest: Option<Installed>,
    /// Who was asked to put whom out.
    eviction: Option<(Identity, Identity)>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// All share one view.
    Agreed,
    /// After crashes, and perhaps somebody's leave, no quorum of the last view was left.
    WithoutQuorum,
}

/// At which node, by its own clock, what.
type Happened = (Identity, Instant, What);

/// An input in short.
#[derive(Clone, Copy, Debug)]
enum What {
    Datagram(u16, Option<Kind>),
    Deadline,
    Evict(u16),
    Dead(u16),
    Heartbeat(u16),
}

impl Settling {
    /// These nodes, and nothing on its way.
    pub fn new(locals: Vec<Local>) -> Self {
        Self {
            locals: locals
                .into_iter()
                .filter(|local| !local.is_gone())
                .collect(),
            network: VecDeque::new(),
            to_tick: TICK,
            history: VecDeque::new(),
            views: Vec::new(),
            is_untold: false,
            is_partitionable: false,
            latest: None,
            eviction: None,
        }
    }

    /// Nobody hears of a decision of somebody else's from now on, or does again.
    pub fn set_untold(&mut self, is_untold: bool) {
        self.is_untold = is_untold;
    }

    /// Parts of this cluster go on by themselves, and must come together in a primary view; or in any if nodes
    /// have crashed.
    pub fn set_partitionable(&mut self) {
        self.is_partitionable = true;
    }

    /// The views that were installed.
    pub fn views(&self) -> &[Installed] {
        &self.views
    }

    /// The nodes, as they are.
    pub fn locals(&self) -> &[Local] {
        &self.locals
    }

    /// Nodes have crashed, and this is the latest view that was installed.
    pub fn after_crashes(&mut self, latest: Option<Installed>) {
        self.latest = latest;
    }

    /// The first incarnation was asked to put the second one out, and has not refused.
    pub fn after_eviction(&mut self, by: Identity, subject: Identity) {
        self.eviction = Some((by, subject));
    }

    /// Puts a datagram on its way.
    pub fn send(&mut self, from: u16, to: u16, bytes: Vec<u8>) {
        self.network.push_back((from, to, bytes));
    }

    /// The nodes.
    pub fn into_locals(self) -> impl Iterator<Item = Local> {
        self.locals.into_iter()
    }

    /// Lets time go by until all agree. What was `settled` before is not gone through again.
    pub fn settle(&mut self, settled: &mut Settled) -> Result<Settlement, String> {
        let mut met = Vec::new();
        let ticks = match self.is_partitionable {
            true => TICKS_MAX_OF_PARTS,
            false => TICKS_MAX,
        };
        for _ in 0..ticks {
            self.run_to_tick()?;
            if self.agree() {
                settled.extend(met);
                return Ok(Settlement::Agreed);
            }
            if !self.has_quorum() {
                return Ok(Settlement::WithoutQuorum);
            }
            let fingerprints = self.locals.iter().map(|l| Fingerprint::of(l, l.clock()));
            let together = Fingerprint::of(&fingerprints.collect::<Vec<_>>(), Instant::ZERO);
            if settled.contains(&together) {
                settled.extend(met);
                return Ok(Settlement::Agreed);
            }
            met.push(together);
            self.tick()?;
        }
        Err(format!("L1: no common view: {}", self.describe()))
    }

    /// Lets some time go by.
    pub fn run_for(&mut self, ticks: u32) -> Result<(), String> {
        for _ in 0..ticks {
            self.run_to_tick()?;
            self.tick()?;
        }
        Ok(())
    }

    /// Whether all that have not left are in one view, and nobody else is.
    fn agree(&self) -> bool {
        let present = || self.locals.iter().filter(|local| !local.is_gone());
        let mut views = present().map(Local::installed);
        let Some(first) = views.next() else {
            return true;
        };
        let is_of_all = first.as_ref().is_some_and(|view| {
            let members = view.members.iter().map(|(member, _)| *member);
            members.eq(present().map(Local::identity))
        });
        let has_crashes = self.latest.is_some();
        let is_allowed = |view: &Installed| view.is_primary || has_crashes;
        is_of_all
            && first.as_ref().is_some_and(is_allowed)
            && views.all(|view| view == first)
            && !self.is_to_go_on()
    }

    /// Whether somebody is still there who was to be put out by one that is there too.
    fn is_to_go_on(&self) -> bool {
        let is_there = |incarnation: Identity| {
            let mut locals = self.locals.iter();
            locals.any(|local| local.identity() == incarnation && !local.is_gone())
        };
        let mut eviction = self.eviction.iter();
        eviction.any(|(by, subject)| is_there(*by) && is_there(*subject))
    }

    /// Whether a quorum of the latest view is there, if any of its members has crashed: of the latest one
    /// that somebody still knows.
    fn has_quorum(&self) -> bool {
        if self.latest.is_none() || self.is_partitionable {
            return true;
        }
        let present = self.locals.iter().filter(|local| !local.is_gone());
        let held = present.filter_map(Local::installed);
        let Some(latest) = held.max_by_key(|view| view.number) else {
            return true;
        };
        let is_there = |member: Identity| {
            let mut locals = self.locals.iter();
            locals.any(|local| local.identity() == member && !local.is_gone())
        };
        let votes = latest.members.iter().filter(|member| is_there(member.0));
        let with_lowest = latest
            .members
            .first()
            .is_some_and(|lowest| is_there(lowest.0));
        is_quorum(votes.count(), latest.members.len(), with_lowest)
    }

    fn run_to_tick(&mut self) -> Result<(), String> {
        for _ in 0..INPUTS_MAX {
            if let Some((from, to, bytes)) = self.network.pop_front() {
                let kind = bytes.get(3).copied().and_then(Kind::from_number);
                if self.is_untold && matches!(kind, Some(Kind::Commit | Kind::ViewPart)) {
                    continue;
                }
                let receiver = |local: &Local| local.identity().node.number() == to;
                if let Some(place) = self.locals.iter().position(receiver) {
                    self.give(place, Input::Datagram(from, &bytes))?;
                }
                continue;
            }
            let next = self.locals.iter().enumerate().filter_map(|(place, local)| {
                let span = local.deadline()?.since(local.clock());
                Some((span, place))
            });
            match next.min() {
                Some((span, place)) if span <= self.to_tick => {
                    self.wait(span);
                    self.give(place, Input::Deadline)?;
                }
                _ => {
                    self.wait(self.to_tick);
                    self.to_tick = TICK;
                    return Ok(());
                }
            }
        }
        Err(format!(
            "no end of work without faults: {}",
            self.describe()
        ))
    }

    fn wait(&mut self, span: Duration) {
        for local in &mut self.locals {
            local.wait(span);
        }
        let left = self.to_tick.as_nanoseconds();
        let left = left.saturating_sub(span.as_nanoseconds());
        self.to_tick = Duration::from_nanoseconds(left);
    }

    /// Heartbeats, and silence where one should have come.
    fn tick(&mut self) -> Result<(), String> {
        for place in 0..self.locals.len() {
            for watched in self.locals[place].watched() {
                let own = self.locals[place].mark();
                let lineage = own.map(|mark| mark.lineage);
                // Who is in another part counts as silent.
                let beating = self.beating(watched);
                match beating.filter(|mark| Some(mark.lineage) == lineage) {
                    Some(mark) => {
                        if own != Some(mark) {
                            self.give(place, Input::Heartbeat(watched, mark))?;
                        }
                    }
                    None if self.locals[place].may_report(watched.node.number()) => {
                        self.give(place, Input::Dead(watched.node.number()))?;
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The view in which this incarnation sends heartbeats.
    fn beating(&self, watched: Identity) -> Option<ViewMark> {
        let local = self.locals.iter().find(|l| l.identity() == watched)?;
        local.mark()
    }

    fn give(&mut self, place: usize, input: Input<'_>) -> Result<(), String> {
        let from = self.locals[place].identity().node.number();
        self.remember(place, &input);
        let outputs = self.locals[place].take(input);
        for view in outputs.views {
            if self
                .latest
                .as_ref()
                .is_some_and(|latest| latest.number < view.number)
            {
                self.latest = Some(view.clone());
            }
            self.views.push(view);
        }
        for (to, bytes) in outputs.sent {
            self.send(from, to, bytes);
        }
        outputs
            .wrong
            .map_or(Ok(()), |wrong| Err(format!("node {from}: {wrong}")))
    }

    fn remember(&mut self, place: usize, input: &Input<'_>) {
        let what = match input {
            Input::Datagram(from, bytes) => {
                let kind = bytes.get(3).copied().and_then(Kind::from_number);
                What::Datagram(*from, kind)
            }
            Input::Deadline => What::Deadline,
            Input::Leave => return,
            Input::Evict(number) => What::Evict(*number),
            Input::Dead(number) => What::Dead(*number),
            Input::Heartbeat(sender, _) => What::Heartbeat(sender.node.number()),
        };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        let local = &self.locals[place];
        self.history
            .push_back((local.identity(), local.clock(), what));
    }

    /// The latest inputs, one a line.
    pub fn history(&self) -> impl Iterator<Item = String> + '_ {
        self.history.iter().map(|(node, clock, what)| {
            let what = match what {
                What::Datagram(from, kind) => format!("{kind:?} from {from}"),
                What::Deadline => "deadline".to_owned(),
                What::Evict(number) => format!("is asked to put {number} out"),
                What::Dead(number) => format!("finds {number} dead"),
                What::Heartbeat(number) => format!("heartbeat of {number}"),
            };
            format!("  {node:?} at {clock:?}: {what}")
        })
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for local in &self.locals {
            let view = local.view().map(|view| {
                let members: Vec<_> = view.members().iter().map(|m| m.identity).collect();
                (view.number, members)
            });
            let (identity, deadline) = (local.identity(), local.deadline());
            text += &format!("[{identity:?} in {view:?}, next {deadline:?}] ");
        }
        text
    }
}
