// SPDX-License-Identifier: GPL-2.0

//! How long things may take, computed from a configuration. Tests use twice these bounds.

use kcgcs_protocol::protocol::configuration::{Configuration, DetectorKind};
use kcgcs_protocol::protocol::limits::{GOSSIP_ENTRIES_MAX, REJOIN_PAUSE_ROUNDS_MAX};

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds of a second.
pub const SECOND: u64 = 1_000 * MS;

/// From a crash to the accusation by a watcher: the heartbeats that are missed, the slack, and the
/// probes. With gossip a counter must stand still, after the last news of it has come.
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

/// How long a counter may stand still among as many nodes as are expected.
fn gossip_silence_ns(configuration: &Configuration) -> u64 {
    let nodes = u64::from(configuration.expected_nodes);
    assert!(nodes > 0, "the number of nodes is not set");
    let doublings = u64::from((nodes - 1).checked_ilog2().map_or(0, |log| log + 1));
    let parts = nodes.div_ceil(GOSSIP_ENTRIES_MAX as u64);
    let interval = u64::from(configuration.heartbeat_interval_ms) * MS;
    let round = interval / u64::from(configuration.rings);
    (doublings + 12) * parts * round + u64::from(configuration.heartbeat_slack_ms) * MS
}

/// How long a node may hear nobody before it keeps silent itself.
pub fn deafness_ns(configuration: &Configuration) -> u64 {
    let takeovers = u64::from(configuration.coordinators) + 2;
    let takeover = takeovers * u64::from(configuration.takeover_ms) * MS;
    detection_ns(configuration) + u64::from(configuration.confirmation_timeout_ms) * MS + takeover
}

/// How long what went wrong may still have its effect: three seconds, or where it takes longer to find a
/// crash, two detections.
pub fn aftermath_ns(configuration: &Configuration) -> u64 {
    (3 * SECOND).max(2 * detection_ns(configuration))
}

/// From the end of a fault of the network until nothing is concluded from it any more: probes that were
/// unanswered are counted, and accusations are confirmed or taken back.
pub fn conclusion_ns(configuration: &Configuration) -> u64 {
    let confirmation = u64::from(configuration.confirmation_timeout_ms) * MS;
    let retransmission = 8 * u64::from(configuration.retransmit_ms) * MS;
    detection_ns(configuration) + confirmation + retransmission
}

/// From a crash of one node that coordinates nothing to the view without it, at everybody, with
/// nothing lost and one-way delays of at most `delay_ns`: detection, batching, and the rounds of the
/// view change.
pub fn crash_to_view_ns(configuration: &Configuration, delay_ns: u64) -> u64 {
    detection_ns(configuration) + u64::from(configuration.batching_ms) * MS + 8 * delay_ns
}

/// As above if watchers and `coordinators` coordinators are among those who crash at once: the
/// watchers' confirmations are waited for, and each coordinator's silence is.
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

/// From an eviction to the view without the node, at everybody, if all hear each other: another one proposes
/// it if the node is the one whose turn it is.
pub fn evict_to_view_ns(configuration: &Configuration, delay_ns: u64) -> u64 {
    let takeovers = 2 * u64::from(configuration.takeover_ms);
    let retransmissions = 8 * u64::from(configuration.retransmit_ms);
    let batching = u64::from(configuration.batching_ms);
    (batching + takeovers + retransmissions) * MS + 8 * delay_ns
}

/// From the end of all faults to one view of all nodes: whoever has no quorum gives up, everybody
/// looks for the cluster, which takes a few rounds, and each round may need a view change that
/// begins with a detection. Who was put out several times waits before it
/// looks again.
pub fn convergence_ns(configuration: &Configuration, nodes: usize) -> u64 {
    let blocked = u64::from(configuration.blocked_timeout_ms) * MS;
    let rounds = 8 * u64::from(configuration.formation_ms) * MS;
    let changes =
        4 * many_crash_to_view_ns(configuration, MS, u64::from(configuration.coordinators));
    let pause = REJOIN_PAUSE_ROUNDS_MAX * u64::from(configuration.formation_ms) * MS;
    pause + blocked + rounds + changes + nodes as u64 * 10 * MS
}
