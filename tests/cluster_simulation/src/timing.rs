// SPDX-License-Identifier: GPL-2.0

//! The time that detections and view changes may take, computed from a configuration. Tests allow twice these bounds.

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use kcgcs_protocol::protocol::limits::{GOSSIP_ENTRIES_MAX, REJOIN_PAUSE_ROUNDS_MAX};

/// A millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
/// A second in nanoseconds.
pub const SECOND: u64 = 1_000 * MS;

/// From a crash to the accusation by a monitor: the missed heartbeats, the slack, and the probes. With gossip the
/// counter of the dead node must stand still for a while after its last value has arrived.
pub fn detection_ns(configuration: &Configuration) -> u64 {
    let silence = match configuration.detector {
        DetectorKind::Ring => {
            let misses = u64::from(configuration.window_misses);
            let missed = misses * u64::from(configuration.heartbeat_interval_ms);
            (missed + u64::from(configuration.heartbeat_slack_ms)) * MS
        }
        DetectorKind::Gossip => 2 * gossip_silence_ns(configuration),
    };
    let probes = u64::from(configuration.probe_count) * u64::from(configuration.probe_interval_ms);
    silence + probes * MS
}

/// The time for which a gossip counter may stand still in a cluster of `expected_nodes`.
fn gossip_silence_ns(configuration: &Configuration) -> u64 {
    let nodes = u64::from(configuration.expected_nodes);
    assert!(nodes > 0, "the number of nodes is not set");
    let doublings = u64::from((nodes - 1).checked_ilog2().map_or(0, |log| log + 1));
    let parts = nodes.div_ceil(GOSSIP_ENTRIES_MAX as u64);
    let interval = u64::from(configuration.heartbeat_interval_ms) * MS;
    let round = interval / u64::from(configuration.rings);
    (doublings + 12) * parts * round + u64::from(configuration.heartbeat_slack_ms) * MS
}

/// The time for which a node may receive nothing before it stops sending.
pub fn deafness_ns(configuration: &Configuration) -> u64 {
    let takeovers = u64::from(configuration.coordinators) + 2;
    let takeover = takeovers * u64::from(configuration.takeover_ms) * MS;
    detection_ns(configuration) + u64::from(configuration.confirmation_timeout_ms) * MS + takeover
}

/// The time for which a fault may have effects after its end: three seconds, or two detections if these take longer.
pub fn aftermath_ns(configuration: &Configuration) -> u64 {
    (3 * SECOND).max(2 * detection_ns(configuration))
}

/// From the end of a network fault until it causes no more accusations: unanswered probes have been counted, and
/// accusations confirmed or taken back.
pub fn conclusion_ns(configuration: &Configuration) -> u64 {
    let confirmation = u64::from(configuration.confirmation_timeout_ms) * MS;
    let retransmission = 8 * u64::from(configuration.retransmit_ms) * MS;
    detection_ns(configuration) + confirmation + retransmission
}

/// From the crash of one node that is no coordinator to the view without it at all nodes, without losses and with
/// one-way delays of at most `delay_ns`: detection, batching, and the rounds of the view change.
pub fn crash_to_view_ns(configuration: &Configuration, delay_ns: u64) -> u64 {
    detection_ns(configuration) + u64::from(configuration.batching_ms) * MS + 8 * delay_ns
}

/// As [`crash_to_view_ns`], if monitors and `coordinators` coordinators are among the nodes that crash at once: the
/// others wait for the monitors' confirmations, and for each dead coordinator in turn.
pub fn many_crash_to_view_ns(
    configuration: &Configuration,
    delay_ns: u64,
    coordinators: u64,
) -> u64 {
    crash_to_view_ns(configuration, delay_ns)
        + u64::from(configuration.confirmation_timeout_ms) * MS
        + (coordinators + 1) * u64::from(configuration.takeover_ms) * MS
        + 8 * u64::from(configuration.retransmit_ms) * MS
}

/// From an eviction to the view without the node at all nodes, if all reach each other. Another node proposes the view
/// if the evicted one would be the proposer.
pub fn evict_to_view_ns(configuration: &Configuration, delay_ns: u64) -> u64 {
    let takeovers = 2 * u64::from(configuration.takeover_ms);
    let retransmissions = 8 * u64::from(configuration.retransmit_ms);
    let batching = u64::from(configuration.batching_ms);
    (batching + takeovers + retransmissions) * MS + 8 * delay_ns
}

/// From the end of all faults to one view of all nodes. Nodes without a quorum give their view up, and all look for the
/// cluster. That takes a few rounds, each of which may need a view change that begins with a detection. A node that was
/// excluded several times waits before it looks again.
pub fn convergence_ns(configuration: &Configuration, nodes: usize) -> u64 {
    let blocked = u64::from(configuration.blocked_timeout_ms) * MS;
    let rounds = 8 * u64::from(configuration.formation_ms) * MS;
    let changes =
        4 * many_crash_to_view_ns(configuration, MS, u64::from(configuration.coordinators));
    let pause = REJOIN_PAUSE_ROUNDS_MAX * u64::from(configuration.formation_ms) * MS;
    pause + blocked + rounds + changes + nodes as u64 * 10 * MS
}
