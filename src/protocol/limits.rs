// SPDX-License-Identifier: GPL-2.0

//! Every maximum of the protocol in one place, with the relations between them.

/// Nodes in a cluster view. The exploration copies nodes by the million, and has three of them.
pub const NODES_MAX: usize = if cfg!(kcgcs_exploration) { 64 } else { 1024 };
/// Addresses in the list of peers given at start.
pub const PEERS_MAX: usize = 1024;
/// Rings that a view's nodes are placed on.
pub const RINGS_MAX: usize = 8;
/// Nodes that one node watches, or sends heartbeats to: one for each ring.
pub const WATCHED_MAX: usize = RINGS_MAX;
/// Buckets of a histogram of delays: the last one has all from 4.2 seconds on.
pub const DELAY_BUCKETS: usize = 24;
/// Coordinators of a view.
pub const COORDINATORS_MAX: usize = 9;

/// Bytes of the fixed header of every datagram.
pub const HEADER_BYTES: usize = 56;
/// Bytes of UDP payload of a heartbeat, a probe or an answer to a probe.
pub const HEARTBEAT_BYTES: usize = 64;
/// Counters in one datagram of gossip; a larger view is told in parts.
pub const GOSSIP_ENTRIES_MAX: usize = 256;
/// Bytes of UDP payload of any datagram of the failure detector's: the largest gossip. The soft interrupt has it on its stack.
pub const DETECTOR_BYTES_MAX: usize = HEADER_BYTES + 8 + GOSSIP_ENTRIES_MAX * 4;
/// Bytes of UDP payload of any datagram: with IPv6 and UDP headers it fits an Ethernet frame.
pub const DATAGRAM_BYTES_MAX: usize = 1400;

/// Entries (changes, members) in one part of a proposal or of a whole view.
pub const PART_ENTRIES_MAX: usize = 32;
/// Parts of a proposal: a view in which every node is another one.
pub const PARTS_MAX: usize = 2 * NODES_MAX / PART_ENTRIES_MAX;
/// Nodes that a node remembers to have told lately that there is a later view.
pub const REMINDERS_MAX: usize = 16;
/// Rounds of the search for a cluster that a node waits at most, if it was put out several times.
pub const REJOIN_PAUSE_ROUNDS_MAX: u64 = 64;
/// Milliseconds that views can be pinned for: a day.
pub const PIN_SPAN_MS_MAX: u32 = 24 * 60 * 60 * 1000;
/// Departures that a node remembers to tell nodes that missed a view.
pub const DEPARTURES_MAX: usize = 256;
/// Of these, how many each part of a view carries.
pub const DEPARTURES_IN_PART_MAX: usize = 29;

/// Bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 32;
/// Groups that one node orders or has members of.
pub const GROUPS_MAX: usize = 64;
/// Members (handles) on one node, over all groups.
pub const ENDPOINTS_MAX: usize = 64;
/// Members of one group, over all nodes: a whole group view fits a datagram.
pub const GROUP_MEMBERS_MAX: usize = 64;
/// Parts of a cluster from which members come together into one view of their group. More come one after the other.
pub const TRANSITIONAL_SETS_MAX: usize = 4;
/// Bytes of one multicast message.
pub const MESSAGE_BYTES_MAX: usize = 60 * 1024;
/// Bytes of payload in one fragment of a message.
pub const FRAGMENT_BYTES_MAX: usize = 1200;
/// Fragments of the largest message.
pub const MESSAGE_FRAGMENTS_MAX: usize = MESSAGE_BYTES_MAX.div_ceil(FRAGMENT_BYTES_MAX);
/// Fragments of one member that were sent and are not ordered yet.
pub const ENDPOINT_WINDOW_FRAGMENTS_MAX: usize = 64;
/// Messages that one member has submitted and that were not sent yet.
pub const ENDPOINT_PENDING_MESSAGES_MAX: usize = 128;
/// Bytes of all payloads that one member has submitted and that are not ordered yet.
pub const ENDPOINT_PENDING_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Ordered entries of one group that a node keeps for those who miss them. (Twice as many, and bytes, while its members
/// come from another part of the cluster.)
pub const GROUP_LOG_ENTRIES_MAX: usize = 1024;
/// Bytes of ordered messages that a node keeps of one group.
pub const GROUP_LOG_BYTES_MAX: usize = 1024 * 1024;
/// Fragments that a group's coordinator keeps of messages that are not complete yet.
pub const GROUP_REASSEMBLY_FRAGMENTS_MAX: usize = 1024;
/// Entries that may be on their way to one member of a group.
pub const GROUP_FLIGHT_ENTRIES_MAX: usize = 128;

/// Bytes of datagrams that wait to be sent: more than one to each node of the largest view.
pub const TRANSMIT_BYTES_MAX: usize = if cfg!(kcgcs_exploration) { 16 } else { 256 } * 1024;
/// Events that wait to be told.
pub const EVENT_QUEUE_MAX: usize = 4 * NODES_MAX;
/// Of these, the room that only the membership may use: a view in which every node is another one.
pub const EVENTS_KEPT_FOR_MEMBERSHIP: usize = 2 * NODES_MAX + 64;

const _: () = assert!(HEADER_BYTES < HEARTBEAT_BYTES);
const _: () =
    assert!(HEARTBEAT_BYTES <= DETECTOR_BYTES_MAX && DETECTOR_BYTES_MAX <= DATAGRAM_BYTES_MAX);
const _: () = assert!(FRAGMENT_BYTES_MAX + HEADER_BYTES + 64 <= DATAGRAM_BYTES_MAX);
const _: () = assert!(MESSAGE_FRAGMENTS_MAX <= ENDPOINT_WINDOW_FRAGMENTS_MAX);
const _: () = assert!(ENDPOINT_WINDOW_FRAGMENTS_MAX * 4 <= GROUP_LOG_ENTRIES_MAX);
// A set of parts is a set of bits in a u64.
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
