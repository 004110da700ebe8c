// SPDX-License-Identifier: GPL-2.0

//! A machine with its node.
//!
//! As in the kernel module, each datagram goes to the failure detector first, in the receive soft interrupt. The
//! datagrams that are not for it, its reports and the engine's deadlines wait in a bounded queue until the engine's
//! work item runs.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use kcgcs_protocol::protocol::failure_detector::{DetectorReport, FailureDetector};
use kcgcs_protocol::protocol::identity::{EndpointId, Identity, PeerAddress};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::ChangeReason;
use trace_checker::trace::{Member, ViewId};

use crate::clock::MachineClock;

/// The longest queue of inputs for the engine. Further inputs are dropped.
pub const ENGINE_QUEUE_MAX: usize = 4096;
/// The most wake-ups at one instant that do not count as a busy loop.
const WAKEUPS_AT_ONE_INSTANT_MAX: u32 = 1000;

/// An input that waits for the engine.
pub enum EngineInput {
    /// A datagram that is not for the failure detector.
    Datagram(PeerAddress, Rc<[u8]>),
    /// A report of the failure detector.
    Report(DetectorReport),
    /// The node's deadline.
    Deadline,
}

/// A member of a group on a node.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The group.
    pub group: Arc<str>,
    /// Its current view.
    pub view: Option<ViewId>,
    /// The node's identity in that view. The node may have begun a new incarnation that this member is not part of yet.
    pub reader: Option<Identity>,
    /// The number of members of that view.
    pub member_count: usize,
    /// The messages that the node accepted from it in this incarnation.
    pub accepted: u64,
    /// The messages of it that the node sent in this incarnation.
    pub sent: u64,
    /// The accepted messages that belong to no view yet: their numbers and their places in the trace.
    pub waiting: VecDeque<(u64, usize)>,
    /// Whether it has been asked to leave.
    pub is_leaving: bool,
}

/// Counts wake-ups at one instant.
#[derive(Default)]
pub struct WakeupCount {
    at: u64,
    count: u32,
}

impl WakeupCount {
    /// Count a wake-up, and return whether there are too many at this instant.
    pub fn is_busy_loop(&mut self, now: u64) -> bool {
        if self.at != now {
            self.at = now;
            self.count = 0;
        }
        self.count += 1;
        self.count > WAKEUPS_AT_ONE_INSTANT_MAX
    }
}

/// A running node and its shell.
pub struct Alive {
    /// The protocol.
    pub node: Node,
    /// Its failure detector.
    pub failure_detector: FailureDetector,
    /// The number of this start of the machine, since timers of earlier starts are ignored.
    pub start: u64,
    /// The node's identity, as its events have reported it.
    pub identity: Identity,
    /// The inputs that wait for the engine.
    pub queue: VecDeque<EngineInput>,
    /// Whether the engine's work item is scheduled.
    pub engine_is_due: bool,
    /// The time at which the failure detector's timer expires.
    pub detector_timer: Option<u64>,
    /// The time at which the engine's timer expires.
    pub engine_timer: Option<u64>,
    /// Differences between the last cluster view and the next one.
    pub changes: Vec<(Identity, ChangeReason)>,
    /// The members of the last cluster view, sorted; empty without a view.
    pub members: Arc<[Member]>,
    /// The number of the last cluster view.
    pub view_number: u64,
    /// The members of groups.
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    /// Whether the node was asked to leave the cluster.
    pub is_leaving: bool,
    /// Whether it has left.
    pub has_left: bool,
    /// The nodes that were asked to evict it: host and incarnation.
    pub evicted_by: Vec<(usize, u64)>,
    /// The end of the pin that its events have reported.
    pub pinned_until: Option<u64>,
    /// Wake-ups of the engine.
    pub engine_wakeups: WakeupCount,
    /// Wake-ups of the failure detector.
    pub detector_wakeups: WakeupCount,
}

/// A machine.
pub struct Host {
    /// The node's number.
    pub id: u16,
    /// The address of the node.
    pub address: PeerAddress,
    /// The node's list of peers.
    pub peers: Vec<PeerAddress>,
    /// The node, while it runs.
    pub alive: Option<Box<Alive>>,
    /// The largest incarnation so far.
    pub last_incarnation: u64,
    /// The number of times it was started.
    pub starts: u64,
    /// The end of the present freeze.
    pub frozen_until: u64,
    /// The last time at which it was disturbed so that the others may exclude it.
    pub disturbed_until: u64,
    /// The time until which members may still admit an incarnation of it that ended before its first view.
    pub stale_join_until: u64,
    /// The time until which it may be excluded, even if it is well, because a handler was asked to fence it.
    pub fenced_until: u64,
    /// The mean time from an input to the engine's work item, in microseconds.
    pub engine_delay_mean_us: u64,
    /// Whether the next message that the node delivers is lost, as the injected bug wants.
    pub loses_one: bool,
    /// Its clock.
    pub clock: MachineClock,
    /// The datagrams it has sent.
    pub sent: u64,
    /// Their bytes, without the headers of UDP and below.
    pub sent_bytes: u64,
    /// The datagrams that were dropped because the engine's queue was full.
    pub queue_drops: u64,
}

/// The address of host `number`: 10.0.x.y in the IPv6 form, default port.
pub fn address_of(number: usize) -> PeerAddress {
    let mut octets = [0_u8; 16];
    octets[10] = 0xff;
    octets[11] = 0xff;
    octets[12] = 10;
    octets[14] = (number / 250) as u8;
    octets[15] = (number % 250 + 1) as u8;
    PeerAddress { octets, port: 5407 }
}

/// The host with this address.
pub fn host_at(address: PeerAddress) -> usize {
    usize::from(address.octets[14]) * 250 + usize::from(address.octets[15]) - 1
}

#[cfg(test)]
mod tests {
    use super::{address_of, host_at};

    #[test]
    fn an_address_identifies_its_host() {
        for number in [0, 1, 249, 250, 251, 999] {
            assert_eq!(host_at(address_of(number)), number);
        }
        assert_eq!(format!("{:?}", address_of(251)), "10.0.1.2:5407");
    }
}
