// SPDX-License-Identifier: GPL-2.0

//! The orders in which messages of a group are delivered.

/// The order in which members deliver the messages of a group. All messages of one sender are delivered in the order in
/// which it sent them, whatever their orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// The messages of one sender in the order in which it sent them.
    Fifo,
    /// A message after all messages that its sender had delivered before it.
    Causal,
    /// All agreed and safe messages in one order, the same at every member.
    Agreed,
    /// As agreed, and only when every member holds the message.
    Safe,
}
