// SPDX-License-Identifier: GPL-2.0

//! Outputs of a node: datagrams to send, events for consumers and operators, deadlines at which to wake it.
//!
//! The shell polls them after every input until they are empty (see [`super::node::Node`]).

use super::group_view::SharedGroupView;
use super::identity::{EndpointId, Identity, MemberId, NodeId, PeerAddress, ViewName, ViewNumber};
pub use super::order::Order;
pub use super::view::ChangeReason;
use crate::platform::{BoundedVec, Shared};

/// A datagram to send; its bytes are in the caller's buffer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The receiver's address.
    pub to: PeerAddress,
    /// The number of bytes of the buffer that are the datagram.
    pub length: usize,
}

/// Why the node asks to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineReason {
    /// Look for a cluster again, or form one.
    Formation,
    /// Propose the changes that were collected.
    Batching,
    /// A node has not answered a message of the membership protocol.
    MembershipRetransmit,
    /// The coordinator before this one has not acted.
    Takeover,
    /// An accusation was neither confirmed nor contradicted in time.
    Confirmation,
    /// The quorum counts as lost from then on, or the node gives up its view without one.
    Blocked,
    /// A pin ends, or its reminder is due.
    Pinned,
    /// A group sends something again, or owes an answer.
    Group,
}

/// The bytes of one message.
pub type Payload = Shared<BoundedVec<u8>>;

/// One of the properties of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProperty {
    /// The order of a message whose sender names none.
    DefaultOrder,
    /// Whether a message is delivered in the view that its sender had been shown.
    SendingView,
    /// What happens to a slow member, and after how long.
    SlowPolicy,
    /// In which cluster views the members may send.
    QuorumMode,
}

/// Why a group does not admit a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRefusal {
    /// The group has another value of this property.
    Property(GroupProperty),
    /// The node that orders the group orders as many groups as it can.
    TooManyGroups,
    /// The group has as many members, or members on as many nodes, as it can.
    TooManyMembers,
    /// Another group whose name has the same hash exists already.
    NameInUse,
}

/// Why a cluster does not admit a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// A node that is alive, at another address, has this number.
    DuplicateNodeId,
    /// The heartbeat interval differs.
    HeartbeatInterval,
    /// The number of rings differs.
    Rings,
    /// The number of confirmations differs.
    Confirmations,
    /// The number of coordinators differs.
    Coordinators,
    /// The setting `even_split` differs.
    EvenSplit,
    /// The setting `partitionable` differs.
    Partitionable,
    /// The view is full.
    ViewFull,
    /// The scheme of the failure detector differs.
    Detector,
}

/// What has happened, in the order in which it did.
#[derive(Debug)]
#[cfg_attr(kcgcs_exploration, derive(Clone))]
pub enum Event {
    /// The node installed a cluster view; `Node::view` has the members. One [`Event::ViewChange`] for each change
    /// precedes it.
    ClusterView {
        /// The view's number.
        number: ViewNumber,
    },
    /// One difference between the last view and the one whose [`Event::ClusterView`] follows.
    ViewChange {
        /// The node that joined or left.
        subject: Identity,
        /// Why.
        reason: ChangeReason,
    },
    /// This node does not hear a node that it monitors, and probes it.
    Suspected {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since this node last heard it.
        silence_ms: u64,
    },
    /// This node hears a suspected node again.
    Unsuspected {
        /// The node.
        subject: Identity,
    },
    /// The silent node did not answer probes either: this node accuses it at the coordinators.
    Accused {
        /// The silent node.
        subject: Identity,
        /// Milliseconds since this node last heard it.
        silence_ms: u64,
    },
    /// Another member hears a node that this one accuses: the link from it to this node does not work, and it stays in
    /// the view.
    Contradicted {
        /// The accused node.
        subject: Identity,
        /// The member that hears it.
        by: Identity,
    },
    /// A coordinator (maybe this node) prepares the next view; groups do not send until it is installed.
    Prepare {
        /// The number of the next view.
        number: ViewNumber,
    },
    /// This node does not hear a quorum of its view: it refuses to send until it does.
    QuorumLost,
    /// This node hears a quorum of its view again.
    QuorumRegained,
    /// The cluster excluded this node. It has no view now; it looks for the cluster again, under the new incarnation
    /// given here. All its group members got
    /// [`Event::GroupExcluded`].
    Excluded {
        /// The number of a view that does not have this node.
        later_view: ViewNumber,
        /// The node's new incarnation.
        incarnation: u64,
    },
    /// The handler of this node's fence gate must fence a failed node, so that it can do no harm any more, and answer
    /// with `Node::answer_fence`. If the handler fails, the event is repeated after a while.
    FenceWanted {
        /// The failed node.
        subject: Identity,
    },
    /// The handler did not fence the node in time: the view change goes on without.
    FenceTimedOut {
        /// The failed node.
        subject: Identity,
    },
    /// The view change waits for the handler of another node.
    FenceAwaited {
        /// The failed node.
        subject: Identity,
        /// The node whose handler it is.
        by: Identity,
    },
    /// An administrator evicted this node. It is gone, as after [`Event::Left`], until it is restarted. All its group
    /// members got an empty view.
    Evicted {
        /// The number of the view that does not have this node.
        later_view: ViewNumber,
    },
    /// The view is pinned: no other is agreed on for a while, since an administrator works on the cluster. Repeated
    /// when the pin is prolonged or shortened.
    Pinned {
        /// The node at which the administrator pinned it.
        by: NodeId,
        /// Milliseconds from now until the pin ends.
        span_ms: u64,
    },
    /// The pin has ended: views are agreed on again.
    Unpinned,
    /// The cluster does not admit this node.
    Refused {
        /// The member that refused it.
        by: PeerAddress,
        /// Why.
        reason: RefusalReason,
    },
    /// This node has refused another node that asked to join.
    RefusedOther {
        /// The node refused.
        subject: Identity,
        /// Its address.
        address: PeerAddress,
        /// Why.
        reason: RefusalReason,
    },
    /// This node has left the cluster, or found no member to ask: it may be stopped.
    Left,
    /// A view of a group for one member on this node, which is in it.
    GroupView {
        /// The endpoint whose callback to call.
        endpoint: EndpointId,
        /// The view.
        view: SharedGroupView,
        /// Messages of the member that were accepted since its last view and are not delivered, as far as this node
        /// knows: the node has a new incarnation.
        lost: u64,
    },
    /// A member on this node is out of its group, until it has rejoined, which it does by itself.
    GroupExcluded {
        /// The endpoint whose callback to call.
        endpoint: EndpointId,
        /// This node in its incarnation until now.
        own: Identity,
        /// The member's accepted messages that are not delivered, as far as this node knows.
        lost: u64,
    },
    /// The group's view is about to change: messages submitted from now on belong to the next one.
    Block {
        /// The endpoint whose callback to call.
        endpoint: EndpointId,
    },
    /// A message for one member on this node.
    Deliver {
        /// The endpoint whose callback to call.
        endpoint: EndpointId,
        /// The member that sent it.
        sender: MemberId,
        /// The sender's number of the message, from 1.
        sequence: u64,
        /// The order that the sender asked for.
        order: Order,
        /// The number of the group view in which it was sent and is delivered.
        view: ViewNumber,
        /// The bytes.
        payload: Payload,
    },
    /// A submitted message now belongs to a view and was sent.
    Sent {
        /// The endpoint that submitted it.
        endpoint: EndpointId,
        /// Its number, from 1.
        sequence: u64,
        /// The order that the sender asked for.
        order: Order,
        /// The number of the group view that it belongs to.
        view: ViewNumber,
        /// The group view that its sender had been shown last when it submitted it.
        call_view: ViewName,
    },
    /// There is room again after [`super::errors::CommandError::WindowFull`].
    Writable {
        /// The endpoint whose callback to call.
        endpoint: EndpointId,
    },
    /// The member has left; no event follows for this endpoint.
    GroupLeft {
        /// The endpoint that left.
        endpoint: EndpointId,
        /// Its accepted messages that are not delivered, as far as this node knows.
        lost: u64,
    },
    /// The group does not admit the member, and never will; no event follows for this endpoint.
    GroupRefused {
        /// The endpoint that asked to join.
        endpoint: EndpointId,
        /// Why.
        reason: GroupRefusal,
    },
    /// The membership was ended by force, since the node stops; no event follows for this endpoint.
    GroupClosed {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its accepted messages that are not delivered, as far as this node knows.
        lost: u64,
    },
}
