// SPDX-License-Identifier: GPL-2.0

//! All nodes, datagrams and views found so far, each once and with a number, and the effect of each input on each node,
//! computed once.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use super::fingerprint::{BuildSame, Fingerprint};
use super::local::{Heard, Input, Installed, Local};
use crate::protocol::identity::{Identity, ViewMark};
use crate::protocol::outputs::Order;
use crate::protocol::time::Duration;
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
    /// The command to send the next message.
    Multicast(Order),
    /// Nothing happens for this time.
    Wait(Duration),
}

/// The effect of an input on a node.
pub struct Outcome {
    /// The node afterwards.
    pub next: u32,
    /// The datagrams that it sends.
    pub sent: Vec<u32>,
    /// The views that it installs.
    pub views: Vec<u32>,
    /// What its member of the group does and sees.
    pub heard: Vec<u32>,
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
    heard: Vec<Heard>,
    heard_numbers: HashMap<Heard, u32>,
    /// Each journal: the one that it continues, and the last thing in it. The first one is empty.
    journals: Vec<(u32, u32)>,
    journal_numbers: HashMap<(u32, u32), u32>,
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

    /// What a member has done or seen, by its number.
    pub fn heard(&self, number: u32) -> &Heard {
        &self.heard[number as usize]
    }

    /// The number of what a member has done or seen, which is added if it is new.
    pub fn add_heard(&mut self, heard: Heard) -> u32 {
        number_of(&mut self.heard, &mut self.heard_numbers, heard)
    }

    /// The number of the journal that continues this one (0: the empty one), which is added if it is new.
    pub fn add_to_journal(&mut self, journal: u32, heard: u32) -> u32 {
        let all = &mut self.journals;
        *self
            .journal_numbers
            .entry((journal, heard))
            .or_insert_with(|| {
                all.push((journal, heard));
                all.len() as u32
            })
    }

    /// A journal from its end to its beginning.
    fn backwards(&self, mut journal: u32) -> impl Iterator<Item = &Heard> {
        std::iter::from_fn(move || {
            let (before, heard) = *self.journals.get((journal as usize).checked_sub(1)?)?;
            journal = before;
            Some(self.heard(heard))
        })
    }

    /// What is in a journal.
    pub fn journal(&self, journal: u32) -> Vec<&Heard> {
        let mut all: Vec<_> = self.backwards(journal).collect();
        all.reverse();
        all
    }

    /// The last view in a journal.
    pub fn last_view(&self, journal: u32) -> Option<&Heard> {
        let is_view = |heard: &&Heard| matches!(heard, Heard::View(_) | Heard::Excluded);
        self.backwards(journal).find(is_view)
    }

    /// The number of messages that were sent in a journal.
    pub fn sent(&self, journal: u32) -> u64 {
        let is_sent = |heard: &&Heard| matches!(heard, Heard::Multicast(..));
        self.backwards(journal).filter(is_sent).count() as u64
    }

    /// Whether this message was delivered in a journal.
    pub fn has_delivered(&self, journal: u32, node: u16, number: u64) -> bool {
        self.backwards(journal).any(|heard| {
            matches!(heard, Heard::Deliver { sender, sequence, .. }
                if sender.node.number() == node && *sequence == number)
        })
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
            Stimulus::Multicast(order) => Input::Multicast(order),
            Stimulus::Wait(span) => {
                local.wait(span);
                return Outcome {
                    next: self.add_local(local),
                    sent: Vec::new(),
                    views: Vec::new(),
                    heard: Vec::new(),
                    wrong: None,
                };
            }
        };
        let Ok(outputs) = catch_unwind(AssertUnwindSafe(|| local.take(input))) else {
            return Outcome {
                next: number,
                sent: Vec::new(),
                views: Vec::new(),
                heard: Vec::new(),
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
            heard: outputs
                .heard
                .into_iter()
                .map(|heard| self.add_heard(heard))
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
