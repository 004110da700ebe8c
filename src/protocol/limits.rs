// SPDX-License-Identifier: GPL-2.0

//! Every maximum of the protocol, with the relations between them.

/// Nodes in a cluster view. The exploration has three nodes and copies them by the million.
pub const NODES_MAX: usize = if cfg!(kcgcs_exploration) { 64 } else { 1024 };
/// Addresses in the list of peers.
pub const PEERS_MAX: usize = 1024;
/// Rings on which the nodes of a view are placed.
pub const RINGS_MAX: usize = 8;
/// Nodes that one node monitors, or sends heartbeats to: one for each ring.
pub const MONITORED_MAX: usize = RINGS_MAX;
/// Buckets of a histogram of delays; the last one counts all from 4.2 seconds on.
pub const DELAY_BUCKETS: usize = 24;
/// Coordinators of a view.
pub const COORDINATORS_MAX: usize = 9;

/// Bytes of the fixed header of every datagram.
pub const HEADER_BYTES: usize = 56;
/// Bytes of UDP payload of a heartbeat, a probe or a probe reply.
pub const HEARTBEAT_BYTES: usize = 64;
/// Counters in one datagram of gossip; those of a larger view are sent in parts.
pub const GOSSIP_ENTRIES_MAX: usize = 256;
/// Bytes of UDP payload of any datagram of the failure detector: the largest gossip. The soft interrupt has a buffer of
/// this size on its stack.
pub const DETECTOR_BYTES_MAX: usize = HEADER_BYTES + 8 + GOSSIP_ENTRIES_MAX * 4;
/// Bytes of UDP payload of any datagram. With IPv6 and UDP headers it fits an Ethernet frame.
pub const DATAGRAM_BYTES_MAX: usize = 1400;

/// Entries (changes, members) in one part of a proposal or of a whole view.
pub const PART_ENTRIES_MAX: usize = 32;
/// Parts of a proposal: a view that replaces every node.
pub const PARTS_MAX: usize = 2 * NODES_MAX / PART_ENTRIES_MAX;
/// Nodes of which a node remembers that it lately sent them the news of a later view.
pub const REMINDERS_MAX: usize = 16;
/// Rounds of the search for a cluster that a node waits at most, if it was excluded several times.
pub const REJOIN_PAUSE_ROUNDS_MAX: u64 = 64;
/// Milliseconds for which a view can be pinned: a day.
pub const PIN_SPAN_MS_MAX: u32 = 24 * 60 * 60 * 1000;
/// Departures that a node remembers, for nodes that missed a view.
pub const DEPARTURES_MAX: usize = 256;
/// Departures in one part of a view.
pub const DEPARTURES_IN_PART_MAX: usize = 29;

/// Bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 32;
/// Groups that one node coordinates or has members of.
pub const GROUPS_MAX: usize = 64;
/// Members (handles) on one node, over all groups.
pub const ENDPOINTS_MAX: usize = 64;
/// Members of one group, on all nodes. A whole group view fits a datagram.
pub const GROUP_MEMBERS_MAX: usize = 64;
/// Components of a cluster that merge into one group view. The members of others follow in later views.
pub const TRANSITIONAL_SETS_MAX: usize = 4;
/// Bytes of one multicast message.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;
/// Bytes of payload in one fragment of a message.
pub const FRAGMENT_BYTES_MAX: usize = 1200;
/// Fragments of the largest message.
pub const MESSAGE_FRAGMENTS_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(FRAGMENT_BYTES_MAX);
/// Fragments that one member has sent and that are not ordered yet.
pub const ENDPOINT_WINDOW_FRAGMENTS_MAX: usize = 64;
/// Messages that one member has submitted and its node has not sent yet.
pub const ENDPOINT_PENDING_MESSAGES_MAX: usize = 128;
/// Bytes of all payloads that one member has submitted and that are not ordered yet.
pub const ENDPOINT_PENDING_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Ordered entries of one group that a node keeps for nodes that lack them. (It keeps twice as many, and twice the
/// bytes, while its members come from another component of the cluster.)
pub const GROUP_LOG_ENTRIES_MAX: usize = 1024;
/// Bytes of ordered messages that a node keeps of one group.
pub const GROUP_LOG_BYTES_MAX: usize = 1024 * 1024;
/// Fragments of incomplete messages that a group's coordinator keeps.
pub const GROUP_REASSEMBLY_FRAGMENTS_MAX: usize = 1024;
/// Entries that a group's coordinator sends to a node ahead of its acknowledgement.
pub const GROUP_FLIGHT_ENTRIES_MAX: usize = 512;

/// Bytes of datagrams that wait to be sent: more than one datagram to each node of the largest view.
pub const TRANSMIT_BYTES_MAX: usize = if cfg!(kcgcs_exploration) { 16 } else { 256 } * 1024;
/// Events that wait to be polled.
pub const EVENT_QUEUE_MAX: usize = 4 * NODES_MAX;
/// Of these, the room that only the membership may use: a view that replaces every node.
pub const EVENTS_KEPT_FOR_MEMBERSHIP: usize = 2 * NODES_MAX + 64;

const _: () = assert!(HEADER_BYTES < HEARTBEAT_BYTES);
const _: () =
    assert!(HEARTBEAT_BYTES <= DETECTOR_BYTES_MAX && DETECTOR_BYTES_MAX <= DATAGRAM_BYTES_MAX);
const _: () = assert!(FRAGMENT_BYTES_MAX + HEADER_BYTES + 64 <= DATAGRAM_BYTES_MAX);
const _: () = assert!(MESSAGE_FRAGMENTS_MAX <= ENDPOINT_WINDOW_FRAGMENTS_MAX);
const _: () = assert!(ENDPOINT_WINDOW_FRAGMENTS_MAX * 4 <= GROUP_LOG_ENTRIES_MAX);
// Sets of parts are the bits of a u64.
const _: () = assert!(PARTS_MAX <= 64);
// The largest part of a proposal in a promise, and of a view, fit a datagram.
const _: () =
    assert!(HEADER_BYTES + 32 + 18 + NODES_MAX / 8 + PART_ENTRIES_MAX * 31 <= DATAGRAM_BYTES_MAX);
const _: () = assert!(
    HEADER_BYTES + 28 + DEPARTURES_IN_PART_MAX * 11 + PART_ENTRIES_MAX * 31 <= DATAGRAM_BYTES_MAX
);
// The largest entry of a group's log, its first one in a cluster view, fits a datagram.
const _: () = assert!(
    HEADER_BYTES
        + 8
        + 16
        + 17
        + 13
        + GROUP_MEMBERS_MAX * (16 + 2)
        + TRANSITIONAL_SETS_MAX * 16
        + 33
        <= DATAGRAM_BYTES_MAX
);
const _: () = assert!(EVENTS_KEPT_FOR_MEMBERSHIP < EVENT_QUEUE_MAX);
const _: () = assert!(NODES_MAX <= u16::MAX as usize);
