// SPDX-License-Identifier: GPL-2.0

//! When an ordered entry may be delivered.
//!
//! A node delivers the entries of a log in their order, each as soon as its *order* allows it:
//!
//! - AGREED, and views: the entry is *released*. That is, for it and every entry before it, the node of that entry's
//!   sender is known to hold the log up to there. The coordinator is the sender of views.
//! - SAFE: all participants are known to hold it. AGREED and SAFE entries behind it wait for it.
//! - FIFO and CAUSAL messages may overtake entries of *other* senders that wait: a FIFO message once the node of its
//!   sender holds the log up to it and all earlier messages of its sender were delivered; a CAUSAL one when also all
//!   was delivered that its sender had delivered when it sent it.
//!
//! # Why released entries may be delivered
//!
//! After a crash the survivors deliver everything that any of them has accepted ([`super::flush`]), up to a position
//! `K`. Suppose that a node that died had delivered an entry `j` behind `K`. It was released, so the node of the sender
//! of `j` held the log up to `j`. No survivor does, so that node is dead. Then no survivor delivers `j`, and nobody
//! sends it again: all that deliver `j` deliver it in the same view (D4), and no survivor delivers something else in
//! its place in this log (O5, O7). The same holds for each entry between `K` and `j`, since each of them was released,
//! too. A message of a sender that lives is never among them, so nothing is delivered in one view by the dead and in
//! another by the living. An entry that overtakes others is covered by the same argument with its own sender alone.
//!
//! With the plain rule of *delivery on receipt* this fails: a coordinator orders a message of S and delivers it together
//! with P, the order is lost on its way to S, and both die. S has to send it again in the next view.
//!
//! # In partitionable clusters
//!
//! Components go on separately and meet again. The members that arrive together from another component have delivered
//! different amounts, and each node completes what the others have delivered from its own log
//! ([`super::component_change`]). This needs that whatever one node has delivered all hold. So there every order waits
//! until all participants hold the entry.

use crate::protocol::outputs::Order;

/// When an entry may be delivered that is not to be safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReleaseRule {
    /// When the nodes of the senders of all entries up to it hold the log up to them.
    SendersHold,
    /// When all participants hold it.
    AllHold,
}

/// Whether a message of this order may be delivered before messages of other senders that were ordered before it.
pub(super) fn may_overtake(order: Order) -> bool {
    matches!(order, Order::Fifo | Order::Causal)
}
