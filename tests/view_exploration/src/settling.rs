// SPDX-License-Identifier: GPL-2.0

//! Settling after the end of all faults: datagrams arrive at once, deadlines come in the order of their times,
//! heartbeats come regularly, and nodes that are down are detected. In bounded time all nodes must be in one view.

use std::collections::{HashSet, VecDeque};

use super::fingerprint::{BuildSame, Fingerprint};
use super::local::{Input, Installed, Local};
use crate::protocol::identity::{Identity, ViewMark};
use crate::protocol::time::{Duration, Instant};
use crate::protocol::view::is_quorum;
use crate::protocol::wire::Kind;

/// The interval between two heartbeats. A node is declared dead after two.
const TICK: Duration = Duration::from_milliseconds(160);
/// The ticks within which all must agree: two timeouts of blocked nodes and some seconds.
const TICKS_MAX: u32 = 100;
/// The same for partitionable clusters, whose components must also find each other, and whose nodes wait before they
/// rejoin.
const PARTITIONABLE_TICKS_MAX: u32 = 200;
/// The most inputs between two ticks. More are a storm.
const INPUTS_MAX: u32 = 5_000;
/// The number of inputs that are remembered.
const HISTORY_MAX: usize = 200;

/// The states from which all nodes have come to agree.
pub type Settled = HashSet<u128, BuildSame>;

/// The nodes, after the end of all faults.
pub struct Settling {
    locals: Vec<Local>,
    network: VecDeque<(u16, u16, Vec<u8>)>,
    to_tick: Duration,
    history: VecDeque<Happened>,
    /// The views installed.
    views: Vec<Installed>,
    /// Whether no node learns of another node's decisions.
    is_unannounced: bool,
    /// Whether the cluster is partitionable.
    is_partitionable: bool,
    /// The latest view installed anywhere, if nodes have crashed.
    latest: Option<Installed>,
    /// The node that was asked to evict another one, and that one.
    eviction: Option<(Identity, Identity)>,
}

/// The result of settling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// All nodes are in one view.
    Agreed,
    /// Crashes, and perhaps a leave, have left no quorum of the last view.
    WithoutQuorum,
}

/// The node, the time by its own clock, and the input.
type Happened = (Identity, Instant, What);

/// An input, abridged.
#[derive(Clone, Copy, Debug)]
enum What {
    Datagram(u16, Option<Kind>),
    Deadline,
    Evict(u16),
    Dead(u16),
    Heartbeat(u16),
}

impl Settling {
    /// These nodes, with no datagrams on their way.
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
            is_unannounced: false,
            is_partitionable: false,
            latest: None,
            eviction: None,
        }
    }

    /// Set whether no node learns of another node's decisions from now on.
    pub fn set_unannounced(&mut self, is_unannounced: bool) {
        self.is_unannounced = is_unannounced;
    }

    /// Make the cluster partitionable: its components must merge into a primary view, or into any view if nodes have
    /// crashed.
    pub fn set_partitionable(&mut self) {
        self.is_partitionable = true;
    }

    /// The views installed.
    pub fn views(&self) -> &[Installed] {
        &self.views
    }

    /// The nodes.
    pub fn locals(&self) -> &[Local] {
        &self.locals
    }

    /// Note that nodes have crashed, and the latest view that was installed.
    pub fn after_crashes(&mut self, latest: Option<Installed>) {
        self.latest = latest;
    }

    /// Note that the first incarnation was asked to evict the second one, and has accepted that.
    pub fn after_eviction(&mut self, by: Identity, subject: Identity) {
        self.eviction = Some((by, subject));
    }

    /// Send a datagram.
    pub fn send(&mut self, from: u16, to: u16, bytes: Vec<u8>) {
        self.network.push_back((from, to, bytes));
    }

    /// The nodes.
    pub fn into_locals(self) -> impl Iterator<Item = Local> {
        self.locals.into_iter()
    }

    /// Run until all nodes agree. States that are in `settled` are not run again.
    pub fn settle(&mut self, settled: &mut Settled) -> Result<Settlement, String> {
        let mut met = Vec::new();
        let ticks = match self.is_partitionable {
            true => PARTITIONABLE_TICKS_MAX,
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
        Err(format!(
            "L1: the nodes are not in one view: {}",
            self.describe()
        ))
    }

    /// Run for some ticks.
    pub fn run_for(&mut self, ticks: u32) -> Result<(), String> {
        for _ in 0..ticks {
            self.run_to_tick()?;
            self.tick()?;
        }
        Ok(())
    }

    /// Whether all nodes that have not left are in one view, and it has no other members.
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

    /// Whether a node that was to be evicted is still there, and the one that was asked for that too.
    fn is_to_go_on(&self) -> bool {
        let is_there = |incarnation: Identity| {
            let mut locals = self.locals.iter();
            locals.any(|local| local.identity() == incarnation && !local.is_gone())
        };
        let mut eviction = self.eviction.iter();
        eviction.any(|(by, subject)| is_there(*by) && is_there(*subject))
    }

    /// Whether a quorum is left of the latest view that a node still knows, if any of its members has crashed.
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
                if self.is_unannounced && matches!(kind, Some(Kind::Commit | Kind::ViewPart)) {
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
            "the nodes do not come to rest although there are no faults: {}",
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

    /// Deliver heartbeats, and report nodes dead whose heartbeats are missing.
    fn tick(&mut self) -> Result<(), String> {
        for place in 0..self.locals.len() {
            for monitored in self.locals[place].monitored() {
                let own = self.locals[place].mark();
                let lineage = own.map(|mark| mark.lineage);
                // A node in another component counts as silent.
                let beating = self.beating(monitored);
                match beating.filter(|mark| Some(mark.lineage) == lineage) {
                    Some(mark) => {
                        if own != Some(mark) {
                            self.give(place, Input::Heartbeat(monitored, mark))?;
                        }
                    }
                    None if self.locals[place].may_report(monitored.node.number()) => {
                        self.give(place, Input::Dead(monitored.node.number()))?;
                    }
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// The view that the heartbeats of this incarnation show, if it sends any.
    fn beating(&self, monitored: Identity) -> Option<ViewMark> {
        let local = self.locals.iter().find(|l| l.identity() == monitored)?;
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
            Input::Join(_) | Input::Multicast(_) => return,
        };
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        let local = &self.locals[place];
        self.history
            .push_back((local.identity(), local.clock(), what));
    }

    /// The latest inputs, a line for each.
    pub fn history(&self) -> impl Iterator<Item = String> + '_ {
        self.history.iter().map(|(node, clock, what)| {
            let what = match what {
                What::Datagram(from, kind) => format!("{kind:?} from {from}"),
                What::Deadline => "deadline".to_owned(),
                What::Evict(number) => format!("is asked to evict {number}"),
                What::Dead(number) => format!("declares {number} dead"),
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
