// SPDX-License-Identifier: GPL-2.0

//! The causal past of messages, which O3 and O4 look at.
//!
//! The causal past of a message of causal, agreed or safe order is what its sender had delivered, of messages of these
//! orders, before it sent the message. What the sender itself had sent before is judged by O1 and O2, for messages of
//! every order. That a process has the past of the past follows: the sender had delivered that, too.
//!
//! A process must have delivered only what belongs to a view that it was in. The search goes through what a sender
//! delivered once for each process that delivers messages of that sender.

use std::collections::HashMap;

use crate::index::{Index, CLUSTER};
use crate::sorted::has;

/// A message that a process did not deliver before one that comes after it.
pub(super) struct Missed {
    /// The process.
    pub(super) process: usize,
    /// The message that the process delivered too early.
    pub(super) message: usize,
    /// The event of that delivery.
    pub(super) event: usize,
    /// The message of the causal past.
    pub(super) earlier: usize,
    /// The event in which the sender of the later message had delivered that of its past.
    pub(super) sender_event: usize,
    /// The event in which the process delivered that of the past after all.
    pub(super) late: Option<usize>,
}

/// A delivery of a message that may be in the causal past of others.
struct Delivered {
    message: usize,
    event: usize,
    /// The view that the process was in.
    view: Option<usize>,
}

/// Call `report` for the messages of causal pasts that a process missed, or delivered too late.
pub(super) fn each_missed(index: &Index<'_>, mut report: impl FnMut(Missed)) {
    let pasts = Pasts::of(index);
    let mut place: Vec<usize> = vec![usize::MAX; index.messages.len()];
    for (number, process) in index.processes.iter().enumerate() {
        if process.scope == CLUSTER {
            continue;
        }
        for (own, action) in process.actions.iter().enumerate() {
            if let Some(message) = action.delivered() {
                place[message] = place[message].min(own);
            }
        }
        // How much of what each sender delivered the process is known to have delivered, or need not deliver.
        let mut seen: HashMap<usize, usize> = HashMap::new();
        for (own, action) in process.actions.iter().enumerate() {
            let first = action.delivered().filter(|message| place[*message] == own);
            let Some(message) = first.filter(|message| index.is_causal(*message)) else {
                continue;
            };
            let Some((sender, length)) = pasts.past[message] else {
                continue;
            };
            let seen = seen.entry(sender).or_insert(0);
            if sender == number || *seen >= length {
                continue;
            }
            // The view of the sender that was looked at last, and where this process installed it.
            let mut looked_at: Option<(Option<usize>, Option<usize>)> = None;
            for delivered in &pasts.delivered[sender][*seen..length] {
                let there = place[delivered.message];
                if there < own {
                    continue;
                }
                let sender_of_past = index.messages[delivered.message].sender;
                if sender_of_past == index.messages[message].sender {
                    continue;
                }
                let known = looked_at.filter(|(view, _)| *view == delivered.view);
                let (_, installed) = *looked_at.insert(known.unwrap_or_else(|| {
                    let installed = install_of(index, number, own, delivered.view);
                    (delivered.view, installed)
                }));
                // A cluster that forms anew may use the identity of an old view again.
                let is_meant = |event| has(&index.view_event(event).members, &sender_of_past);
                if !installed.is_some_and(is_meant) {
                    continue;
                }
                report(Missed {
                    process: number,
                    message,
                    event: action.event,
                    earlier: delivered.message,
                    sender_event: delivered.event,
                    late: process.actions.get(there).map(|action| action.event),
                });
            }
            *seen = length;
        }
        for message in process.deliveries() {
            place[message] = usize::MAX;
        }
    }
}

/// The event in which the process installed the view, if it did before its action `own`.
fn install_of(index: &Index<'_>, process: usize, own: usize, view: Option<usize>) -> Option<usize> {
    let process = &index.processes[process];
    let last = process.actions[own].install?;
    let mut installs = process.installs[..=last].iter();
    installs
        .find(|install| Some(install.view) == view)
        .map(|install| install.event)
}

/// What each process delivered, and how much of it is in the past of each message.
struct Pasts {
    /// What each process delivered that may be in a causal past, in order.
    delivered: Vec<Vec<Delivered>>,
    /// For each message its sender, and how much of what the sender delivered came before it.
    past: Vec<Option<(usize, usize)>>,
}

impl Pasts {
    fn of(index: &Index<'_>) -> Self {
        let mut past = vec![None; index.messages.len()];
        let mut delivered = Vec::with_capacity(index.processes.len());
        for (number, process) in index.processes.iter().enumerate() {
            let mut own = Vec::new();
            for action in &process.actions {
                if let Some(message) = action.sent() {
                    if index.messages[message].send == Some((action.event, number)) {
                        past[message] = Some((number, own.len()));
                    }
                } else if let Some(message) = action.delivered() {
                    if index.is_causal(message) {
                        own.push(Delivered {
                            message,
                            event: action.event,
                            view: index.view_at(process, action),
                        });
                    }
                }
            }
            delivered.push(own);
        }
        Self { delivered, past }
    }
}
