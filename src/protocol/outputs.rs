// SPDX-License-Identifier: GPL-2.0

//! What leaves a node: datagrams to send, events to tell, deadlines to be woken at.
//!
//! The shell polls them until they are empty after every input (see [`super::node::Node`]).

use super::group_view::SharedGroupView;
use super::identity::{EndpointId, Identity, MemberId, NodeId, PeerAddress, ViewNumber};
pub use super::view::ChangeReason;
use crate::platform::{BoundedVec, Shared};

/// A datagram to be sent; its bytes were written to the buffer that the caller lent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: PeerAddress,
    /// How many bytes of the buffer are the datagram.
    pub length: usize,
}

/// Why the node wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineReason {
    /// Look for a cluster again, or form one.
    Formation,
    /// Changes were collected long enough: propose them.
    Batching,
    /// Somebody has not answered a message of the membership protocol.
    MembershipRetransmit,
    /// The coordinator before this one has not acted.
    Takeover,
    /// An accusation was neither confirmed nor contradicted.
    Confirmation,
    /// The quorum counts as lost from then on, or the view without one is given up.
    Blocked,
    /// Views are pinned until then, or that is to be told again.
    Pinned,
    /// A group waits for an answer, or owes one.
    Group,
}

/// The bytes of one message.
pub type Payload = Shared<BoundedVec<u8>>;

/// How messages of a group are ordered. `Fifo` and `Causal` are carried out as `Agreed`, which is
/// stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Messages of one sender in the order they were sent.
    Fifo,
    /// A message after all that its sender had delivered.
    Causal,
    /// One order for all messages, the same at every member.
    Agreed,
}

/// Why a cluster does not let a node in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Another node that is alive has this number, at another address.
    DuplicateNodeId,
    /// The heartbeat interval differs.
    HeartbeatInterval,
    /// The number of rings differs.
    Rings,
    /// The number of confirmations differs.
    Confirmations,
    /// The number of coordinators differs.
    Coordinators,
    /// What becomes of two equal halves differs.
    EvenSplit,
    /// Whether parts without a quorum go on differs.
    Partitionable,
    /// The view is full.
    ViewFull,
    /// The other one finds silence out in another way.
    Detector,
}

/// Something that happened, in the order it happened.
#[derive(Debug)]
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub enum Event {
    /// A cluster view was installed: `Node::view` has the members.
    /// For each change an [`Event::ViewChange`] precedes it.
    ClusterView {
        /// The view's number.
        number: ViewNumber,
    },
    /// One difference between the last view and the one whose [`Event::ClusterView`] follows.
    ViewChange {
        /// Who came or went.
        subject: Identity,
        /// Why.
        reason: ChangeReason,
    },
    /// This node hears nothing of a node that it watches, and probes it.
    Suspected {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A suspected node was heard again.
    Unsuspected {
        /// The node.
        subject: Identity,
    },
    /// Probes were not answered either: this node accuses the silent one before the coordinators.
    Accused {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since it was last heard.
        silence_ms: u64,
    },
    /// A node that this one accuses is heard by another member: the link from it to this node does not
    /// work, and it stays.
    Contradicted {
        /// The node that is not heard here.
        subject: Identity,
        /// Who hears it.
        by: Identity,
    },
    /// A coordinator (maybe this one) asks for the next view; groups stop sending until it is there.
    Prepare {
        /// Number of the view to come.
        number: ViewNumber,
    },
    /// This node sees no quorum of its view: sends are refused until it does.
    QuorumLost,
    /// The quorum is back.
    QuorumRegained,
    /// The cluster went on without this node. It has no view any more, its incarnation is the new
    /// one given here, and it looks for the cluster again. All its group members got an empty view.
    Excluded {
        /// The number of a view that does not have this node.
        later_view: ViewNumber,
        /// The incarnation that the node goes on under.
        incarnation: u64,
    },
    /// The handler of this node's fence gate is to see to it that a failed node can do no harm any more;
    /// `Node::answer_fence` is wanted. Told again a while after it has failed.
    FenceWanted {
        /// The failed node.
        subject: Identity,
    },
    /// The handler did not do so in time: the view goes on without that.
    FenceTimedOut {
        /// The failed node.
        subject: Identity,
    },
    /// The view change waits for the handler of another node.
    FenceAwaited {
        /// The failed node.
        subject: Identity,
        /// Whose handler it is.
        by: Identity,
    },
    /// An administrator has put this node out: it is gone, as after [`Event::Left`], until it is started
    /// anew. All its group members got an empty view.
    Evicted {
        /// The number of the view that does not have this node.
        later_view: ViewNumber,
    },
    /// No view is agreed on for a while: an administrator works on the cluster. Told again when that is
    /// prolonged or shortened.
    Pinned {
        /// The node at which that was said.
        by: NodeId,
        /// For how many milliseconds from now on.
        span_ms: u64,
    },
    /// Views are agreed on again.
    Unpinned,
    /// The cluster does not let this node in.
    Refused {
        /// Who said so.
        by: PeerAddress,
        /// Why.
        reason: RefusalReason,
    },
    /// This node has refused another one that wanted to join.
    RefusedOther {
        /// Who was refused.
        subject: Identity,
        /// Where it is.
        address: PeerAddress,
        /// Why.
        reason: RefusalReason,
    },
    /// The cluster has let this node go, or there was nobody to ask: it may be stopped.
    Left,
    /// A view of a group for one member on this node. No members: the member is out, for good if
    /// [`Event::GroupClosed`] follows, else until it has joined again by itself.
    GroupView {
        /// Whose callback to call.
        endpoint: EndpointId,
        /// The view.
        view: SharedGroupView,
    },
    /// The group's view is about to change: what is submitted from now on belongs to the next one.
    Block {
        /// Whose callback to call.
        endpoint: EndpointId,
    },
    /// A message for one member on this node.
    Deliver {
        /// Whose callback to call.
        endpoint: EndpointId,
        /// Who sent it.
        sender: MemberId,
        /// The sender's number of the message, from 1.
        sequence: u64,
        /// The order it was sent with.
        order: Order,
        /// The number of the group view it was sent and is delivered in.
        view: ViewNumber,
        /// The bytes.
        payload: Payload,
    },
    /// A submitted message has become part of a view and was sent.
    Sent {
        /// Who sent it.
        endpoint: EndpointId,
        /// Its number, from 1.
        sequence: u64,
        /// The order it was sent with.
        order: Order,
        /// The number of the group view it belongs to.
        view: ViewNumber,
        /// The bytes.
        payload: Payload,
    },
    /// There is room again after [`super::errors::CommandError::WindowFull`].
    Writable {
        /// Whose callback to call.
        endpoint: EndpointId,
    },
    /// The member has left; nothing follows for this endpoint.
    GroupLeft {
        /// Who left.
        endpoint: EndpointId,
    },
    /// The member was put out by force (the node stops): nothing follows for this endpoint.
    GroupClosed {
        /// Who is out.
        endpoint: EndpointId,
    },
}
