// SPDX-License-Identifier: GPL-2.0

//! What the index knows of processes, views, messages and incarnations.
//!
//! Records refer to each other and to events by number, that is by their place in the lists of the index.

use std::fmt;

use crate::trace::{Member, Order, ViewId};

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not installed a view yet.
    NoViewYet,
    /// It is in the view that it installed last.
    InView,
    /// It learned that it is excluded.
    Excluded,
    /// Leaving has returned.
    Left,
}

/// A view that a process installed.
#[derive(Clone, Copy, Debug)]
pub struct Install {
    /// The event.
    pub event: usize,
    /// The view, in [`super::Index::views`].
    pub view: usize,
    /// The view that the process held before, if it held one.
    pub previous: Option<usize>,
}

/// What an action was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// The process installed a view: a number in [`Process::installs`].
    Install(usize),
    /// The process learned that it is excluded.
    Excluded,
    /// The process sent a message: a number in [`super::Index::messages`].
    Send(usize),
    /// The process delivered a message: a number in [`super::Index::messages`].
    Deliver(usize),
    /// The process learned that a view change begins.
    Block,
}

/// One thing that a process did.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// The event.
    pub event: usize,
    /// What it was.
    pub kind: ActionKind,
    /// Where the process stood just before.
    pub phase: Phase,
    /// The last install of the process just before, in [`Process::installs`].
    pub install: Option<usize>,
}

impl Action {
    /// The message that the process delivered, if the action was a delivery.
    pub fn delivered(&self) -> Option<usize> {
        match self.kind {
            ActionKind::Deliver(message) => Some(message),
            _ => None,
        }
    }

    /// The message that the process sent, if the action was a sending.
    pub fn sent(&self) -> Option<usize> {
        match self.kind {
            ActionKind::Send(message) => Some(message),
            _ => None,
        }
    }
}

/// One incarnation of a member: of a node in the cluster, or of a handle in a group.
#[derive(Debug)]
pub struct Process {
    /// The scope, in [`super::Index::scopes`].
    pub scope: usize,
    /// The node.
    pub node: u16,
    /// The incarnation of the node.
    pub incarnation: u64,
    /// The handle, if the trace names it. Always `Some(0)` in the cluster.
    pub endpoint: Option<u32>,
    /// The process that this one continues: the same handle in an earlier incarnation of its node, if the first view of
    /// this one has a transitional set. The two then count as one that went from the last view of the earlier
    /// incarnation to the first of this one.
    pub continues: Option<usize>,
    /// The views that it installed, in order.
    pub installs: Vec<Install>,
    /// All that it did, in order.
    pub actions: Vec<Action>,
    /// Where it stands at the end of the trace.
    pub phase: Phase,
    /// The event in which it asked to leave.
    pub asked_to_leave: Option<usize>,
    /// The event in which leaving returned.
    pub left: Option<usize>,
    /// The number of its accepted messages that were lost, if it was told when it left or was excluded.
    pub lost: Option<u64>,
}

impl Process {
    /// Whether `member` is this process.
    pub fn is(&self, member: &Member) -> bool {
        self.node == member.node
            && self.incarnation == member.incarnation
            && self.endpoint.is_none_or(|own| own == member.endpoint)
    }

    /// Whether the sorted list `members` has this process.
    pub fn is_in(&self, members: &[Member]) -> bool {
        match self.endpoint {
            Some(endpoint) => members
                .binary_search(&Member {
                    node: self.node,
                    endpoint,
                    incarnation: self.incarnation,
                })
                .is_ok(),
            None => members.iter().any(|member| self.is(member)),
        }
    }

    /// The messages that it delivered, in order, however often.
    pub fn deliveries(&self) -> impl Iterator<Item = usize> + '_ {
        self.actions.iter().filter_map(Action::delivered)
    }
}

/// As members are shown: `node.endpoint/incarnation`.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = Member {
            node: self.node,
            endpoint: self.endpoint.unwrap_or(0),
            incarnation: self.incarnation,
        };
        write!(f, "{member:?}")
    }
}

/// One view.
#[derive(Debug)]
pub struct ViewRecord {
    /// The scope, in [`super::Index::scopes`].
    pub scope: usize,
    /// The view's identity.
    pub id: ViewId,
    /// Who installed it, in the order of time: the process, and the number in its [`Process::installs`].
    pub installs: Vec<(usize, usize)>,
}

/// One message.
#[derive(Debug)]
pub struct Message {
    /// The scope, in [`super::Index::scopes`].
    pub scope: usize,
    /// The sender.
    pub sender: Member,
    /// The number that the sender gave it.
    pub sequence: u64,
    /// The order, as the first line about the message has it. D1 compares the lines.
    pub order: Order,
    /// The event of the sending, and the process that sent.
    pub send: Option<(usize, usize)>,
    /// The deliveries, in the order of time: the process, and the number in its [`Process::actions`].
    pub deliveries: Vec<(usize, usize)>,
}

/// As violations name it: `message 3 of 1.1/10`.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {:?}", self.sequence, self.sender)
    }
}

/// What the trace says of one incarnation of one node. All numbers are events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incarnation {
    /// It started.
    pub start: Option<usize>,
    /// It crashed.
    pub crash: Option<usize>,
    /// It stopped in an orderly way.
    pub stop: Option<usize>,
    /// It learned that an administrator evicted it.
    pub evicted: Option<usize>,
    /// It asked to leave the cluster.
    pub asked_to_leave: Option<usize>,
    /// Leaving the cluster returned.
    pub left: Option<usize>,
}

impl Incarnation {
    /// The first event that ended it.
    pub fn end(&self) -> Option<usize> {
        [self.crash, self.stop, self.left]
            .into_iter()
            .flatten()
            .min()
    }
}
