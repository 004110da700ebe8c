// SPDX-License-Identifier: GPL-2.0

//! The events of a trace as Rust types. [`crate::line`] has their form in JSON.

use std::fmt;
use std::sync::Arc;

/// One incarnation of a member. Members of the cluster have endpoint 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: u16,
    /// The handle on that node, or 0 for the node itself.
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

/// The identity of a view within its group or within the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId {
    /// The number, which grows with each view.
    pub number: u64,
    /// The node that issued the view.
    pub coordinator: u16,
}

impl fmt::Debug for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.number, self.coordinator)
    }
}

/// Why a member joined or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asked to join.
    Join,
    /// It asked to leave.
    Leave,
    /// The failure detector found it failed.
    Failed,
    /// An administrator evicted it.
    Evicted,
    /// It came with another component of the cluster.
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

    /// The reason that `word` stands for, if there is one.
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

/// A member that joined or left. The line may lack the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The member.
    pub member: Member,
    /// Why it joined or left.
    pub reason: Option<Reason>,
}

/// The delivery order that the sender asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// FIFO: the messages of one sender in the order of sending.
    Fifo,
    /// Causal: a message after all messages that its sender had sent or delivered before it.
    Causal,
    /// Agreed: all members deliver in one total order.
    Agreed,
    /// Safe: agreed, and delivered only when every member has the message.
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

    /// The order that `word` stands for, if there is one. Upper and lower case are the same.
    pub fn from_word(word: &str) -> Option<Self> {
        [Order::Fifo, Order::Causal, Order::Agreed, Order::Safe]
            .into_iter()
            .find(|order| order.word().eq_ignore_ascii_case(word))
    }
}

/// The group and the handle that an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupScope {
    /// The group's name.
    pub group: Arc<str>,
    /// The handle on the node that wrote the event. If the line lacks it, the checker assumes that the node has one
    /// handle in the group at a time.
    pub endpoint: Option<u32>,
}

/// An installed view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewEvent {
    /// The group, or `None` for a cluster view.
    pub scope: Option<GroupScope>,
    /// The view's identity.
    pub view: ViewId,
    /// Whether the view has a quorum.
    pub primary: bool,
    /// The members, sorted. An empty list tells the handle that it is excluded. Events of a long trace share lists.
    pub members: Arc<[Member]>,
    /// The transitional set: members that came from the same previous view, sorted. The line may lack it.
    pub transitional: Option<Vec<Member>>,
    /// Members that are new in this view. The line may lack them.
    pub joined: Option<Vec<Change>>,
    /// Members of the previous view that are no longer in this one. The line may lack them.
    pub left: Option<Vec<Change>>,
    /// Whether the group asked for sending view delivery when it was created. False if the line does not say.
    pub sending_view: bool,
    /// With an empty list of members: how many of the messages that the handle had accepted were lost. The line may lack
    /// it, and then nothing is known of them.
    pub lost: Option<u64>,
}

/// A message that was sent or delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEvent {
    /// The group, and the handle that sent or received the message.
    pub scope: GroupScope,
    /// The view in which the message was sent or delivered. A `send` may lack it.
    pub view: Option<ViewId>,
    /// With a `send`: the view that the sender had been shown when it called. The line may lack it.
    pub call_view: Option<ViewId>,
    /// The sender.
    pub sender: Member,
    /// The number that the sender gave the message.
    pub sequence: u64,
    /// The delivery order.
    pub order: Order,
    /// The length of the payload in bytes.
    pub length: u64,
    /// The FNV-1a hash of the payload.
    pub hash: u64,
}

/// What a test requires to have happened. The test adds it to the trace; no node writes it.
///
/// `since` is a time of the trace, and `bound` a span after it; both are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// L1: all `members` share one view with exactly these members, from `since + bound` to the time of this event.
    Together {
        /// The group, or `None` for the cluster.
        group: Option<Arc<str>>,
        /// The members that must share the view.
        members: Vec<Member>,
        /// When the last disturbance ended.
        since: u64,
        /// The time allowed.
        bound: u64,
    },
    /// L5: no node that is alive at `since + bound` still has one of `members` in its cluster view.
    Gone {
        /// The members that crashed.
        members: Vec<Member>,
        /// When they crashed.
        since: u64,
        /// The time allowed.
        bound: u64,
        /// Whether one view change must remove all of them.
        at_once: bool,
    },
    /// L6: since then no cluster view excluded one of `members`, and none of them began a new incarnation.
    Kept {
        /// The members that were up and connected to all but a few nodes.
        members: Vec<Member>,
        /// The beginning of that time.
        since: u64,
    },
    /// L7: node `by` accused none of `members` from `since` to `since + bound`.
    Unaccused {
        /// The node that had been stalled until `since`.
        by: u16,
        /// The members that were up and connected to it.
        members: Vec<Member>,
        /// When the node went on.
        since: u64,
        /// The time in which it might still take its own stall for the silence of others.
        bound: u64,
    },
    /// L8: each of `members` sent a message between `since` and `since + bound`.
    Sending {
        /// The group.
        group: Arc<str>,
        /// The members that had something to send, in a settled view.
        members: Vec<Member>,
        /// The beginning of that time.
        since: u64,
        /// The time allowed.
        bound: u64,
    },
    /// A1: by `since + bound` each of `members` learned that an administrator had evicted it.
    Out {
        /// The evicted members.
        members: Vec<Member>,
        /// When the administrator asked for the eviction.
        since: u64,
        /// The time allowed.
        bound: u64,
    },
    /// L9: nodes installed at most `views` different cluster views since then.
    Steady {
        /// The beginning of that time.
        since: u64,
        /// The number of views that a steady fault may cost.
        views: u64,
    },
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The node starts, or goes on under a new incarnation.
    Start,
    /// The node or the handle installed a view.
    View(ViewEvent),
    /// The handle sent a message, which became part of a view.
    Send(MessageEvent),
    /// The handle received a message.
    Deliver(MessageEvent),
    /// The handle learned that every member has the message.
    Safe(MessageEvent),
    /// The node suspects a node that it monitors.
    Suspect {
        /// The other node.
        subject: u16,
    },
    /// The node reports a suspected node to the coordinators.
    Accuse {
        /// The other node.
        subject: u16,
    },
    /// A view change begins.
    Block {
        /// The group and the handle, or `None` for the cluster.
        scope: Option<GroupScope>,
    },
    /// The node or the handle leaves.
    Leave {
        /// The group and the handle, or `None` if the node leaves the cluster.
        scope: Option<GroupScope>,
        /// `false` when it asks to leave, `true` when leaving has returned. Nothing may follow then.
        done: bool,
        /// When leaving has returned: how many of the messages that the handle had accepted were lost. The line may lack
        /// it, and then nothing is known of them.
        lost: Option<u64>,
    },
    /// An administrator asked the node to evict a member, and the node accepted.
    Evict {
        /// The other member.
        subject: Member,
    },
    /// The node learned that an administrator evicted it.
    Evicted,
    /// The node learned that views are pinned.
    Pin,
    /// The node learned that views are no longer pinned.
    Unpin,
    /// A fence handler was registered on this node: from now on it fences failed nodes.
    Guard,
    /// The fence handler on this node fenced a failed node, or its time ran out.
    Fenced {
        /// The other member.
        subject: Member,
    },
    /// This incarnation of the node ends in an orderly way.
    Stop,
    /// This incarnation of the node crashes.
    Crash,
    /// What a test requires.
    Expect(Expectation),
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// The time in nanoseconds. All nodes of a trace share one monotonic clock.
    pub t: u64,
    /// The node that wrote the line, or 0 for an expectation.
    pub node: u16,
    /// The incarnation of that node.
    pub incarnation: u64,
    /// What the event says.
    pub kind: EventKind,
}
