// SPDX-License-Identifier: GPL-2.0

//! Why commands are refused, and what a node counts.
//!
//! No error leaves half a change behind.

use crate::platform::OutOfMemory;

/// Why a node refused a command. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Memory could not be allocated.
    OutOfMemory,
    /// The node has as many endpoints or groups as `limits.rs` allows.
    LimitReached,
    /// The node has no such endpoint, or the endpoint is leaving.
    NoSuchEndpoint,
    /// Too many messages or bytes of the endpoint wait already; `Event::Writable` follows when there is room.
    WindowFull,
    /// The message is longer than `MESSAGE_BYTES_MAX`.
    MessageTooLong,
    /// The node has no view, or one without a quorum.
    NoQuorum,
    /// This version cannot do what was asked for: an order, or a property of a group.
    NotSupported,
    /// The node named is not in the view, or is this node itself.
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
            /// The number of counters.
            pub const COUNT: usize = [$($name::$variant,)*].len();
            /// All counters, in the order of their numbers.
            pub const ALL: [$name; Self::COUNT] = [$($name::$variant,)*];

            /// The name under which operators see it.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

counters! {
    /// What a node counts. It counts each datagram that it drops under exactly one name.
    pub enum Counter {
        /// Datagrams handed to the network, heartbeats and probes included.
        DatagramsSent = "datagrams_sent",
        /// Bytes of UDP payload handed to the network.
        BytesSent = "bytes_sent",
        /// Datagrams received.
        DatagramsReceived = "datagrams_received",
        /// Heartbeats sent.
        HeartbeatsSent = "heartbeats_sent",
        /// Heartbeats not sent because this node hears no other.
        HeartbeatsWithheld = "heartbeats_withheld",
        /// Heartbeats received from nodes that this node monitors.
        HeartbeatsReceived = "heartbeats_received",
        /// Probes sent.
        ProbesSent = "probes_sent",
        /// Probes answered.
        ProbesAnswered = "probes_answered",
        /// Dropped: shorter than a header, or than its kind asks for.
        DroppedShort = "dropped_short",
        /// Dropped: its length is not that in its header, or bytes are left behind its message.
        DroppedLength = "dropped_length",
        /// Dropped: without the magic number.
        DroppedMagic = "dropped_magic",
        /// Dropped: of a version that this node does not know.
        DroppedVersion = "dropped_version",
        /// Dropped: from another cluster.
        DroppedCluster = "dropped_cluster",
        /// Dropped: of an unknown kind.
        DroppedKind = "dropped_kind",
        /// Dropped: a count in it is above its limit or does not fit its length.
        DroppedCount = "dropped_count",
        /// Dropped: a value in it is not allowed (node 0, an unknown reason).
        DroppedValue = "dropped_value",
        /// Dropped: claims to come from this node.
        DroppedFromSelf = "dropped_from_self",
        /// Dropped: from a node that is not in the view.
        DroppedNonMember = "dropped_non_member",
        /// Dropped: from an earlier incarnation of a node.
        DroppedStaleIncarnation = "dropped_stale_incarnation",
        /// Dropped: from an address other than the member's.
        DroppedWrongAddress = "dropped_wrong_address",
        /// Dropped: belongs to another view.
        DroppedOtherView = "dropped_other_view",
        /// Dropped: received before, or older than the replay window.
        DroppedDuplicate = "dropped_duplicate",
        /// Dropped: a heartbeat of a member that this node does not monitor.
        DroppedUnwatched = "dropped_unwatched",
        /// Dropped: valid, but not expected in the present state.
        DroppedUnexpected = "dropped_unexpected",
        /// Dropped: a queue or table was full, or memory could not be allocated.
        DroppedNoRoom = "dropped_no_room",
        /// Datagrams not sent because the transmit queue was full.
        TransmitQueueFull = "transmit_queue_full",
        /// How often the heartbeat timer ran late by more than the slack.
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
    /// Whether datagrams are counted under this name because they could not be read.
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
    /// Counts that are all zero.
    pub const fn new() -> Self {
        Self([0; Counter::COUNT])
    }

    /// Count one.
    pub fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Count several.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value = value.wrapping_add(amount);
        }
    }

    /// The present count.
    pub fn value(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Add all counts of `other`.
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
    fn the_counts_of_two_nodes_are_added_name_by_name() {
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
