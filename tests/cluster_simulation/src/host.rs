// SPDX-License-Identifier: GPL-2.0

//! One machine around one node: what the shell in the kernel does, in virtual time.
//!
//! Each datagram goes to the failure detector first, as in the receive soft interrupt; what the failure detector leaves,
//! its reports and the engine's deadlines wait in a bounded queue until the engine's work item runs.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use kcgcs_protocol::protocol::failure_detector::{DetectorReport, FailureDetector};
use kcgcs_protocol::protocol::identity::{EndpointId, Identity, PeerAddress};
use kcgcs_protocol::protocol::node::Node;
use kcgcs_protocol::protocol::outputs::ChangeReason;
use trace_checker::trace::{Member, ViewId};

use crate::clock::MachineClock;

/// Datagrams and reports that wait for the engine; more are dropped.
pub const ENGINE_QUEUE_MAX: usize = 4096;
/// Wake-ups at one instant that are still no busy loop.
const WAKEUPS_AT_ONE_INSTANT_MAX: u32 = 1000;

/// What waits for the engine.
pub enum EngineInput {
    /// A datagram that is not the failure detector's.
    Datagram(PeerAddress, Rc<[u8]>),
    /// Something that the failure detector reports.
    Report(DetectorReport),
    /// The node's deadline has come.
    Deadline,
}

/// A member of a group on a node.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The group.
    pub group: Arc<str>,
    /// Its present view.
    pub view: Option<ViewId>,
    /// Who the node is in it: it may have begun a new incarnation, in which this member is not yet.
    pub reader: Option<Identity>,
    /// How many members that view has.
    pub member_count: usize,
    /// Messages that were accepted from it in this incarnation.
    pub accepted: u64,
    /// Messages of it that were sent in this incarnation.
    pub sent: u64,
    /// Where the trace has the messages that were accepted and are not part of a view yet.
    pub waiting: VecDeque<(u64, usize)>,
    /// Whether it was told to leave.
    pub is_leaving: bool,
}

/// Counts wake-ups at one instant.
#[derive(Default)]
pub struct WakeupCount {
    at: u64,
    count: u32,
}

impl WakeupCount {
    /// Counts one more; true if these are too many.
    pub fn is_busy_loop(&mut self, now: u64) -> bool {
        if self.at != now {
            self.at = now;
            self.count = 0;
        }
        self.count += 1;
        self.count > WAKEUPS_AT_ONE_INSTANT_MAX
    }
}

/// A running node and its surroundings.
pub struct Alive {
    /// The protocol.
    pub node: Node,
    /// Its heartbeats.
    pub failure_detector: FailureDetector,
    /// Which incarnation of the machine this is: timers of earlier incarnations are ignored.
    pub incarnation: u64,
    /// Who the node is, as its events told.
    pub identity: Identity,
    /// What waits for the engine.
    pub queue: VecDeque<EngineInput>,
    /// Whether the engine's work item is scheduled.
    pub engine_is_due: bool,
    /// When the failure detector's timer is set to.
    pub detector_timer: Option<u64>,
    /// When the engine's timer is set to.
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
    /// Who was asked to put it out: host and incarnation.
    pub evicted_by: Vec<(usize, u64)>,
    /// Until when views are pinned, as its events told.
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
    /// Where it listens.
    pub address: PeerAddress,
    /// Whom its list of peers names.
    pub peers: Vec<PeerAddress>,
    /// The node, while it runs.
    pub alive: Option<Box<Alive>>,
    /// The largest incarnation so far.
    pub last_incarnation: u64,
    /// How often it was started.
    pub incarnations: u64,
    /// Until when it does nothing at all.
    pub frozen_until: u64,
    /// When it was last hindered so that the others may have gone on without it.
    pub hindered_until: u64,
    /// Until when an incarnation of it that ended before its first view may still come into one.
    pub ghost_until: u64,
    /// Until when a view without it may come since a handler was to fence it, whether it is well or not.
    pub fenced_until: u64,
    /// The mean time from an input to the engine's work item, in microseconds.
    pub engine_delay_mean_us: u64,
    /// Sabotage: the next message that the node delivers is lost.
    pub loses_one: bool,
    /// Its clock.
    pub clock: MachineClock,
    /// Datagrams that it has sent.
    pub sent: u64,
    /// Bytes of these, without headers of UDP and below.
    pub sent_bytes: u64,
    /// Datagrams that found the engine's queue full.
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
    fn addresses_name_their_hosts() {
        for number in [0, 1, 249, 250, 251, 999] {
            assert_eq!(host_at(address_of(number)), number);
        }
        assert_eq!(format!("{:?}", address_of(251)), "10.0.1.2:5407");
    }
}
