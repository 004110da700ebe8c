// SPDX-License-Identifier: GPL-2.0

//! The scenarios with a group: which messages are sent in which order, and how many deviations there are. All begin with
//! three nodes at rest in one view, each with one member of the group.

use super::super::local::{Input, Local};
use super::super::settling::Settling;
use super::super::world::World;
use super::run::{Command, Item, Run, NODES};
use crate::protocol::configuration::Configuration;
use crate::protocol::identity::GroupName;
use crate::protocol::outputs::Order;

/// A scenario with a group.
#[derive(Clone, Copy, Debug)]
pub struct GroupScenario {
    /// Its name.
    pub name: &'static str,
    /// Its description.
    pub about: &'static str,
    /// The node that orders the group at first.
    pub coordinator: u16,
    /// The messages: their senders, in the order in which they are asked to send.
    pub senders: &'static [u16],
    /// The order of the messages.
    pub order: Order,
    /// The number of crashes, of any nodes.
    pub crashes: u8,
    /// The number of things that are held.
    pub holds: u8,
    /// The number of deadlines that come before what is on its way.
    pub early: u8,
}

const AGREED: GroupScenario = GroupScenario {
    name: "",
    about: "",
    coordinator: 3,
    senders: &[1, 2],
    order: Order::Agreed,
    crashes: 2,
    holds: 1,
    early: 0,
};

/// All scenarios with a group.
pub const GROUP_SCENARIOS: &[GroupScenario] = &[
    GroupScenario {
        name: "group-agreed",
        about: "two members send, the third node orders: two nodes crash, one datagram is late or lost",
        ..AGREED
    },
    GroupScenario {
        name: "group-agreed-orderer-sends",
        about: "the orderer and another member send: two nodes crash, one datagram is late or lost",
        coordinator: 1,
        ..AGREED
    },
    GroupScenario {
        name: "group-safe",
        about: "as group-agreed, with safe messages",
        order: Order::Safe,
        ..AGREED
    },
    GroupScenario {
        name: "group-causal",
        about: "as group-agreed, with causal messages",
        order: Order::Causal,
        ..AGREED
    },
    GroupScenario {
        name: "group-fifo",
        about: "one member sends twice, and another one once, in FIFO order",
        senders: &[1, 1, 2],
        order: Order::Fifo,
        ..AGREED
    },
    GroupScenario {
        name: "group-two-late",
        about: "two members send, one node crashes, two datagrams are late or lost",
        crashes: 1,
        holds: 2,
        ..AGREED
    },
    GroupScenario {
        name: "group-early-deadline",
        about: "two members send, one node crashes, one datagram is late or lost, one deadline is early",
        crashes: 1,
        early: 1,
        ..AGREED
    },
];

/// As in the scenarios of the membership.
const SETTINGS: Configuration = Configuration {
    coordinators: 2,
    confirmations: 1,
    probe_count: 0,
    ..Configuration::DEFAULT
};
/// The ticks until members have nothing to do any more.
const REST_TICKS: u32 = 10;

impl GroupScenario {
    /// The scenario with this name.
    pub fn named(name: &str) -> Option<Self> {
        let mut scenarios = GROUP_SCENARIOS.iter();
        scenarios.find(|scenario| scenario.name == name).copied()
    }

    /// The nodes at rest, with a group that the coordinator orders.
    fn members(&self) -> Result<Vec<Local>, String> {
        let locals = (1..=NODES as u16).map(|number| Local::new(number, 1, NODES as u16, SETTINGS));
        let mut formed = Settling::new(locals.collect());
        formed.settle(&mut Default::default())?;
        formed.run_for(REST_TICKS)?;
        let formed: Vec<_> = formed.into_locals().collect();
        for name in 0..u8::MAX {
            let name = GroupName::new(&[b'g', b'0' + name / 10, b'0' + name % 10])
                .ok_or("the name is not allowed")?;
            let mut locals = formed.clone();
            let mut sent = Vec::new();
            for local in &mut locals {
                let from = local.identity().node.number();
                let outputs = local.take(Input::Join(name));
                sent.extend(
                    outputs
                        .sent
                        .into_iter()
                        .map(|(to, bytes)| (from, to, bytes)),
                );
            }
            if locals[0].group_coordinator() != Some(self.coordinator) {
                continue;
            }
            let mut joining = Settling::new(locals);
            for (from, to, bytes) in sent {
                joining.send(from, to, bytes);
            }
            joining.run_for(REST_TICKS)?;
            return Ok(joining.into_locals().collect());
        }
        Err("no group is ordered by this node".to_owned())
    }

    /// The initial state.
    ///
    /// # Errors
    ///
    /// The nodes did not come to share one view of the group.
    pub fn beginning(&self, world: &mut World) -> Result<Run, String> {
        let mut run = Run::new(self);
        let members = self.members()?;
        let first = members[0].group_view().cloned();
        for (place, local) in members.into_iter().enumerate() {
            let view = local.group_view().ok_or("a member has no view")?.clone();
            if let super::super::local::Heard::View(seen) = &view {
                if seen.members.len() != NODES {
                    return Err(format!("not all are in {first:?}"));
                }
            }
            let view = world.add_heard(view);
            run.journals[place] = world.add_to_journal(0, view);
            run.nodes[place] = world.add_local(local);
        }
        for sender in self.senders {
            let place = *sender as u8 - 1;
            run.queue.push(Item::Command(place, Command::Multicast));
        }
        Ok(run)
    }
}
