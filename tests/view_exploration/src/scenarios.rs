// SPDX-License-Identifier: GPL-2.0

//! The scenarios of the exploration: the events that may happen, and their bounds. Faults always leave a quorum of the
//! last view, unless a crash comes beside another change.

use super::local::{Installed, Local};
use super::settling::Settling;
use super::state::{number_at, State, DOWN, NODES};
use super::world::World;
use crate::protocol::configuration::Configuration;

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    /// The nodes that have formed a view.
    pub members: &'static [u16],
    /// Whether the cluster is partitionable.
    pub is_partitionable: bool,
    /// The questions to each member in a roll call, which follows an accusation.
    pub questions: u32,
    /// The stages that the members go through after they have formed their view.
    pub stages: &'static [Stage],
    /// The nodes that look for the cluster.
    pub joining: &'static [u16],
    /// Of these, the nodes that have heard each other for so long that they form a view without others.
    pub waiting: &'static [u16],
    /// The members that are asked to leave.
    pub leaving: &'static [u16],
    /// The member that is asked to evict another one, and that one.
    pub eviction: Option<(u16, u16)>,
    /// The nodes of which some may crash.
    pub crashing: &'static [u16],
    /// The number of crashes.
    pub crashes: u8,
    /// The number of restarts.
    pub restarts: u8,
    /// The number of heartbeats that show that a view is old.
    pub heartbeats: u8,
    /// The number of accusations of members that are well.
    pub accusations: u8,
    /// The number of deadlines of each node. A joining node asks for the cluster once, at the beginning, and has no
    /// deadlines.
    pub deadlines: u8,
}

/// A network that is split for a while.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// The components. A node that is in none of them is frozen.
    pub components: &'static [&'static [u16]],
    /// Whether no node learns of another node's decisions.
    pub is_unannounced: bool,
    /// The end of the stage.
    pub until: Until,
}

/// The end of a stage.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many heartbeat intervals.
    Ticks(u32),
    /// When these nodes have no view any more.
    NoView(&'static [u16]),
    /// When these nodes have a view that is not primary.
    NotPrimary(&'static [u16]),
    /// When the first node has a view without the second one.
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
            Self::NotPrimary(nodes) => {
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

/// The most ticks of a stage.
const STAGE_TICKS_MAX: u32 = 200;
/// The ticks until members have nothing to do any more.
const REST_TICKS: u32 = 10;
/// The ticks of three rounds of looking for a cluster.
const ROUNDS_TICKS: u32 = 4;

/// The settings of all scenarios. With two coordinators, and one confirmation, fewer reports are on their way, which
/// keeps the number of states small. The exploration is about what follows from the reports.
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
        about: "three members: one leaves, and two coordinators propose at once",
        leaving: &[3],
        ..QUIET
    },
    Scenario {
        name: "leave-and-crash",
        about: "three members: one leaves while another one crashes",
        leaving: &[3],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "eviction-and-crash",
        about: "three members: one is evicted while another one crashes",
        eviction: Some((1, 3)),
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "coordinator-evicted",
        about: "three members: the coordinator is evicted while another one crashes",
        eviction: Some((2, 1)),
        crashing: &[3],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "leave-and-join",
        about: "two members: one leaves while a third node joins",
        members: &[1, 2],
        joining: &[3],
        leaving: &[2],
        ..QUIET
    },
    Scenario {
        name: "lowest-leaves",
        about: "two members: the lowest leaves, without which the other one is no quorum",
        members: &[1, 2],
        leaving: &[1],
        deadlines: 4,
        ..QUIET
    },
    Scenario {
        name: "crash-and-join",
        about: "two members: one crashes while a third node joins",
        members: &[1, 2],
        joining: &[3],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "crash-and-return",
        about: "three members: one crashes and joins again as its next incarnation",
        crashing: &[3],
        crashes: 1,
        restarts: 1,
        ..QUIET
    },
    Scenario {
        name: "coordinator-crash",
        about: "three members: one leaves, and the coordinator that proposes that crashes",
        leaving: &[3],
        crashing: &[1],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "false-accusation",
        about: "three members: one is accused although it is well, while another one leaves",
        leaving: &[3],
        accusations: 1,
        heartbeats: 1,
        ..QUIET
    },
    Scenario {
        name: "roll-call",
        about: "three members: one leaves while another one crashes, with a roll call",
        questions: 1,
        leaving: &[3],
        crashing: &[2],
        crashes: 1,
        deadlines: 2,
        ..QUIET
    },
    Scenario {
        name: "first-view",
        about: "three nodes look for each other, and two propose a first view at once",
        members: &[],
        joining: &[1, 2, 3],
        waiting: &[2, 3],
        ..QUIET
    },
    Scenario {
        name: "components-merge",
        about: "a component of one and a primary view of two reach each other again",
        is_partitionable: true,
        stages: &[SPLIT],
        ..QUIET
    },
    Scenario {
        name: "components-merge-and-crash",
        about: "as components-merge, and one of the two crashes",
        is_partitionable: true,
        stages: &[SPLIT],
        crashing: &[2],
        crashes: 1,
        ..QUIET
    },
    Scenario {
        name: "scattered-nodes-merge",
        about: "three nodes without a quorum have given up their view and reach each other again",
        is_partitionable: true,
        stages: &[Stage {
            components: &[&[1], &[2], &[3]],
            is_unannounced: false,
            until: Until::NoView(&[1, 2, 3]),
        }],
        deadlines: 3,
        ..QUIET
    },
    Scenario {
        name: "unannounced-decision",
        about: "one of three has decided a view of two, alone; the others have given up theirs and reach each other",
        is_partitionable: true,
        stages: UNANNOUNCED,
        ..QUIET
    },
    Scenario {
        name: "unannounced-decision-longer",
        about: "as unannounced-decision, with enough deadlines for views that are not primary",
        is_partitionable: true,
        stages: UNANNOUNCED,
        deadlines: 3,
        ..QUIET
    },
];

/// A component of one has formed beside a primary view of two.
const SPLIT: Stage = Stage {
    components: &[&[1, 2], &[3]],
    is_unannounced: false,
    until: Until::NotPrimary(&[3]),
};

/// Node 1 has the view of nodes 1 and 2 that both have accepted, and goes on alone. Nodes 2 and 3 have given up their
/// first view, and reach each other.
const UNANNOUNCED: &[Stage] = &[
    Stage {
        components: &[&[1, 2]],
        is_unannounced: true,
        until: Until::Without(1, 3),
    },
    Stage {
        components: &[&[1], &[2], &[3]],
        is_unannounced: false,
        until: Until::NoView(&[2, 3]),
    },
    Stage {
        components: &[&[1], &[2, 3]],
        is_unannounced: false,
        until: Until::Ticks(2),
    },
];

impl Stage {
    /// Run the stage, and return the members after it. Views that they install are added to `installed`.
    fn go_through(
        &self,
        members: Vec<Local>,
        installed: &mut Vec<Installed>,
    ) -> Result<Vec<Local>, String> {
        let mut idle = Vec::new();
        let mut components: Vec<Vec<Local>> = self.components.iter().map(|_| Vec::new()).collect();
        for member in members {
            let number = member.identity().node.number();
            let place = self
                .components
                .iter()
                .position(|component| component.contains(&number));
            match place {
                Some(place) => components[place].push(member),
                None => idle.push(member),
            }
        }
        let mut components: Vec<_> = components.into_iter().map(Settling::new).collect();
        for ticks in 0..STAGE_TICKS_MAX {
            let locals = components
                .iter()
                .flat_map(|component| component.locals().iter().cloned());
            if self.until.is_over(ticks, &locals.collect::<Vec<_>>()) {
                installed.extend(
                    components
                        .iter()
                        .flat_map(|component| component.views().iter().cloned()),
                );
                let components = components.into_iter().flat_map(Settling::into_locals);
                let mut members: Vec<_> = components.chain(idle).collect();
                members.sort_by_key(Local::identity);
                return Ok(members);
            }
            for component in &mut components {
                component.set_unannounced(self.is_unannounced);
                component.run_for(1)?;
            }
        }
        Err(format!("the stage does not end: {:?}", self.until))
    }
}

impl Scenario {
    /// The scenario with this name.
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
        // A node that joins members knows only one of them, since the answers of the others would add nothing new.
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

    /// The initial state.
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
