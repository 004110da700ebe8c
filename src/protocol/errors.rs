// SPDX-License-Identifier: GPL-2.0

//! Errors of the protocol, and the counters of what was dropped.
//!
//! An error never leaves half a change behind: each says that nothing changed, or what did.

use crate::platform::OutOfMemory;

/// Why a command was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Memory could not be had.
    OutOfMemory,
    /// A limit of `limits.rs` is reached: endpoints or groups of this node.
    LimitReached,
    /// No such endpoint, or it is leaving.
    NoSuchEndpoint,
    /// The message is empty of room: too many bytes wait already; `Event::Writable` follows.
    WindowFull,
    /// The message is longer than `MESSAGE_BYTES_MAX`.
    MessageTooLong,
    /// The node has no view, or one without a quorum.
    NoQuorum,
    /// That node is not in the view, or is this one.
    NoSuchMember,
    /// The node is stopping, or a broken invariant has stopped it.
    Stopped,
}

impl From<OutOfMemory> for CommandError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// How many there are.
            pub const COUNT: usize = [$($name::$variant,)*].len();
            /// All of them, in the order of their numbers.
            pub const ALL: [$name; Self::COUNT] = [$($name::$variant,)*];

            /// The name that operators see.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

counters! {
    /// What a node counts. Each refused datagram is counted under exactly one name.
    pub enum Counter {
        /// Datagrams handed to the network, heartbeats and probes included.
        DatagramsSent = "datagrams_sent",
        /// Bytes of UDP payload handed to the network.
        BytesSent = "bytes_sent",
        /// Datagrams that came in.
        DatagramsReceived = "datagrams_received",
        /// Heartbeats sent.
        HeartbeatsSent = "heartbeats_sent",
        /// Heartbeats not sent, since this node hears nobody.
        HeartbeatsWithheld = "heartbeats_withheld",
        /// Heartbeats that counted.
        HeartbeatsReceived = "heartbeats_received",
        /// Probes sent.
        ProbesSent = "probes_sent",
        /// Probes answered.
        ProbesAnswered = "probes_answered",
        /// Shorter than a header, or than its kind.
        DroppedShort = "dropped_short",
        /// The length in the header is not the length that came.
        DroppedLength = "dropped_length",
        /// Not our magic number.
        DroppedMagic = "dropped_magic",
        /// A version this node does not speak.
        DroppedVersion = "dropped_version",
        /// Another cluster's.
        DroppedCluster = "dropped_cluster",
        /// An unknown kind.
        DroppedKind = "dropped_kind",
        /// A count in the datagram is over its limit or does not fit its length.
        DroppedCount = "dropped_count",
        /// A value that cannot be (node 0, an unknown reason).
        DroppedValue = "dropped_value",
        /// Claims to come from this node.
        DroppedFromSelf = "dropped_from_self",
        /// From a node that is not in the view.
        DroppedNonMember = "dropped_non_member",
        /// From an earlier incarnation of a node.
        DroppedStaleIncarnation = "dropped_stale_incarnation",
        /// From another address than the member's.
        DroppedWrongAddress = "dropped_wrong_address",
        /// Belongs to another view.
        DroppedOtherView = "dropped_other_view",
        /// A copy of a datagram that came before, or older than the window of copies.
        DroppedDuplicate = "dropped_duplicate",
        /// A heartbeat of a member that this node does not watch.
        DroppedUnwatched = "dropped_unwatched",
        /// Valid, but not awaited in the present state.
        DroppedUnexpected = "dropped_unexpected",
        /// No room: a queue, a table or memory.
        DroppedNoRoom = "dropped_no_room",
        /// A datagram that could not be sent because the transmit queue was full.
        TransmitQueueFull = "transmit_queue_full",
        /// Times that the heartbeat timer was late by more than the slack.
        TimerLate = "timer_late",
        /// Suspicions raised.
        Suspicions = "suspicions",
        /// Accusations made.
        Accusations = "accusations",
        /// Views installed.
        ViewsInstalled = "views_installed",
        /// Messages of groups delivered to members on this node.
        MessagesDelivered = "messages_delivered",
        /// Messages of groups sent by members on this node.
        MessagesSent = "messages_sent",
        /// Ordered entries sent again.
        EntriesResent = "entries_resent",
    }
}

impl Counter {
    /// Whether a datagram counted under this name could not be read.
    pub const fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::DroppedShort | Self::DroppedLength | Self::DroppedCount | Self::DroppedValue
        )
    }
}

/// The counts of one node. They wrap around.
#[derive(Clone, Copy, Debug)]
pub struct Counters([u64; Counter::COUNT]);

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self([0; Counter::COUNT])
    }

    /// Counts one.
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts several.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value = value.wrapping_add(amount);
        }
    }

    /// The present count.
    pub fn value(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Adds all counts of `other`.
    pub fn add_all(&mut self, other: &Counters) {
        for (value, more) in self.0.iter_mut().zip(other.0.iter()) {
            *value = value.wrapping_add(*more);
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(any(test, all(CONFIG_KUNIT = "y", kcgcs_kunit)))]
#[cfg_attr(CONFIG_KUNIT = "y", kernel::macros::kunit_tests(kcgcs_errors))]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_a_name_of_its_own() {
        for (number, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, number);
            let same = Counter::ALL
                .iter()
                .filter(|other| other.name() == counter.name())
                .count();
            assert_eq!(same, 1);
        }
    }

    #[test]
    fn counts_wrap_around() {
        let mut counters = Counters::new();
        counters.add(Counter::BytesSent, u64::MAX);
        counters.count(Counter::BytesSent);
        assert_eq!(counters.value(Counter::BytesSent), 0);
        counters.add(Counter::BytesSent, u64::MAX);
        let mut sum = counters;
        sum.add_all(&counters);
        assert_eq!(sum.value(Counter::BytesSent), u64::MAX - 1);
    }

    #[test]
    fn counts_of_two_are_added_name_by_name() {
        let (mut one, mut other) = (Counters::new(), Counters::default());
        for counter in Counter::ALL {
            one.add(counter, counter as u64);
            other.count(counter);
        }
        one.add_all(&other);
        for counter in Counter::ALL {
            assert_eq!(one.value(counter), counter as u64 + 1);
        }
    }
}
