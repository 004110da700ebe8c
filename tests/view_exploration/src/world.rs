// SPDX-License-Identifier: GPL-2.0

//! All nodes, datagrams and views found so far, each once and with a number, and the effect of each input on each node,
//! computed once.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use super::fingerprint::{BuildSame, Fingerprint};
use super::local::{Input, Installed, Local};
use crate::protocol::identity::{Identity, ViewMark};
use crate::protocol::wire::Kind;

/// A datagram on its way.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// The sender.
    pub from: u16,
    /// The receiver.
    pub to: u16,
    /// Its bytes, without a number.
    pub bytes: Vec<u8>,
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> Option<Kind> {
        self.bytes.get(3).copied().and_then(Kind::from_number)
    }
}

/// An input, with its datagram by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stimulus {
    /// A datagram.
    Message(u32),
    /// A deadline.
    Deadline,
    /// The command to leave.
    Leave,
    /// The command to evict a node.
    Evict(u16),
    /// The report that a node is dead.
    Dead(u16),
    /// A heartbeat.
    Heartbeat(Identity, ViewMark),
}

/// The effect of an input on a node.
pub struct Outcome {
    /// The node afterwards.
    pub next: u32,
    /// The datagrams that it sends.
    pub sent: Vec<u32>,
    /// The views that it installs.
    pub views: Vec<u32>,
    /// A promise that it breaks.
    pub wrong: Option<String>,
}

/// Everything found so far.
#[derive(Default)]
pub struct World {
    locals: Vec<Rc<Local>>,
    local_numbers: HashMap<u128, u32, BuildSame>,
    messages: Vec<Message>,
    message_numbers: HashMap<Message, u32>,
    views: Vec<Installed>,
    view_numbers: HashMap<Installed, u32>,
    outcomes: HashMap<(u32, Stimulus), Rc<Outcome>>,
}

impl World {
    /// The numbers of different nodes, datagrams and steps of single nodes.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.locals.len(), self.messages.len(), self.outcomes.len())
    }

    /// The node with this number.
    pub fn local(&self, number: u32) -> &Rc<Local> {
        &self.locals[number as usize]
    }

    /// The datagram with this number.
    pub fn message(&self, number: u32) -> &Message {
        &self.messages[number as usize]
    }

    /// The view with this number.
    pub fn view(&self, number: u32) -> &Installed {
        &self.views[number as usize]
    }

    /// The number of a node, which is added if it is new.
    pub fn add_local(&mut self, local: Local) -> u32 {
        let fingerprint = Fingerprint::of(&local, local.clock());
        *self.local_numbers.entry(fingerprint).or_insert_with(|| {
            self.locals.push(Rc::new(local));
            (self.locals.len() - 1) as u32
        })
    }

    /// The number of a datagram, which is added if it is new.
    pub fn add_message(&mut self, message: Message) -> u32 {
        number_of(&mut self.messages, &mut self.message_numbers, message)
    }

    /// The number of a view, which is added if it is new.
    pub fn add_view(&mut self, view: Installed) -> u32 {
        number_of(&mut self.views, &mut self.view_numbers, view)
    }

    /// The effect of an input on a node.
    pub fn step(&mut self, local: u32, stimulus: Stimulus) -> Rc<Outcome> {
        if let Some(outcome) = self.outcomes.get(&(local, stimulus)) {
            return Rc::clone(outcome);
        }
        let outcome = Rc::new(self.compute(local, stimulus));
        self.outcomes.insert((local, stimulus), Rc::clone(&outcome));
        outcome
    }

    fn compute(&mut self, number: u32, stimulus: Stimulus) -> Outcome {
        let mut local = Local::clone(self.local(number));
        let own = local.identity().node.number();
        let input = match stimulus {
            Stimulus::Message(message) => {
                let message = self.message(message);
                Input::Datagram(message.from, &message.bytes)
            }
            Stimulus::Deadline => Input::Deadline,
            Stimulus::Leave => Input::Leave,
            Stimulus::Evict(subject) => Input::Evict(subject),
            Stimulus::Dead(subject) => Input::Dead(subject),
            Stimulus::Heartbeat(sender, view) => Input::Heartbeat(sender, view),
        };
        let Ok(outputs) = catch_unwind(AssertUnwindSafe(|| local.take(input))) else {
            return Outcome {
                next: number,
                sent: Vec::new(),
                views: Vec::new(),
                wrong: Some("a panic".to_owned()),
            };
        };
        let sent = outputs.sent.into_iter().map(|(to, bytes)| Message {
            from: own,
            to,
            bytes,
        });
        Outcome {
            sent: sent.map(|message| self.add_message(message)).collect(),
            views: outputs
                .views
                .into_iter()
                .map(|view| self.add_view(view))
                .collect(),
            next: self.add_local(local),
            wrong: outputs.wrong,
        }
    }
}

fn number_of<T: Clone + Eq + Hash>(
    all: &mut Vec<T>,
    numbers: &mut HashMap<T, u32>,
    value: T,
) -> u32 {
    if let Some(number) = numbers.get(&value) {
        return *number;
    }
    let number = all.len() as u32;
    all.push(value.clone());
    numbers.insert(value, number);
    number
}
