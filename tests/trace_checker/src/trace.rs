// SPDX-License-Identifier: GPL-2.0

//! The events of a trace, typed. How they look as JSON is in `line.rs`.

use std::fmt;
use std::sync::Arc;

/// A member incarnation. At cluster level the endpoint is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: u16,
    /// The handle on that node; 0 for the node itself.
    pub endpoint: u32,
    /// The incarnation of the node.
    pub incarnation: u64,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)?;
        if self.endpoint != 0 {
            write!(f, ".{}", self.endpoint)?;
        }
        write!(f, "/{}", self.incarnation)
    }
}

/// The name of a view within its group, or within the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId {
    /// Grows with each view.
    pub number: u64,
    /// The node that issued it.
    pub coordinator: u16,
}

impl fmt::Debug for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.number, self.coordinator)
    }
}

/// Why somebody came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Asked to come in.
    Join,
    /// Said good-bye.
    Leave,
    /// Was not heard any more.
    Failed,
    /// Was put out by an administrator.
    Evicted,
    /// Came with another component.
    Merged,
}

impl Reason {
    /// The word in the trace.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Join => "join",
            Reason::Leave => "leave",
            Reason::Failed => "failed",
            Reason::Evicted => "evicted",
            Reason::Merged => "merged",
        }
    }

    /// The reason that `word` stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Reason::Join,
            Reason::Leave,
            Reason::Failed,
            Reason::Evicted,
            Reason::Merged,
        ]
        .into_iter()
        .find(|reason| reason.word() == word)
    }
}

/// Somebody who came or went; the reason may not have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub member: Member,
    /// Why.
    pub reason: Option<Reason>,
}

/// The order that a message was sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Per sender.
    Fifo,
    /// After all that the sender had seen.
    Causal,
    /// One order for all.
    Agreed,
    /// Agreed, and only when everybody has it.
    Safe,
}

impl Order {
    /// The word in the trace.
    pub fn word(self) -> &'static str {
        match self {
            Order::Fifo => "fifo",
            Order::Causal => "causal",
            Order::Agreed => "agreed",
            Order::Safe => "safe",
        }
    }

    /// The order that `word` stands for, in whatever case.
    pub fn from_word(word: &str) -> Option<Self> {
        [Order::Fifo, Order::Causal, Order::Agreed, Order::Safe]
            .into_iter()
            .find(|order| order.word().eq_ignore_ascii_case(word))
    }
}

/// Which handle of which group an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupScope {
    /// The group's name.
    pub group: Arc<str>,
    /// The handle on the node that wrote the event, if it was written. Without it a node is taken to
    /// have one handle in the group at a time.
    pub endpoint: Option<u32>,
}

/// An installed view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewEvent {
    /// The group; `None` for the cluster view.
    pub scope: Option<GroupScope>,
    /// Its name.
    pub view: ViewId,
    /// Whether it has a quorum.
    pub primary: bool,
    /// Who is in it, sorted; writers of long traces share it. Nobody: the handle is out.
    pub members: Arc<[Member]>,
    /// Who came along from the same previous view, sorted, if it was written.
    pub transitional: Option<Vec<Member>>,
    /// Who is new.
    pub joined: Option<Vec<Change>>,
    /// Who is gone.
    pub left: Option<Vec<Change>>,
}

/// A message that was sent or delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEvent {
    /// The group and the handle that sent, or received.
    pub scope: GroupScope,
    /// The view that it was sent or delivered in; a `send` may lack it.
    pub view: Option<ViewId>,
    /// Who sent it.
    pub sender: Member,
    /// The sender's number of it.
    pub sequence: u64,
    /// The order it was sent with.
    pub order: Order,
    /// Bytes of payload.
    pub length: u64,
    /// FNV-1a of the payload.
    pub hash: u64,
}

/// A fact that the author of a test adds: what must have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// L1: from `since + bound` until the time of this event all `members` hold one view with
    /// exactly these members, in the group or, without one, in the cluster.
    Together {
        /// The group; `None` for the cluster.
        group: Option<Arc<str>>,
        /// Who must be together.
        members: Vec<Member>,
        /// When the disturbance ended.
        since: u64,
        /// Nanoseconds allowed.
        bound: u64,
    },
    /// L5: nobody who is alive at `since + bound` still has one of `members` in its cluster view.
    Gone {
        /// Who crashed at `since`, all at once.
        members: Vec<Member>,
        /// When they crashed.
        since: u64,
        /// Nanoseconds allowed.
        bound: u64,
        /// Whether they must all be missing in the same view for the first time.
        at_once: bool,
    },
    /// L6: none of `members` was put out of a cluster view, or began a new incarnation, since then.
    Kept {
        /// Who was up and connected to all but a few.
        members: Vec<Member>,
        /// Since when.
        since: u64,
    },
    /// L7: the node accused none of `members` from `since` to `since + bound`.
    Unaccused {
        /// The node that had stood still until `since`.
        by: u16,
        /// Who was up and connected to it.
        members: Vec<Member>,
        /// When it went on.
        since: u64,
        /// Nanoseconds in which it would conclude from what it missed.
        bound: u64,
    },
    /// L8: each of `members` sent a message between `since` and `since + bound`.
    Sending {
        /// The group.
        group: Arc<str>,
        /// Who had something to send, in a settled view.
        members: Vec<Member>,
        /// Since when.
        since: u64,
        /// Nanoseconds allowed.
        bound: u64,
    },
    /// A1: each of `members` was told by `since + bound` that an administrator has put it out.
    Out {
        /// Who was evicted at `since`.
        members: Vec<Member>,
        /// When that was asked for.
        since: u64,
        /// Nanoseconds allowed.
        bound: u64,
    },
    /// L9: so many different cluster views were installed since then, and no more.
    Steady {
        /// Since when.
        since: u64,
        /// How many views a steady fault may cost.
        views: u64,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A node starts, or goes on under a new incarnation.
    Start,
    /// A view was installed.
    View(ViewEvent),
    /// A message became part of a view.
    Send(MessageEvent),
    /// A message was given to a member.
    Deliver(MessageEvent),
    /// A message is known to be at every member.
    Safe(MessageEvent),
    /// A watched node is silent.
    Suspect {
        /// Which.
        subject: u16,
    },
    /// A silent node was reported to the coordinators.
    Accuse {
        /// Which.
        subject: u16,
    },
    /// A view change has begun.
    Block {
        /// For which handle; `None`: the cluster.
        scope: Option<GroupScope>,
    },
    /// A node or a handle leaves.
    Leave {
        /// Which handle; `None`: the whole node.
        scope: Option<GroupScope>,
        /// `false`: it has asked to; `true`: leaving has returned, nothing may follow.
        done: bool,
    },
    /// The node was asked to put a member out, and has not refused.
    Evict {
        /// Which.
        subject: Member,
    },
    /// The node was told that an administrator has put it out.
    Evicted,
    /// The node was told that views are pinned.
    Pin,
    /// The node was told that views are not pinned any more.
    Unpin,
    /// A handler on this node is to fence failed nodes from now on.
    Guard,
    /// The handler on this node has fenced a failed node, or its time is over.
    Fenced {
        /// Which.
        subject: Member,
    },
    /// This incarnation of the node ends in order.
    Stop,
    /// This incarnation of the node ends without a word.
    Crash,
    /// Not something that happened, but that must have.
    Expect(Expectation),
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Nanoseconds of one monotonic clock.
    pub t: u64,
    /// The node that wrote it; 0 for expectations.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// What happened.
    pub kind: EventKind,
}
