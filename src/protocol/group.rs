// SPDX-License-Identifier: GPL-2.0

//! Groups: named sets of members that get agreed views, and messages in the order that the sender of each asks for.
//!
//! Each group has a coordinator: the node with the highest rendezvous hash of the group and the cluster view's nodes
//! (Thaler and Ravishankar 1998). So groups are spread over the nodes, and few move when a node joins or leaves. The
//! coordinator keeps a log. Messages and group views are its entries, numbered from 1 in each cluster view (an
//! *epoch*).
//!
//! ```text
//!  node of the sender         coordinator                 other nodes with members
//!    | --- GroupData ------------> | orders                       |
//!    | <-- GroupOrdered ---------- | --- GroupOrdered ----------> | keep the entries
//!    | --- GroupAcknowledge -----> | ---------------------------> | the sender's node holds it: deliver
//!    |                             | <-- GroupAcknowledge ------- | after a while, or for a safe message at once
//!    |                             | all hold it: it is stable    |
//!    |                             | --- GroupStatus -----------> | deliver safe ones, drop the entries
//! ```
//!
//! [`release`] says when an entry of each order may be delivered, and why no crash of nodes that have delivered it shows.
//! [`flush`] explains what happens to the log when the cluster view changes.
//!
//! Inputs are absorbed: a batch of datagrams and submitted messages changes the state, then each group runs once. So
//! one datagram carries what many messages ask for, and nothing waits for a batch to fill.
//!
//! - [`local`]: a member on this node, and the messages that it sends.
//! - [`entry`], [`log`]: the entries of one epoch. [`member`]: accepting and delivering them. [`acknowledgement`]: when to
//!   acknowledge them, and to report gaps. [`views`]: group views as members see them.
//! - [`sequencer`] (state) and [`coordinator`] (actions): ordering. [`participant`]: a node with members as the
//!   coordinator sees it. [`distribution`]: getting the entries to all participants. [`reassembly`]: fragments that wait
//!   for their message.
//! - [`flush`]: what counts of the epoch before. [`merge`], [`transition`] and [`component_change`]: members that come
//!   from another component of a partitioned cluster.
//! - [`endings`]: what members are told before a view or a log ends. [`view_changes`]: what the membership tells.
//! - [`commands`]: joining, leaving, sending. [`datagrams`]: what arrives. [`retransmission`]: what a node sends,
//!   and repeats until it is answered.

mod acknowledgement;
mod commands;
mod component_change;
mod context;
mod coordinator;
mod datagrams;
mod distribution;
mod endings;
mod entry;
mod flush;
mod local;
mod log;
mod member;
mod merge;
mod participant;
mod reassembly;
mod release;
mod retransmission;
mod sequencer;
mod transition;
mod view_changes;
mod views;

use self::acknowledgement::Acknowledgement;
use self::context::{Context, Shown};
use self::flush::PendingStart;
pub use self::local::LeaveMode;
use self::local::{Local, Standing};
use self::log::Log;
use self::release::ReleaseRule;
use self::sequencer::Sequencer;
use self::transition::Transition;
use super::configuration::Configuration;
use super::group_view::GroupSummary;
use super::identity::{
    EndpointId, GroupId, GroupName, Identity, MemberId, NodeId, ViewKey, ViewNumber,
};
use super::limits::{
    DEPARTURES_MAX, ENDPOINTS_MAX, EVENTS_KEPT_FOR_MEMBERSHIP, GROUPS_MAX, TRANSMIT_BYTES_MAX,
};
use super::outbox::Outbox;
use super::outputs::ChangeReason;
use super::time::{Duration, Instant};
use super::view::ClusterView;
use crate::platform::{BoundedVec, OutOfMemory};

/// Room in the event queue that groups leave to the membership.
const EVENTS_KEPT: usize = EVENTS_KEPT_FOR_MEMBERSHIP + 2 * ENDPOINTS_MAX;
/// Room in the transmit queue that groups leave to the membership.
const ROOM_KEPT_BYTES: usize = TRANSMIT_BYTES_MAX / 4;
/// Members on their way from one component to another keep their last view for as long as a component waits for a
/// quorum, and for so many rounds of looking for other components.
const TRANSITION_ROUNDS: u64 = 16;

/// One group that this node has members of or coordinates.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
struct Group {
    name: GroupName,
    id: GroupId,
    /// The node that orders it in the present cluster view.
    coordinator: Option<NodeId>,
    locals: BoundedVec<Local>,
    log: Option<Log>,
    pending_start: Option<PendingStart>,
    /// What members retain of another component.
    transition: Option<Transition>,
    /// The retained log is being delivered.
    delivers_transitional: bool,
    /// How far: what its transitional set has delivered, and no further.
    transitional_limit: Option<u64>,
    sequencer: Option<Sequencer>,
    /// This node orders the group in the present cluster view.
    is_ordering: bool,
    /// When to report to the coordinator again what this node holds.
    report_at: Option<Instant>,
    acknowledgement: Acknowledgement,
    /// Something waits for room in a queue.
    backlog: bool,
}

impl Group {
    fn new(name: GroupName) -> Result<Self, OutOfMemory> {
        Ok(Self {
            name,
            id: name.id(),
            coordinator: None,
            locals: BoundedVec::with_capacity(ENDPOINTS_MAX)?,
            log: None,
            pending_start: None,
            transition: None,
            delivers_transitional: false,
            transitional_limit: None,
            sequencer: None,
            is_ordering: false,
            report_at: None,
            acknowledgement: Acknowledgement::default(),
            backlog: false,
        })
    }
}

fn member_id(own: Identity, endpoint: EndpointId) -> MemberId {
    MemberId {
        node: own.node,
        endpoint,
        incarnation: own.incarnation,
    }
}

/// All groups of one node.
#[cfg_attr(kcgcs_exploration, derive(Clone, Hash))]
pub struct Groups {
    own: Identity,
    groups: BoundedVec<Group>,
    interval: Duration,
    release_rule: ReleaseRule,
    /// How long members on their way from one component to another keep their last view.
    transition_timeout: Duration,
    /// The present cluster view.
    cluster_view: ViewKey,
    shown: Shown,
    next_endpoint: u32,
    has_quorum: bool,
    is_frozen: bool,
    is_stopped: bool,
    /// The highest number of a group view that this node has seen.
    highest: ViewNumber,
    /// Nodes that left the cluster lately, and why.
    departed: BoundedVec<(Identity, ChangeReason)>,
}

impl Groups {
    /// No groups. Allocates.
    pub fn new(own: Identity, settings: &Configuration) -> Result<Self, OutOfMemory> {
        let milliseconds = |value: u32| Duration::from_milliseconds(u64::from(value));
        Ok(Self {
            own,
            groups: BoundedVec::with_capacity(GROUPS_MAX)?,
            interval: milliseconds(settings.retransmit_ms),
            release_rule: match settings.partitionable != 0 {
                true => ReleaseRule::AllHold,
                false => ReleaseRule::SendersHold,
            },
            transition_timeout: milliseconds(settings.blocked_timeout_ms)
                .plus(milliseconds(settings.formation_ms).times(TRANSITION_ROUNDS)),
            cluster_view: ViewKey::default(),
            shown: Shown::default(),
            next_endpoint: 1,
            has_quorum: false,
            is_frozen: false,
            is_stopped: false,
            highest: ViewNumber::default(),
            departed: BoundedVec::with_capacity(DEPARTURES_MAX)?,
        })
    }

    // ---- time ---------------------------------------------------------------------------------

    /// When [`Self::after_input`] has something to do without another input.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.is_frozen || !self.has_view() {
            let has_backlog = self.groups.iter().any(|group| group.backlog);
            let deadlines = self.groups.iter().filter_map(Group::transition_deadline);
            let deadline = deadlines.filter(|_| !self.has_view()).min();
            return has_backlog.then_some(Instant::ZERO).or(deadline);
        }
        self.groups.iter().filter_map(Group::next_deadline).min()
    }

    fn has_view(&self) -> bool {
        self.groups
            .first()
            .is_some_and(|group| group.coordinator.is_some())
    }

    /// Send what is due and deliver what is stable. Call this once after every input and command.
    pub fn after_input(&mut self, now: Instant, view: Option<&ClusterView>, outbox: &mut Outbox) {
        let Some(view) = view else {
            self.wait_for_view(now, outbox);
            return;
        };
        let mut is_over = false;
        for group in self.groups.as_mut_slice() {
            let mut context = Context {
                now,
                own: self.own,
                view,
                cluster_view: self.cluster_view,
                shown: self.shown,
                interval: self.interval,
                release_rule: self.release_rule,
                departed: &self.departed,
                highest: &mut self.highest,
                outbox,
            };
            if self.is_frozen {
                // Entries that are stable already are still delivered.
                group.backlog = false;
                group.report_blocks(context.outbox);
                group.deliver(&mut context);
            } else {
                group.run(&mut context);
            }
            is_over |= group.is_over();
        }
        if is_over && !self.is_frozen {
            self.groups.retain(|group| !group.is_over());
        }
    }

    /// Without a cluster view no other node knows this node's members, so members that leave are gone at once.
    /// Members that come from another component are excluded after a while.
    fn wait_for_view(&mut self, now: Instant, outbox: &mut Outbox) {
        for group in self.groups.as_mut_slice() {
            group.backlog = false;
            if group.transition_deadline().is_some_and(|at| now >= at) {
                group.abandon_transition(outbox);
            }
            group.locals.retain(|local| {
                let is_leaving = matches!(local.standing, Standing::Draining | Standing::Leaving);
                if is_leaving {
                    local.report_left(outbox);
                }
                !is_leaving
            });
        }
        self.groups.retain(|group| !group.is_over());
    }

    /// Call `each` with a summary of every group.
    pub fn for_each_group(&self, each: &mut dyn FnMut(&GroupSummary)) {
        for group in self.groups.iter() {
            let latest = group
                .sequencer
                .as_ref()
                .and_then(|sequencer| sequencer.latest.as_ref());
            let view = group
                .log
                .as_ref()
                .and_then(|log| log.view.as_ref())
                .or(latest);
            let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            each(&GroupSummary {
                name: group.name,
                members: view.map_or(0, |view| short(view.members.len())),
                local_members: short(group.locals.len()),
                view: view.map_or_else(ViewNumber::default, |view| view.number),
                coordinator: group.coordinator.unwrap_or(self.own.node),
                log_entries: group
                    .log
                    .as_ref()
                    .map_or(0, |log| u32::try_from(log.length()).unwrap_or(u32::MAX)),
            });
        }
    }
}
