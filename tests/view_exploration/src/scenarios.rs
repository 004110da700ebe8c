// SPDX-License-Identifier: GPL-2.0

//! What happens in an exploration, and within which bounds. Never so much goes wrong at once that no
//! quorum of the last view is left.

use super::local::{Installed, Local};
use super::settling::Settling;
use super::state::{number_at, State, DOWN, NODES};
use super::world::World;
use crate::protocol::configuration::Configuration;

/// What happens, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Nodes that have formed a view.
    pub members: &'static [u16],
    /// Whether parts of the cluster go on by themselves.
    pub is_partitionable: bool,
    /// Questions to each member when somebody is accused.
    pub questions: u32,
    /// What has happened to the members since they formed their view.
    pub stages: &'static [Stage],
    /// Nodes that look for the cluster.
    pub joining: &'static [u16],
    /// Of these, nodes that have heard each other for as long as makes them form a view without others.
    pub waiting: &'static [u16],
    /// Members that are asked to leave.
    pub leaving: &'static [u16],
    /// A member that is asked to put another one out, and which one.
    pub eviction: Option<(u16, u16)>,
    /// Nodes of which some may crash.
    pub crashing: &'static [u16],
    /// How many of them.
    pub crashes: u8,
    /// How many may start again.
    pub restarts: u8,
    /// How many heartbeats show that a view is old.
    pub heartbeats: u8,
    /// How often a member that is well is accused.
    pub accusations: u8,
    /// How often the deadlines of each node come. One that comes to the cluster asks for it once at the
    /// beginning, and no more.
    pub deadlines: u8,
}

/// Networks that are in parts for a while.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The parts. A node that is in none of them stands still.
    pub parts: &'static [&'static [u16]],
    /// Whether nobody is told what was decided.
    pub is_untold: bool,
    /// How long that lasts.
    pub until: Until,
}

/// The end of a stage.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many intervals between two heartbeats have gone by.
    Ticks(u32),
    /// These nodes have no view any more.
    NoView(&'static [u16]),
    /// These nodes have a view that is not primary.
    Part(&'static [u16]),
    /// The node has a view without the other one.
    Without(u16, u16),
}

impl Until {
    fn is_over(self, ticks: u32, locals: &[Local]) -> bool {
        let view = |number: u16| {
            let mut locals = locals.iter();
            let local = locals.find(|local| local.identity().node.number() == number);
            local.and_then(Local::view)
        };
        match self {
            Self::Ticks(wanted) => ticks >= wanted,
            Self::NoView(nodes) => nodes.iter().all(|node| view(*node).is_none()),
            Self::Part(nodes) => {
                let is_part = |node: &u16| view(*node).is_some_and(|view| !view.is_primary);
                nodes.iter().all(is_part)
            }
            Self::Without(node, other) => view(node).is_some_and(|view| {
                let mut members = view.members().iter();
                members.all(|member| member.identity.node.number() != other)
            }),
        }
    }
}

/// Ticks of a stage at most.
const STAGE_TICKS_MAX: u32 = 200;
/// Until members have nothing to do any more.
const REST_TICKS: u32 = 10;
/// Three rounds of looking for a cluster.
const ROUNDS_TICKS: u32 = 4;

/// With two coordinators, and one accuser, there are fewer reports on their way: what is of interest here
/// is what follows from them.
const SETTINGS: Configuration = Configuration {
    coordinators: 2,
    confirmations: 1,
    ..Configuration::DEFAULT
};

const QUIET: Scenario = Scenario {
    name: "",
    about: "",
    members: &[1, 2, 3],
    is_partitionable: false,
    questions: 0,
    stages: &[],
    joining: &[],
    waiting: &[],
    leaving: &[],
    eviction: None,
    crashing: &[],
    crashes: 0,
    restarts: 0,
    heartbeats: 0,
    accusations: 0,
    deadlines: 1,
};

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "leave",
        about: "one of three leaves, two coordinators propose at once",
        leaving: &[3],
        ..QUIET
    },
    Scenario {
        name: "leave-and-crash",
        about: "of three, one leaves while another one crashes",
        leaving: &[3],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "eviction-and-crash",
        about: "of three, one is put out while another one crashes",
        eviction: Some((1, 3)),
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "coordinator-evicted",
        about: "of three, the coordinator is put out while another one crashes",
        eviction: Some((2, 1)),
        crashing: &[3],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "leave-and-join",
        about: "one of two leaves while a third node joins",
        members: &[1, 2],
        joining: &[3],
        leaving: &[2],
        ..QUIET
    },
    Scenario {
        name: "lowest-leaves",
        about: "of two, the lowest leaves, without which the other one is no quorum",
        members: &[1, 2],
        leaving: &[1],
        deadlines: 4,
        ..QUIET
    },
    Scenario {
        name: "crash-and-join",
        about: "one of two crashes while a third node joins",
        members: &[1, 2],
        joining: &[3],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "crash-and-return",
        about: "one of three crashes and comes back under its next incarnation",
        crashing: &[3],
        crashes: 1,
        restarts: 1,
        ..QUIET
    },
    Scenario {
        name: "coordinator-crash",
        about: "one of three leaves, and the coordinator that proposes that crashes",
        leaving: &[3],
        crashing: &[1],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "false-accusation",
        about: "one of three is accused though it is well, while another one leaves",
        leaving: &[3],
        accusations: 1,
        heartbeats: 1,
        ..QUIET
    },
    Scenario {
        name: "roll-call",
        about: "one of three leaves while another one crashes, and all are asked whether they are there",
        questions: 1,
        leaving: &[3],
        crashing: &[2],
        crashes: 1,
        deadlines: 2,
        ..QUIET
    },
    Scenario {
        name: "first-view",
        about: "three nodes look for each other, two propose a first view at once",
        members: &[],
        joining: &[1, 2, 3],
        waiting: &[2, 3],
        ..QUIET
    },
    Scenario {
        name: "parts-meet",
        about: "a part of one and a primary view of two, which hear each other again",
        is_partitionable: true,
        stages: &[PARTED],
        ..QUIET
    },
    Scenario {
        name: "parts-meet-and-crash",
        about: "the same, and one of the two crashes",
        is_partitionable: true,
        stages: &[PARTED],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "votes-apart",
        about: "three nodes without a quorum have left their view and hear each other again",
        is_partitionable: true,
        stages: &[Stage {
            parts: &[&[1], &[2], &[3]],
            is_untold: false,
            until: Until::NoView(&[1, 2, 3]),
        }],
        deadlines: 3,
        ..QUIET
    },
    Scenario {
        name: "decision-untold",
        about: "one of three has decided on a view of two, alone; the other ones have left theirs and meet",
        is_partitionable: true,
        stages: UNTOLD,
        ..QUIET
    },
    Scenario {
        name: "decision-untold-longer",
        about: "the same, until there are parts",
        is_partitionable: true,
        stages: UNTOLD,
        deadlines: 3,
        ..QUIET
    },
];

/// A part of one has formed, beside a primary view of two.
const PARTED: Stage = Stage {
    parts: &[&[1, 2], &[3]],
    is_untold: false,
    until: Until::Part(&[3]),
};

/// Node 1 has the view of nodes 1 and 2 that both have accepted, and goes on alone; nodes 2 and 3 have lost their
/// first view, and hear each other.
const UNTOLD: &[Stage] = &[
    Stage {
        parts: &[&[1, 2]],
        is_untold: true,
        until: Until::Without(1, 3),
    },
    Stage {
        parts: &[&[1], &[2], &[3]],
        is_untold: false,
        until: Until::NoView(&[2, 3]),
    },
    Stage {
        parts: &[&[1], &[2, 3]],
        is_untold: false,
        until: Until::Ticks(2),
    },
];

impl Stage {
    /// Members after the stage. The views that they install go to `installed`.
    fn go_through(
        &self,
        members: Vec<Local>,
        installed: &mut Vec<Installed>,
    ) -> Result<Vec<Local>, String> {
        let mut idle = Vec::new();
        let mut parts: Vec<Vec<Local>> = self.parts.iter().map(|_| Vec::new()).collect();
        for member in members {
            let number = member.identity().node.number();
            let place = self.parts.iter().position(|part| part.contains(&number));
            match place {
                Some(place) => parts[place].push(member),
                None => idle.push(member),
            }
        }
        let mut parts: Vec<_> = parts.into_iter().map(Settling::new).collect();
        for ticks in 0..STAGE_TICKS_MAX {
            let locals = parts.iter().flat_map(|part| part.locals().iter().cloned());
            if self.until.is_over(ticks, &locals.collect::<Vec<_>>()) {
                installed.extend(parts.iter().flat_map(|part| part.views().iter().cloned()));
                let parts = parts.into_iter().flat_map(Settling::into_locals);
                let mut members: Vec<_> = parts.chain(idle).collect();
                members.sort_by_key(Local::identity);
                return Ok(members);
            }
            for part in &mut parts {
                part.set_untold(self.is_untold);
                part.run_for(1)?;
            }
        }
        Err(format!("the stage does not end: {:?}", self.until))
    }
}

impl Scenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<Scenario> {
        SCENARIOS
            .iter()
            .find(|scenario| scenario.name == name)
            .copied()
    }

    /// Whether this node may crash.
    pub fn may_crash(&self, number: u16) -> bool {
        self.crashing.contains(&number)
    }

    /// An incarnation of a node that looks for the cluster.
    pub fn local(&self, number: u16, incarnation: u64) -> Local {
        // Who comes to members knows one of them: what the others would answer brings nothing new.
        let asks_one =
            !self.members.is_empty() && (incarnation > 1 || self.joining.contains(&number));
        let count = self.members.len() + self.joining.len();
        let peers = if asks_one { 1 } else { count as u16 };
        let settings = Configuration {
            partitionable: self.is_partitionable.into(),
            probe_count: self.questions,
            ..SETTINGS
        };
        Local::new(number, incarnation, peers, settings)
    }

    /// The state that everything begins in.
    pub fn beginning(&self, world: &mut World) -> Result<State, String> {
        let members = self.members.iter();
        let locals = members.map(|number| self.local(*number, 1)).collect();
        let mut formed = Settling::new(locals);
        formed.settle(&mut Default::default())?;
        formed.run_for(REST_TICKS)?;
        let mut installed = formed.views().to_vec();
        let members = formed.into_locals();
        let mut state = State {
            nodes: [DOWN; NODES],
            fired: [0; NODES],
            incarnations: [0; NODES],
            to_leave: self
                .leaving
                .iter()
                .fold(0, |bits, number| bits | 1 << number),
            may_evict: self.eviction.is_some(),
            crashes: self.crashes,
            restarts: self.restarts,
            heartbeats: self.heartbeats,
            accusations: self.accusations,
            network: Vec::new(),
            views: Vec::new(),
        };
        let (waiting, joining): (Vec<_>, Vec<_>) = self
            .joining
            .iter()
            .map(|number| self.local(*number, 1))
            .partition(|local| self.waiting.contains(&local.identity().node.number()));
        let mut waiting = Settling::new(waiting);
        waiting.run_for(ROUNDS_TICKS)?;
        let mut members: Vec<_> = members.collect();
        for stage in self.stages {
            members = stage.go_through(members, &mut installed)?;
        }
        for view in installed {
            let view = world.add_view(view);
            if let Err(free) = state.views.binary_search(&view) {
                state.views.insert(free, view);
            }
        }
        let locals = members.into_iter().chain(waiting.into_locals());
        for local in locals.chain(joining) {
            let number = local.identity().node.number();
            for place in (0..NODES).filter(|place| number_at(*place) == number) {
                state.incarnations[place] = 1;
            }
            if let Some(view) = local.installed() {
                let view = world.add_view(view);
                if !state.views.contains(&view) {
                    state.views.push(view);
                }
            }
            state.nodes[usize::from(number) - 1] = world.add_local(local);
        }
        let joining = self.joining.iter();
        for number in joining.filter(|number| !self.waiting.contains(number)) {
            state.set_out(world, self, usize::from(*number) - 1)?;
        }
        Ok(state)
    }
}
