// SPDX-License-Identifier: GPL-2.0

//! What happens in an exploration, and within which bounds. Never so much goes wrong at once that no
//! quorum of the last view is left.

use super::local::Local;
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
        name: "first-view",
        about: "three nodes look for each other, two propose a first view at once",
        members: &[],
        joining: &[1, 2, 3],
        waiting: &[2, 3],
        ..QUIET
    },
];

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

    /// A life of a node that looks for the cluster.
    pub fn local(&self, number: u16, life: u64) -> Local {
        // Who comes to members knows one of them: what the others would answer brings nothing new.
        let asks_one = !self.members.is_empty() && (life > 1 || self.joining.contains(&number));
        let count = self.members.len() + self.joining.len();
        let peers = if asks_one { 1 } else { count as u16 };
        Local::new(number, life, peers, SETTINGS)
    }

    /// The state that everything begins in.
    pub fn beginning(&self, world: &mut World) -> Result<State, String> {
        let members = self.members.iter();
        let locals = members.map(|number| self.local(*number, 1)).collect();
        let mut formed = Settling::new(locals);
        formed.settle(&mut Default::default())?;
        formed.run_for(REST_TICKS)?;
        let mut state = State {
            nodes: [DOWN; NODES],
            fired: [0; NODES],
            lives: [0; NODES],
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
        let locals = formed.into_locals().chain(waiting.into_locals());
        for local in locals.chain(joining) {
            let number = local.identity().node.number();
            for place in (0..NODES).filter(|place| number_at(*place) == number) {
                state.lives[place] = 1;
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
